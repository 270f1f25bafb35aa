//! What of a server's state makes a difference to what follows, for a model checker: two states with
//! equal digests need not be explored twice.
//!
//! Left out is what only counts or names: numbers of links and of messages on them, places in the
//! journal, random waits, and how long ago past times were (a checker ends timers itself). Nothing
//! of production depends on a digest.

use std::hash::{Hash, Hasher};

use rollcall_shared::time::Instant;

use super::log::Log;
use super::{Consensus, PromiseDue, Role};

impl Consensus {
    /// Feeds `hasher` with this state. To be taken when all outputs were polled.
    pub fn digest<H: Hasher>(&self, hasher: &mut H) {
        self.digest_stored(hasher);
        self.commit.hash(hasher);
        self.promised_to.hash(hasher);
        (self.begins, self.stopped, self.obliged()).hash(hasher);
        self.contact.hash(hasher);
        (self.election.seen, self.election.failures.min(1)).hash(hasher);
        let due = |PromiseDue { to, link }: &PromiseDue| {
            (*to, self.peers.get(to).is_some_and(|peer| peer.link == *link))
        };
        self.promise_due.as_ref().map(due).hash(hasher);
        self.copies.digest(hasher);
        match &self.role {
            Role::Follower(follower) => (0, follower.digest()).hash(hasher),
            Role::Proposer(proposer) => (1, proposer.digest()).hash(hasher),
            Role::Candidate(candidate) => candidate.digest(self.now, hasher),
            Role::Leader(leader) => leader.digest(self.now, hasher),
        }
        for (node, peer) in &self.peers {
            node.hash(hasher);
            peer.digest(hasher);
        }
        self.leases.digest(self.now, hasher);
        self.reads.hash(hasher);
        self.timers.running().for_each(|timer| timer.hash(hasher));
    }

    fn digest_stored<H: Hasher>(&self, hasher: &mut H) {
        let stored = &self.stored;
        (stored.boot, stored.promised, stored.established, stored.voter).hash(hasher);
        stored.pending.hash(hasher);
        digest_log(&stored.log, hasher);
        // Which of what was given to the storage is durable.
        let marks = &self.marks;
        let open = |mark| !self.is_durable(mark);
        [marks.boot, marks.promise, marks.adopt, marks.voter, marks.cluster].map(open).hash(hasher);
        marks.durable.hash(hasher);
        marks.appended.iter().for_each(|(_, index)| index.hash(hasher));
    }
}

/// Feeds `hasher` with a log: what it holds, and from where on.
fn digest_log<H: Hasher>(log: &Log, hasher: &mut H) {
    (log.first(), log.snapshot_index()).hash(hasher);
    log.entries(log.first(), usize::MAX).for_each(|entry| entry.hash(hasher));
}

/// A deadline as the digest sees it: how far ahead it is, or that it is over.
pub(super) fn ahead(at: Instant, now: Instant) -> u128 {
    at.since(now).as_micros()
}
