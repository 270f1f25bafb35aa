//! Suspicion, proposal and agreement (R3–R6): who should be the next candidate.
//!
//! Nothing here is stored and nothing here is safety: whatever is decided, the candidate still needs
//! the promises of `candidate`. So a server that flaps, or is cut off one way, disturbs no leader.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

use rollcall_shared::id::NodeId;

use super::ids::{Epoch, Index};
use super::message::{Message, Opinion};
use super::quorum::{Standing, elects};
use super::timers::Timer;
use super::{Consensus, Follower, Role};

/// A leader or candidate that was heard of lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contact {
    /// Which server.
    pub(super) with: NodeId,
    /// Whether it leads already.
    pub(super) leads: bool,
}

/// What this server remembers of elections, whatever its role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Election {
    /// The highest epoch that any server was heard to have promised.
    pub(super) seen: Epoch,
    /// How many tries in a row have failed.
    pub(super) failures: u32,
    /// The number of the last proposal.
    round: u64,
}

/// A server that asks whether the leader is gone for others too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer {
    pub(super) round: u64,
    opinions: BTreeMap<NodeId, Opinion>,
    /// Whether a candidate was chosen in this round.
    decided: bool,
}

impl Proposer {
    /// See [`Consensus::digest`].
    pub(super) fn digest(&self) -> impl Hash {
        let opinions = self.opinions.iter().map(|(node, opinion)| (*node, opinion.agrees));
        (self.decided, opinions.collect::<Vec<_>>())
    }
}

impl Consensus {
    /// Waits for a leader as long as one may be silent.
    pub(super) fn await_contact(&mut self) {
        let timings = &self.config.timings;
        let wait = timings.suspect + self.random.up_to(timings.suspect_jitter);
        self.timers.set(Timer::Suspect, self.now + wait);
    }

    /// The leader or candidate counts as gone (R3).
    pub(super) fn lose_contact(&mut self) {
        self.contact = None;
        self.timers.stop(Timer::Suspect);
        if self.is_voter() && !matches!(self.role, Role::Candidate(_) | Role::Leader(_)) {
            self.propose_election();
        }
    }

    /// Asks all whether the leader is gone for them too (R4).
    pub(super) fn propose_election(&mut self) {
        self.election.round += 1;
        let round = self.election.round;
        self.contact = None;
        self.timers.stop(Timer::Suspect);
        self.timers.stop(Timer::Gather);
        let opinions = BTreeMap::from([(self.config.me, self.opinion(round))]);
        self.role = Role::Proposer(Proposer { round, opinions, decided: false });
        let wait = self.retry_wait();
        self.timers.set(Timer::Retry, self.now + wait);
        for node in self.linked() {
            self.send(node, Message::Propose { round });
        }
        self.weigh_opinions();
    }

    /// The election did not succeed in time (R8).
    pub(super) fn retry_election(&mut self) {
        if matches!(self.role, Role::Proposer(_) | Role::Candidate(_)) {
            self.election.failures += 1;
            if matches!(self.role, Role::Candidate(_)) {
                self.break_off_copy();
            }
            self.propose_election();
        }
    }

    /// How long an election may take: random, so that rivals part, and doubling with each failure,
    /// so that disks slower than the first value can still elect (R8).
    pub(super) fn retry_wait(&mut self) -> Duration {
        let timings = &self.config.timings;
        let doubled = timings.elect_retry.saturating_mul(1 << self.election.failures.min(10));
        let least = doubled.min(timings.elect_retry_max / 2);
        least + self.random.up_to(least)
    }

    pub(super) fn handle_propose(&mut self, node: NodeId, round: u64) {
        // Who proposes does not lead and does not try to (R3).
        if self.contact.is_some_and(|contact| contact.with == node) {
            self.contact = None;
            self.role = Role::Follower(Follower::default());
            self.await_contact();
        }
        let opinion = self.opinion(round);
        self.send(node, Message::Opinion(opinion));
    }

    fn opinion(&self, round: u64) -> Opinion {
        let busy = matches!(self.role, Role::Candidate(_) | Role::Leader(_));
        Opinion {
            round,
            agrees: self.is_voter() && self.contact.is_none() && !busy,
            promised: self.stored.promised,
            established: self.stored.established,
            pending: self.stored.pending.clone(),
            commit: self.commit,
            snapshot: self.stored.log.snapshot_index(),
        }
    }

    pub(super) fn handle_opinion(&mut self, node: NodeId, opinion: Opinion) {
        self.election.seen = self.election.seen.max(opinion.promised);
        if let Role::Proposer(proposer) = &mut self.role
            && proposer.round == opinion.round
        {
            proposer.opinions.insert(node, opinion);
            self.weigh_opinions();
        }
    }

    /// Chooses a candidate as soon as all who are linked have answered, or a moment after enough
    /// have: servers with equal views choose the same one (R6).
    fn weigh_opinions(&mut self) {
        let Role::Proposer(proposer) = &self.role else { return };
        if proposer.decided || self.agreement(proposer).is_none() {
            return;
        }
        let answered = |node: &NodeId| proposer.opinions.contains_key(node);
        if self.linked().iter().all(answered) {
            self.elect_from_opinions();
        } else if !self.timers.is_set(Timer::Gather) {
            self.timers.set(Timer::Gather, self.now + self.config.timings.heartbeat);
        }
    }

    /// Chooses a candidate among those who agree, if they are enough.
    pub(super) fn elect_from_opinions(&mut self) {
        let Role::Proposer(proposer) = &self.role else { return };
        let Some((epoch, candidate)) = self.agreement(proposer).filter(|_| !proposer.decided)
        else {
            return;
        };
        if let Role::Proposer(proposer) = &mut self.role {
            proposer.decided = true;
        }
        self.timers.stop(Timer::Gather);
        if candidate == self.config.me {
            self.prepare(epoch);
        } else {
            self.send(candidate, Message::Elect { epoch });
        }
    }

    /// The next epoch and its leader, if those who agree can elect it (R5, R6).
    fn agreement(&self, proposer: &Proposer) -> Option<(Epoch, NodeId)> {
        let agreeing = || proposer.opinions.iter().filter(|(_, opinion)| opinion.agrees);
        let highest = agreeing().map(|(_, opinion)| opinion.snapshot).max().unwrap_or(Index(0));
        // A first try skips those who would have to load a snapshot before they could lead.
        let ready = |opinion: &Opinion| self.election.failures > 0 || opinion.commit >= highest;
        let candidates = agreeing().filter(|(_, opinion)| ready(opinion)).map(|(node, _)| *node);
        let seen = self.election.seen.max(self.stored.promised);
        let epoch = self.config.members.next_epoch(seen, &candidates.collect())?;
        let standing = |opinion: &Opinion| Standing {
            established: opinion.established,
            pending: opinion.pending.clone(),
        };
        let set = agreeing().map(|(node, opinion)| (*node, standing(opinion))).collect();
        let candidate = self.config.members.leader(epoch);
        elects(&self.config.members, epoch, &set).then_some((epoch, candidate))
    }

    pub(super) fn handle_elect(&mut self, node: NodeId, epoch: Epoch) {
        let mine = self.config.members.leader(epoch) == self.config.me;
        if !self.is_voter() || !mine || epoch <= self.stored.promised {
            return;
        }
        // The leader itself is always obeyed: it hands over (R24).
        let from_leader = self.contact == Some(Contact { with: node, leads: true });
        let busy = matches!(self.role, Role::Candidate(_) | Role::Leader(_));
        if from_leader || (self.contact.is_none() && !busy) {
            self.prepare(epoch);
        }
    }
}
