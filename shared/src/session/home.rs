//! Which link requests go to: the nearest server that serves, by chance among equals.
//!
//! A link that turns out to be as near takes the place of the home with a chance of one in so many as
//! there are equals, so that clients spread evenly, also over a server that comes back. One that seems
//! further away, as each does in a busy moment, has its chance once it does not any more. A home whose
//! answers are late twice, or that has no quorum, is left; once it answers again it has that chance
//! anew.

use std::sync::Arc;
use std::time::Duration;

use super::link::{Link, Ready};
use super::{Event, Life, LinkId, Session};
use crate::id::SessionNumber;
use crate::time::Instant;

/// What a link is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its answers are late, and it has not yet shown that it is alive.
    demoted: bool,
    /// When it said that it has no quorum, unless it has answered since.
    refused_at: Option<Instant>,
    /// Answers in a row that were late, those of one moment counted once.
    late: u32,
    /// When the last of them was found to be.
    late_at: Option<Instant>,
}

impl Standing {
    /// An answer was late. Returns whether the link is demoted by that.
    pub(super) fn handle_late(&mut self, now: Instant) -> bool {
        if self.late_at.is_some_and(|before| now.since(before) < MOMENT) {
            return false;
        }
        self.late_at = Some(now);
        self.late += 1;
        let demoted = self.late >= LATE && !self.demoted;
        self.demoted |= demoted;
        demoted
    }

    /// It answered a request. One that was demoted has yet to answer the `Ping` after that, which
    /// gives it its chance to become the home again.
    pub(super) fn handle_answer(&mut self) {
        *self = Self { demoted: self.demoted, ..Self::default() };
    }

    /// It is there. Returns whether that was in doubt.
    pub(super) fn handle_alive(&mut self) -> bool {
        self.late = 0;
        std::mem::take(&mut self.demoted)
    }

    /// It said that it has no quorum.
    pub(super) fn handle_refusal(&mut self, now: Instant) {
        (self.refused_at, self.late) = (Some(now), 0);
    }

    /// The less the better. A server may have found its quorum again after a while.
    fn rank(self, now: Instant) -> u8 {
        let refusing = self.refused_at.is_some_and(|at| now.since(at) < REFUSING);
        u8::from(refusing) + 2 * u8::from(self.demoted)
    }
}

impl Session {
    /// Makes the best link the home, if there is none or the present one is worse.
    pub(super) fn choose_home(&mut self) {
        let rank = |ready: &Ready| ready.standing.rank(self.now);
        let Some(best) = self.ready_links().map(|(_, ready)| rank(ready)).min() else {
            return;
        };
        let present = self.home.and_then(|home| self.links.get(&home)?.ready());
        if present.is_some_and(|ready| rank(ready) == best) {
            return;
        }
        let equals = self.equals(best);
        let chosen = self.random.below(equals.len() as u64) as usize;
        if let Some(link) = equals.get(chosen) {
            self.set_home(*link);
        }
    }

    /// The distance of a link is known, or known better: whether it takes the place of the home, by
    /// chance where both are equally near.
    pub(super) fn consider(&mut self, link: LinkId) {
        let ready = |id: LinkId| self.links.get(&id).and_then(Link::ready);
        let Some((home, present)) = self.home.and_then(|home| Some((home, ready(home)?))) else {
            return;
        };
        let Some(it) = ready(link) else {
            return;
        };
        let (mine, best) = (it.standing.rank(self.now), present.standing.rank(self.now));
        if mine > best {
            return;
        }
        let mut equals = self.equals(mine);
        if mine == best {
            self.lost.clear(); // it may have been in trouble once, but nobody was any better
        }
        if !equals.contains(&link) {
            if link == home {
                let chosen = self.random.below(equals.len() as u64) as usize;
                equals.get(chosen).into_iter().for_each(|other| self.set_home(*other));
            }
        } else if mine < best {
            self.set_home(link);
        } else if !equals.contains(&home) {
            // It may have been measured in a busy moment. Its answer decides.
            if present.ping.is_none() {
                self.ping(home);
            }
        } else if link == home {
            // Those that were measured before have waited for this.
            equals.retain(|other| ready(*other).is_some_and(|it| it.trips.distance().is_some()));
            equals.into_iter().for_each(|other| self.take_chance(other));
        } else {
            self.take_chance(link);
        }
    }

