//! The follower's part: whom it obeys, what it promises and what it acknowledges (R1, R1a, R7, R11,
//! R13, R16).

use std::hash::Hash;
use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::election::Contact;
use super::ids::{Epoch, Index, PeerLink};
use super::journal::Record;
use super::lease::ReadLease;
use super::log::{Entry, Outline};
use super::message::{Heartbeat, Message, Position, Promise};
use super::peer::Violation;
use super::timers::Timer;
use super::transfer::{Staging, follows_from};
use super::{Consensus, Output, PromiseDue, Role};
use crate::fault::{Fault, planted};

/// A server that follows a leader or waits for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Follower {
    /// What it acknowledged last.
    acked: Option<Acked>,
}

/// An acknowledgement: the same one is not sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acked {
    link: PeerLink,
    epoch: Epoch,
    received: Index,
    durable: Index,
    voter: bool,
}

impl Follower {
    /// See [`Consensus::digest`].
    pub(super) fn digest(&self) -> impl Hash {
        self.acked.map(|acked| (acked.epoch, acked.received, acked.durable, acked.voter))
    }
}

impl Consensus {
    /// Promises `epoch`, whoever asked: nothing lower is obeyed from here on (R1, R7).
    pub(super) fn raise(&mut self, epoch: Epoch) {
        if !planted(Fault::LeaseOutlivesPromise) {
            self.leases.read = None;
        }
        self.resign(true);
        self.end_copies();
        self.role = Role::Follower(Follower::default());
        self.contact = None;
        self.timers.stop(Timer::Retry);
        self.timers.stop(Timer::Gather);
        self.promised_to = None;
        self.promise_due = None;
        self.store(Record::Promise(epoch));
    }

    /// Whether a message of `epoch` from `node`, which says that it leads or will lead it, is obeyed
    /// (R1). A server without a vote promises nothing: it only follows.
    fn obeys(&mut self, node: NodeId, epoch: Epoch) -> Result<bool, Violation> {
        if self.config.members.leader(epoch) != node {
            return Err(Violation::Leader);
        }
        let promised = self.obliged();
        if epoch < promised && !planted(Fault::OldEpochsObeyed) {
            self.send(node, Message::Nack { epoch, promised });
            return Ok(false);
        }
        if epoch > promised {
            if self.stored.voter {
                self.raise(epoch);
            } else {
                self.end_copies();
                self.followed = epoch;
            }
        }
        Ok(true)
    }

    /// The epoch below which this server obeys nobody: what it promised, or, without a vote, heard.
    pub(super) fn obliged(&self) -> Epoch {
        if self.stored.voter {
            self.stored.promised
        } else {
            self.stored.promised.max(self.followed)
        }
    }

    /// Takes `node` as the leader.
    fn follow(&mut self, node: NodeId) {
        if !matches!(self.role, Role::Follower(_)) {
            self.role = Role::Follower(Follower::default());
        }
        self.contact = Some(Contact { with: node, leads: true });
        self.election.failures = 0;
        self.timers.stop(Timer::Retry);
        self.timers.stop(Timer::Gather);
        self.await_contact();
    }

    pub(super) fn handle_prepare(&mut self, node: NodeId, epoch: Epoch) -> Result<(), Violation> {
        if self.config.members.leader(epoch) != node {
            return Err(Violation::Leader);
        }
        if !self.is_voter() {
            return Ok(());
        }
        let Some((link, process)) = self
            .peers
            .get(&node)
            .and_then(|peer| peer.hello.as_ref().map(|hello| (peer.link, hello.process)))
        else {
            return Ok(());
        };
        let promised = self.stored.promised;
        if epoch > promised {
            self.raise(epoch);
            self.promised_to = Some(process);
        } else if epoch < promised || self.promised_to != Some(process) {
            // A candidate that restarted does not resume: its promises may be those of entries it
            // no longer has (R7).
            self.send(node, Message::Nack { epoch, promised });
            return Ok(());
        } else if matches!(self.role, Role::Proposer(_)) {
            self.role = Role::Follower(Follower::default());
            self.timers.stop(Timer::Retry);
            self.timers.stop(Timer::Gather);
        }
        // A candidate's word counts as contact until it could have tried again (R3).
        if self.contact != Some(Contact { with: node, leads: true }) {
            self.contact = Some(Contact { with: node, leads: false });
            let wait = self.retry_wait();
            self.timers.set(Timer::Suspect, self.now + wait);
        }
        self.promise_due = Some(PromiseDue { to: node, link });
        self.send_promise_due();
        Ok(())
    }

    /// Answers PREPARE once the promise is stored.
    pub(super) fn send_promise_due(&mut self) {
        if !self.is_durable(self.marks.promise) && !planted(Fault::PromiseBeforeDurable) {
            return;
        }
        let Some(PromiseDue { to, link }) = self.promise_due.take() else { return };
        if self.peers.get(&to).is_none_or(|peer| peer.link != link) {
            return;
        }
        let promise = Promise {
            epoch: self.stored.promised,
            established: self.stamp(),
            pending: self.stored.pending.clone(),
            last: self.stored.log.last(),
            commit: self.commit,
            admissions: self.admissions.clone(),
            hold: self.leases.left(self.now),
        };
        self.send(to, Message::Promise(promise));
    }

    /// What this server's log is worth: the epoch that stamps the whole of it, not its last entry's
    /// (R9).
    pub(super) fn stamp(&self) -> Epoch {
        let log = &self.stored.log;
        match log.epoch_at(log.last()).filter(|_| planted(Fault::LogByLastEntry)) {
            Some(epoch) => epoch,
            None => self.stored.established,
        }
    }

