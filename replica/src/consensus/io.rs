//! What goes into the consensus core and what comes out of it.
//!
//! Owns the types alone.

use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::ids::{Epoch, Index, Lsn, PeerLink, ReadId};
use super::journal::Record;
use super::log::Snapshot;
use super::message::Frame;
use super::peer::CloseReason;
use crate::sessions::message::SessionMessage;

/// What happens to the server.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a link to another server, ready to carry messages. One that was there before has
    /// ended.
    LinkUp {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
    },
    /// A link has ended.
    LinkDown {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
    },
    /// A message came on a link.
    Received {
        /// From which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
        /// The message.
        frame: Frame,
    },
    /// All records up to this one are durable. Records are numbered 1, 2, … in the order in which
    /// [`Output::Store`] was polled.
    Stored {
        /// The last one.
        through: Lsn,
    },
    /// A record could not be stored. Nothing is tried again: what the disk has now is not known, so
    /// the server ends (section 2 of docs/replication.md).
    StorageFailed,
    /// The server is to shut down: a leader hands over first (R24). Ends with [`Output::Stop`].
    Shutdown,
}

/// What is to be done, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message is due to another server.
    Send {
        /// To which server.
        peer: NodeId,
        /// On which link.
        link: PeerLink,
        /// The message.
        frame: Frame,
    },
    /// A link is to be closed; nothing of it counts any more.
    Close {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
        /// Why.
        why: CloseReason,
    },
    /// A link has ended, whoever ended it.
    Unlinked {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
    },
    /// A record is to be stored, behind all before it.
    Store(Record),
    /// This server leads.
    Leading {
        /// The epoch.
        epoch: Epoch,
    },
    /// The leader's log counts: a commit quorum has it.
    Settled {
        /// The epoch.
        epoch: Epoch,
    },
    /// This server leads no longer.
    Resigned {
        /// The epoch it led.
        epoch: Epoch,
        /// Whether another one is on its way to lead, rather than nobody being heard any more (R21).
        replaced: bool,
    },
    /// This server follows a leader, on this link for the first time in this epoch. What is to reach
    /// the leader before any acknowledgement of this epoch is given to [`Consensus::report`](super::Consensus::report) now
    /// (R32).
    Following {
        /// The leader.
        leader: NodeId,
        /// The link to it.
        link: PeerLink,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Entries up to this one are committed.
    Committed(Index),
    /// The state is that of a snapshot now, whatever was applied before.
    Installed(Arc<Snapshot>),
    /// A read may be answered when the entry at `point` has been applied (R19).
    ReadPoint {
        /// The read.
        read: ReadId,
        /// The entry.
        point: Index,
    },
    /// A message about sessions came.
    Session {
        /// From which server.
        peer: NodeId,
        /// On which link.
        link: PeerLink,
        /// The message.
        message: SessionMessage,
    },
    /// The server ends. Nothing comes after this.
    Stop(StopReason),
}

/// Why a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It was asked to.
    Shutdown,
    /// Another server was admitted in its place (R28).
    Superseded,
    /// A record could not be stored.
    Storage,
}

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// This server does not lead, or not yet, or no longer.
    NotLeader,
    /// Too many entries wait to be committed.
    Overloaded,
}