    /// A link that is as near as the home takes its place by chance, once.
    fn take_chance(&mut self, link: LinkId) {
        let Some(ready) = self.ready_mut(link) else {
            return;
        };
        if std::mem::replace(&mut ready.considered, true) {
            return;
        }
        let rank = ready.standing.rank(self.now);
        // Those that are still to be measured have their chance then.
        let ready = |id: &LinkId| self.links.get(id).and_then(Link::ready);
        let considered = |id: &&LinkId| ready(id).is_some_and(|it| it.considered);
        let rivals = self.equals(rank).iter().filter(considered).count() as u64;
        if self.random.below(rivals) == 0 {
            self.set_home(link);
        }
    }

    /// The links of this rank that are about as near as the nearest of them.
    fn equals(&self, rank: u8) -> Vec<LinkId> {
        let of_rank =
            || self.ready_links().filter(|(_, ready)| ready.standing.rank(self.now) == rank);
        let nearest = of_rank().filter_map(|(_, ready)| ready.trips.distance()).min();
        let far = nearest.map(|nearest| nearest * 2 + SLACK);
        let near = |(id, ready): &(LinkId, &Ready)| match (ready.trips.distance(), far) {
            // A home is not left for little, or it would be time and again.
            (Some(distance), Some(far)) if self.home == Some(*id) => distance <= far * 2,
            (Some(distance), Some(far)) => distance <= far,
            _ => true,
        };
        of_rank().filter(near).map(|(id, _)| id).collect()
    }

    /// Whether some server has welcomed the session, and answers as far as is known.
    pub(super) fn is_served(&self) -> bool {
        let home = self.home.and_then(|home| self.links.get(&home)?.ready());
        home.is_some_and(|ready| !ready.standing.demoted)
    }

    /// Whether nothing is known against a link.
    pub(super) fn serves_well(&self, link: LinkId) -> bool {
        let ready = self.links.get(&link).and_then(Link::ready);
        ready.is_some_and(|ready| ready.standing.rank(self.now) == 0)
    }

    pub(super) fn ready_links(&self) -> impl Iterator<Item = (LinkId, &Ready)> {
        self.links.iter().filter_map(|(id, link)| Some((*id, link.ready()?)))
    }

    /// The link on which to ask once more what those in `tried` have not answered, or have refused.
    pub(super) fn another_link(&self, tried: &[LinkId]) -> Option<LinkId> {
        let others = self.ready_links().filter(|(id, _)| !tried.contains(id));
        let key = |(id, ready): &(LinkId, &Ready)| {
            (ready.standing.rank(self.now), self.home != Some(*id), ready.trips.distance())
        };
        others.min_by_key(key).map(|(id, _)| id)
    }

    /// Requests go to this link from now on.
    pub(super) fn set_home(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        self.home = Some(id);
        let url = Arc::clone(&link.url);
        if let Some(ready) = link.ready_mut() {
            ready.considered = true;
            self.welcome = Some(Arc::clone(&ready.welcome));
        }
        let reason = std::mem::take(&mut self.lost);
        self.show_state();
        let from = self.home_url.replace(Arc::clone(&url));
        // A home that was left for a better one has not failed.
        if let Some(from) = from.filter(|from| *from != url && !reason.is_empty()) {
            self.event(Event::Failover { from, to: url, reason });
        }
        self.rescue(None, true);
    }

