//! Invariant 6: sequence numbers in replies are unique and increase in log order, without a gap, and
//! in real time.

use std::collections::BTreeMap;

use rollcall_replica::command::{Applied, Written};
use rollcall_replica::directory::Outcome;
use rollcall_shared::id::{ClientId, RequestId};

use super::{Event, Invariant, Truth};
use crate::sim::Answer;

/// The numbers given out.
#[derive(Default)]
pub(super) struct Numbers {
    /// The last one of the log.
    last: u64,
    /// Those that clients were told, and by which request.
    told: BTreeMap<u64, (ClientId, RequestId)>,
    /// By client, which has one request at a time: the highest number told to anybody before it was
    /// asked.
    floors: BTreeMap<usize, u64>,
}

impl Invariant for Numbers {
    fn name(&self) -> &'static str {
        "6: numbers are unique and grow"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Committed { index } => {
                // A retry gives the old number again: that it may is the business of invariant 7.
                if let Some(Outcome::Written(written)) = truth.outcome(*index)
                    && let Some((first, count)) = numbers(written)
                    && first > self.last
                {
                    if first != self.last + 1 {
                        let last = self.last;
                        return Err(format!("entry {index} takes number {first} after {last}"));
                    }
                    self.last += count;
                }
            }
            Event::Asked { operation } => {
                let highest = self.told.last_key_value().map_or(0, |(number, _)| *number);
                self.floors.insert(operation.client, highest);
            }
            Event::Answered { operation, answer: Answer::Written(written) } => {
                let floor = self.floors.remove(&operation.client).unwrap_or(0);
                let Some((number, _)) = numbers(written) else { return Ok(()) };
                let whose = (operation.id.clone(), operation.request);
                let known = self.told.entry(number).or_insert_with(|| whose.clone());
                if *known != whose {
                    return Err(format!("number {number} is that of {known:?}: {operation:?}"));
                }
                if number <= floor && !operation.repeats {
                    return Err(format!("number {number} after {floor}: {operation:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first number that a write took, and how many.
const fn numbers(written: &Written) -> Option<(u64, u64)> {
    match written {
        Written::Applied(Applied::Numbers { first, count }) => Some((*first, *count as u64)),
        _ => None,
    }
}
