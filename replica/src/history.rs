//! The last changes, kept so that a subscription can resume after the revision it has seen (R36).
//!
//! Owns the two bounds, count and bytes; who asks for which changes is the subscriptions' business.

use std::collections::VecDeque;
use std::sync::Arc;

use rollcall_shared::id::Revision;

use crate::directory::Change;

/// A change as its keeper holds it: alone, or with what the keeper made of it.
pub trait Kept {
    /// The change.
    fn change(&self) -> &Change;

    /// About how many bytes of memory it takes.
    fn memory_bytes(&self) -> usize;
}

impl Kept for Arc<Change> {
    fn change(&self) -> &Change {
        self
    }

    fn memory_bytes(&self) -> usize {
        Change::memory_bytes(self)
    }
}

/// The last changes in order of revision, without a gap.
#[derive(Debug)]
pub struct History<C = Arc<Change>> {
    changes: VecDeque<C>,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
    floor: Revision,
}

impl<C: Kept> History<C> {
    /// An empty history that begins after `floor` and keeps at most `max_changes` changes and
    /// `max_bytes` bytes, as [`Kept::memory_bytes`] counts them.
    #[must_use]
    pub const fn new(floor: Revision, max_changes: usize, max_bytes: usize) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, max_changes, max_bytes, floor }
    }

    /// The revision before the oldest change kept.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The revision of the last change that was added.
    #[must_use]
    pub fn newest(&self) -> Revision {
        self.changes.back().map_or(self.floor, |newest| newest.change().revision)
    }

    /// Adds the next change and drops the oldest ones over a bound.
    ///
    /// # Panics
    /// When `change` is not the next one: a gap would reach subscribers.
    pub fn push(&mut self, change: C) {
        let next = change.change().revision;
        assert_eq!(next, self.newest().next(), "changes come without a gap");
        self.bytes += change.memory_bytes();
        self.changes.push_back(change);
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.bytes -= oldest.memory_bytes();
            self.floor = oldest.change().revision;
        }
    }

    /// The change right after `revision`, if it is kept.
    #[must_use]
    pub fn after(&self, revision: Revision) -> Option<&C> {
        let offset = revision.0.checked_sub(self.floor.0)?;
        self.changes.get(usize::try_from(offset).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use rollcall_shared::id::{Device, Username};
    use rollcall_shared::message::Reason;

    use super::*;
    use crate::directory::Event;

    fn change(revision: u64) -> Arc<Change> {
        let event = Event::Disconnected { reason: Reason::Left, online: false };
        let username = Username::new("ann").unwrap();
        let device = Device::default();
        Arc::new(Change { revision: Revision(revision), username, device, event })
    }

    #[test]
    fn keeps_the_newest_within_both_bounds() {
        let mut by_count = History::new(Revision(10), 3, usize::MAX);
        let mut by_bytes = History::new(Revision(10), usize::MAX, 3 * change(1).memory_bytes());
        for history in [&mut by_count, &mut by_bytes] {
            for revision in 11..=15 {
                history.push(change(revision));
            }
            assert_eq!(history.floor(), Revision(12));
            assert!(history.after(Revision(11)).is_none());
            assert_eq!(history.after(Revision(12)).unwrap().revision, Revision(13));
            assert_eq!(history.after(Revision(14)).unwrap().revision, Revision(15));
            assert!(history.after(Revision(15)).is_none());
        }
    }

    #[test]
    #[should_panic(expected = "without a gap")]
    fn refuses_a_gap() {
        History::new(Revision(0), 3, 1000).push(change(2));
    }
}
