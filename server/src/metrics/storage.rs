//! Metrics of the disk. They stay at 0 where the state is in memory.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counts what the storage does. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct StorageMetrics {
    syncs: Histogram,
    groups: Histogram,
    snapshots: Counter,
    snapshot_bytes: Gauge<u64, AtomicU64>,
    journal_bytes: Gauge<u64, AtomicU64>,
}

impl Default for StorageMetrics {
    fn default() -> Self {
        Self {
            syncs: Histogram::new(SYNC_SECONDS),
            groups: Histogram::new(GROUP_RECORDS),
            snapshots: Counter::default(),
            snapshot_bytes: Gauge::default(),
            journal_bytes: Gauge::default(),
        }
    }
}

impl StorageMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Time the disk takes to make a group of records durable";
        to.register("storage_sync_seconds", help, self.syncs.clone());
        let help = "Records made durable by one sync";
        to.register("storage_group_records", help, self.groups.clone());
        let help = "Snapshots written to disk";
        to.register("storage_snapshots", help, self.snapshots.clone());
        let help = "Length of the last snapshot written, bytes";
        to.register("storage_snapshot_bytes", help, self.snapshot_bytes.clone());
        let help = "Length of the journal behind the last snapshot, bytes";
        to.register("storage_journal_bytes", help, self.journal_bytes.clone());
    }

    /// A group of that many records was made durable, which took so long.
    pub(crate) fn synced(&self, took: Duration, records: u32) {
        self.syncs.observe(took.as_secs_f64());
        self.groups.observe(f64::from(records));
    }

    /// The journal has that many bytes.
    pub(crate) fn journal_has(&self, bytes: u64) {
        self.journal_bytes.set(bytes);
    }

    /// A snapshot of that many bytes is on disk.
    pub(crate) fn snapshot_written(&self, bytes: u64) {
        self.snapshots.inc();
        self.snapshot_bytes.set(bytes);
    }
}

/// Bounds of buckets, seconds.
const SYNC_SECONDS: [f64; 10] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5.0];
/// Bounds of buckets.
const GROUP_RECORDS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];
