//! What is done beside the journal, a small step at a time and at any time: snapshots, segments to
//! come, and the removal of what is needed no more.

use std::io::ErrorKind;

use rollcall_storage::memory::Memory;
use rollcall_storage::{Failed, Folder as _, Journal, SnapshotJob, SnapshotWriter};

use super::disk::Disk;

/// What is to be done.
#[derive(Default)]
pub(super) struct Keeper {
    /// Whether a step is planned.
    pub(super) planned: bool,
    job: Option<SnapshotJob>,
    writing: Option<SnapshotWriter<Memory>>,
    spare: bool,
    obsolete: Vec<String>,
    /// How many segments were begun because one was full, and how many snapshots were written, since
    /// it was asked last.
    pub(super) rolled: u64,
    pub(super) written: u64,
}

impl Disk {
    /// Takes over what the journal wants to be done; whether a step is to be planned.
    pub(super) fn plan_step(&mut self) -> bool {
        let Some(journal) = self.journal.as_mut().filter(|_| !self.broken) else { return false };
        let keeper = &mut self.keeper;
        if keeper.job.is_none() && keeper.writing.is_none() {
            keeper.job = journal.poll_snapshot();
        }
        keeper.obsolete.append(&mut journal.take_obsolete());
        if journal.wants_spare() && !keeper.spare {
            keeper.spare = self.random.one_in(8);
        }
        let work = keeper.job.is_some()
            || keeper.writing.is_some()
            || keeper.spare
            || !keeper.obsolete.is_empty();
        work && !std::mem::replace(&mut keeper.planned, true)
    }

    /// Does a step.
    pub(super) fn step(&mut self) -> Result<(), Failed> {
        self.keeper.planned = false;
        let Some(journal) = self.journal.as_mut().filter(|_| !self.broken) else { return Ok(()) };
        let keeper = &mut self.keeper;
        keeper.obsolete.append(&mut journal.take_obsolete());
        if self.random.one_in(2) {
            for name in keeper.obsolete.drain(..) {
                // What cannot be removed now is removed by the next start.
                let _ = self.folder.remove(&name);
            }
        }
        if let Some(mut writer) = keeper.writing.take() {
            match room_permitting(writer.step())? {
                Some(Some(written)) => {
                    journal.snapshot_written(written);
                    keeper.written += 1;
                }
                Some(None) => keeper.writing = Some(writer),
                None => {
                    // The same.
                    let _ = writer.give_up();
                    journal.snapshot_given_up();
                }
            }
        } else if keeper.spare && self.random.one_in(2) {
            keeper.spare = false;
            if let Some(file) =
                room_permitting(Journal::make_spare(&self.folder, self.settings, || {}))?
            {
                journal.offer_spare(file);
            }
        } else if let Some(job) = keeper.job.take() {
            keeper.writing = room_permitting(SnapshotWriter::new(self.folder.clone(), job))?;
            if keeper.writing.is_none() {
                journal.snapshot_given_up();
            }
        }
        Ok(())
    }
}

/// A disk without room is no reason to end: what is done here can be done later.
fn room_permitting<T>(done: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(failed) if failed.why.kind() == ErrorKind::StorageFull => Ok(None),
        Err(failed) => Err(failed),
    }
}
