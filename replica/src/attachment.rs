//! Which links keep which client's session alive, and when a session that none keeps will end
//! (R29–R31 of the replication design, with one server).
//!
//! Owns the timers of the grace period; that an ended session's registrations go is the
//! directory's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_shared::id::ClientId;
use rollcall_shared::time::Instant;

use crate::LinkId;
use crate::command::Principal;

/// A client as the principal behind it shows it: a link of another principal keeps nothing of it
/// alive, even if it knows the client id.
pub(crate) type Identity = (ClientId, Principal);

/// Links by client, and a timer for each live session without one.
#[derive(Debug)]
pub(crate) struct Attachment {
    grace: Duration,
    links: BTreeMap<Identity, BTreeSet<LinkId>>,
    deadlines: BTreeMap<Identity, Instant>,
    timers: BTreeSet<(Instant, Identity)>,
}

impl Attachment {
    pub(crate) fn new(grace: Duration) -> Self {
        let (links, deadlines, timers) = Default::default();
        Self { grace, links, deadlines, timers }
    }

    /// A link of `who` is there: its session does not end.
    pub(crate) fn attach(&mut self, who: Identity, link: LinkId) {
        self.stop_timer(&who);
        self.links.entry(who).or_default().insert(link);
    }

    /// A link of `who` has ended. Where it was the last one of a live session, the grace begins.
    pub(crate) fn detach(&mut self, now: Instant, who: Identity, link: LinkId, live: bool) {
        let Some(links) = self.links.get_mut(&who) else {
            return;
        };
        links.remove(&link);
        if !links.is_empty() {
            return;
        }
        self.links.remove(&who);
        if live {
            let deadline = now + self.grace;
            self.deadlines.insert(who.clone(), deadline);
            self.timers.insert((deadline, who));
        }
    }

    /// The links of `who`.
    pub(crate) fn links(&self, who: &Identity) -> impl Iterator<Item = LinkId> {
        self.links.get(who).into_iter().flatten().copied()
    }

    /// When the next grace ends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// A client whose grace has ended by `now`.
    pub(crate) fn poll_expired(&mut self, now: Instant) -> Option<Identity> {
        self.timers.first().filter(|(deadline, _)| *deadline <= now)?;
        let (_, who) = self.timers.pop_first()?;
        self.deadlines.remove(&who);
        Some(who)
    }

    fn stop_timer(&mut self, who: &Identity) {
        if let Some((who, deadline)) = self.deadlines.remove_entry(who) {
            self.timers.remove(&(deadline, who));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: u64 = 10;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Attach { who: usize, link: u64 },
        Detach { who: usize, link: u64, live: bool },
        Pass { millis: u64 },
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_usize..3, 0_u64..3).prop_map(|(who, link)| Step::Attach { who, link }),
            (0_usize..3, 0_u64..3, prop::bool::weighted(0.9))
                .prop_map(|(who, link, live)| Step::Detach { who, link, live }),
            (0_u64..7).prop_map(|millis| Step::Pass { millis }),
        ]
    }

    /// Two principals behind one client id are two, as two clients are.
    fn identity(who: usize) -> Identity {
        let client = ["a", "a", "b"][who].parse().unwrap();
        (client, Principal::Subject(["sam", "tom", "sam"][who].parse().unwrap()))
    }

    proptest! {
        #[test]
        fn a_timer_runs_for_whom_a_live_session_lost_its_last_link(
            steps in proptest::collection::vec(any_step(), 1..100),
        ) {
            let mut attachment = Attachment::new(Duration::from_millis(GRACE));
            let mut now = 0;
            // Plainly: pairs that are there, and since when a live session is without a link.
            let mut there = BTreeSet::new();
            let mut alone = [None; 3];
            for step in steps {
                match step {
                    Step::Attach { who, link } => {
                        attachment.attach(identity(who), LinkId(link));
                        there.insert((who, link));
                        alone[who] = None;
                    }
                    Step::Detach { who, link, live } => {
                        let at = Instant::from_millis(now);
                        attachment.detach(at, identity(who), LinkId(link), live);
                        let last = there.remove(&(who, link)) && there.iter().all(|t| t.0 != who);
                        if last && live {
                            alone[who] = Some(now);
                        }
                    }
                    Step::Pass { millis } => now += millis,
                }
                let at = Instant::from_millis(now);
                let next = alone.iter().flatten().min();
                let next = next.map(|since| Instant::from_millis(since + GRACE));
                prop_assert_eq!(attachment.next_deadline(), next);
                while let Some(who) = attachment.poll_expired(at) {
                    let due = (0..3).filter(|&who| alone[who].is_some_and(|s| s + GRACE <= now));
                    let first = due.min_by_key(|&who| (alone[who], identity(who)));
                    prop_assert_eq!(Some(who), first.map(identity));
                    alone[first.unwrap_or_default()] = None;
                }
                prop_assert!(alone.iter().flatten().all(|since| since + GRACE > now));
                for who in 0..3 {
                    let links: Vec<_> = attachment.links(&identity(who)).map(|l| l.0).collect();
                    let expected = there.iter().filter(|t| t.0 == who).map(|t| t.1);
                    prop_assert_eq!(links, expected.collect::<Vec<_>>());
                }
            }
        }
    }
}
