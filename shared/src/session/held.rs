//! The registrations the application holds: what it wants to stand, what stands as far as replies
//! tell, and the work that makes both equal.
//!
//! Writes about one device go one at a time, so that a retried one never overtakes a newer one.
//! Owns no request ids and no queue but the calls that wait for their device.

use std::time::Duration;

use super::event::{CallId, LinkId};
use super::table::Table;
use crate::id::{Device, Username};
use crate::message::{ConnectUser, DisconnectUser, Request};
use crate::time::Instant;

/// What a registration is known by.
pub(super) type Key = (Username, Device);

/// How often this session began anew: a registration of an earlier life ended with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(pub(super) u32);

impl Life {
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// All registrations that are held, asked for or yet to be taken back.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: Table<Key, Entry>,
    /// Where what stands may differ from what is wanted.
    dirty: Table<Key, ()>,
    /// Links that will tell once more what another one has told, and until when that is believed.
    echoes: Vec<(LinkId, Key, Instant)>,
}

#[derive(Debug)]
struct Entry {
    wanted: Option<ConnectUser>,
    stands: Stands,
    /// A write about it is queued or in flight.
    busy: bool,
    /// The calls after that one.
    waiting: Table<CallId, ()>,
}

/// What the cluster holds under a key, as far as replies tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Nothing,
    /// What is wanted, since this life of the session.
    Wanted(Life),
    /// Something that nobody wants, such as the late outcome of a call that timed out.
    Unwanted,
}

/// How a write about a registration ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It stands; `wanted` unless its call had given up before.
    Connected { registration: ConnectUser, wanted: bool, life: Life },
    /// It is gone.
    Disconnected,
    /// What the session did to restore a registration was refused.
    Lost,
    /// Nothing changed.
    Unchanged,
}

/// Which registration a request is about.
pub(super) fn key(request: &Request) -> Option<Key> {
    match request {
        Request::ConnectUser(it) => Some((it.username.clone(), it.device.clone())),
        Request::DisconnectUser(it) => Some((it.username.clone(), it.device.clone())),
        _ => None,
    }
}

impl Held {
    /// A call wants to write about `key`: whether it may be queued now. Otherwise it waits here.
    pub(super) fn enter(&mut self, key: Key, call: CallId) -> bool {
        let entry = self.entries.get_or_insert(key, || Entry {
            wanted: None,
            stands: Stands::Nothing,
            busy: false,
            waiting: Table::default(),
        });
        if entry.busy {
            entry.waiting.insert(call, ());
        }
        !std::mem::replace(&mut entry.busy, true)
    }

    /// A call gave up before its write was sent: the call whose turn it is now, if any.
    pub(super) fn leave(&mut self, key: &Key, call: CallId) -> Option<CallId> {
        let entry = self.entries.get_mut(key)?;
        if entry.waiting.remove(&call).is_some() {
            return None;
        }
        self.settle(key, Outcome::Unchanged)
    }

    /// A write about `key` came to its end: the call whose turn it is now, if any.
    pub(super) fn settle(&mut self, key: &Key, outcome: Outcome) -> Option<CallId> {
        let entry = self.entries.get_mut(key)?;
        match outcome {
            Outcome::Connected { registration, wanted: true, life } => {
                entry.wanted = Some(registration);
                entry.stands = Stands::Wanted(life);
            }
            Outcome::Connected { .. } => entry.stands = Stands::Unwanted,
            Outcome::Disconnected | Outcome::Lost => {
                entry.wanted = None;
                entry.stands = Stands::Nothing;
            }
            Outcome::Unchanged => {}
        }
        let next = entry.waiting.pop_first().map(|(call, ())| call);
        entry.busy = next.is_some();
        if next.is_none() {
            self.dirty.insert(key.clone(), ());
        }
        next
    }

    /// Whether `registration` is what the application wants under its key.
    pub(super) fn wants(&self, key: &Key, registration: &ConnectUser) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.wanted.as_ref() == Some(registration))
    }

    /// A link tells that another session took a registration over, as each of `links` will. Returns
    /// whether that is news: it may have been made again meanwhile.
    pub(super) fn handle_replaced(
        &mut self,
        key: &Key,
        link: LinkId,
        links: &[LinkId],
        now: Instant,
    ) -> bool {
        self.echoes.retain(|(_, _, until)| now < *until);
        let echo = self.echoes.iter().position(|(from, about, _)| *from == link && about == key);
        if let Some(at) = echo {
            self.echoes.swap_remove(at);
            return false;
        }
        for other in links.iter().filter(|other| **other != link) {
            self.echoes.push((*other, key.clone(), now + ECHO));
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.wanted = None;
            entry.stands = Stands::Nothing;
            self.dirty.insert(key.clone(), ());
        }
        true
    }

    /// A link is gone, with what it would have told.
    pub(super) fn handle_link_lost(&mut self, link: LinkId) {
        self.echoes.retain(|(from, ..)| *from != link);
    }

    /// The session began anew: everything is to be looked at.
    pub(super) fn handle_new_life(&mut self) {
        for (key, _) in self.entries.iter() {
            self.dirty.insert(key.clone(), ());
        }
    }

    /// The application wants nothing any more.
    pub(super) fn release_all(&mut self) {
        for (key, entry) in self.entries.iter_mut() {
            entry.waiting = Table::default();
            if entry.wanted.take().is_some() {
                entry.stands = Stands::Unwanted;
            }
            self.dirty.insert(key.clone(), ());
        }
    }

    /// The next write that brings what stands closer to what is wanted. Its key is busy from then
    /// on.
    pub(super) fn next_work(&mut self, life: Life) -> Option<Request> {
        while let Some((key, ())) = self.dirty.pop_first() {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            if entry.busy {
                continue; // it comes back when settled
            }
            match (&entry.wanted, entry.stands) {
                (Some(_), Stands::Wanted(since)) if since == life => {}
                (None, Stands::Nothing) => {
                    self.entries.remove(&key);
                }
                (Some(registration), _) => {
                    entry.busy = true;
                    return Some(Request::ConnectUser(registration.clone()));
                }
                (None, _) => {
                    entry.busy = true;
                    let (username, device) = key;
                    return Some(Request::DisconnectUser(DisconnectUser { username, device }));
                }
            }
        }
        None
    }

    /// Whether nothing is held, under way or to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// How long a link that is alive may take to tell what another one has told.
