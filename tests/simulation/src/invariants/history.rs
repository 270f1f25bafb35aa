//! Invariant 8: what clients are told is linearizable. A write takes effect after everything that
//! was answered before it was asked, and the answer is the outcome it had there; a read shows the
//! state of its revision, which has all that was answered before it was asked.
//!
//! There is one order, that of the log, and every answer names its place in it; so checking each
//! answer against real time is as strong as searching for an order.

use std::collections::BTreeMap;

use rollcall_replica::command::{Command, Written};
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::log::Op;
use rollcall_replica::directory::Outcome;
use rollcall_shared::id::{ClientId, RequestId, Revision};

use super::{Event, Invariant, Truth};
use crate::sim::{Answer, Operation};

/// What was answered, and what had been when each open request was asked.
#[derive(Default)]
pub(super) struct History {
    /// The last entry whose effect anybody was told.
    told: Index,
    /// By client, which has one request at a time: `told` when it was asked.
    floors: BTreeMap<usize, Index>,
    /// The copies of each write in the log.
    copies: BTreeMap<(ClientId, RequestId), Vec<Index>>,
}

impl Invariant for History {
    fn name(&self) -> &'static str {
        "8: answers are linearizable"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Committed { index } => {
                let op = truth.entry(*index).map(|entry| &entry.op);
                if let Some(Op::Command(Command::Write { client, request, .. })) = op {
                    self.copies.entry((client.clone(), *request)).or_default().push(*index);
                }
            }
            Event::Asked { operation } => {
                self.floors.insert(operation.client, self.told);
            }
            Event::Answered { operation, answer } => {
                let floor = self.floors.remove(&operation.client).unwrap_or_default();
                let place = match answer {
                    Answer::Written(written) => self.written(truth, operation, written, floor)?,
                    Answer::Read { revision, state } => {
                        read(truth, operation, (*revision, *state), floor)?
                    }
                };
                self.told = self.told.max(place);
            }
            _ => {}
        }
        Ok(())
    }
}

impl History {
    /// The entry by which a write had the effect it was answered.
    fn written(
        &self,
        truth: &Truth,
        operation: &Operation,
        written: &Written,
        floor: Index,
    ) -> Result<Index, String> {
        let copies = self.copies.get(&(operation.id.clone(), operation.request));
        let mut same = copies.into_iter().flatten().copied().filter(|index| {
            matches!(truth.outcome(*index), Some(Outcome::Written(there)) if there == written)
        });
        let Some(place) = same.next() else {
            return Err(format!("{operation:?} is answered {written:?}: copies {copies:?}"));
        };
        // An effect is had once, by the first copy; that nothing was done can be told of any.
        let latest = match written {
            Written::Applied(_) => place,
            _ => same.next_back().unwrap_or(place),
        };
        if latest <= floor && !operation.repeats {
            return Err(format!("{operation:?} took effect at {latest}, asked after {floor}"));
        }
        Ok(place)
    }
}

/// The first entry after which a read could have been answered so.
fn read(
    truth: &Truth,
    operation: &Operation,
    (revision, state): (Revision, u64),
    floor: Index,
) -> Result<Index, String> {
    let least = truth.revision(floor);
    if revision < least {
        return Err(format!("read at {revision} after {least}: {operation:?}"));
    }
    // Within one entry several changes are made; nobody sees the state between them.
    match truth.online.get(&revision) {
        Some((known, index)) if *known == state => Ok(*index),
        known => Err(format!("read {state:x} at {revision}, which was {known:x?}")),
    }
}
