//! Which writes the cluster must still remember: from the oldest unanswered to the newest.

use std::collections::VecDeque;

use crate::id::RequestId;
use crate::limits;

/// The writes from the oldest unanswered to the newest, in order of their ids.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(RequestId, bool)>);

impl Window {
    /// Whether another write may be sent: an older one would fall out of the cluster's memory.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < limits::WINDOW
    }

    /// Takes in a write with an id above all before.
    pub(super) fn open(&mut self, id: RequestId) {
        debug_assert!(self.0.back().is_none_or(|(last, _)| *last < id));
        self.0.push_back((id, false));
    }

    /// The write has its outcome, or none will ever be asked for.
    pub(super) fn settle(&mut self, id: RequestId) {
        if let Ok(at) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
            self.0[at].1 = true;
        }
        while self.0.front().is_some_and(|(_, settled)| *settled) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_with_the_oldest_unanswered() {
        let mut window = Window::default();
        for id in 0..64 {
            assert!(window.has_room());
            window.open(RequestId(10 * id));
        }
        assert!(!window.has_room());
        for id in 1..64 {
            window.settle(RequestId(10 * id));
        }
        assert!(!window.has_room(), "the oldest is still unanswered");
        window.settle(RequestId(5));
        assert!(!window.has_room(), "an unknown id settles nothing");
        window.settle(RequestId(0));
        assert!(window.has_room() && window.0.is_empty());
    }
}