    pub(super) fn handle_heartbeat(
        &mut self,
        node: NodeId,
        heartbeat: Heartbeat,
    ) -> Result<(), Violation> {
        let Heartbeat { epoch, commit, sent, echo, grant } = heartbeat;
        if echo.is_some_and(|echo| echo > self.now) {
            return Err(Violation::Acknowledgement);
        }
        if !self.obeys(node, epoch)? {
            return Ok(());
        }
        self.follow(node);
        self.learn_commit(epoch, commit);
        if let Some(echo) = echo {
            self.leases.confirmed = self.leases.confirmed.max(echo);
            let current = self.stored.promised == epoch && self.stored.established == epoch;
            if !grant.is_zero() && current && self.is_voter() {
                self.leases.read = Some(ReadLease { epoch, until: echo + grant });
            }
        }
        // Acknowledged only under a promise that is stored (R16): the leader's lease rests on it.
        if self.stored.voter && (self.stored.promised != epoch || !self.promise_is_durable()) {
            return Ok(());
        }
        self.leases.hold(self.now, self.config.timings.hold);
        self.report_links(node, epoch);
        self.send(node, Message::HeartbeatAck { epoch, echo: sent, sent: self.now });
        Ok(())
    }

    fn promise_is_durable(&self) -> bool {
        self.is_durable(self.marks.promise)
    }

    /// Makes sure that the leader hears of the clients linked here before any acknowledgement (R32).
    fn report_links(&mut self, leader: NodeId, epoch: Epoch) {
        let Some(peer) = self.peers.get_mut(&leader) else { return };
        if peer.reported != Some(epoch) {
            peer.reported = Some(epoch);
            let link = peer.link;
            self.outputs.push_back(Output::Following { leader, link, epoch });
        }
    }

    pub(super) fn handle_new_epoch(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        init: Index,
        outline: &Outline,
    ) -> Result<(), Violation> {
        if !outline.is_valid() || init > outline.last {
            return Err(Violation::Log);
        }
        if !self.obeys(node, epoch)? {
            return Ok(());
        }
        self.follow(node);
        self.leave_if_replaced();
        self.reads.ask_anew();
        self.break_off_copy();
        // Who leads copies nothing.
        self.copies.offers.end(node);
        let adopted = self.adopted() == Some(epoch);
        if adopted && self.stored.log.last() >= outline.base.0 {
            if let Role::Follower(follower) = &mut self.role {
                follower.acked = None;
            }
            return Ok(());
        }
        self.copy_from(node, epoch, init);
        Ok(())
    }

    /// Begins to copy the log of `node`, which leads `epoch` and had entries up to `init` then.
    fn copy_from(&mut self, node: NodeId, epoch: Epoch, init: Index) {
        self.copies.copying = Some(Box::new(Staging::new(epoch, node, init)));
        let from = Position::Outline(self.stored.log.outline());
        self.send(node, Message::Fetch { epoch, from });
    }

    /// The epoch whose log this server holds; none while it holds nothing.
    pub(super) fn adopted(&self) -> Option<Epoch> {
        self.stored.log.cluster().map(|_| self.stored.established)
    }

    pub(super) fn handle_append(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        first: Index,
        mut entries: Vec<Arc<Entry>>,
        commit: Index,
    ) -> Result<(), Violation> {
        if !self.obeys(node, epoch)? {
            return Ok(());
        }
        let next = self.stored.log.last().next();
        if self.adopted() != Some(epoch) || first > next || first.0 == 0 {
            return Err(Violation::Log);
        }
        // What is held already is the same: the log is a prefix of the leader's.
        let held = usize::try_from(next.0 - first.0).unwrap_or(usize::MAX).min(entries.len());
        entries.drain(..held);
        if !follows_from(next, &entries, epoch) {
            return Err(Violation::Log);
        }
        if !entries.is_empty() {
            for (offset, entry) in entries.iter().enumerate() {
                self.admissions.apply(Index(next.0 + offset as u64), entry);
            }
            self.store(Record::Append { first: next, entries });
            if planted(Fault::PushBeforeCommit) {
                self.committed(self.stored.log.last());
            }
        }
        self.learn_commit(epoch, commit);
        Ok(())
    }

    /// Takes in a commit index of `epoch`: only for a log of that very epoch, and only as far as it
    /// goes (R1a).
    fn learn_commit(&mut self, epoch: Epoch, commit: Index) {
        if self.adopted() == Some(epoch) || planted(Fault::CommitOfOtherEpoch) {
            self.committed(commit.min(self.stored.log.last()));
        }
    }

    /// Acknowledges what the leader's log and this one have in common, if that has changed.
    pub(super) fn send_ack(&mut self) {
        let epoch = self.obliged();
        let leader = self.config.members.leader(epoch);
        let follows = self.contact == Some(Contact { with: leader, leads: true });
        let stored = self.promise_is_durable() && self.is_durable(self.marks.adopt);
        if !follows || !stored || self.adopted() != Some(epoch) {
            return;
        }
        let received = self.stored.log.last();
        let early = planted(Fault::AckBeforeDurable);
        let durable = if early { received } else { self.marks.durable };
        let voter = self.is_voter();
        let Some(link) = self.peers.get(&leader).filter(|p| p.hello.is_some()).map(|p| p.link)
        else {
            return;
        };
        let ack = Acked { link, epoch, received, durable, voter };
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.acked == Some(ack) || self.copies.copying.is_some() {
            return;
        }
        follower.acked = Some(ack);
        self.report_links(leader, epoch);
        self.send(leader, Message::Ack { epoch, received, durable, voter });
    }
}
