//! Which stored state of each server counts: the boots that the log admitted (R26–R28).
//!
//! Owns the table; what an acknowledgement counts for is decided by `commit`.

use std::collections::BTreeMap;

use rollcall_shared::id::NodeId;
use serde::{Deserialize, Serialize};

use super::ids::{Boot, Index};
use super::log::{Entry, Op};

/// All boots of each server in the order of their admission, and the entries that admitted them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Admissions(BTreeMap<NodeId, Vec<(Index, Boot)>>);

impl Admissions {
    /// Takes in the entry at `index`.
    pub fn apply(&mut self, index: Index, entry: &Entry) {
        match &entry.op {
            Op::Init(init) => {
                for &(node, boot) in &init.boots {
                    self.0.entry(node).or_default().push((index, boot));
                }
            }
            &Op::Admit { node, boot } => self.0.entry(node).or_default().push((index, boot)),
            Op::Command(_) => {}
        }
    }

    /// Takes back all entries after `last`.
    pub fn truncate(&mut self, last: Index) {
        for boots in self.0.values_mut() {
            boots.retain(|(index, _)| *index <= last);
        }
        self.0.retain(|_, boots| !boots.is_empty());
    }

    /// All servers that were ever admitted, the lowest id first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// The newest boot of `node` and the entry that admitted it.
    #[must_use]
    pub fn newest(&self, node: NodeId) -> Option<(Index, Boot)> {
        self.0.get(&node)?.last().copied()
    }

    /// The boot of `node` that the log up to `index` admitted last, and by which entry.
    #[must_use]
    pub fn at(&self, node: NodeId, index: Index) -> Option<(Index, Boot)> {
        let boots = self.0.get(&node)?;
        boots.iter().rev().find(|(at, _)| *at <= index).copied()
    }

    /// The entries after `index` that admit somebody.
    pub fn after(&self, index: Index) -> impl Iterator<Item = Index> + '_ {
        let newer = move |(at, _): &&(Index, Boot)| *at > index;
        self.0
            .values()
            .flat_map(move |boots| boots.iter().rev().take_while(newer))
            .map(|(at, _)| *at)
    }

    /// Whether `boot` of `node` was ever admitted.
    #[must_use]
    pub fn contains(&self, node: NodeId, boot: Boot) -> bool {
        self.0.get(&node).is_some_and(|boots| boots.iter().any(|(_, b)| *b == boot))
    }

    /// Whether another boot of `node` was admitted after `boot` (R28). A table that lacks `boot` is
    /// merely old.
    #[must_use]
    pub fn supersedes(&self, node: NodeId, boot: Boot) -> bool {
        self.replaced(node, boot, Index(u64::MAX))
    }

    /// The same for the table up to `index`: an admission of `boot` that comes later does not count.
    #[must_use]
    pub fn replaced(&self, node: NodeId, boot: Boot, index: Index) -> bool {
        let Some(boots) = self.0.get(&node) else { return false };
        let mut until = boots.iter().take_while(|(at, _)| *at <= index);
        until.any(|(_, b)| *b == boot) && until.last().is_some_and(|(_, b)| *b != boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::ids::Epoch;

    #[test]
    fn a_boot_counts_from_its_admission_to_the_next() {
        let node = NodeId(2);
        let mut table = Admissions::default();
        for (index, boot) in [(1, 10), (5, 20), (9, 30)] {
            let op = Op::Admit { node, boot: Boot(boot) };
            table.apply(Index(index), &Entry { epoch: Epoch(0), op });
        }
        assert_eq!(table.at(node, Index(0)), None);
        assert_eq!(table.at(node, Index(4)), Some((Index(1), Boot(10))));
        assert_eq!(table.at(node, Index(5)), Some((Index(5), Boot(20))));
        assert!(table.supersedes(node, Boot(20)));
        assert!(!table.supersedes(node, Boot(30)));
        assert!(!table.supersedes(node, Boot(99)), "a table that lacks a boot is merely old");
        table.truncate(Index(8));
        assert!(!table.supersedes(node, Boot(20)));
        assert_eq!(table.newest(node), Some((Index(5), Boot(20))));
    }
}
