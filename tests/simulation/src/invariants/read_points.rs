//! Invariant 9: while a lease is valid, its holder's read point (R19) covers every acknowledged
//! write. It covers more: every entry that any server knows to be committed, since none commits
//! without all who may answer reads (R13).

use super::{Event, Invariant, Truth};

/// Compares read points with what is committed.
#[derive(Default)]
pub(super) struct ReadPoints;

impl Invariant for ReadPoints {
    fn name(&self) -> &'static str {
        "9: read points cover what was acknowledged"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::ReadPoint { node, point } if *point < truth.last() => Err(format!(
                "server {node} may answer reads from entry {point}, committed is {}",
                truth.last()
            )),
            _ => Ok(()),
        }
    }
}
