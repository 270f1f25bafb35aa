//! Subscribers: each holds a subscription on one server, moves to another one with what it has seen,
//! and is told of every change once (R36, R37).
//!
//! What a server decides here is decided in production by the shards of `rollcall-server`; this
//! mirrors them, with few changes kept, so that gaps happen.

use std::sync::Arc;

use rollcall_replica::consensus::ids::ReadId;
use rollcall_replica::{Change, History, Input};
use rollcall_shared::id::Revision;

use super::client::LATE;
use super::crowd::READERS;
use super::{Count, Next, Outcome, Sim};
use crate::invariants::{Event, observe};

/// A subscriber to all users.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    place: Place,
    /// The last revision it has processed, unless it begins anew.
    since: Option<Revision>,
}

/// Where a subscriber is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// On its way.
    #[default]
    Nowhere,
    /// Has asked a server, which waits for the read point.
    Asking { node: u32, read: ReadId, until: u64 },
    /// Is subscribed.
    Subscribed { node: u32, feed: Feed },
}

/// How a server feeds a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    /// From the kept changes after this one.
    CatchingUp(Revision),
    /// With every change as it comes.
    Live,
}

impl Sim {
    pub(super) fn watch(&mut self, watcher: usize) -> Outcome {
        let pause = self.random.between(1_000, 60_000);
        self.at(self.now + pause, Next::Watcher { watcher });
        let Some(known) = self.watchers.get_mut(watcher) else { return Ok(()) };
        match known.place {
            Place::Nowhere => self.subscribe(watcher),
            Place::Asking { until, .. } => {
                if until <= self.now {
                    known.place = Place::Nowhere;
                }
                Ok(())
            }
            Place::Subscribed { .. } if self.breaking && self.random.one_in(MOVES) => {
                known.place = Place::Nowhere;
                if self.random.one_in(FORGETS) {
                    known.since = None;
                }
                self.note(|| format!("watcher {watcher} moves"));
                Ok(())
            }
            Place::Subscribed { node, feed: Feed::CatchingUp(after) } => {
                self.catch_up(watcher, node, after)
            }
            Place::Subscribed { feed: Feed::Live, .. } => Ok(()),
        }
    }

    /// Asks any server that runs. It takes a read point first, whatever the subscriber has seen.
    fn subscribe(&mut self, watcher: usize) -> Outcome {
        let Some(node) = self.any_running() else { return Ok(()) };
        self.last_read += 1;
        let read = ReadId(self.last_read * READERS + WATCHERS + watcher as u64);
        let until = self.now + u64::try_from(LATE.as_micros()).unwrap_or(u64::MAX);
        if let Some(known) = self.watchers.get_mut(watcher) {
            known.place = Place::Asking { node, read, until };
        }
        self.tell(node, Input::Read { read })
    }

