//! Storage in a folder, as the node sees it: records are handed to a thread, and what is durable is
//! heard from it. Nothing here waits for the disk.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_shared::id::NodeId;
use rollcall_storage::{Journal, OpenError, Recovered, Settings, Together};
use tokio::time::Sleep;

use super::folder::{DiskFile, DiskFolder};
use super::{Storage, StorageFailed, keeper, writer};
use crate::metrics::StorageMetrics;

/// A folder that was opened.
pub(crate) struct Opened {
    /// What it held.
    pub(crate) stored: Stored,
    journal: Journal<DiskFolder>,
    folder: DiskFolder,
}

/// A folder whose content was read, and nothing changed in it.
pub(crate) struct Read {
    folder: DiskFolder,
    recovered: Recovered,
}

/// Reads a folder that is locked.
///
/// # Errors
/// [`OpenError`] says what is wrong with what is in it.
pub(crate) fn read(folder: DiskFolder, node: NodeId) -> Result<Read, OpenError> {
    let begun = Instant::now();
    let recovered = rollcall_storage::recover_with(&folder, node, &AtOnce)?;
    let stored = &recovered.stored;
    tracing::info!(
        folder = %folder.path().display(),
        entries = stored.log.last().0,
        snapshot = stored.log.snapshot_index().0,
        "read what is stored, in {:.0?}",
        begun.elapsed()
    );
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            "{}: what a crash left unfinished is cut off at byte {} ({}); nothing that was \
             promised is missing",
            folder.path().join(&cut.file).display(),
            cut.offset,
            cut.what
        );
    }
    if let Some(restored) = &stored.restored {
        tracing::info!(
            users = restored.users().len(),
            "a backup was restored here: the cluster begins with it when all of its servers are \
             there for the first time"
        );
    }
    Ok(Read { folder, recovered })
}

/// Reads snapshot and journal at the same time.
struct AtOnce;

impl Together for AtOnce {
    fn run<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        thread::scope(|scope| {
            let one = scope.spawn(one);
            let other = other();
            match one.join() {
                Ok(one) => (one, other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Read {
    /// What it holds.
    pub(crate) const fn stored(&self) -> &Stored {
        &self.recovered.stored
    }

    /// Goes on with it. `seed` is random.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn open(self, seed: u64) -> Result<Opened, OpenError> {
        let Self { folder, recovered } = self;
        let settings = Settings::default();
        let (journal, stored, _) = Journal::go_on(folder.clone(), recovered, settings, seed)?;
        Ok(Opened { stored, journal, folder })
    }
}

/// Storage in a folder.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    given: Lsn,
    said: Lsn,
    /// Until it is looked whether the disk goes on.
    pause: Option<Pin<Box<Sleep>>>,
    /// At what the journal's thread does, and at what the keeper's does.
    watches: [Watch; 2],
}

/// Whether the disk goes on with what one thread asks of it. It counts how often it looked: a process
/// that was stopped for long has not looked, and so blames nobody.
#[derive(Default)]
struct Watch {
    /// What the disk was doing when it looked last; see [`Asked`].
    seen: u64,
    /// How often it has seen the disk do just that.
    looks: u32,
}

impl Watch {
    /// Whether the disk has done nothing for too long.
    fn look(&mut self, asked: &Asked) -> bool {
        let now = asked.0.load(Ordering::Relaxed);
        self.looks = if now == self.seen && asked.is_busy() { self.looks + 1 } else { 0 };
        self.seen = now;
        self.looks >= LOOKS
    }
}

/// What a thread has asked the disk to do: it rises with each thing that begins and each that ends, so
/// it is odd while one is under way.
#[derive(Default)]
pub(super) struct Asked(AtomicU64);

impl Asked {
    /// Does something that the disk may take long for.
    pub(super) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::Relaxed);
        let done = work();
        self.0.fetch_add(1, Ordering::Relaxed);
        done
    }

    /// The disk has done something, and goes on with more.
    pub(super) fn goes_on(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_multiple_of(2)
    }
}

/// What the node and the threads of the storage share.
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// Something has come.
    come: Condvar,
    durable: AtomicU64,
    failed: AtomicBool,
    /// The node.
    waker: AtomicWaker,
    /// By the journal's thread.
    pub(super) writing: Asked,
    /// By the keeper's.
    pub(super) keeping: Asked,
    /// See [`Journal::urgency`].
    pub(super) urgency: AtomicU64,
    pub(super) metrics: StorageMetrics,
}

