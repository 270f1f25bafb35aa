//! A server's disk: a journal whose records are durable after an fsync, and lost before it.

use std::collections::VecDeque;

use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_shared::id::NodeId;

use crate::random::Random;

/// What is durable, and what is not yet.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) durable: Stored,
    unsynced: VecDeque<Record>,
    /// The last record given, and the last durable one, of this process.
    given: u64,
    done: u64,
    /// How many records the fsync in flight covers.
    syncing: Option<usize>,
}

impl Disk {
    pub(super) fn new(node: u32) -> Self {
        let durable = Stored::empty(NodeId(node));
        Self { durable, unsynced: VecDeque::new(), given: 0, done: 0, syncing: None }
    }

    /// A record comes; whether an fsync must begin.
    pub(super) fn write(&mut self, record: Record) -> bool {
        self.given += 1;
        self.unsynced.push_back(record);
        self.begin()
    }

    /// Begins an fsync of all that waits, if none is in flight.
    fn begin(&mut self) -> bool {
        if self.syncing.is_some() || self.unsynced.is_empty() {
            return false;
        }
        self.syncing = Some(self.unsynced.len());
        true
    }

    /// The fsync is done: up to which record, and whether another one begins.
    pub(super) fn synced(&mut self) -> (Lsn, bool) {
        for _ in 0..self.syncing.take().unwrap_or(0) {
            if let Some(record) = self.unsynced.pop_front() {
                self.durable.apply(&record);
                self.done += 1;
            }
        }
        (Lsn(self.done), self.begin())
    }

    /// The process is gone. Of what was not durable any prefix may have reached the disk.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.unsynced.len() as u64 + 1);
        for _ in 0..kept {
            if let Some(record) = self.unsynced.pop_front() {
                self.durable.apply(&record);
            }
        }
        self.unsynced.clear();
        (self.given, self.done, self.syncing) = (0, 0, None);
    }

    /// All is gone.
    pub(super) fn lose(&mut self) {
        *self = Self::new(self.durable.node.0);
    }
}
