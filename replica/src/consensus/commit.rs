//! The commit rule (R13, R15, R27, R28): when an entry can no longer be lost.

use rollcall_shared::id::NodeId;

use super::ids::Index;
use super::quorum::commits;
use super::timers::Timer;
use super::{Consensus, Output, Role};
use crate::fault::{Fault, planted};

impl Consensus {
    /// Commits what can be committed (R13).
    pub(super) fn advance_commit(&mut self) {
        for node in self.leases.drop_ended(self.now) {
            if matches!(self.role, Role::Leader(_)) {
                self.penalise(node);
            }
        }
        // An admission that is committed makes acknowledgements count: look again.
        while let Some(index) = self.committable() {
            self.committed(index);
        }
        self.await_leases();
        self.settle();
    }

    /// The last entry above the commit index that all three conditions of R13 hold for.
    fn committable(&self) -> Option<Index> {
        let Role::Leader(leader) = &self.role else { return None };
        if self.now < leader.commit_from {
            return None;
        }
        let followers = leader.followers.values().filter_map(|follower| follower.acked);
        let mut steps: Vec<_> =
            followers.flat_map(|(received, durable)| [received, durable]).collect();
        steps.push(self.marks.durable);
        // What an acknowledgement counts for changes where somebody is admitted.
        steps.extend(self.admissions.after(self.commit).map(Index::previous));
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps.into_iter().filter(|index| *index > self.commit).find(|&index| {
            self.is_durable_in_quorum(index) && self.is_received_by_lease_holders(index)
        })
    }

    /// R13.1: durable at more than half of the voters, or at half of them with the leader.
    fn is_durable_in_quorum(&self, index: Index) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let mine = self.marks.durable >= index && self.is_admitted(index);
        let has = |node: &&NodeId| {
            let acked = leader.followers.get(node).and_then(|follower| follower.acked);
            acked.is_some_and(|(_, durable)| durable >= index) && self.counts_for(**node, index)
        };
        let count = leader.followers.keys().filter(has).count() + usize::from(mine);
        if planted(Fault::CommitWithoutQuorum) {
            return mine && count > leader.followers.len();
        }
        commits(&self.config.members, count, mine)
    }

    /// R13.2: every server that may answer reads has it, on the link its lease was given on.
    fn is_received_by_lease_holders(&self, index: Index) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if planted(Fault::NoWaitForLeaseHolders) {
            return true;
        }
        self.leases.grants.iter().filter(|grant| grant.until > self.now).all(|grant| {
            let same = self.peers.get(&grant.node).is_some_and(|peer| peer.link == grant.link)
                || planted(Fault::ReceiptOutlivesLink);
            let acked = leader.followers.get(&grant.node).and_then(|follower| follower.acked);
            same && acked.is_some_and(|(received, _)| received >= index)
        })
    }

    /// Whether an acknowledgement of `node` counts for the entry at `index`: its boot is the last
    /// one admitted at or before it (R28), and that admission is committed, without its help, or
    /// the server has stored that it is a voter, which it knew to be committed (R27).
    fn counts_for(&self, node: NodeId, index: Index) -> bool {
        let Some(peer) = self.peers.get(&node) else { return false };
        let Some(hello) = &peer.hello else { return false };
        self.admissions.at(node, index).is_some_and(|(at, boot)| {
            boot == hello.boot
                && (at <= self.commit || peer.voter || planted(Fault::AdmitCountsItself))
        })
    }

    /// Whether this server is the one that was admitted last at or before the entry at `index`: one
    /// that was replaced, and does not know it yet, counts for nothing either (R28).
    pub(super) fn is_admitted(&self, index: Index) -> bool {
        let admitted = self.admissions.at(self.config.me, index).map(|(_, boot)| boot);
        admitted.is_some() && admitted == self.stored.boot
    }

    /// Whether an acknowledgement of `node` counts for what is no entry, such as a heartbeat.
    pub(super) fn counts_now(&self, node: NodeId) -> bool {
        self.counts_for(node, Index(u64::MAX))
    }

    /// Sets the timer for the end of what commits wait for, if entries wait.
    fn await_leases(&mut self) {
        let now = self.now;
        self.timers.stop(Timer::Commit);
        let last = self.stored.log.last();
        let Role::Leader(leader) = &self.role else { return };
        if last <= self.commit {
            self.leases.grants.iter_mut().for_each(|grant| grant.awaited = false);
            return;
        }
        if leader.commit_from > now {
            let from = leader.commit_from;
            self.timers.set(Timer::Commit, from);
            return;
        }
        let next = self.commit.next();
        if !self.is_durable_in_quorum(next) {
            return;
        }
        let lacks = |node: NodeId, link| {
            let same = self.peers.get(&node).is_some_and(|peer| peer.link == link);
            let acked = leader.followers.get(&node).and_then(|follower| follower.acked);
            !same || acked.is_none_or(|(received, _)| received < next)
        };
        let awaited: Vec<_> =
            self.leases.grants.iter().map(|grant| lacks(grant.node, grant.link)).collect();
        for (grant, awaited) in self.leases.grants.iter_mut().zip(awaited) {
            grant.awaited = awaited;
        }
        let ends = self.leases.grants.iter().filter(|grant| grant.awaited).map(|g| g.until).min();
        if let Some(end) = ends {
            self.timers.set(Timer::Commit, end);
        }
    }

    /// A leader whose initial log a commit quorum acknowledged is settled, even if that log is empty;
    /// one of a new cluster serves clients once all servers are there (R26).
    fn settle(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let (epoch, init, settled) = (leader.epoch, leader.init, leader.settled);
        if !leader.complete {
            let there = |node: NodeId| {
                node == self.config.me
                    || (self.peers.get(&node).is_some_and(|peer| peer.voter)
                        && self.counts_now(node)
                        && leader.followers.get(&node).is_some_and(|f| f.acked.is_some()))
            };
            let complete = self.config.members.ids().all(there);
            if let Role::Leader(leader) = &mut self.role {
                leader.complete = complete;
            }
        }
        let settled = settled || (self.commit >= init && self.is_durable_in_quorum(init));
        let Role::Leader(leader) = &mut self.role else { return };
        leader.settled = settled;
        if settled && leader.complete && !leader.announced {
            leader.announced = true;
            self.outputs.push_back(Output::Settled { epoch });
        }
    }

    /// Takes in that all up to `index` is committed.
    pub(super) fn committed(&mut self, index: Index) {
        if index <= self.commit {
            return;
        }
        self.commit = index;
        self.copies.aside.committed(index);
        match self.outputs.back_mut() {
            Some(Output::Committed(last)) => *last = index,
            _ => self.outputs.push_back(Output::Committed(index)),
        }
        self.take_admission();
    }
}