/// What the writer is to do.
#[derive(Default)]
pub(super) struct Inbox {
    /// In order. Bounded by what the replica lets wait for the disk.
    pub(super) records: VecDeque<Record>,
    /// What the keeper has done.
    pub(super) kept: VecDeque<Kept>,
    /// The node is gone.
    pub(super) closed: bool,
}

/// What the keeper has done.
pub(super) enum Kept {
    Spare(Option<DiskFile>),
    Snapshot(Option<rollcall_storage::Written>),
}

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// One cannot be started.
    pub(crate) fn start(opened: Opened, metrics: StorageMetrics) -> std::io::Result<Self> {
        let Opened { journal, folder, .. } = opened;
        let shared = Arc::new(Shared::new(metrics));
        let (tasks, to_do) = std::sync::mpsc::sync_channel(keeper::TASKS);
        let of_keeper = Arc::clone(&shared);
        let keeper = move || keeper::run(&of_keeper, &folder, &to_do);
        thread::Builder::new().name("keeper".into()).spawn(keeper)?;
        let of_writer = Arc::clone(&shared);
        let writer = move || writer::run(&of_writer, journal, tasks);
        thread::Builder::new().name("journal".into()).spawn(writer)?;
        Ok(Self { shared, given: Lsn(0), said: Lsn(0), pause: None, watches: Default::default() })
    }

    /// Ready when the disk takes too long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<StorageFailed> {
        let Self { shared, pause, watches, .. } = self;
        loop {
            if self.said == self.given && !shared.keeping.is_busy() {
                *pause = None;
                return Poll::Pending;
            }
            let next = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
            if next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *pause = None;
            let [writing, keeping] = watches;
            // Both are to look.
            if writing.look(&shared.writing) | keeping.look(&shared.keeping) {
                tracing::error!(
                    "the disk has not done for {LOOKS} s what it was asked to do: it counts as \
                     failed"
                );
                return Poll::Ready(StorageFailed);
            }
        }
    }
}

/// How long one thing the disk is asked to do may take (section 2 of docs/replication.md), in looks.
const LOOKS: u32 = 10;
/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);

impl Storage for Disk {
    fn store(&mut self, record: Record) {
        self.given = Lsn(self.given.0 + 1);
        self.shared.tell(|inbox| inbox.records.push_back(record));
    }

    fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lsn, StorageFailed>> {
        self.shared.waker.register(cx.waker());
        if self.shared.failed.load(Ordering::Acquire) {
            return Poll::Ready(Err(StorageFailed));
        }
        let durable = Lsn(self.shared.durable.load(Ordering::Acquire));
        if durable > self.said {
            self.said = durable;
            return Poll::Ready(Ok(durable));
        }
        self.poll_stuck(cx).map(Err)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.tell(|inbox| inbox.closed = true);
    }
}

impl Shared {
    fn new(metrics: StorageMetrics) -> Self {
        Self {
            inbox: Mutex::default(),
            come: Condvar::new(),
            durable: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            writing: Asked::default(),
            keeping: Asked::default(),
            urgency: AtomicU64::new(0),
            metrics,
        }
    }

    /// Changes the inbox and wakes the writer.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.lock());
        self.come.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing panics while it is held, and a queue is a queue anyhow.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come, if anything has.
    pub(super) fn take(&self) -> Option<Inbox> {
        let mut inbox = self.lock();
        if inbox.is_empty() { None } else { Some(inbox.take()) }
    }

