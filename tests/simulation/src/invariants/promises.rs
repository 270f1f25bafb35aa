//! Invariant 4: the promised and the established epoch never go down; what is established was
//! promised, and what is pending lies between the two.

use std::collections::BTreeMap;

use rollcall_replica::consensus::ids::Epoch;
use rollcall_replica::consensus::journal::Stored;

use super::{Event, Invariant, Truth};

/// The highest of each that a server was seen with, in memory; a crash may take back what was not
/// durable.
#[derive(Default)]
pub(super) struct Promises {
    seen: BTreeMap<u32, (Epoch, Epoch)>,
}

impl Promises {
    fn look(&mut self, node: u32, stored: &Stored) -> Result<(), String> {
        let now = (stored.promised, stored.established);
        let before = self.seen.insert(node, now).unwrap_or_default();
        if now.0 < before.0 || now.1 < before.1 {
            return Err(format!("server {node} went back from {before:?} to {now:?}"));
        }
        if now.1 > now.0 {
            return Err(format!("server {node} established {} and promised {}", now.1, now.0));
        }
        let between = |epoch: &Epoch| *epoch > now.1 && *epoch <= now.0;
        if !stored.pending.iter().all(between) {
            return Err(format!("server {node}: {:?} pending, {now:?}", stored.pending));
        }
        Ok(())
    }
}

impl Invariant for Promises {
    fn name(&self) -> &'static str {
        "4: promises never go back"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Started { node, stored, .. } => {
                self.seen.remove(node);
                self.look(*node, stored)
            }
            Event::Step { node, replica, .. } => self.look(*node, replica.consensus().stored()),
            _ => Ok(()),
        }
    }
}
