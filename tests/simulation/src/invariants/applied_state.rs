//! Part of invariant 11: what a server has applied is what the committed log leads to, in memory or
//! through a snapshot.

use super::{Event, Invariant, Truth};

/// Compares states.
#[derive(Default)]
pub(super) struct AppliedState;

impl Invariant for AppliedState {
    fn name(&self) -> &'static str {
        "11: applied is what was committed"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        let (Event::Step { node, replica, .. } | Event::Started { node, replica, .. }) = event
        else {
            return Ok(());
        };
        let applied = replica.applied();
        if applied.0 == 0 {
            return Ok(());
        }
        if applied > replica.consensus().commit() {
            return Err(format!("server {node} applied {applied}, beyond what it knows committed"));
        }
        let Some(state) = truth.state(applied) else {
            return Err(format!("server {node} applied {applied}, which nobody committed"));
        };
        let ours = replica.directory();
        let short =
            |d: &rollcall_replica::Directory| (d.applied(), d.revision(), d.live_sessions());
        if short(ours) != short(state) {
            return Err(format!(
                "server {node} has {:?} after entry {applied}; the log leads to {:?}",
                short(ours),
                short(state)
            ));
        }
        // All of it, now and then: it costs.
        if applied.0 % 8 == 0 && ours != state {
            return Err(format!("server {node} has another directory after entry {applied}"));
        }
        Ok(())
    }
}
