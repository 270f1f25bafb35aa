//! Invariant 10, first half: in a split into halves, exactly the half with the leader of the newest
//! established epoch answers (R25). On the way: whoever is cut off in one direction, all others go
//! on, with a new leader if it was that one (R21).

use std::collections::BTreeSet;

use rollcall_replica::Output;

use super::{Event, Invariant, Truth};
use crate::sim::{Cut, Trial};

/// Who answered in the trial that runs.
#[derive(Default)]
pub(super) struct Split {
    trial: Option<Trial>,
    /// Whether leases from before have ended, and elections are over.
    counts: bool,
    reads: BTreeSet<u32>,
    writes: BTreeSet<u32>,
    refused: BTreeSet<u32>,
}

impl Invariant for Split {
    fn name(&self) -> &'static str {
        "10: exactly one half answers"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::TrialBegins { trial } => {
                *self = Self { trial: Some((*trial).clone()), ..Self::default() };
            }
            Event::TrialCounts => self.counts = true,
            Event::Said { node, output, .. } if self.counts => self.said(*node, output),
            Event::TrialEnds => return std::mem::take(self).judge(),
            _ => {}
        }
        Ok(())
    }
}

impl Split {
    fn said(&mut self, node: u32, output: &Output) {
        match output {
            Output::Readable { .. } => self.reads.insert(node),
            Output::Written { .. } => self.writes.insert(node),
            Output::Unreadable { .. } => self.refused.insert(node),
            _ => false,
        };
    }

    fn judge(self) -> Result<(), String> {
        let Some(trial) = &self.trial else { return Ok(()) };
        for (what, who) in [("reads", &self.reads), ("writes", &self.writes)] {
            let silent: Vec<_> = trial.working.difference(who).collect();
            if !silent.is_empty() {
                return Err(format!("{silent:?} answer no {what} in {trial:?}"));
            }
            let others: Vec<_> = who.difference(&trial.working).collect();
            if trial.cut == Cut::Half && !others.is_empty() {
                return Err(format!("{others:?} answer {what} in {trial:?}"));
            }
        }
        if trial.cut == Cut::Half && self.refused.iter().all(|node| trial.working.contains(node)) {
            return Err(format!("nobody is told that there is no quorum in {trial:?}"));
        }
        Ok(())
    }
}
