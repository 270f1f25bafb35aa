//! What servers tell each other about the sessions and writes of clients (section 7).
//!
//! Owns the types; the rules are kept by `sessions`.

use rollcall_shared::id::{ClientId, RequestId, SessionNumber};
use serde::{Deserialize, Serialize};

use crate::command::{Generation, Principal, Write};
use crate::consensus::ids::Epoch;
use crate::replica::{LinkId, NoSession};

/// A message about sessions. Each carries the epoch of the leader it is to or from, and is ignored
/// in any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionMessage {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// What it says.
    pub body: SessionBody,
}

/// What a [`SessionMessage`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionBody {
    /// To the leader: these links need a session (R29, R32); [`MAX_ATTACHES`] at most.
    Attach(Vec<Attach>),
    /// From the leader: the session of a link (R30).
    Attached {
        /// The link, of the server that asked.
        link: LinkId,
        /// Its session, or why it has none.
        session: Result<Session, NoSession>,
    },
    /// To the leader: the last link of a client has ended here (R31).
    Detach {
        /// Whose.
        client: ClientId,
        /// Who stands behind it.
        principal: Principal,
    },
    /// To the leader: a client's write. It is answered by whoever has the link, when it has applied
    /// it.
    Write {
        /// Whose.
        client: ClientId,
        /// The session it belongs to.
        generation: Generation,
        /// Its number.
        request: RequestId,
        /// What to do.
        write: Write,
    },
    /// From the leader: a write was not taken because too much waits already.
    Overloaded {
        /// Whose.
        client: ClientId,
        /// Its number.
        request: RequestId,
    },
}

/// The most links in one [`SessionBody::Attach`]: some hundred KiB where all ids are as long as they
/// may be.
pub const MAX_ATTACHES: usize = 1_000;

/// A live session, as its client is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// Which life of the client's session.
    pub generation: Generation,
    /// The same for clients.
    pub number: SessionNumber,
    /// Above every request applied so far.
    pub next_id: RequestId,
}

/// A link that needs a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attach {
    /// The link, of the server that asks.
    pub link: LinkId,
    /// Whose it is.
    pub client: ClientId,
    /// Who stands behind it.
    pub principal: Principal,
}
