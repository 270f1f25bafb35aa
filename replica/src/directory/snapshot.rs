//! A consistent state in pieces of bounded size: to send to a follower, and to store.
//!
//! Sent is what cannot be derived: counters, sessions and registrations, in the order of their
//! keys. What a session holds and all counts are derived.

use std::net::IpAddr;

use rollcall_shared::id::{ClientId, Device, RequestId, Revision, Username};
use rollcall_shared::meta::Meta;
use serde::{Deserialize, Serialize};

use crate::command::{Applied, Generation, Principal};
use crate::consensus::ids::Index;

/// Where a piece begins: after the last item of the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor(Place);

/// What was the last item; in the order of all items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Place {
    Start,
    Counters,
    Session(ClientId),
    Registration(Username, Device),
    End,
}

impl Cursor {
    /// Before the first piece.
    #[must_use]
    pub const fn start() -> Self {
        Self(Place::Start)
    }
}

/// A part of the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Piece {
    /// Where it begins.
    from: Cursor,
    items: Vec<Item>,
    /// Where the next piece begins; `None` after the last one.
    pub next: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Item {
    Counters(Counters),
    Session(SessionItem),
    Registration(RegistrationItem),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Counters {
    first: Revision,
    revision: Revision,
    applied: Index,
    next_number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct SessionItem {
    client: ClientId,
    principal: Principal,
    generation: Generation,
    /// The index of the command that ended it; `None` while it is live.
    ended_at: Option<Index>,
    /// The highest number whose result is no longer kept.
    dropped: RequestId,
    /// The results kept, in order.
    results: Vec<(RequestId, Applied)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct RegistrationItem {
    username: Username,
    device: Device,
    ip: IpAddr,
    port: u16,
    meta: Option<Meta>,
    revision: Revision,
    holder: ClientId,
}
