//! Invariant 7: each (client, request number) is applied once, however often it is in the log; every
//! copy, and every answer to it, has the outcome of the first (R23).

use std::collections::BTreeMap;

use rollcall_replica::command::{Applied, Command, Written};
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::log::Op;
use rollcall_replica::directory::Outcome;
use rollcall_shared::id::{ClientId, RequestId, Revision};
use rollcall_shared::limits;

use super::{Event, Invariant, Truth};
use crate::sim::{Answer, Ask};

/// What was applied, by the plain reading of R23.
#[derive(Default)]
pub(super) struct AppliedOnce {
    first: BTreeMap<(ClientId, RequestId), Applied>,
    /// How many requests of each client were applied.
    applied: BTreeMap<ClientId, usize>,
    /// The last number given out.
    last_number: u64,
    /// The revision after the entry before.
    revision: Revision,
}

impl Invariant for AppliedOnce {
    fn name(&self) -> &'static str {
        "7: a request is applied once"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Committed { index } => {
                let before = std::mem::replace(&mut self.revision, truth.revision(*index));
                let changed = self.revision != before;
                let op = truth.entry(*index).map(|entry| &entry.op);
                if let Some(Op::Command(Command::Write { client, request, .. })) = op
                    && let Some(Outcome::Written(written)) = truth.outcome(*index)
                {
                    return self.committed(*index, (client, *request), written, changed);
                }
                Ok(())
            }
            Event::Answered { operation, answer: Answer::Written(Written::Applied(told)) } => {
                let Ask::Write(_) = operation.ask else {
                    return Err(format!("{operation:?} was answered {told:?}"));
                };
                match self.first.get(&(operation.id.clone(), operation.request)) {
                    Some(first) if first == told => Ok(()),
                    first => {
                        Err(format!("{operation:?} was answered {told:?}, applied was {first:?}"))
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

impl AppliedOnce {
    /// A copy of a request is in the log; the first one or another.
    fn committed(
        &mut self,
        index: Index,
        (client, request): (&ClientId, RequestId),
        written: &Written,
        changed: bool,
    ) -> Result<(), String> {
        let counted = self.counts(written);
        let key = (client.clone(), request);
        let Some(first) = self.first.get(&key) else {
            if let Written::Applied(applied) = written {
                self.first.insert(key, applied.clone());
                *self.applied.entry(client.clone()).or_default() += 1;
            } else if changed {
                return Err(format!("entry {index} changed something and says {written:?}"));
            }
            return Ok(());
        };
        if changed || counted {
            return Err(format!("entry {index} applies request {request} of {client:?} again"));
        }
        let known = self.applied.get(client).copied().unwrap_or(0);
        match written {
            Written::Applied(again) if again == first => Ok(()),
            Written::Stale if known > limits::WINDOW => Ok(()),
            other => Err(format!(
                "entry {index} repeats request {request} of {client:?}: {other:?} after {first:?}"
            )),
        }
    }

    /// Whether numbers were given out that were not before.
    const fn counts(&mut self, written: &Written) -> bool {
        let Written::Applied(Applied::Numbers { first, count }) = written else { return false };
        let new = *first > self.last_number;
        if new {
            self.last_number = *first + *count as u64 - 1;
        }
        new
    }
}
