//! Records as they lie in a journal. The order of the variants is part of the format: new ones come
//! last.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_replica::consensus::ids::{Boot, Epoch, Index};
use rollcall_replica::consensus::journal::{Adopt, Base, Record, Stored};
use rollcall_replica::consensus::log::Entry;
use rollcall_shared::id::NodeId;
use serde::{Deserialize, Serialize};

/// A snapshot that a journal counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRef {
    /// The number in the name of its file.
    pub(crate) number: u64,
    /// The last entry it contains.
    pub(crate) index: Index,
    /// That entry's epoch.
    pub(crate) epoch: Epoch,
    /// How long the file is.
    pub(crate) bytes: u64,
}

/// A record in a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// [`Record::Boot`].
    Boot(Boot),
    /// [`Record::Promise`].
    Promise(Epoch),
    /// [`Record::Append`].
    Append { first: Index, entries: Vec<Arc<Entry>> },
    /// [`Record::Adopt`] that keeps what is before.
    Adopt { epoch: Epoch, keep: Index, entries: Vec<Arc<Entry>> },
    /// [`Record::Adopt`] of a snapshot, whose file was durable before.
    AdoptSnapshot { epoch: Epoch, snapshot: SnapshotRef, entries: Vec<Arc<Entry>> },
    /// [`Record::Voter`].
    Voter,
    /// A snapshot of this log has been written and stands for what is before.
    Base(SnapshotRef),
}

impl Line {
    /// What is written of a record; `None` of one that only says what may be forgotten. `staged` is
    /// the file of the snapshot that is adopted.
    pub(crate) fn new(record: Record, staged: Option<SnapshotRef>) -> Option<Self> {
        Some(match record {
            Record::Boot(boot) => Self::Boot(boot),
            Record::Promise(epoch) => Self::Promise(epoch),
            Record::Append { first, entries } => Self::Append { first, entries },
            Record::Adopt(Adopt { epoch, base, entries }) => match (base, staged) {
                (Base::Keep(keep), _) => Self::Adopt { epoch, keep, entries },
                (Base::Snapshot(_), Some(snapshot)) => {
                    Self::AdoptSnapshot { epoch, snapshot, entries }
                }
                (Base::Snapshot(_), None) => unreachable!("a snapshot is staged before"),
            },
            Record::Voter => Self::Voter,
            Record::Compact { .. } => return None,
        })
    }

    /// Adds it to a group.
    pub(crate) fn push(&self, group: &mut Vec<u8>) {
        let bytes = std::mem::take(group);
        *group = postcard::to_extend(self, bytes).expect("memory takes all, and all has a form");
    }
}

/// The lines of a group.
pub(crate) fn lines(group: &[u8]) -> impl Iterator<Item = Result<Line, &'static str>> + '_ {
    let mut rest = group;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        Some(match postcard::take_from_bytes(rest) {
            Ok((line, after)) => {
                rest = after;
                Ok(line)
            }
            Err(_) => {
                rest = &[];
                Err("a record says nothing that is known")
            }
        })
    })
}

/// What a segment begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentHead {
    /// Whose it is.
    pub(crate) node: NodeId,
    /// The number in its name.
    pub(crate) number: u64,
    /// How long the file is while it is the newest one, bytes.
    pub(crate) bytes: u64,
    /// Where the segment before it ends, if that is needed.
    pub(crate) previous: Option<End>,
    /// The state before the first record.
    pub(crate) state: State,
    /// The snapshot that counts, if there is one.
    pub(crate) snapshot: Option<SnapshotRef>,
}

/// Where a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Which one.
    pub(crate) number: u64,
    /// Its salt: one from another folder has another.
    pub(crate) salt: u64,
    /// Behind its last frame, bytes.
    pub(crate) offset: u64,
}

/// The stored state but for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) boot: Option<Boot>,
    pub(crate) promised: Epoch,
    pub(crate) established: Epoch,
    pub(crate) pending: BTreeSet<Epoch>,
    pub(crate) voter: bool,
    /// The last entry of the log.
    pub(crate) last: Index,
}

impl State {
    pub(crate) fn of(stored: &Stored) -> Self {
        let Stored { boot, promised, established, ref pending, voter, ref log, .. } = *stored;
        let (pending, last) = (pending.clone(), log.last());
        Self { boot, promised, established, pending, voter, last }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_replica::command::Command;
    use rollcall_replica::consensus::log::Op;

    use super::*;

    fn all() -> Vec<Line> {
        let entry =
            |epoch| Arc::new(Entry { epoch: Epoch(epoch), op: Op::Command(Command::Begin) });
        let snapshot = SnapshotRef { number: 4, index: Index(9), epoch: Epoch(2), bytes: 300 };
        vec![
            Line::Boot(Boot(1000)),
            Line::Promise(Epoch(3)),
            Line::Append { first: Index(5), entries: vec![entry(1), entry(2)] },
            Line::Adopt { epoch: Epoch(3), keep: Index(4), entries: vec![entry(2)] },
            Line::AdoptSnapshot { epoch: Epoch(3), snapshot, entries: vec![] },
            Line::Voter,
            Line::Base(snapshot),
        ]
    }

    #[test]
    fn a_group_comes_back() {
        let mut group = Vec::new();
        for line in all() {
            line.push(&mut group);
        }
        let back: Result<Vec<_>, _> = lines(&group).collect();
        assert_eq!(back.unwrap(), all());
        let cut: Result<Vec<_>, _> = lines(&group[..group.len() - 1]).collect();
        assert!(cut.is_err());
    }

    /// Folders that are in use lie like this: a change here needs a new format.
    #[test]
    fn the_bytes_of_a_group_stay() {
        let mut group = Vec::new();
        for line in all() {
            line.push(&mut group);
        }
        let shown: String = group.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, GOLDEN);
    }

    const GOLDEN: &str = "00e8070103020502010203020203030304010202030403040902ac02000506040902ac02";
}
