//! What a server stores, and what it finds stored when it starts.
//!
//! One sequential journal of [`Record`]s: a record is durable only after all before it are. The
//! storage may keep it in whatever form, as long as what it gives back is what [`Stored::apply`]
//! makes of some prefix of the records that contains all durable ones. Changing the log to that of
//! a new epoch is one record, so no crash leaves half of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::ids::{Boot, Epoch, Index, Lsn};
use super::log::{Entry, Log, Op, Snapshot};
use crate::directory::Directory;
use crate::fault::{Fault, planted};

/// One atomic change of the stored state.
#[derive(Clone, Debug)]
pub enum Record {
    /// The identity of this stored state; always the first record.
    Boot(Boot),
    /// An epoch was promised (R7).
    Promise(Epoch),
    /// Entries were added at the end of the log.
    Append {
        /// The place of the first one.
        first: Index,
        /// The entries.
        entries: Vec<Arc<Entry>>,
    },
    /// The log became that of a new epoch (R10, R11).
    Adopt(Adopt),
    /// This server is a voter (R27).
    Voter,
    /// A snapshot stands for the entries up to its index; those before `keep` may go.
    Compact {
        /// The snapshot.
        snapshot: Arc<Snapshot>,
        /// The first entry that is kept.
        keep: Index,
    },
}

/// Payload of [`Record::Adopt`].
#[derive(Clone, Debug)]
pub struct Adopt {
    /// The epoch.
    pub epoch: Epoch,
    /// What stays of the log before it.
    pub base: Base,
    /// The entries after that.
    pub entries: Vec<Arc<Entry>>,
}

/// What a log goes on from.
#[derive(Clone, Debug)]
pub enum Base {
    /// The entries up to this one.
    Keep(Index),
    /// A snapshot; of the log before, nothing stays.
    Snapshot(Arc<Snapshot>),
}

/// The stored state: what all records together mean.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Whose it is.
    pub node: NodeId,
    /// Its identity; none before the first record.
    pub boot: Option<Boot>,
    /// The highest epoch promised (`prom`).
    pub promised: Epoch,
    /// The newest epoch whose initial log was adopted (`est`). It stamps the whole log.
    pub established: Epoch,
    /// All epochs promised since (`pend`).
    pub pending: BTreeSet<Epoch>,
    /// Whether this server is a voter.
    pub voter: bool,
    /// The log.
    pub log: Log,
    /// What a cluster is to begin with, if this server begins one: put there by a restore, of no
    /// meaning to a log that has begun.
    pub restored: Option<Directory>,
    /// Whether this server lost what it had stored, as its operator said: an empty disk is then no sign
    /// of a first start, and it begins no cluster.
    pub readmitted: bool,
}

impl Stored {
    /// The state of empty storage.
    #[must_use]
    pub fn empty(node: NodeId) -> Self {
        Self {
            node,
            boot: None,
            promised: Epoch(0),
            established: Epoch(0),
            pending: BTreeSet::new(),
            voter: false,
            log: Log::default(),
            restored: None,
            readmitted: false,
        }
    }

    /// The servers of the cluster it belongs to, the lowest id first, once that is known: those that
    /// INIT names.
    #[must_use]
    pub fn members(&self) -> Option<Vec<NodeId>> {
        if let Some(snapshot) = self.log.snapshot() {
            return Some(snapshot.admissions.nodes().collect());
        }
        let Op::Init(init) = &self.log.entry(Index(1))?.op else { return None };
        let named: BTreeSet<_> = init.boots.iter().map(|(node, _)| *node).collect();
        Some(named.into_iter().collect())
    }

    /// Takes in one record.
    ///
    /// # Panics
    /// When the record does not follow from those before it: that is our bug, or storage that gave
    /// back something else than it was given.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Boot(boot) => self.boot = Some(*boot),
            Record::Promise(epoch) => {
                assert!(*epoch > self.promised, "promises only rise");
                self.promised = *epoch;
                if planted(Fault::HighestPromiseOnly) {
                    self.pending.clear();
                }
                self.pending.insert(*epoch);
            }
            Record::Append { first, entries } => {
                assert_eq!(*first, self.log.last().next(), "entries are added at the end");
                self.append(entries);
            }
            Record::Adopt(adopt) => {
                assert!(adopt.epoch >= self.established, "established epochs only rise");
                // A server without a vote promises nothing; what it adopts is its word all the same.
                assert!(
                    adopt.epoch <= self.promised || !self.voter,
                    "votes adopt what they promised"
                );
                self.promised = self.promised.max(adopt.epoch);
                match &adopt.base {
                    Base::Keep(last) => self.log.truncate(*last),
                    Base::Snapshot(snapshot) => self.log.install(Arc::clone(snapshot)),
                }
                self.append(&adopt.entries);
                self.established = adopt.epoch;
                self.pending.retain(|pending| *pending > adopt.epoch);
                self.take_snapshot_admission();
            }
            Record::Voter => self.voter = true,
            Record::Compact { snapshot, keep } => self.log.compact(Arc::clone(snapshot), *keep),
        }
    }

    fn append(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            // A server becomes a voter by storing the INIT that names its boot (R26).
            if let Op::Init(init) = &entry.op {
                let named =
                    |&(node, boot): &(NodeId, Boot)| node == self.node && Some(boot) == self.boot;
                self.voter |= init.boots.iter().any(named);
            }
            self.log.push(Arc::clone(entry));
        }
    }

    /// A snapshot that contains the INIT which names this boot makes a voter too (R26).
    fn take_snapshot_admission(&mut self) {
        let Some((snapshot, boot)) = self.log.snapshot().zip(self.boot) else { return };
        self.voter |= snapshot.admissions.at(self.node, Index(1)) == Some((Index(1), boot));
    }
}

/// How much of the journal is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Journal {
    issued: Lsn,
    durable: Lsn,
}

impl Journal {
    /// The next record's place.
    pub(super) fn issue(&mut self) -> Lsn {
        self.issued = Lsn(self.issued.0 + 1);
        self.issued
    }

    /// The last record that is durable.
    pub(super) const fn durable(&self) -> Lsn {
        self.durable
    }

    /// Takes in that all up to `lsn` is durable. An answer that comes twice, late, or for a record
    /// never given changes nothing.
    pub(super) fn stored(&mut self, lsn: Lsn) -> bool {
        if lsn <= self.durable || lsn > self.issued {
            return false;
        }
        self.durable = lsn;
        true
    }
}
