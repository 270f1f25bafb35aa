//! The thread that does what need not be done at once: snapshots, segments to come, and the removal
//! of what is needed no more.
//!
//! A snapshot takes a quarter of one core at most, so that requests go on as before; where the
//! journal grows faster than that, it takes what it needs.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rollcall_storage::{Failed, Journal, Removal, Settings, SnapshotJob, SnapshotWriter};

use super::disk::{Ending, Kept, Shared};
use super::folder::DiskFolder;

/// What is to be done.
pub(super) enum Task {
    /// Make the file of a segment to come.
    Spare,
    /// Write a snapshot.
    Snapshot(SnapshotJob),
    /// Remove files.
    Remove(Vec<String>),
}

/// The most tasks that wait: one of each kind, and some removals.
pub(super) const TASKS: usize = 16;

/// Works until the writer is gone.
pub(super) fn run(shared: &Shared, folder: &DiskFolder, tasks: &Receiver<Task>) {
    let _ending = Ending(shared);
    let mut keeper =
        Keeper { shared, folder, writing: None, removal: Removal::new(folder.clone()) };
    if let Err(why) = keeper.run(tasks) {
        shared.fail(&why, folder.path());
    }
}

struct Keeper<'a> {
    shared: &'a Shared,
    folder: &'a DiskFolder,
    writing: Option<SnapshotWriter<DiskFolder>>,
    removal: Removal<DiskFolder>,
}

impl Keeper<'_> {
    fn run(&mut self, tasks: &Receiver<Task>) -> Result<(), Failed> {
        let mut pause = None;
        loop {
            let task = match pause {
                Some(pause) => tasks.recv_timeout(pause),
                None => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match task {
                Ok(task) => self.take(task)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            pause = self.step()?;
        }
    }

    fn take(&mut self, task: Task) -> Result<(), Failed> {
        match task {
            Task::Spare => {
                let asked = &self.shared.keeping;
                let made = asked.busy(|| {
                    Journal::make_spare(self.folder, Settings::default(), || asked.goes_on())
                });
                if made.is_err() {
                    // What it has taken is better used by the journal. It may not be there.
                    let _ = Journal::remove_spare(self.folder);
                }
                let spare = self.room_permitting("the next segment", made)?;
                self.shared.tell(|inbox| inbox.kept.push_back(Kept::Spare(spare)));
            }
            Task::Snapshot(job) => {
                let new = || SnapshotWriter::new(self.folder.clone(), job);
                let begun = self.shared.keeping.busy(new);
                self.writing = self.room_permitting("a snapshot", begun)?;
                if self.writing.is_none() {
                    self.shared.tell(|inbox| inbox.kept.push_back(Kept::Snapshot(None)));
                }
            }
            Task::Remove(names) => self.removal.add(names),
        }
        Ok(())
    }

    /// Does a bit of what is to be done; how long to pause then, if there is more.
    fn step(&mut self) -> Result<Option<Duration>, Failed> {
        let begun = Instant::now();
        if !self.removal.is_done()
            && let Err(why) = self.shared.keeping.busy(|| self.removal.step())
        {
            tracing::warn!("{why}, which is needed no more; the next start does");
        }
        self.write_piece()?;
        if self.writing.is_none() && self.removal.is_done() {
            return Ok(None);
        }
        let urgent = self.shared.urgency.load(Ordering::Relaxed) >= URGENT;
        let pause = (begun.elapsed() * PAUSE).min(PAUSE_MOST);
        Ok(Some(if urgent { Duration::ZERO } else { pause }))
    }

    /// Writes a piece of a snapshot, if there is one to be written.
    fn write_piece(&mut self) -> Result<(), Failed> {
        let Some(writer) = &mut self.writing else { return Ok(()) };
        let step = self.shared.keeping.busy(|| writer.step());
        let written = match self.room_permitting("a snapshot", step)? {
            Some(None) => return Ok(()),
            Some(Some(written)) => Some(written),
            None => None,
        };
        if let Some(writer) = self.writing.take()
            && written.is_none()
            && let Err(why) = writer.give_up()
        {
            tracing::warn!("{why}; the next start does");
        }
        self.shared.tell(|inbox| inbox.kept.push_back(Kept::Snapshot(written)));
        Ok(())
    }

    /// A disk without room is bad for now; whatever else fails is a disk that cannot be relied on.
    fn room_permitting<T>(&self, what: &str, done: Result<T, Failed>) -> Result<Option<T>, Failed> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(why)
                if matches!(why.why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                let folder = self.folder.path().display();
                tracing::warn!(
                    "{folder}: there is no room for {what}: when the journal needs it, this server \
                     ends. Make room there"
                );
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }
}

/// How much longer than it works the keeper pauses.
const PAUSE: u32 = 3;
/// The longest pause.
const PAUSE_MOST: Duration = Duration::from_millis(100);
/// See [`Journal::urgency`]: from there on it does not pause.
const URGENT: u64 = 2;
