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