    /// The read point has come; the subscription begins when all else that was due is out.
    pub(super) fn watcher_may_begin(&mut self, node: u32, read: ReadId) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.ready.push(read);
    }

    /// Whose read it is, if a subscriber's.
    pub(super) fn is_of_watcher(read: ReadId) -> bool {
        read.0 % READERS >= WATCHERS
    }

    /// All outputs of a server are out: the state is where its history ends.
    pub(super) fn begin_subscriptions(&mut self, node: u32) -> Outcome {
        while let Some(read) = self.servers.get_mut(&node).and_then(|server| server.ready.pop()) {
            let watcher = usize::try_from(read.0 % READERS - WATCHERS).unwrap_or(0);
            let Some(known) = self.watchers.get_mut(watcher) else { continue };
            let asked = matches!(known.place, Place::Asking { read: asked, .. } if asked == read);
            if !asked {
                continue;
            }
            let Some(server) = self.servers.get(&node) else { continue };
            let Some(replica) = &server.replica else { continue };
            let (directory, history) = (replica.directory(), &server.history);
            let now = directory.revision();
            if history.newest() != now {
                let what = format!("server {node} is at {now}, told up to {}", history.newest());
                return Err(self.failure("13: what is applied is told", what));
            }
            let since = known.since;
            let kept = since.filter(|since| history.floor() <= *since && *since <= now);
            known.since = Some(kept.unwrap_or(now));
            let feed = Feed::CatchingUp(kept.unwrap_or(now));
            known.place = Place::Subscribed { node, feed };
            self.counts.add(match (since, kept) {
                (None, _) => Count::Subscription,
                (Some(_), Some(_)) => Count::Recovered,
                (Some(_), None) => Count::NotRecovered,
            });
            let event = Event::Subscribed { watcher, recovered: kept, directory };
            observe(&mut self.invariants, &self.truth, &event)
                .map_err(|(property, what)| self.failure(property, what))?;
            self.note(|| format!("{node} subscribes watcher {watcher} from {since:?}: {kept:?}"));
        }
        Ok(())
    }

    /// Pushes a few of the kept changes; one that is overtaken by what is kept loses its link.
    fn catch_up(&mut self, watcher: usize, node: u32, mut after: Revision) -> Outcome {
        for _ in 0..self.random.between(1, 5) {
            let Some(history) = self.servers.get(&node).map(|server| &server.history) else {
                return Ok(());
            };
            if after < history.floor() {
                self.note(|| format!("watcher {watcher} is too slow"));
                self.counts.add(Count::Overtaken);
                self.unsubscribe(watcher);
                return Ok(());
            }
            let Some(change) = history.after(after).cloned() else {
                self.feed(watcher, Feed::Live);
                return Ok(());
            };
            after = change.revision;
            self.push(watcher, &change)?;
            self.feed(watcher, Feed::CatchingUp(after));
        }
        Ok(())
    }

    fn feed(&mut self, watcher: usize, next: Feed) {
        if let Some(Watcher { place: Place::Subscribed { feed, .. }, .. }) =
            self.watchers.get_mut(watcher)
        {
            *feed = next;
        }
    }

    fn unsubscribe(&mut self, watcher: usize) {
        if let Some(known) = self.watchers.get_mut(watcher) {
            known.place = Place::Nowhere;
        }
    }

    fn push(&mut self, watcher: usize, change: &Change) -> Outcome {
        self.counts.add(Count::Push);
        if let Some(known) = self.watchers.get_mut(watcher) {
            known.since = Some(change.revision);
        }
        self.trace.debug(&(watcher, change.revision));
        self.observe(&Event::Pushed { watcher, change })
    }

    /// A server's state changed: it keeps the change and pushes it to all who are up to date.
    pub(super) fn changed(&mut self, node: u32, change: &Change) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        server.history.push(Arc::new(change.clone()));
        for watcher in 0..self.watchers.len() {
            let live = Place::Subscribed { node, feed: Feed::Live };
            if self.watchers.get(watcher).is_some_and(|known| known.place == live) {
                self.push(watcher, change)?;
            }
        }
        Ok(())
    }

    /// A server's state is another one: over a gap, nobody can be told how it came about.
    pub(super) fn installed(&mut self, node: u32, revision: Revision) {
        let kept = self.plan.history;
        let Some(server) = self.servers.get_mut(&node) else { return };
        if server.history.newest() != revision {
            server.history = History::new(revision, kept, usize::MAX);
            self.drop_watchers_of(node);
        }
    }

    /// A server closes the links of its subscribers, or is gone.
    pub(super) fn drop_watchers_of(&mut self, node: u32) {
        for watcher in &mut self.watchers {
            match watcher.place {
                Place::Subscribed { node: there, .. } if there == node => {
                    watcher.place = Place::Nowhere;
                }
                _ => {}
            }
        }
    }

    /// Whether every subscriber has been told of everything.
    pub(super) fn all_watchers_are_told(&self) -> bool {
        let newest = self.truth.revision(self.truth.last());
        self.watchers.iter().all(|watcher| watcher.since == Some(newest))
    }
}

/// A subscriber moves once in so many steps.
const MOVES: u64 = 12;
/// One that moves forgets what it has seen once in so many times.
const FORGETS: u64 = 5;
/// The numbers of their reads: above those of clients.
const WATCHERS: u64 = READERS / 2;
