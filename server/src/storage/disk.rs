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
use rollcall_replica::directory::Bounds;
use rollcall_shared::id::NodeId;
use rollcall_storage::{Journal, OpenError, Settings};
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

/// Opens a folder that is locked. `seed` is random.
///
/// # Errors
/// [`OpenError`] says what is wrong with what is in it.
pub(crate) fn open(
    folder: DiskFolder,
    node: NodeId,
    bounds: Bounds,
    seed: u64,
) -> Result<Opened, OpenError> {
    let begun = Instant::now();
    let (journal, stored, cut) =
        Journal::open(folder.clone(), node, bounds, Settings::default(), seed)?;
    if let Some(cut) = cut {
        tracing::warn!(
            "{}: what a crash left unfinished was cut off at byte {} ({}); nothing that was \
             promised is missing",
            folder.path().join(&cut.file).display(),
            cut.offset,
            cut.what
        );
    }
    tracing::info!(
        folder = %folder.path().display(),
        entries = stored.log.last().0,
        snapshot = stored.log.snapshot_index().0,
        "read what is stored, in {:.0?}",
        begun.elapsed()
    );
    if let Some(restored) = &stored.restored {
        tracing::info!(
            users = restored.users().len(),
            "a backup was restored here: the cluster begins with it when all of its servers are \
             there for the first time"
        );
    }
    Ok(Opened { stored, journal, folder })
}

/// Storage in a folder.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    given: Lsn,
    said: Lsn,
    /// Runs while something is not durable.
    patience: Option<Pin<Box<Sleep>>>,
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
    begun: Instant,
    /// When what the disk does now began, milliseconds after `begun`, and 0 while it does nothing.
    busy_since: AtomicU64,
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
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            come: Condvar::new(),
            durable: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            begun: Instant::now(),
            busy_since: AtomicU64::new(0),
            urgency: AtomicU64::new(0),
            metrics,
        });
        let (tasks, to_do) = std::sync::mpsc::sync_channel(keeper::TASKS);
        let of_keeper = Arc::clone(&shared);
        let keeper = move || keeper::run(&of_keeper, &folder, &to_do);
        thread::Builder::new().name("keeper".into()).spawn(keeper)?;
        let of_writer = Arc::clone(&shared);
        let writer = move || writer::run(&of_writer, journal, tasks);
        thread::Builder::new().name("journal".into()).spawn(writer)?;
        Ok(Self { shared, given: Lsn(0), said: Lsn(0), patience: None })
    }

    /// Whether the disk takes too long; else when to look again.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<StorageFailed> {
        if self.said == self.given {
            self.patience = None;
            return Poll::Pending;
        }
        loop {
            let busy = self.shared.busy_for();
            if busy.is_some_and(|busy| busy >= PATIENCE) {
                tracing::error!(
                    "the disk has not done for {PATIENCE:?} what it was asked to do: it counts as \
                     failed"
                );
                return Poll::Ready(StorageFailed);
            }
            let rest = PATIENCE - busy.unwrap_or_default();
            let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(rest)));
            match patience.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.patience = None,
            }
        }
    }
}

/// How long one thing the disk is asked to do may take (section 2 of docs/replication.md).
const PATIENCE: Duration = Duration::from_secs(10);

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
            self.patience = None;
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
        self.failed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Does something that the disk may take long for.
    pub(super) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.goes_on();
        let done = work();
        self.busy_since.store(0, Ordering::Relaxed);
        done
    }

    /// The disk has done something, and goes on with more.
    pub(super) fn goes_on(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.busy_since.store(now.max(1), Ordering::Relaxed);
    }

    fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed);
        let since = (since > 0).then(|| Duration::from_millis(since))?;
        Some(self.begun.elapsed().saturating_sub(since))
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
