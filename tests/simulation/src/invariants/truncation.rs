//! Invariant 11: nothing at or below the commit index is truncated, by any server, in any record.

use std::collections::BTreeMap;

use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::journal::{Base, Record};

use super::{Event, Invariant, Truth};

/// The commit index each process was seen with.
#[derive(Default)]
pub(super) struct Truncation {
    commit: BTreeMap<u32, Index>,
}

impl Invariant for Truncation {
    fn name(&self) -> &'static str {
        "11: nothing committed is truncated"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Started { node, replica, .. } => {
                self.commit.insert(*node, replica.consensus().commit());
            }
            Event::Step { node, replica, .. } => {
                let now = replica.consensus().commit();
                let before = self.commit.insert(*node, now).unwrap_or_default();
                if now < before {
                    return Err(format!("server {node} took its commit index back to {now}"));
                }
            }
            Event::Record { node, record: Record::Adopt(adopt) } => {
                let commit = self.commit.get(node).copied().unwrap_or_default();
                let kept = match &adopt.base {
                    Base::Keep(last) => *last,
                    Base::Snapshot(snapshot) => snapshot.index,
                };
                if kept < commit {
                    return Err(format!("server {node} truncates to {kept}, committed {commit}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
