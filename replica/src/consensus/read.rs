//! Read points: up to where a server must have applied before it answers (R19).

use std::collections::BTreeSet;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::ids::{Epoch, Index, ReadId};
use super::message::Message;
use super::quorum::commits;
use super::{Consensus, Output, Role};
use crate::fault::{Fault, planted};

/// Reads that wait for their point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    waiting: BTreeSet<ReadId>,
    asked: Option<Asked>,
    /// The number of the last question.
    number: u64,
}

/// A question on its way to the leader: it serves the reads that were there when it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    node: NodeId,
    epoch: Epoch,
    read: ReadId,
    serves: BTreeSet<ReadId>,
}

impl Reads {
    /// The link to `node` has ended: what was asked there is asked anew.
    pub(super) fn link_ended(&mut self, node: NodeId) {
        if self.asked.as_ref().is_some_and(|asked| asked.node == node) {
            self.ask_anew();
        }
    }

    /// Whoever was asked has forgotten the question: it is asked again.
    pub(super) fn ask_anew(&mut self) {
        let serves = self.asked.take().map(|asked| asked.serves);
        self.waiting.extend(serves.into_iter().flatten());
    }
}

impl Consensus {
    /// A read has arrived. [`Output::ReadPoint`] says up to where the state must have been applied;
    /// it comes when it can, and not before [`Consensus::forget_read`] ends the waiting.
    pub fn read(&mut self, now: Instant, read: ReadId) {
        self.now = now;
        match self.read_point(self.now) {
            Some(point) => self.outputs.push_back(Output::ReadPoint { read, point }),
            None => {
                self.reads.waiting.insert(read);
            }
        }
    }

    /// How often a leader was asked for a read point by this server.
    #[must_use]
    pub const fn questions(&self) -> u64 {
        self.reads.number
    }

    /// Nobody waits for the point of this read any more.
    pub fn forget_read(&mut self, read: ReadId) {
        self.reads.waiting.remove(&read);
        if let Some(asked) = &mut self.reads.asked {
            asked.serves.remove(&read);
        }
    }

    /// The read point at `now` by this server's own lease, if it has one.
    #[must_use]
    pub fn read_point(&self, now: Instant) -> Option<Index> {
        self.read_lease(now).map(|(point, _)| point)
    }

    /// The read point at `now` by this server's own lease, and when that lease ends if nothing more
    /// is heard (R17, R18).
    #[must_use]
    pub fn read_lease(&self, now: Instant) -> Option<(Index, Instant)> {
        if let Role::Leader(leader) = &self.role {
            if !self.holds_lease(now) {
                return None;
            }
            // Nobody takes over from a leader that is a commit quorum by itself but by its own
            // promise, so its lease needs no end (R2, R25).
            let alone = commits(&self.config.members, 1, true) && self.counts_itself();
            let end = if alone {
                Instant::from_micros(u64::MAX)
            } else {
                self.lease_end(now).unwrap_or(now)
            };
            return Some((self.commit.max(leader.init), end));
        }
        let lease = self.leases.read?;
        let current = (lease.epoch == self.stored.promised || planted(Fault::LeaseOutlivesPromise))
            && lease.epoch == self.stored.established;
        (current && now < lease.until).then(|| (self.stored.log.last(), lease.until))
    }

    /// Answers the waiting reads, or asks the leader once for all of them.
    pub(super) fn ask_for_read_point(&mut self) {
        self.answer_read_questions();
        let epoch = self.obliged();
        let leader = self.contact.filter(|contact| contact.leads).map(|contact| contact.with);
        // A leader that is one no more, or leads another epoch, answers no earlier question.
        let asked = self.reads.asked.as_ref();
        if asked.is_some_and(|asked| Some(asked.node) != leader || asked.epoch != epoch) {
            self.reads.ask_anew();
        }
        if self.reads.waiting.is_empty() {
            return;
        }
        if let Some(point) = self.read_point(self.now) {
            for read in std::mem::take(&mut self.reads.waiting) {
                self.outputs.push_back(Output::ReadPoint { read, point });
            }
            return;
        }
        let Some(node) = leader.filter(|_| self.reads.asked.is_none()) else { return };
        if self.peers.get(&node).is_none_or(|peer| peer.hello.is_none()) {
            return;
        }
        self.reads.number += 1;
        let read = ReadId(self.reads.number);
        let serves = std::mem::take(&mut self.reads.waiting);
        self.reads.asked = Some(Asked { node, epoch, read, serves });
        self.send(node, Message::Read { read });
    }

    pub(super) fn handle_read(&mut self, node: NodeId, read: ReadId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(follower) = leader.followers.get_mut(&node)
        {
            follower.asks = Some(read);
        }
    }

    /// As a leader with a lease, answers the questions of followers.
    fn answer_read_questions(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.followers.values().all(|follower| follower.asks.is_none()) {
            return;
        }
        let Some(point) = self.read_point(self.now) else { return };
        let Role::Leader(leader) = &mut self.role else { return };
        let epoch = leader.epoch;
        let asks = |(node, follower): (&NodeId, &mut super::leader::Progress)| {
            follower.asks.take().map(|read| (*node, read))
        };
        for (node, read) in leader.followers.iter_mut().filter_map(asks).collect::<Vec<_>>() {
            self.send(node, Message::ReadPoint { read, epoch, point });
        }
    }

    pub(super) fn handle_read_point(
        &mut self,
        node: NodeId,
        read: ReadId,
        _epoch: Epoch,
        point: Index,
    ) {
        let answered = |asked: &Asked| asked.node == node && asked.read == read;
        if !self.reads.asked.as_ref().is_some_and(answered) {
            return;
        }
        let serves = self.reads.asked.take().map(|asked| asked.serves);
        for read in serves.into_iter().flatten() {
            self.outputs.push_back(Output::ReadPoint { read, point });
        }
    }
}
