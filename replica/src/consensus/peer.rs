//! The links to the other servers: who is at their end, and whether it is still there.
//!
//! Owns what is true of any link whatever the roles at its ends; what belongs to a leadership is in
//! `leader`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::config::Timings;
use super::ids::{Epoch, PeerLink};
use super::log::Op;
use super::message::{Frame, Hello, Message};
use super::{Consensus, Output, Role};
use crate::fault::{Fault, planted};

/// The most epochs by which another server may be ahead: more than there will be, and few enough
/// that no peer can use them up.
const EPOCH_LEAP: u64 = 1 << 32;

/// A link to another server.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) link: PeerLink,
    /// Who is there; none before its HELLO came.
    pub(super) hello: Option<Hello>,
    /// Whether it says that it is a voter, in HELLO or since.
    pub(super) voter: bool,
    /// When something came last.
    heard: Instant,
    /// When something was sent last.
    sent: Instant,
    /// How many messages came.
    received: u64,
    /// How many messages were given out to be sent.
    numbered: u64,
    /// The epoch in which the clients linked here were reported on this link (R32).
    pub(super) reported: Option<Epoch>,
}

/// Why a link between servers was closed by this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing came for too long.
    Silent,
    /// This server has just learned which cluster it belongs to; its next HELLO says so (R26).
    Joined,
    /// The other server said what it must not.
    Violation(Violation),
}

/// What a correct server of the same cluster does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A message was lost, doubled or out of order on the link.
    Order,
    /// Something came before HELLO, or HELLO came twice.
    Hello,
    /// It is not the server this link is to.
    Node,
    /// Its list of members, its timings or its bounds are others.
    Settings,
    /// It belongs to another cluster, or to another life of this one.
    Cluster,
    /// It does not lead the epoch it speaks of.
    Leader,
    /// Part of a log that does not fit.
    Log,
    /// It acknowledged what it was not sent.
    Acknowledgement,
}

impl Violation {
    /// One word for it, for counting.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Hello => "hello",
            Self::Node => "elsewhere",
            Self::Settings => "settings",
            Self::Cluster => "cluster",
            Self::Leader => "leader",
            Self::Log => "log",
            Self::Acknowledgement => "acknowledgement",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "nothing was heard from it",
            Self::Joined => "this server joined the cluster and says so on a new link",
            Self::Violation(violation) => match violation {
                Violation::Order => "a message on the link was lost, doubled or out of order",
                Violation::Hello => "a link begins with one HELLO",
                Violation::Node => "another server answered; check the addresses of the members",
                Violation::Settings => {
                    "its members, timings or limits are others; give all servers the same ones"
                }
                Violation::Cluster => {
                    "it belongs to another cluster; to let it join this one, empty its data"
                }
                Violation::Leader => "it does not lead the epoch it speaks of",
                Violation::Log => "it sent part of a log that does not fit",
                Violation::Acknowledgement => "it acknowledged what it was not sent",
            },
        })
    }
}

impl Peer {
    /// See [`Consensus::digest`](super::Consensus::digest).
    pub(super) fn digest<H: Hasher>(&self, hasher: &mut H) {
        let hello = self.hello.as_ref();
        let hello = hello.map(|hello| (hello.boot, hello.process, hello.cluster, hello.voter));
        (hello, self.voter, self.reported).hash(hasher);
    }

    /// The number of the next message on this link.
    pub(super) const fn number_next(&mut self) -> u64 {
        let number = self.numbered;
        self.numbered += 1;
        number
    }
}

impl Consensus {
    pub(super) fn handle_link_up(&mut self, node: NodeId, link: PeerLink) {
        if node == self.config.me || !self.config.members.contains(node) {
            return;
        }
        self.drop_link(node);
        let peer = Peer {
            link,
            hello: None,
            voter: false,
            heard: self.now,
            sent: self.now,
            received: 0,
            numbered: 0,
            reported: None,
        };
        self.peers.insert(node, peer);
        if self.boot_is_durable() {
            self.say_hello(node);
        }
    }

    pub(super) fn handle_link_down(&mut self, node: NodeId, link: PeerLink) {
        if self.peers.get(&node).is_some_and(|peer| peer.link == link) {
            self.drop_link(node);
        }
    }

