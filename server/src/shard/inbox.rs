//! What the node delivers to a shard, and the shard's work on it.
//!
//! Answers leave at once. Changes are announced, and lookups answered, a little at a time: the links
//! write in between, and a link that could not write meanwhile is not a slow reader. So a shard with
//! many subscribers may be behind with its announcements, within a bound, but not with its answers.

use std::collections::VecDeque;
use std::sync::Arc;

use rollcall_replica::Users;
use rollcall_shared::close::CloseCode;
use rollcall_shared::id::Revision;
use tokio::sync::mpsc;

use super::reads::Lookup;
use super::{ANNOUNCED_BYTES, CHANGE_BYTES, Shard, new_history};
use crate::node::{Delivery, Step};

/// What was delivered and is not done.
#[derive(Default)]
pub(super) struct Work {
    items: VecDeque<Item>,
    /// Steps among them.
    steps: usize,
    /// Lookups, and the state that answers each.
    lookups: VecDeque<(Lookup, Users)>,
}

enum Item {
    /// Steps, of which those before the number are done.
    Steps(Arc<[Step]>, usize),
    /// The state after all steps before.
    State(Users),
}

impl Work {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.lookups.is_empty()
    }

    pub(super) fn look_up(&mut self, lookup: Lookup, users: Users) {
        self.lookups.push_back((lookup, users));
    }

    /// Adds a delivery's steps. Where more than `most` wait, all of them become one: the state is
    /// another one now.
    fn push(&mut self, steps: Vec<Arc<[Step]>>, users: Users, most: usize) {
        for part in steps.into_iter().filter(|part| !part.is_empty()) {
            self.steps += part.len();
            self.items.push_back(Item::Steps(part, 0));
        }
        if self.steps > most {
            self.items.clear();
            self.steps = 1;
            self.items.push_back(Item::Steps(Arc::new([Step::Installed(users.revision())]), 0));
        }
        self.items.push_back(Item::State(users));
    }

    /// The next step; nothing where a state is next, or nothing is.
    fn pop_step(&mut self) -> Option<Step> {
        let Some(Item::Steps(part, next)) = self.items.front_mut() else { return None };
        let step = part.get(*next).cloned();
        *next += 1;
        self.steps -= 1;
        if *next == part.len() {
            self.items.pop_front();
        }
        step
    }

    fn pop_state(&mut self) -> Option<Users> {
        match self.items.pop_front() {
            Some(Item::State(users)) => Some(users),
            Some(other) => {
                self.items.push_front(other);
                None
            }
            None => None,
        }
    }
}

impl Shard {
    /// Takes in what the node delivers; ends when the node has.
    pub(crate) async fn run_inbox(&self, mut inbox: mpsc::Receiver<Delivery>) {
        loop {
            let delivery = if self.work.borrow().is_empty() {
                let Some(delivery) = inbox.recv().await else { return };
                Some(delivery)
            } else {
                tokio::task::yield_now().await;
                inbox.try_recv().ok()
            };
            if let Some(delivery) = delivery {
                self.take(delivery);
            }
            self.work_a_little();
        }
    }

    fn take(&self, delivery: Delivery) {
        let Delivery { users, steps, outputs } = delivery;
        let most = self.context.config.history_changes.max(BEHIND);
        self.work.borrow_mut().push(steps, users.clone(), most);
        for output in outputs {
            self.handle_output(output, &users);
        }
    }

    fn work_a_little(&self) {
        self.answer_some();
        self.announce_some();
    }

    /// Answers lookups of [`NAMES`] names together, or one.
    fn answer_some(&self) {
        let mut names = 0;
        while names < NAMES {
            let Some((lookup, users)) = self.work.borrow_mut().lookups.pop_front() else { return };
            names += 1 + lookup.names.len();
            lookup.link.state().waiting -= 1;
            self.tell_addresses(lookup, &users);
        }
    }

    /// Announces changes until a link may have got [`ANNOUNCED_BYTES`] of them. What begins in the
    /// pauses waits for the whole (its read point is ahead of `users`); what catches up in them joins
    /// where the history ends, which is where the announcements are.
    fn announce_some(&self) {
        let mut due = 0;
        while due < ANNOUNCED_BYTES {
            let step = self.work.borrow_mut().pop_step();
            match step {
                Some(Step::Changed(announcement)) => {
                    let (pushed, bytes) = self.announce(&announcement);
                    if pushed > 0 {
                        self.context.metrics.pushed(pushed);
                    }
                    due += bytes + CHANGE_BYTES;
                    self.applied.borrow_mut().history.push(announcement);
                }
                Some(Step::Installed(revision)) => self.begin_anew(revision),
                None => {
                    let Some(users) = self.work.borrow_mut().pop_state() else { return };
                    self.applied.borrow_mut().users = users;
                    self.retry_waiting();
                }
            }
        }
    }

    /// The state is another one at `revision`, and how it came to that is not known, or too much to
    /// tell: whoever was subscribed has a gap, and resumes elsewhere or gets it all (R37).
    fn begin_anew(&self, revision: Revision) {
        self.applied.borrow_mut().history = new_history(&self.context, revision);
        self.close_where(CloseCode::CutOff, |link| !link.state().subscriptions.is_empty());
    }

    /// Does all that a delivery means.
    #[cfg(test)]
    pub(super) fn handle_delivery(&self, delivery: Delivery) {
        self.take(delivery);
        while !self.work.borrow().is_empty() {
            self.work_a_little();
        }
    }
}

/// Names looked up before the links have their turn.
const NAMES: usize = 4096;
/// The least number of steps that a shard may be behind; else as many as are kept for subscribers.
const BEHIND: usize = 4096;

#[cfg(test)]
mod tests {
    use rollcall_replica::Directory;
    use rollcall_replica::directory::Bounds;

    use super::*;

    fn users(revision: u64) -> Users {
        Directory::new(Revision(revision), Bounds::default()).users().clone()
    }

    fn installed(count: u64) -> Vec<Arc<[Step]>> {
        vec![(1..=count).map(|at| Step::Installed(Revision(at))).collect()]
    }

    #[test]
    fn steps_come_in_order_and_each_state_after_its_own() {
        let mut work = Work::default();
        work.push(installed(2), users(2), 10);
        work.push(Vec::new(), users(2), 10);
        work.push(installed(1), users(3), 10);
        let mut said = Vec::new();
        while !work.is_empty() {
            match work.pop_step() {
                Some(Step::Installed(revision)) => said.push(format!("step {revision}")),
                Some(Step::Changed(_)) => unreachable!("none was pushed"),
                None => said.push(format!("state {}", work.pop_state().unwrap().revision())),
            }
        }
        assert_eq!(said, ["step 1", "step 2", "state 2", "state 2", "step 1", "state 3"]);
        assert_eq!(work.steps, 0);
    }

    #[test]
    fn too_many_steps_become_one_to_the_newest_state() {
        let mut work = Work::default();
        work.push(installed(6), users(6), 10);
        work.pop_step();
        work.push(installed(6), users(12), 10);
        assert_eq!((work.items.len(), work.steps), (2, 1));
        assert!(matches!(work.pop_step(), Some(Step::Installed(Revision(12)))));
        assert_eq!(work.pop_state().unwrap().revision(), Revision(12));
        assert!(work.is_empty());
    }
}