const ECHO: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Ip;

    fn registration(port: u16) -> ConnectUser {
        ConnectUser {
            username: Username::new("ann").unwrap(),
            ip: Ip::Observed,
            port,
            device: Device::default(),
            meta: None,
        }
    }

    fn ann() -> Key {
        (Username::new("ann").unwrap(), Device::default())
    }

    fn connected(port: u16, wanted: bool, life: u32) -> Outcome {
        Outcome::Connected { registration: registration(port), wanted, life: Life(life) }
    }

    #[test]
    fn writes_about_one_device_go_one_at_a_time() {
        let mut held = Held::default();
        assert!(held.enter(ann(), CallId(1)));
        assert!(!held.enter(ann(), CallId(2)));
        assert!(!held.enter(ann(), CallId(3)));
        assert_eq!(held.leave(&ann(), CallId(2)), None, "2 gives up waiting");
        assert_eq!(held.settle(&ann(), connected(1, true, 1)), Some(CallId(3)));
        assert_eq!(held.next_work(Life(1)), None);
        assert_eq!(held.settle(&ann(), Outcome::Disconnected), None);
        assert_eq!(held.next_work(Life(1)), None);
        assert!(held.is_empty());
    }

    #[test]
    fn a_new_life_registers_again_once() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, true, 1));
        held.handle_new_life();
        let again = held.next_work(Life(2));
        assert_eq!(again, Some(Request::ConnectUser(registration(7))));
        assert_eq!(held.next_work(Life(2)), None);
        held.settle(&ann(), connected(7, true, 2));
        assert_eq!(held.next_work(Life(2)), None);
        assert!(held.wants(&ann(), &registration(7)));
    }

    #[test]
    fn a_late_outcome_nobody_wants_is_undone() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, false, 1));
        assert!(matches!(held.next_work(Life(1)), Some(Request::DisconnectUser(_))));
        held.settle(&ann(), Outcome::Disconnected);
        assert_eq!(held.next_work(Life(1)), None);
        assert!(held.is_empty());
    }

    #[test]
    fn a_late_update_nobody_wants_restores_what_was_held() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, true, 1));
        held.enter(ann(), CallId(2));
        held.settle(&ann(), connected(8, false, 1));
        let again = held.next_work(Life(1));
        assert_eq!(again, Some(Request::ConnectUser(registration(7))));
    }

    #[test]
    fn an_outcome_of_an_earlier_life_is_not_believed() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.handle_new_life();
        assert_eq!(held.next_work(Life(2)), None, "its retry comes first");
        held.settle(&ann(), connected(7, true, 1));
        let again = held.next_work(Life(2));
        assert_eq!(again, Some(Request::ConnectUser(registration(7))));
        held.settle(&ann(), Outcome::Lost);
        assert_eq!(held.next_work(Life(2)), None);
        assert!(held.is_empty());
    }

    #[test]
    fn closing_takes_everything_back() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, true, 1));
        held.release_all();
        assert!(!held.is_empty());
        assert!(matches!(held.next_work(Life(1)), Some(Request::DisconnectUser(_))));
        held.settle(&ann(), Outcome::Disconnected);
        assert_eq!(held.next_work(Life(1)), None);
        assert!(held.is_empty());
    }

    #[test]
    fn what_another_session_took_is_not_held() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, true, 1));
        let links = [LinkId(1), LinkId(2)];
        assert!(held.handle_replaced(&ann(), LinkId(1), &links, Instant::from_millis(0)));
        held.handle_new_life();
        assert_eq!(held.next_work(Life(2)), None);
    }

    #[test]
    fn what_every_link_tells_is_news_once() {
        let mut held = Held::default();
        held.enter(ann(), CallId(1));
        held.settle(&ann(), connected(7, true, 1));
        let links = [LinkId(1), LinkId(2), LinkId(3)];
        let told = |held: &mut Held, link, second: u64| {
            held.handle_replaced(&ann(), LinkId(link), &links, Instant::from_millis(second * 1000))
        };
        assert!(told(&mut held, 2, 0));
        // It is made again before the others tell.
        held.enter(ann(), CallId(2));
        held.settle(&ann(), connected(7, true, 1));
        assert!(!told(&mut held, 1, 1));
        assert!(held.wants(&ann(), &registration(7)));
        assert!(told(&mut held, 1, 2), "a second time is another takeover");
        held.handle_link_lost(LinkId(2));
        assert!(told(&mut held, 2, 3), "what it owed went with it");
        assert!(told(&mut held, 3, 60), "nobody waits that long for an echo");
    }
}