    /// Waits until something has come.
    pub(super) fn wait(&self) -> Inbox {
        let inbox = self.lock();
        let inbox = self.come.wait_while(inbox, |inbox| inbox.is_empty());
        inbox.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// All records up to this one are durable.
    pub(super) fn stored(&self, through: Lsn) {
        self.durable.store(through.0, Ordering::Release);
        self.waker.wake();
    }

    /// Says that the disk has failed.
    pub(super) fn fail(&self, why: &rollcall_storage::Failed, folder: &Path) {
        let hint = match why.why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ": make room there and start this server again"
            }
            std::io::ErrorKind::ReadOnlyFilesystem => ": the disk takes nothing any more",
            _ => "",
        };
        tracing::error!(
            "{}: {why}{hint}. What is durable is not known now, so this server ends",
            folder.display()
        );
        self.give_up();
    }

    /// The disk has failed in a way that was said elsewhere.
    fn give_up(&self) {
        self.failed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Held by a thread of the storage: should it end by a bug, the server ends too, rather than wait for
/// it for ever.
pub(super) struct Ending<'a>(pub(super) &'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.give_up();
        }
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.kept.is_empty() && !self.closed
    }

    fn take(&mut self) -> Self {
        let closed = self.closed;
        Self { closed, ..std::mem::take(self) }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Storage whose disk does only what the test says.
    fn disk() -> Disk {
        let shared = Arc::new(Shared::new(StorageMetrics::default()));
        Disk { shared, given: Lsn(0), said: Lsn(0), pause: None, watches: Default::default() }
    }

    fn poll(disk: &mut Disk) -> Poll<Result<Lsn, StorageFailed>> {
        disk.poll_stored(&mut Context::from_waker(Waker::noop()))
    }

    async fn pass(disk: &mut Disk, seconds: u64) -> Poll<Result<Lsn, StorageFailed>> {
        for _ in 0..seconds {
            tokio::time::advance(LOOK).await;
            let polled = poll(disk);
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_counts_as_failed() {
        let mut disk = disk();
        disk.store(Record::Voter);
        assert!(poll(&mut disk).is_pending());
        disk.shared.writing.0.store(1, Ordering::Relaxed);
        assert!(pass(&mut disk, 9).await.is_pending());
        assert_eq!(pass(&mut disk, 3).await, Poll::Ready(Err(StorageFailed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_goes_on_does_not() {
        let mut disk = disk();
        disk.store(Record::Voter);
        for step in 0..50 {
            disk.shared.writing.0.store(2 * step + 1, Ordering::Relaxed);
            assert!(pass(&mut disk, 8).await.is_pending());
        }
        // Nor one that has nothing to do, whoever else keeps the writer waiting.
        disk.shared.writing.0.store(1000, Ordering::Relaxed);
        assert!(pass(&mut disk, 30).await.is_pending());
        disk.shared.stored(Lsn(1));
        assert_eq!(poll(&mut disk), Poll::Ready(Ok(Lsn(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_hangs_is_noticed_too() {
        let mut disk = disk();
        disk.shared.keeping.0.store(1, Ordering::Relaxed);
        assert_eq!(pass(&mut disk, 12).await, Poll::Ready(Err(StorageFailed)));
    }

    #[tokio::test]
    async fn a_thread_that_dies_by_a_bug_ends_the_server() {
        let mut disk = disk();
        let shared = Arc::clone(&disk.shared);
        let died = thread::spawn(move || {
            let _ending = Ending(&shared);
            panic!("as planned");
        });
        assert!(died.join().is_err());
        assert_eq!(poll(&mut disk), Poll::Ready(Err(StorageFailed)));
    }

    /// As after SIGCONT, or when a machine wakes up.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_blames_nobody() {
        let mut disk = disk();
        disk.store(Record::Voter);
        disk.shared.writing.0.store(1, Ordering::Relaxed);
        assert!(pass(&mut disk, 2).await.is_pending());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(poll(&mut disk).is_pending());
    }
}