    pub(super) fn handle_frame(&mut self, node: NodeId, link: PeerLink, frame: Frame) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link == link) else {
            return;
        };
        let expected = peer.received;
        peer.received += 1;
        peer.heard = self.now;
        let known = peer.hello.is_some();
        let theirs = peer.hello.as_ref().and_then(|hello| hello.cluster);
        let ours = self.stored.log.cluster();
        let outcome = if frame.number != expected {
            Err(Violation::Order)
        } else if ours.zip(theirs).is_some_and(|(ours, theirs)| ours != theirs) {
            // This server has joined a cluster since, and not that one (R26).
            Err(Violation::Cluster)
        } else if frame.message.epoch().0 > self.stored.promised.0.saturating_add(EPOCH_LEAP) {
            Err(Violation::Leader)
        } else {
            match frame.message {
                Message::Hello(hello) if !known => self.handle_hello(node, hello),
                _ if !known => Err(Violation::Hello),
                message => self.handle_message(node, message),
            }
        };
        if let Err(violation) = outcome {
            self.close_link(node, CloseReason::Violation(violation));
        }
    }

    /// How many messages came from `node` on the link of now: the number of the next one.
    #[must_use]
    pub fn received_from(&self, node: NodeId) -> u64 {
        self.peers.get(&node).map_or(0, |peer| peer.received)
    }

    /// Sends HELLO on every link that waited for this server's boot to be stored.
    pub(super) fn say_hello_to_all(&mut self) {
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            self.say_hello(node);
        }
    }

    fn say_hello(&mut self, node: NodeId) {
        let Some(boot) = self.stored.boot else { return };
        let hello = Hello {
            node: self.config.me,
            boot,
            process: self.config.process,
            // Even before it is durable: who has copied anything is not empty (R26).
            cluster: self.stored.log.cluster(),
            voter: self.is_voter(),
            settings: self.settings,
            promised: self.stored.promised,
        };
        self.send(node, Message::Hello(hello));
    }

    fn handle_hello(&mut self, node: NodeId, hello: Hello) -> Result<(), Violation> {
        if hello.node != node {
            return Err(Violation::Node);
        }
        if hello.settings != self.settings {
            return Err(Violation::Settings);
        }
        let ours = self.stored.log.cluster();
        if ours.zip(hello.cluster).is_some_and(|(ours, theirs)| ours != theirs) {
            return Err(Violation::Cluster);
        }
        self.election.seen = self.election.seen.max(hello.promised);
        let empty = hello.cluster.is_none();
        let boot = hello.boot;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.voter = hello.voter;
            peer.hello = Some(hello);
        }
        if empty && self.is_voter() {
            self.send_init(node, boot);
        }
        self.try_first_start();
        match &self.role {
            Role::Leader(_) => self.greet_follower(node),
            Role::Candidate(_) => self.send_prepare(node),
            Role::Proposer(proposer) => {
                let round = proposer.round;
                self.send(node, Message::Propose { round });
            }
            Role::Follower(_) => {}
        }
        Ok(())
    }

    /// An empty server whose boot the log's first entry names gets that entry, whoever leads (R26).
    fn send_init(&mut self, node: NodeId, boot: super::ids::Boot) {
        let Some(entry) = self.stored.log.entry(super::ids::Index(1)).cloned() else { return };
        // What is loaded behind INIT belongs to it: that is copied as a whole, or not at all.
        if let Op::Init(init) = &entry.op
            && init.boots.contains(&(node, boot))
            && !init.restored
        {
            self.send(node, Message::Init { entry });
        }
    }

    /// Looks after the links: a sign of life where nothing else was said, an end where nothing came.
    pub(super) fn tend_links(&mut self) {
        let suspect = self.config.timings.suspect;
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get(&node) else { continue };
            if self.now.since(peer.heard) >= suspect {
                self.close_link(node, CloseReason::Silent);
            } else if self.now.since(peer.sent) + self.config.timings.heartbeat > Timings::ALIVE
                && self.boot_is_durable()
            {
                self.send(node, Message::Alive);
            }
        }
    }

    /// Closes the links to all, so that the next HELLO names the cluster (R26). That says nothing of
    /// the leader: it is suspected when nothing is heard of it on the next link either.
    pub(super) fn close_all_links(&mut self) {
        let contact = self.contact.take();
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            self.close_link(node, CloseReason::Joined);
        }
        if contact.is_some() {
            self.contact = contact;
            self.await_contact();
        }
    }

    pub(super) fn close_link(&mut self, node: NodeId, why: CloseReason) {
        if let Some(peer) = self.peers.get(&node) {
            let link = peer.link;
            self.outputs.push_back(Output::Close { peer: node, link, why });
            self.drop_link(node);
        }
    }

    /// Forgets a link and all that belongs to it: what was received and who holds a grant on it is
    /// reported anew on the next one (R13, R18). What was copied of a snapshot stays, at both ends.
    fn drop_link(&mut self, node: NodeId) {
        let Some(peer) = self.peers.remove(&node) else { return };
        self.outputs.push_back(Output::Unlinked { peer: node, link: peer.link });
        self.reads.link_ended(node);
        if let Role::Leader(leader) = &mut self.role
            && !planted(Fault::ReceiptOutlivesLink)
        {
            leader.followers.remove(&node);
        }
        self.copies.offers.link_ended(node, self.stored.log.last());
        self.abandon_source(node);
        if self.contact.is_some_and(|contact| contact.with == node) {
            self.lose_contact();
        }
    }

    /// Sends `message` on the link to `node`, if there is one.
    pub(super) fn send(&mut self, node: NodeId, message: Message) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let frame = Frame { number: 0, message };
        peer.sent = self.now;
        self.outputs.push_back(Output::Send { peer: node, link: peer.link, frame });
    }

    /// The servers that are linked and have said who they are.
    pub(super) fn linked(&self) -> Vec<NodeId> {
        let known = self.peers.iter().filter(|(_, peer)| peer.hello.is_some());
        known.map(|(node, _)| *node).collect()
    }

    /// How long `node` has been silent, if it is linked.
    #[must_use]
    pub fn silence(&self, now: Instant, node: NodeId) -> Option<Duration> {
        let peer = self.peers.get(&node).filter(|peer| peer.hello.is_some())?;
        Some(now.since(peer.heard))
    }
}
