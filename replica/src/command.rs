//! What can be done to the directory, and how it ends.
//!
//! Owns the types of commands and outcomes; [`crate::directory`] applies them.

use std::net::IpAddr;

use rollcall_shared::id::{ClientId, Device, RequestId, Revision, Subject, Username};
use rollcall_shared::message::RequestKind;
use rollcall_shared::meta::Meta;
use serde::{Deserialize, Serialize};

use crate::directory::Bounds;
use crate::directory::snapshot::Piece;

/// Who stands behind a session: what ownership is decided by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// Nobody but the client itself.
    Client(ClientId),
    /// The subject of the client's token.
    Subject(Subject),
}

/// One life of a client's session: the index of the command that opened it, behind all indices of
/// earlier lives of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// A step of the directory. Time enters only as [`Command::Expire`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Begins a session, or finds the one that is live.
    Open {
        /// Whose.
        client: ClientId,
        /// Who stands behind it.
        principal: Principal,
    },
    /// A client's write.
    Write {
        /// Whose.
        client: ClientId,
        /// The session it belongs to; in any other it has no effect.
        generation: Generation,
        /// Its number, by which a retry is known.
        request: RequestId,
        /// What to do.
        write: Write,
    },
    /// Ends a session whose client was gone for too long.
    Expire {
        /// Whose.
        client: ClientId,
        /// The session meant; in any other it has no effect.
        generation: Generation,
    },
    /// Changes nothing. From the first one on the cluster is in use (R26).
    Begin,
    /// From here on there may be so many of everything: the servers were started with other limits.
    Bounds(Bounds),
    /// A part of the state that a cluster was restored to begin with; the parts stand behind INIT, in
    /// order.
    Load(Piece),
}

/// What a client may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Write {
    /// Registers a device, or changes its registration.
    Connect {
        /// Whose.
        username: Username,
        /// Which device.
        device: Device,
        /// Where it is reached.
        ip: IpAddr,
        /// The port there.
        port: u16,
        /// What the application keeps with it.
        meta: Option<Meta>,
    },
    /// Ends a registration.
    Disconnect {
        /// Whose.
        username: Username,
        /// Which device.
        device: Device,
    },
    /// Takes sequence numbers.
    Sequence {
        /// How many.
        count: u32,
    },
}

impl Write {
    /// The request it came with: a retry must be of the same kind.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Connect { .. } => RequestKind::ConnectUser,
            Self::Disconnect { .. } => RequestKind::DisconnectUser,
            Self::Sequence { .. } => RequestKind::GetSequenceNumber,
        }
    }
}

/// How a [`Command::Open`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The session is live.
    Live {
        /// Which one.
        generation: Generation,
        /// Above every request applied so far.
        next_id: RequestId,
    },
    /// The client id belongs to another principal.
    Forbidden,
    /// There are too many live sessions.
    Full,
}

/// How a [`Command::Write`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was applied, now or when it came first.
    Applied(Applied),
    /// It is older than the remembered writes; whether it was applied is not known any more.
    Stale,
    /// Its number was used by a write of another kind.
    Reused,
    /// The session is not the one it belongs to.
    NotCurrent,
    /// A bound is reached; not applied and not remembered.
    Full,
}

/// The remembered result of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Applied {
    /// The device is registered.
    Connected {
        /// Whose.
        username: Username,
        /// Which device.
        device: Device,
        /// The revision of the registration.
        revision: Revision,
    },
    /// The registration has ended.
    Disconnected {
        /// Whose.
        username: Username,
        /// Which device.
        device: Device,
        /// The revision of the change.
        revision: Revision,
    },
    /// These numbers are the client's.
    Numbers {
        /// The first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// It was refused, and a retry is refused alike.
    Refused {
        /// What was asked.
        #[serde(with = "write_kind")]
        kind: RequestKind,
        /// Why not.
        refusal: Refusal,
    },
}

impl Applied {
    /// What was asked.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Connected { .. } => RequestKind::ConnectUser,
            Self::Disconnected { .. } => RequestKind::DisconnectUser,
            Self::Numbers { .. } => RequestKind::GetSequenceNumber,
            Self::Refused { kind, .. } => *kind,
        }
    }
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Another principal holds the registration.
    UsernameTaken,
    /// Another session holds the registration.
    NotOwner,
    /// There is no such registration.
    NotFound,
}

/// The kind of a write as one of the three there are: the requests of clients are no part of what
/// servers tell each other and store.
mod write_kind {
    use rollcall_shared::message::RequestKind;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

    #[derive(Serialize, Deserialize)]
    enum Kind {
        Connect,
        Disconnect,
        Sequence,
    }

    pub(super) fn serialize<S: Serializer>(kind: &RequestKind, to: S) -> Result<S::Ok, S::Error> {
        let kind = match kind {
            RequestKind::ConnectUser => Kind::Connect,
            RequestKind::DisconnectUser => Kind::Disconnect,
            RequestKind::GetSequenceNumber => Kind::Sequence,
            other => return Err(ser::Error::custom(format_args!("{other:?} is no write"))),
        };
        kind.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RequestKind, D::Error> {
        Ok(match Kind::deserialize(from)? {
            Kind::Connect => RequestKind::ConnectUser,
            Kind::Disconnect => RequestKind::DisconnectUser,
            Kind::Sequence => RequestKind::GetSequenceNumber,
        })
    }
}

#[cfg(test)]
mod tests;