    /// Asks at home what nobody else is to answer any more: what is awaited on no link, or on `left`
    /// only. What pauses before it is sent again is sent now if `paused`.
    pub(super) fn rescue(&mut self, left: Option<LinkId>, paused: bool) {
        let Some(home) = self.home else {
            return;
        };
        self.watches.move_to(home);
        for id in self.flights.stranded(left.filter(|left| *left != home), paused) {
            self.send(id, home);
        }
        self.pump();
    }

    /// An answer on this link is late. A home that is late twice is left, with all that is awaited
    /// there.
    pub(super) fn handle_late(&mut self, link: LinkId) {
        let now = self.now;
        let ready = self.ready_mut(link);
        if !ready.is_some_and(|ready| ready.standing.handle_late(now)) {
            return;
        }
        self.ping(link);
        self.watches.leave(link);
        self.hasten();
        if self.home == Some(link) {
            "no answer in time".clone_into(&mut self.lost);
            self.choose_home();
        }
        self.rescue(Some(link), false);
    }

    /// Where no server serves as it should any more, those that were put off are tried soon.
    fn hasten(&mut self) {
        if !self.ready_links().any(|(id, _)| self.serves_well(id)) {
            let at = self.now + self.backoff.delay(1, &mut self.random);
            self.servers.retry_all(at);
        }
    }

    /// The server of this link has no quorum.
    pub(super) fn handle_no_quorum(&mut self, link: LinkId) {
        let (now, served) = (self.now, self.serves_well(link));
        if let Some(ready) = self.ready_mut(link) {
            ready.standing.handle_refusal(now);
        }
        if served {
            self.hasten();
        }
        if self.home == Some(link) {
            "no quorum".clone_into(&mut self.lost);
            self.choose_home();
        }
        self.watches.leave(link);
        if let Some(home) = self.home {
            self.watches.move_to(home);
        }
    }

    /// A `Welcome` names the session: where it is another one than before, everything that is held
    /// has ended with that.
    pub(super) fn begin_life(&mut self, cluster: &str, session: SessionNumber) {
        let number = match &self.life {
            Some(life) if life.cluster == cluster && life.session == session => return,
            Some(life) => {
                if life.cluster != cluster {
                    self.watches.handle_new_cluster();
                }
                life.number.next()
            }
            None => super::held::Life::default().next(),
        };
        self.life = Some(Life { cluster: cluster.to_owned(), session, number });
        self.held.handle_new_life();
    }
}

/// How many late answers in a row make a link be left.
const LATE: u32 = 2;
/// How long a server that has no quorum is asked only where no other is there.
const REFUSING: Duration = Duration::from_secs(5);
/// Answers that are late within this time of each other are late for one reason.
const MOMENT: Duration = super::trips::SHORTEST;
/// How much further away than twice the nearest still counts as near.
const SLACK: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_late_answers_demote() {
        let at = |ms| Instant::from_millis(ms);
        let mut standing = Standing::default();
        assert!(!standing.handle_late(at(0)));
        standing.handle_answer();
        assert!(!standing.handle_late(at(300)));
        assert!(!standing.handle_late(at(310)), "late for the same reason");
        assert!(standing.handle_late(at(600)));
        assert!(!standing.handle_late(at(900)), "it is already");
        assert_eq!(standing.rank(at(900)), 2);
        assert!(standing.handle_alive());
        assert_eq!(standing.rank(at(900)), 0);
        assert!(!standing.handle_alive());
    }

    #[test]
    fn no_quorum_is_better_than_no_answer() {
        let at = |ms| Instant::from_millis(ms);
        let mut refusing = Standing::default();
        refusing.handle_refusal(at(0));
        refusing.handle_alive();
        let mut silent = Standing::default();
        silent.handle_late(at(0));
        silent.handle_late(at(900));
        assert!(Standing::default().rank(at(900)) < refusing.rank(at(900)));
        assert!(refusing.rank(at(900)) < silent.rank(at(900)));
        assert_eq!(refusing.rank(at(6000)), 0, "it may have found others");
        refusing.handle_answer();
        assert_eq!(refusing.rank(at(900)), 0);
    }
}
