//! Leases: how long reads may be answered without asking, and how long others must wait for the
//! end of that (R15–R18, R20).
//!
//! Owns what survives a change of role; when a lease is given or used is decided by `leader`,
//! `follower` and `read`. Only the *rates* of clocks matter: whoever waits for a lease to end waits
//! longer ([`Timings::waited`]), whoever uses one adds nothing.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::config::Timings;
use super::digest::ahead;
use super::ids::{Epoch, PeerLink};
use super::leader::Penalty;

/// What this server owes to leases, and the one it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leases {
    /// Until when its acknowledgements may support any lease (R15, R16). Never goes back.
    pub(super) hold_until: Instant,
    /// Until when it had to wait itself as a leader, in whatever epoch (R15).
    pub(super) waits_until: Instant,
    /// The read leases it gave as a leader, in whatever epoch, that may still run.
    pub(super) grants: Vec<Grant>,
    /// The read lease it holds as a follower.
    pub(super) read: Option<ReadLease>,
    /// The newest of its own times that a leader echoed (R34).
    pub(super) confirmed: Instant,
    /// Followers that get no read lease for a while (R18).
    pub(super) penalties: BTreeMap<NodeId, Penalty>,
    /// When it last took a new epoch because a follower was stuck (R12a).
    pub(super) forced: Option<Instant>,
}

/// A read lease given to a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    pub(super) node: NodeId,
    /// The link it was given on: only what is received there counts for it (R13).
    pub(super) link: PeerLink,
    /// When it is over for sure, by the leader's clock.
    pub(super) until: Instant,
    /// Whether a write waits for its end.
    pub(super) awaited: bool,
}

/// A read lease held by a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadLease {
    pub(super) epoch: Epoch,
    pub(super) until: Instant,
}

impl Leases {
    /// At the start of a process: whatever rested on an earlier one is over after `hold` (R15).
    pub(super) fn new(now: Instant, hold: Duration) -> Self {
        Self {
            hold_until: now + Timings::waited(hold),
            waits_until: now,
            grants: Vec::new(),
            read: None,
            confirmed: now,
            penalties: BTreeMap::new(),
            forced: None,
        }
    }

    /// See [`Consensus::digest`](super::Consensus::digest).
    pub(super) fn digest<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        [self.hold_until, self.waits_until].map(|at| ahead(at, now)).hash(hasher);
        for Grant { node, until, awaited, .. } in self.grants.iter().filter(|g| g.until > now) {
            (node, ahead(*until, now), awaited).hash(hasher);
        }
        let lease = self.read.filter(|lease| lease.until > now);
        lease.map(|lease| (lease.epoch, ahead(lease.until, now))).hash(hasher);
    }

    /// From `now` on a lease of `hold` may rest on this server (R16, R20).
    pub(super) fn hold(&mut self, now: Instant, hold: Duration) {
        self.hold_until = self.hold_until.max(now + Timings::waited(hold));
    }

    /// How much longer any lease may rest on this server (R15).
    pub(super) fn left(&self, now: Instant) -> Duration {
        let grants = self.grants.iter().map(|grant| grant.until).max();
        let latest = self.hold_until.max(self.waits_until).max(grants.unwrap_or_default());
        latest.since(now)
    }

    /// Records a grant until `until`.
    pub(super) fn grant(&mut self, node: NodeId, link: PeerLink, until: Instant) {
        let same = |grant: &&mut Grant| grant.node == node && grant.link == link;
        match self.grants.iter_mut().find(same) {
            Some(grant) => grant.until = grant.until.max(until),
            None => self.grants.push(Grant { node, link, until, awaited: false }),
        }
    }

    /// Drops what is over by `now`; says for which servers' grants a write had to wait to the end.
    pub(super) fn drop_ended(&mut self, now: Instant) -> Vec<NodeId> {
        let mut awaited = Vec::new();
        self.grants.retain(|grant| {
            if grant.until > now {
                return true;
            }
            if grant.awaited {
                awaited.push(grant.node);
            }
            false
        });
        awaited
    }
}
