//! Invariant 3: one process start, at most, appends entries in an epoch.

use std::collections::BTreeMap;

use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::Epoch;

use super::{Event, Invariant, Truth};

/// Who led each epoch.
#[derive(Default)]
pub(super) struct OneLeader {
    led: BTreeMap<Epoch, (u32, u64)>,
}

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "3: one process leads an epoch"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        let &Event::Step { node, process, replica } = event else { return Ok(()) };
        if replica.consensus().role() != RoleKind::Leader {
            return Ok(());
        }
        let epoch = replica.consensus().epoch();
        let before = *self.led.entry(epoch).or_insert((node, process));
        if before != (node, process) {
            return Err(format!(
                "process {process} of server {node} leads epoch {epoch}, which process {} of \
                 server {} has led",
                before.1, before.0
            ));
        }
        Ok(())
    }
}
