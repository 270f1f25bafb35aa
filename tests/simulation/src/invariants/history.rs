//! Invariants 6, 8 and 9: what clients are told is linearizable. Numbers are unique and grow in real
//! time; a read shows the state of its revision, which is at or above that of everything that was
//! answered before it was asked.
//!
//! There is one order, that of the log, and every answer names its place in it; so checking each
//! answer against real time is as strong as searching for an order.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_shared::id::Revision;

use super::{Event, Invariant, Truth};
use crate::sim::{Answer, Operation};

/// What was answered, and what had been when each open request was asked.
#[derive(Default)]
pub(super) struct History {
    numbers: BTreeSet<u64>,
    highest_number: u64,
    highest_revision: Revision,
    /// By client, which has one request at a time: the highest number and revision answered before
    /// it was asked.
    floors: BTreeMap<usize, (u64, Revision)>,
}

impl Invariant for History {
    fn name(&self) -> &'static str {
        "6, 8, 9: answers are linearizable"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Asked { operation } => {
                self.floors.insert(operation.client, (self.highest_number, self.highest_revision));
                Ok(())
            }
            Event::Answered { operation, answer } => {
                let floor = self.floors.remove(&operation.client).unwrap_or_default();
                self.answered(truth, operation, answer, floor)
            }
            _ => Ok(()),
        }
    }
}

impl History {
    fn answered(
        &mut self,
        truth: &Truth,
        operation: &Operation,
        answer: &Answer,
        (number_floor, revision_floor): (u64, Revision),
    ) -> Result<(), String> {
        match *answer {
            Answer::Number(number) => {
                if !self.numbers.insert(number) {
                    return Err(format!("number {number} was given out twice: {operation:?}"));
                }
                if number <= number_floor {
                    return Err(format!("number {number} after {number_floor}: {operation:?}"));
                }
                self.highest_number = self.highest_number.max(number);
            }
            Answer::Changed(revision) => {
                if revision <= revision_floor {
                    return Err(format!(
                        "revision {revision} after {revision_floor}: {operation:?}"
                    ));
                }
                if truth.change(revision).is_none() {
                    return Err(format!("revision {revision} is not committed: {operation:?}"));
                }
                self.highest_revision = self.highest_revision.max(revision);
            }
            Answer::Read { revision, state } => {
                if revision < revision_floor {
                    return Err(format!(
                        "read at {revision} after {revision_floor}: {operation:?}"
                    ));
                }
                // Within one entry several changes are made; nobody sees the state between them.
                match truth.online.get(&revision) {
                    Some(known) if *known == state => {}
                    known => {
                        return Err(format!("read {state:x} at {revision}, which was {known:x?}"));
                    }
                }
                self.highest_revision = self.highest_revision.max(revision);
            }
            Answer::Other => {}
        }
        Ok(())
    }
}
