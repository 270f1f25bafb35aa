//! Invariant 10, second half: a server that is cut off in one direction never raises `prom`
//! elsewhere: the leader stays, in its epoch (R4). The same holds for a half without the leader.

use super::{Event, Invariant, Truth};
use crate::sim::{Cut, Trial};

/// The trial that runs.
#[derive(Default)]
pub(super) struct OneWay {
    trial: Option<Trial>,
}

impl Invariant for OneWay {
    fn name(&self) -> &'static str {
        "10: who is cut off one way disturbs nobody"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::TrialBegins { trial } => {
                let stays = !matches!(trial.cut, Cut::Leader(_));
                self.trial = stays.then(|| (*trial).clone());
            }
            Event::TrialEnds => self.trial = None,
            Event::Step { node, replica, .. } => {
                let Some(trial) = &self.trial else { return Ok(()) };
                let promised = replica.consensus().epoch();
                if trial.working.contains(node) && promised != trial.epoch {
                    return Err(format!("server {node} promised {promised} in {trial:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
