//! At the leader: which servers keep which session alive, when a session that none keeps will end,
//! and which links still wait for their session (R30–R33).
//!
//! Owns no decision about the log: what is to be appended is decided by the replica.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::Identity;
use crate::consensus::ids::{Epoch, Index, PeerLink};
use crate::fault::{Fault, planted};
use crate::replica::LinkId;

/// How long sessions are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// How long a session outlives its last link.
    pub(crate) grace: Duration,
    /// How much longer where a server may hold links unheard of; zero for a server alone.
    pub(crate) unheard: Duration,
}

/// What a leader knows of sessions, in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    epoch: Epoch,
    waits: Waits,
    /// Since when the leader is settled, and since when the links to all servers stand: another
    /// server may hold links unheard of for a while after either (R31).
    quiet_since: Option<Instant>,
    servers: BTreeMap<Identity, BTreeSet<NodeId>>,
    deadlines: BTreeMap<Identity, Instant>,
    timers: BTreeSet<(Instant, Identity)>,
    owed: VecDeque<Owed>,
    opening: BTreeMap<Index, Owed>,
}

/// A link that waits for its session (R30).
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    /// The server that has the link.
    pub(crate) node: NodeId,
    /// On which link that server asked; none where it is the leader itself. The answer goes nowhere
    /// else: after a restart the same number may be another client's link.
    pub(crate) on: Option<PeerLink>,
    /// The link there.
    pub(crate) link: LinkId,
    /// Whose.
    pub(crate) who: Identity,
    /// What the leader's log held on arrival: it must be applied first.
    pub(crate) after: Index,
}

impl Attached {
    pub(crate) fn new(epoch: Epoch, waits: Waits) -> Self {
        Self {
            epoch,
            waits,
            quiet_since: None,
            servers: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            timers: BTreeSet::new(),
            owed: VecDeque::new(),
            opening: BTreeMap::new(),
        }
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A link on `owed.node` needs its session: it does not end from here on.
    pub(crate) fn attach(&mut self, owed: Owed) {
        if !planted(Fault::ExpiryOfAttached) {
            self.stop_timer(&owed.who);
        }
        self.servers.entry(owed.who.clone()).or_default().insert(owed.node);
        self.owed.push_back(owed);
    }

    /// The last link of `who` on `node` has ended: answers still owed there are cancelled.
    pub(crate) fn detach(&mut self, now: Instant, node: NodeId, who: &Identity, live: bool) {
        let cancelled = |owed: &Owed| owed.node == node && owed.who == *who;
        self.owed.retain(|owed| !cancelled(owed));
        self.opening.retain(|_, owed| !cancelled(owed));
        let Some(servers) = self.servers.get_mut(who) else { return };
        servers.remove(&node);
        if servers.is_empty() {
            self.servers.remove(who);
            if live {
                self.start_timer(now, who.clone());
            }
        }
    }

    /// The link to `node` has ended. Gives back who is left attached nowhere: of these, the live
    /// ones need a timer.
    pub(crate) fn server_lost(&mut self, now: Instant, node: NodeId) -> Vec<Identity> {
        if self.quiet_since.is_some() {
            self.quiet_since = Some(now);
        }
        self.owed.retain(|owed| owed.node != node);
        self.opening.retain(|_, owed| owed.node != node);
        let mut alone = Vec::new();
        self.servers.retain(|who, servers| {
            if servers.remove(&node) && servers.is_empty() {
                alone.push(who.clone());
            }
            !servers.is_empty()
        });
        alone
    }

    /// The leader is settled: every live session that is attached nowhere gets a fresh timer (R32).
    pub(crate) fn settled(&mut self, now: Instant, live: impl Iterator<Item = Identity>) {
        self.quiet_since = Some(now);
        for who in live {
            if !self.is_attached(&who) {
                self.start_timer(now, who);
            }
        }
    }

    pub(crate) fn is_attached(&self, who: &Identity) -> bool {
        self.servers.contains_key(who)
    }

    /// Starts a timer for a live session that is attached nowhere, in place of any it has.
    pub(crate) fn start_timer(&mut self, now: Instant, who: Identity) {
        let quiet = self.quiet_since.is_some_and(|since| now.since(since) >= self.waits.unheard);
        let unheard = if quiet { Duration::ZERO } else { self.waits.unheard };
        self.set_timer(now + self.waits.grace + unheard, who);
    }

    /// Looks at the session again at `at`.
    pub(crate) fn set_timer(&mut self, at: Instant, who: Identity) {
        self.stop_timer(&who);
        self.deadlines.insert(who.clone(), at);
        self.timers.insert((at, who));
    }

    fn stop_timer(&mut self, who: &Identity) {
        if let Some((who, deadline)) = self.deadlines.remove_entry(who) {
            self.timers.remove(&(deadline, who));
        }
    }

    /// When the next timer ends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// A client whose timer has ended by `now`.
    pub(crate) fn poll_expired(&mut self, now: Instant) -> Option<Identity> {
        self.timers.first().filter(|(deadline, _)| *deadline <= now)?;
        let (_, who) = self.timers.pop_first()?;
        self.deadlines.remove(&who);
        Some(who)
    }

    /// The next link whose session can be looked up, when all up to `applied` is applied.
    pub(crate) fn poll_owed(&mut self, applied: Index) -> Option<Owed> {
        // A log in use only grows, so none waits for less than those before it.
        self.owed.pop_front_if(|owed| owed.after <= applied)
    }

    /// A session is being opened for a link, by the entry at `index`.
    pub(crate) fn opening(&mut self, index: Index, owed: Owed) {
        self.opening.insert(index, owed);
    }

    /// For which link the entry at `index` opened a session, if it waits still.
    pub(crate) fn opened(&mut self, index: Index) -> Option<Owed> {
        self.opening.remove(&index)
    }

    /// A link whose session could not be looked at is looked at again.
    pub(crate) fn owe_again(&mut self, owed: Owed) {
        self.owed.push_front(owed);
    }
}

#[cfg(test)]
mod tests;
