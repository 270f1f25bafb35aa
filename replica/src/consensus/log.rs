//! The log as a server holds it in memory: entries, where each epoch's begin, and the snapshot that
//! stands for what is no longer there.
//!
//! Owns the comparison of two logs; which log is right is decided by `election` and `follower`.

use std::collections::VecDeque;
use std::sync::Arc;

use rollcall_shared::id::{NodeId, Revision};
use serde::{Deserialize, Serialize};

use super::admissions::Admissions;
use super::ids::{Boot, ClusterId, Epoch, Index};
use crate::command::Command;
use crate::directory::{Bounds, Directory};

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Begins the cluster's life (R26). Always entry 1.
    Init(Init),
    /// Makes a server that lost its disk a voter again (R27).
    Admit {
        /// Which server.
        node: NodeId,
        /// Its stored state.
        boot: Boot,
    },
    /// Changes the directory.
    Command(Command),
}

/// The first entry of every log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Init {
    /// The identity of the cluster's life.
    pub cluster: ClusterId,
    /// The stored state of every server at the beginning.
    pub boots: Vec<(NodeId, Boot)>,
    /// The revision before the first change.
    pub first_revision: Revision,
    /// Whether the cluster begins with what a backup held: commands that load it stand behind this
    /// entry.
    pub restored: bool,
    /// How many of everything there may be at first. What is refused for want of room is decided when
    /// an entry is applied, which happens again at every start: so it is in the log, and not what a
    /// server is told when it starts.
    pub bounds: Bounds,
}

/// One step of the replicated state. Its index is its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch in which it was appended first.
    pub epoch: Epoch,
    /// What it does.
    pub op: Op,
}

/// The replicated state after an entry, in place of all entries up to it. Committed state only.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last entry it contains.
    pub index: Index,
    /// That entry's epoch.
    pub epoch: Epoch,
    /// Which life of the cluster.
    pub cluster: ClusterId,
    /// Who was admitted by its entries.
    pub admissions: Admissions,
    /// The directory after its last entry.
    pub directory: Directory,
}

/// Where the entries of each epoch begin in a log: enough to find where two logs part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outline {
    /// The entry before the first one held: its index and epoch.
    pub base: (Index, Epoch),
    /// Each epoch that has entries after the base, and its first one there, in order.
    pub runs: Vec<(Epoch, Index)>,
    /// The last entry.
    pub last: Index,
}

impl Outline {
    /// The last entry up to which both logs are the same, if both hold it or it is the base of one
    /// of them. It rests on invariant 5: entries of equal index and epoch have equal prefixes.
    #[must_use]
    pub fn common(&self, other: &Self) -> Option<Index> {
        let ours: Vec<_> = self.stretches().collect();
        let theirs: Vec<_> = other.stretches().collect();
        let mut common = None;
        for &(epoch, first, last) in &ours {
            for &(_, other_first, other_last) in theirs.iter().filter(|other| other.0 == epoch) {
                let end = last.min(other_last);
                if end >= first.max(other_first) {
                    common = common.max(Some(end));
                }
            }
        }
        common
    }

    /// Whether it is what a log can look like: in order, and nothing after the last entry.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let follows = |pair: &[(Epoch, Index)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        let from_base = |run: &(Epoch, Index)| run.0 >= self.base.1;
        self.runs.windows(2).all(follows)
            && self.runs.first().is_none_or(from_base)
            && self.runs.last().is_none_or(|run| run.1 <= self.last)
            && self.last.0 <= MAX_INDEX
            && self.last >= self.base.0
            && (self.runs.first().map(|run| run.1) == Some(self.base.0.next())
                || self.last == self.base.0)
    }

    /// Epoch, first and last entry of each stretch, the base being one of its own.
    fn stretches(&self) -> impl Iterator<Item = (Epoch, Index, Index)> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.1.previous());
        let ends = ends.chain(std::iter::once(self.last));
        let runs = self.runs.iter().zip(ends).map(|(&(epoch, first), last)| (epoch, first, last));
        std::iter::once((self.base.1, self.base.0, self.base.0)).chain(runs)
    }
}

/// The highest index that a peer may speak of: more than any log will have, and room to count on.
pub(super) const MAX_INDEX: u64 = 1 << 53;

/// The entries after `base`, and the snapshot that stands for those before.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The newest snapshot. Entries at or below its index may be held besides.
    snapshot: Option<Arc<Snapshot>>,
    /// The entry before the first one held: its index and epoch.
    base: (Index, Epoch),
    entries: VecDeque<Arc<Entry>>,
    runs: Vec<(Epoch, Index)>,
}

