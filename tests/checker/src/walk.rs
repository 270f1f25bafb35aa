//! Random walks through models that are too large to explore whole: each from its number, so that it
//! can be walked again.

use stateright::Model;

use crate::model::{Action, Cluster, State};

/// A walk through a model.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    model: &'a Cluster,
    random: u64,
    /// Directions whose messages are late, a bit each: orders that even odds would hardly come to.
    late: u64,
    state: State,
}

impl<'a> Walk<'a> {
    /// The walk with this number, at its beginning.
    ///
    /// # Panics
    /// Never: every model begins somewhere.
    #[must_use]
    pub fn new(model: &'a Cluster, number: u64) -> Self {
        let state = model.init_states().pop().expect("a model has a first state");
        Self::from(model, state, number)
    }

    /// The walk with this number from `state` on.
    #[must_use]
    pub fn from(model: &'a Cluster, state: State, number: u64) -> Self {
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut walk = Self { model, random, late: 0, state };
        if !number.is_multiple_of(4) {
            walk.late = walk.any() & walk.any();
        }
        walk
    }

    /// Where it has come to.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// One step on; what happened, or nothing where nothing can.
    pub fn step(&mut self) -> Option<Action> {
        let mut actions = Vec::new();
        self.model.actions(&self.state, &mut actions);
        while !actions.is_empty() {
            let at = self.below(actions.len());
            let action = actions.swap_remove(at);
            if self.is_late(action) && !actions.is_empty() && self.below(16) > 0 {
                continue;
            }
            if let Some(next) = self.model.next_state(&self.state, action) {
                self.state = next;
                return Some(action);
            }
        }
        None
    }

    const fn is_late(&self, action: Action) -> bool {
        let Action::Deliver { from, to } = action else { return false };
        self.late >> (8 * (from % 8) + to % 8) & 1 == 1
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.any() % end as u64).unwrap_or(0)
    }

    /// Any number: SplitMix64 (Steele, Lea, Flood 2014), enough to choose by.
    const fn any(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Walks once, at most `steps` far. Gives back what is wrong where it ends, if anything.
#[must_use]
pub fn walk(model: &Cluster, first: &State, number: u64, steps: usize) -> Option<String> {
    let mut walk = Walk::from(model, first.clone(), number);
    for _ in 0..steps {
        walk.step()?;
        if let Some(what) = &walk.state().violation {
            return Some(what.clone());
        }
    }
    None
}
