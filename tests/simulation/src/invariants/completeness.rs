//! Invariant 2: the log of every established epoch starts with all entries committed in lower
//! epochs.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::{Epoch, Index};

use super::{Event, Invariant, Truth};

/// Epochs whose leader was looked at.
#[derive(Default)]
pub(super) struct Completeness {
    seen: BTreeSet<Epoch>,
}

impl Invariant for Completeness {
    fn name(&self) -> &'static str {
        "2: a leader has all that was committed before"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        let Event::Step { node, replica, .. } = event else { return Ok(()) };
        let consensus = replica.consensus();
        if consensus.role() != RoleKind::Leader || !self.seen.insert(consensus.epoch()) {
            return Ok(());
        }
        let mut index = consensus.stored().log.first();
        while index <= truth.last() {
            let (ours, theirs) = (consensus.entry(index), truth.entry(index));
            let same = ours.zip(theirs).is_some_and(|(a, b)| Arc::ptr_eq(a, b) || a == b);
            // Whoever learns late that it won may be behind a later epoch.
            if !same && truth.committed_in(index) < Some(consensus.epoch()) {
                let epoch = consensus.epoch();
                return Err(format!(
                    "server {node} leads epoch {epoch} with {ours:?} as entry {index}; {theirs:?} \
                     was committed"
                ));
            }
            index = index.next();
        }
        debug_assert!(consensus.stored().log.first() > Index(0), "logs begin at 1");
        Ok(())
    }
}
