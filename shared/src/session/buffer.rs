//! A bounded queue of changes between a session and an application that may be slow.
//!
//! Up to its capacity it keeps every change. Beyond that it keeps the net change of each device
//! only, so that it never grows past the devices that the application knows or has yet to hear of;
//! an application that carries out what it gets always ends with the right set.

use std::collections::VecDeque;

use super::event::{ChangeKind, WatchChange};
use super::table::Table;
use super::view::Key;

/// Changes that wait for the application.
#[derive(Debug)]
pub struct ChangeBuffer {
    capacity: usize,
    queue: Queue,
}

#[derive(Debug)]
enum Queue {
    /// Every change, in order.
    Whole(VecDeque<WatchChange>),
    /// The net change of each device, in order of the last one of each.
    Net { changes: Table<u64, WatchChange>, places: Table<Key, u64>, next: u64 },
}

impl ChangeBuffer {
    /// A buffer that keeps up to `capacity` changes whole.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, queue: Queue::Whole(VecDeque::new()) }
    }

    /// Adds a change behind the others.
    pub fn push(&mut self, change: WatchChange) {
        if let Queue::Whole(queue) = &mut self.queue {
            if queue.len() < self.capacity {
                queue.push_back(change);
                return;
            }
            let whole = std::mem::take(queue);
            self.queue =
                Queue::Net { changes: Table::default(), places: Table::default(), next: 0 };
            for earlier in whole {
                self.push_net(earlier);
            }
        }
        self.push_net(change);
    }

    /// The next change, the oldest first.
    pub fn pop(&mut self) -> Option<WatchChange> {
        match &mut self.queue {
            Queue::Whole(queue) => queue.pop_front(),
            Queue::Net { changes, places, .. } => {
                let change = changes.pop_first().map(|(_, change)| change);
                if let Some(change) = &change {
                    places.remove(&key(change));
                }
                if changes.is_empty() {
                    self.queue = Queue::Whole(VecDeque::new());
                }
                change
            }
        }
    }

    /// How many changes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.queue {
            Queue::Whole(queue) => queue.len(),
            Queue::Net { changes, .. } => changes.len(),
        }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push_net(&mut self, mut change: WatchChange) {
        let Queue::Net { changes, places, next } = &mut self.queue else {
            unreachable!("the caller has made it net");
        };
        let key = key(&change);
        if let Some(earlier) = places.remove(&key).and_then(|at| changes.remove(&at)) {
            let known = earlier.kind != ChangeKind::Connected;
            let stays = change.kind != ChangeKind::Disconnected;
            change.kind = match (known, stays) {
                (false, false) => return, // it came and went: nothing to tell
                (false, true) => ChangeKind::Connected,
                (true, true) => ChangeKind::Updated,
                (true, false) => ChangeKind::Disconnected,
            };
        }
        places.insert(key, *next);
        changes.insert(*next, change);
        *next += 1;
    }
}

fn key(change: &WatchChange) -> Key {
    (change.change.username.clone(), change.change.device.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Device, Revision, SubscriptionId, Username};
    use crate::message::Change;

    fn change(text: &str, revision: u64) -> WatchChange {
        let (sign, name) = text.split_at(1);
        let kind = match sign {
            "+" => ChangeKind::Connected,
            "=" => ChangeKind::Updated,
            _ => ChangeKind::Disconnected,
        };
        WatchChange {
            kind,
            change: Change {
                subscription: SubscriptionId(1),
                username: Username::new(name).unwrap(),
                device: Device::default(),
                ip: None,
                port: None,
                meta: None,
                reason: None,
                revision: Revision(revision),
                online: kind != ChangeKind::Disconnected,
            },
            origin: "server/1".into(),
        }
    }

    fn check(capacity: usize, pushed: &str, popped: &str) {
        let mut buffer = ChangeBuffer::new(capacity);
        for (at, text) in pushed.split_whitespace().enumerate() {
            buffer.push(change(text, at as u64));
        }
        let expected: Vec<_> = popped.split_whitespace().collect();
        assert_eq!(buffer.len(), expected.len());
        for text in expected {
            let got = buffer.pop().unwrap();
            let (sign, name) = text.split_at(1);
            assert_eq!(got.change.username.as_str(), name, "{popped}");
            assert_eq!(got.kind, change(&format!("{sign}x"), 0).kind, "{text}");
        }
        assert!(buffer.pop().is_none() && buffer.is_empty());
        buffer.push(change("+z", 0));
        assert!(matches!(buffer.queue, Queue::Whole(_)), "whole again");
    }

    #[test]
    fn keeps_everything_up_to_its_capacity() {
        check(6, "+a -a +a =a -a +b", "+a -a +a =a -a +b");
    }

    #[test]
    fn keeps_the_net_change_beyond() {
        check(2, "+a -a +a", "+a");
        check(2, "+a =b -a", "=b");
        check(2, "=a -a +a", "=a");
        check(2, "-a +a -a +b", "-a +b");
        check(1, "+a +b =a =a", "+b +a");
        check(2, "+a -a +b -b +c -c", "");
    }
}
