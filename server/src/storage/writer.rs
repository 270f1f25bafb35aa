//! The thread that writes the journal: all that waits is one group, and one sync makes it durable.
//! While that runs, the next group gathers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use rollcall_replica::consensus::journal::Record;
use rollcall_storage::{Failed, Journal};

use super::disk::{Ending, Kept, Shared};
use super::folder::DiskFolder;
use super::keeper::Task;

/// Writes until the node is gone, or the disk fails.
pub(super) fn run(shared: &Shared, journal: Journal<DiskFolder>, tasks: SyncSender<Task>) {
    let _ending = Ending(shared);
    let mut writer =
        Writer { shared, journal, tasks, ask_for_spare_at: Some(Instant::now()), warned_at: 0 };
    if let Err(why) = writer.run() {
        shared.fail(&why, writer.journal.folder().path());
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    journal: Journal<DiskFolder>,
    tasks: SyncSender<Task>,
    /// When a spare is asked for, unless it has been.
    ask_for_spare_at: Option<Instant>,
    /// The urgency of which was warned last.
    warned_at: u64,
}

impl Writer<'_> {
    fn run(&mut self) -> Result<(), Failed> {
        loop {
            let inbox = match self.shared.take() {
                Some(inbox) => inbox,
                None => {
                    self.shared.writing.busy(|| self.journal.mark())?;
                    self.shared.wait()
                }
            };
            for kept in inbox.kept {
                self.take_kept(kept);
            }
            let mut records = inbox.records;
            // That a snapshot counts is written as well, though nobody waits for it.
            while !records.is_empty() || self.journal.gathered() > 0 {
                self.write_group(&mut records)?;
            }
            self.delegate();
            if inbox.closed {
                return Ok(());
            }
        }
    }

    /// Makes a group of the first records durable.
    fn write_group(&mut self, records: &mut VecDeque<Record>) -> Result<(), Failed> {
        let mut count = 0_u32;
        while self.journal.gathered() < GROUP_BYTES
            && let Some(record) = records.pop_front()
        {
            // A snapshot that it adopts is written here, in steps.
            let Self { shared, journal, .. } = self;
            let asked = &shared.writing;
            asked.busy(|| journal.append_in_steps(record, || asked.goes_on()))?;
            count += 1;
        }
        self.shared.writing.busy(|| self.journal.write())?;
        let begun = Instant::now();
        let through = self.shared.writing.busy(|| self.journal.sync())?;
        self.shared.metrics.synced(begun.elapsed(), count);
        self.shared.stored(through);
        Ok(())
    }

    fn take_kept(&mut self, kept: Kept) {
        match kept {
            Kept::Spare(Some(file)) => {
                self.journal.offer_spare(file);
                self.ask_for_spare_at = Some(Instant::now());
            }
            Kept::Spare(None) => self.ask_for_spare_at = Some(Instant::now() + ASK_AGAIN),
            Kept::Snapshot(Some(written)) => {
                self.journal.snapshot_written(written);
                self.shared.metrics.snapshot_written(written.bytes());
            }
            Kept::Snapshot(None) => self.journal.snapshot_given_up(),
        }
    }

    /// Gives the keeper what need not be done here.
    fn delegate(&mut self) {
        let (urgency, bytes) = (self.journal.urgency(), self.journal.bytes());
        self.shared.urgency.store(urgency, Ordering::Relaxed);
        self.shared.metrics.journal_has(bytes);
        if urgency >= WARN_FROM && urgency > self.warned_at {
            tracing::warn!(
                "the journal in {} has grown to {} MiB: snapshots do not keep up with the writes",
                self.journal.folder().path().display(),
                bytes >> 20
            );
            self.warned_at = urgency;
        } else if urgency < WARN_FROM {
            self.warned_at = 0;
        }
        if self.journal.wants_spare()
            && self.ask_for_spare_at.is_some_and(|at| at <= Instant::now())
            && self.give(Task::Spare).is_ok()
        {
            self.ask_for_spare_at = None;
        }
        if let Some(job) = self.journal.poll_snapshot()
            && self.give(Task::Snapshot(job)).is_err()
        {
            self.journal.snapshot_given_up();
        }
        let obsolete = self.journal.take_obsolete();
        if !obsolete.is_empty()
            && let Err(Task::Remove(obsolete)) = self.give(Task::Remove(obsolete))
        {
            self.journal.keep_obsolete(obsolete);
        }
    }

    fn give(&self, task: Task) -> Result<(), Task> {
        match self.tasks.try_send(task) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => Err(task),
        }
    }
}

/// See [`Journal::urgency`]: from there on something is wrong.
const WARN_FROM: u64 = 4;
/// A group is closed when it has that many bytes.
const GROUP_BYTES: usize = 4 << 20;
/// How long to wait before a spare is asked for again where there was no room.
const ASK_AGAIN: Duration = Duration::from_secs(10);
