//! Invariant 13: what a server pushes are exactly the committed changes, once each, in order.

use std::collections::BTreeMap;

use rollcall_replica::Output;
use rollcall_shared::id::Revision;

use super::{Event, Invariant, Truth};

/// The revision each process has pushed up to.
#[derive(Default)]
pub(super) struct Pushes {
    pushed: BTreeMap<u32, Revision>,
}

impl Invariant for Pushes {
    fn name(&self) -> &'static str {
        "13: pushes are the committed changes"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Started { node, replica, .. } => {
                self.pushed.insert(*node, replica.directory().revision());
            }
            Event::Said { node, output: Output::Installed { revision }, .. } => {
                self.pushed.insert(*node, *revision);
            }
            Event::Said { node, output: Output::Changed(change), .. } => {
                let before = self.pushed.entry(*node).or_default();
                if change.revision != before.next() {
                    return Err(format!("server {node} pushes {change:?} after {before}"));
                }
                *before = change.revision;
                if truth.change(change.revision) != Some(change) {
                    let known = truth.change(change.revision);
                    return Err(format!(
                        "server {node} pushes {change:?}; committed was {known:?}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