impl Log {
    /// The last entry, 0 if there is none.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.base.0.0 + self.entries.len() as u64)
    }

    /// The first entry held.
    #[must_use]
    pub const fn first(&self) -> Index {
        self.base.0.next()
    }

    /// The newest snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// The index of the newest snapshot, 0 if there is none.
    #[must_use]
    pub fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(Index(0), |snapshot| snapshot.index)
    }

    /// The entry at `index`, if it is held.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        let offset = index.0.checked_sub(self.first().0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The entries from `first` on, `count` at most.
    pub fn entries(&self, first: Index, count: usize) -> impl Iterator<Item = &Arc<Entry>> {
        let offset = first.0.saturating_sub(self.first().0);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.entries.iter().skip(offset).take(count)
    }

    /// The epoch of the entry at `index`, if it is held or the base.
    #[must_use]
    pub fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.entry(index).map(|entry| entry.epoch)
    }

    /// Where each epoch begins.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline { base: self.base, runs: self.runs.clone(), last: self.last() }
    }

    /// The life of the cluster it belongs to, once it holds INIT or a snapshot.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        if let Some(snapshot) = &self.snapshot {
            return Some(snapshot.cluster);
        }
        match &self.entry(Index(1))?.op {
            Op::Init(init) => Some(init.cluster),
            Op::Admit { .. } | Op::Command(_) => None,
        }
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Arc<Entry>) {
        if self.runs.last().is_none_or(|run| run.0 != entry.epoch) {
            self.runs.push((entry.epoch, self.last().next()));
        }
        self.entries.push_back(entry);
    }

    /// Removes all entries after `last`.
    ///
    /// # Panics
    /// When that is before the first one held: what is compacted is committed.
    pub fn truncate(&mut self, last: Index) {
        let keep = last.0.checked_sub(self.base.0.0).expect("the base of a log is committed");
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.runs.retain(|run| run.1 <= last);
    }

    /// Replaces all by a snapshot.
    pub fn install(&mut self, snapshot: Arc<Snapshot>) {
        self.base = (snapshot.index, snapshot.epoch);
        self.snapshot = Some(snapshot);
        self.entries.clear();
        self.runs.clear();
    }

    /// Takes a newer snapshot and forgets the entries before `keep`, none of those after it.
    ///
    /// # Panics
    /// When the log does not hold the snapshot's last entry.
    pub fn compact(&mut self, snapshot: Arc<Snapshot>, keep: Index) {
        assert_eq!(self.epoch_at(snapshot.index), Some(snapshot.epoch), "a snapshot of this log");
        let base = keep.previous().min(snapshot.index).max(self.base.0);
        let epoch = self.epoch_at(base).expect("the new base is held");
        self.snapshot = Some(snapshot);
        let drop = usize::try_from(base.0 - self.base.0.0).unwrap_or(usize::MAX);
        self.entries.drain(..drop);
        self.base = (base, epoch);
        let next = base.next();
        let still = self.runs.partition_point(|run| run.1 <= next);
        self.runs.drain(..still.saturating_sub(1));
        match self.entries.front() {
            None => self.runs.clear(),
            Some(_) => self.runs[0].1 = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(epochs: &[u64]) -> Log {
        let mut log = Log::default();
        for &epoch in epochs {
            let op = Op::Admit { node: NodeId(1), boot: Boot(epoch) };
            log.push(Arc::new(Entry { epoch: Epoch(epoch), op }));
        }
        log
    }

    fn snapshot(log: &Log, index: u64) -> Arc<Snapshot> {
        let index = Index(index);
        let bounds = crate::directory::Bounds::default();
        Arc::new(Snapshot {
            index,
            epoch: log.epoch_at(index).unwrap(),
            cluster: ClusterId(1),
            admissions: Admissions::default(),
            directory: Directory::new(Revision(0), bounds),
        })
    }

    #[test]
    fn logs_part_after_the_last_equal_epoch() {
        let outline = |epochs: &[u64]| log(epochs).outline();
        let common = |a: &[u64], b: &[u64]| outline(a).common(&outline(b));
        assert_eq!(common(&[], &[]), Some(Index(0)));
        assert_eq!(common(&[0, 0], &[0, 0, 0]), Some(Index(2)));
        assert_eq!(common(&[0, 0, 1], &[0, 0, 2]), Some(Index(2)));
        assert_eq!(common(&[0, 1, 1, 3], &[0, 1, 2]), Some(Index(2)));
        assert_eq!(common(&[], &[0]), Some(Index(0)));
    }

    #[test]
    fn a_compacted_log_has_nothing_in_common_with_one_that_ends_before() {
        let mut compacted = log(&[0, 0, 1, 1]);
        compacted.compact(snapshot(&compacted, 3), Index(4));
        assert_eq!(compacted.outline().common(&log(&[0, 0]).outline()), None);
        assert_eq!(compacted.outline().common(&log(&[0, 0, 0]).outline()), None);
        assert_eq!(compacted.outline().common(&log(&[0, 0, 1]).outline()), Some(Index(3)));
    }

    proptest! {
        /// Compared with the plain reading: entry by entry, over what both hold.
        #[test]
        fn common_is_the_last_equal_entry(
            shared in proptest::collection::vec(0_u64..3, 0..6),
            ours in proptest::collection::vec(0_u64..3, 0..6),
            theirs in proptest::collection::vec(0_u64..3, 0..6),
            keep in (1_u64..5, 1_u64..5),
        ) {
            // Epochs never go down in a log, and no two leaders share one: evens are ours.
            let rising = |mut epochs: Vec<u64>, step: u64, from: u64| {
                epochs.sort_unstable();
                epochs.into_iter().map(|e| from + 2 * e + step).collect::<Vec<_>>()
            };
            let shared = rising(shared, 0, 0);
            let from = shared.last().map_or(0, |last| last + 1) / 2 * 2 + 2;
            let build = |tail: Vec<u64>, step, keep: u64| {
                let mut log = log(&[shared.clone(), rising(tail, step, from)].concat());
                let keep = keep.min(shared.len() as u64);
                if keep > 0 {
                    log.compact(snapshot(&log, keep), Index(keep + 1));
                }
                log
            };
            let (a, b) = (build(ours, 0, keep.0), build(theirs, 1, keep.1));
            prop_assert!(a.outline().is_valid() && b.outline().is_valid());
            let expected = (0..20).map(Index).filter(|&i| {
                a.epoch_at(i).is_some() && a.epoch_at(i) == b.epoch_at(i)
            }).max();
            prop_assert_eq!(a.outline().common(&b.outline()), expected);
        }
    }
}
