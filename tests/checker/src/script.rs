//! Runs that a test writes down step by step, through the same model: for what random walks come to
//! only once in millions.

use stateright::Model;

use crate::bounds::Bounds;
use crate::model::{Action, Cluster, State};

/// A run on its way.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    model: &'a Cluster,
    state: State,
}

impl<'a> Script<'a> {
    /// The model at its beginning.
    ///
    /// # Panics
    /// Never: every model begins somewhere.
    #[must_use]
    pub fn new(model: &'a Cluster) -> Self {
        Self { model, state: model.init_states().pop().expect("a model has a first state") }
    }

    /// What does not hold at the end.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.state.violation.as_deref()
    }

    /// Something happens.
    ///
    /// # Panics
    /// When it cannot happen here: the script is wrong.
    pub fn act(&mut self, action: Action) {
        let next = self.model.next_state(&self.state, action);
        self.state = next.unwrap_or_else(|| panic!("{action:?} does not happen here"));
    }

    /// All that two servers have to say to each other arrives, and nothing else.
    pub fn exchange(&mut self, one: u32, other: u32) {
        while let Some(action) = self.next_between(one, other) {
            self.act(action);
        }
    }

    fn next_between(&self, one: u32, other: u32) -> Option<Action> {
        let mut actions = Vec::new();
        self.model.actions(&self.state, &mut actions);
        let between = |action: &Action| {
            *action == Action::Deliver { from: one, to: other }
                || *action == Action::Deliver { from: other, to: one }
        };
        actions.into_iter().find(between)
    }
}

/// R28: server 3 asks for epoch 1 and has the promise of server 1, which then loses its disk, is
/// admitted again and helps epoch 0 to commit a write. Its old promise elects nobody.
#[must_use]
pub fn promise_of_a_replaced_server(model: &Cluster) -> Script<'_> {
    let mut script = Script::new(model);
    script.act(Action::Campaign { server: 3, epoch: 1 });
    script.exchange(3, 1);
    script.act(Action::Crash { server: 1, kept: 0, lose_disk: true });
    script.exchange(4, 1);
    script.exchange(4, 2);
    script.exchange(4, 1);
    script.act(Action::Write { server: 4 });
    script.exchange(4, 1);
    script.exchange(3, 2);
    script
}

/// What [`promise_of_a_replaced_server`] needs.
///
/// # Panics
/// Never: there is such a model.
#[must_use]
pub fn bounds_of_a_replaced_server() -> Bounds {
    Bounds::named("four-disk").expect("there is such a model")
}
