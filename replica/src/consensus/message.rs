//! What servers tell each other (the table of section 3 of docs/replication.md).
//!
//! Owns the types; the rules cited are kept by `election`, `leader`, `follower` and `sessions`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;
use serde::{Deserialize, Serialize};

use super::admissions::Admissions;
use super::ids::{Boot, ClusterId, Epoch, Index, ProcessId, ReadId};
use super::log::{Entry, Outline};
use crate::directory::snapshot::{Cursor, Piece};
use crate::sessions::message::SessionMessage;

/// A message and its number on its link: 0, 1, 2, …. The link is first in, first out; the number
/// shows where it was not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// How many were sent before it on this link.
    pub number: u64,
    /// What it says.
    pub message: Message,
}

/// What one server tells another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Who speaks: the first message on a link, in both directions.
    Hello(Hello),
    /// Nothing, so that the link is known to be alive.
    Alive,
    /// The leader leads (R16, R18).
    Heartbeat(Heartbeat),
    /// A follower heard it (R17, R18).
    HeartbeatAck {
        /// The epoch of the heartbeat.
        epoch: Epoch,
        /// When the leader sent it, by the leader's clock.
        echo: Instant,
        /// When it was acknowledged, by the follower's clock.
        sent: Instant,
    },
    /// Is the leader gone for you too? (R4)
    Propose {
        /// The number of the question, by which answers are told apart.
        round: u64,
    },
    /// Answer to [`Message::Propose`] (R5, R6).
    Opinion(Opinion),
    /// Be the candidate of this epoch (R6, R24).
    Elect {
        /// The epoch.
        epoch: Epoch,
    },
    /// Promise me this epoch (R7).
    Prepare {
        /// The epoch.
        epoch: Epoch,
    },
    /// The epoch is promised; how far this server is (R7–R10).
    Promise(Promise),
    /// An epoch above that one is promised (R1).
    Nack {
        /// The epoch that is not obeyed.
        epoch: Epoch,
        /// The one that is promised.
        promised: Epoch,
    },
    /// Send me your log from there on (R10, R11).
    Fetch {
        /// The epoch for which it is needed.
        epoch: Epoch,
        /// From where.
        from: Position,
    },
    /// A part of the log, as answer to [`Message::Fetch`].
    Part {
        /// The epoch of the question.
        epoch: Epoch,
        /// The part.
        part: Part,
    },
    /// The leader is established: this is its initial log (R11).
    NewEpoch {
        /// Its epoch.
        epoch: Epoch,
        /// The last entry of its initial log.
        init: Index,
        /// Where each epoch begins in its log.
        outline: Outline,
    },
    /// Entries to add at the end of the log (R11–R13).
    Append {
        /// The leader's epoch.
        epoch: Epoch,
        /// The place of the first of `entries`.
        first: Index,
        /// The entries, possibly none.
        entries: Vec<Arc<Entry>>,
        /// The leader's commit index.
        commit: Index,
    },
    /// What of the leader's log a follower has (R13, R27).
    Ack {
        /// The leader's epoch.
        epoch: Epoch,
        /// The last entry received.
        received: Index,
        /// The last entry that a crash does not remove.
        durable: Index,
        /// Whether the follower has stored that it is a voter.
        voter: bool,
    },
    /// Entry 1, to an empty server that it names (R26).
    Init {
        /// The entry.
        entry: Arc<Entry>,
    },
    /// Up to where must I have applied to answer? (R19)
    Read {
        /// The number of the question.
        read: ReadId,
    },
    /// Answer to [`Message::Read`], only from a leader that holds its lease.
    ReadPoint {
        /// The number of the question.
        read: ReadId,
        /// The epoch of the leader.
        epoch: Epoch,
        /// The index.
        point: Index,
    },
    /// About the sessions of clients (section 7).
    Session(SessionMessage),
}

impl Message {
    /// The highest epoch it speaks of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Hello(hello) => hello.promised,
            Self::Heartbeat(heartbeat) => heartbeat.epoch,
            Self::Opinion(opinion) => opinion.promised.max(opinion.established),
            Self::Promise(promise) => promise.epoch.max(promise.established),
            Self::Nack { epoch, promised } => (*epoch).max(*promised),
            Self::HeartbeatAck { epoch, .. }
            | Self::Elect { epoch }
            | Self::Prepare { epoch }
            | Self::Fetch { epoch, .. }
            | Self::Part { epoch, .. }
            | Self::NewEpoch { epoch, .. }
            | Self::Append { epoch, .. }
            | Self::Ack { epoch, .. }
            | Self::ReadPoint { epoch, .. } => *epoch,
            Self::Session(message) => message.epoch,
            Self::Alive | Self::Propose { .. } | Self::Init { .. } | Self::Read { .. } => Epoch(0),
        }
    }
}

/// Who a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// Its id.
    pub node: NodeId,
    /// The identity of its stored state.
    pub boot: Boot,
    /// The identity of this start of its process.
    pub process: ProcessId,
    /// The life of the cluster that it belongs to, if it has copied anything of one.
    pub cluster: Option<ClusterId>,
    /// Whether it has stored that it is a voter.
    pub voter: bool,
    /// What must be equal on all servers, as a hash: members, timings, bounds.
    pub settings: u64,
    /// The highest epoch it promised.
    pub promised: Epoch,
}

/// Payload of [`Message::Heartbeat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Its commit index.
    pub commit: Index,
    /// When it was sent, by the leader's clock.
    pub sent: Instant,
    /// When the receiver sent the last acknowledgement that came, by the receiver's clock.
    pub echo: Option<Instant>,
    /// How long after `echo` the receiver may answer reads; zero for not at all.
    pub grant: Duration,
}

/// Payload of [`Message::Opinion`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opinion {
    /// The number of the question.
    pub round: u64,
    /// Whether the leader is gone for this server too.
    pub agrees: bool,
    /// The highest epoch it promised.
    pub promised: Epoch,
    /// The newest epoch whose initial log it has adopted.
    pub established: Epoch,
    /// All epochs it promised since.
    pub pending: BTreeSet<Epoch>,
    /// Its commit index.
    pub commit: Index,
    /// The index of its newest snapshot.
    pub snapshot: Index,
}

/// Payload of [`Message::Promise`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// The epoch that is promised.
    pub epoch: Epoch,
    /// The newest epoch whose initial log this server has adopted.
    pub established: Epoch,
    /// All epochs it promised since.
    pub pending: BTreeSet<Epoch>,
    /// Its last entry.
    pub last: Index,
    /// Its commit index.
    pub commit: Index,
    /// Who was admitted by its log.
    pub admissions: Admissions,
    /// How much longer a lease may rest on its acknowledgements (R15).
    pub hold: Duration,
}

/// Where a [`Message::Fetch`] goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Position {
    /// At the beginning: this is the log of the one who asks.
    Outline(Outline),
    /// At this entry.
    Entry(Index),
    /// In the snapshot of this index.
    Snapshot(Index, Cursor),
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// Entries.
    Entries {
        /// The place of the first one. In the first part it is where the two logs part.
        first: Index,
        /// The entries.
        entries: Vec<Arc<Entry>>,
        /// The last entry that is needed.
        last: Index,
    },
    /// A piece of a snapshot, from which entries follow.
    Snapshot {
        /// The last entry it contains.
        index: Index,
        /// That entry's epoch.
        epoch: Epoch,
        /// The life of the cluster.
        cluster: ClusterId,
        /// Who was admitted.
        admissions: Admissions,
        /// The piece.
        piece: Piece,
    },
}
