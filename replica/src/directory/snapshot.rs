//! A consistent state in pieces of bounded size: to send to a follower, and to store.
//!
//! Sent is what cannot be derived, in one order: counters, sessions by client, registrations by
//! name and device. What a session holds, who is online and all counts are derived by [`Builder`],
//! which believes nothing that does not fit together.

mod builder;

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use rollcall_shared::id::{ClientId, Device, RequestId, Revision, Username};
use rollcall_shared::meta::Meta;
use serde::{Deserialize, Serialize};

use super::session::Session;
use super::{Bounds, Directory, Registration};
use crate::command::{Applied, Generation, Principal};
use crate::consensus::ids::Index;
use crate::fault::{Fault, planted};
pub use builder::{BadPiece, Builder};

/// Where a piece begins: after a certain item, whether the state has that one or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor(Place);

/// The place of an item in the order of all.
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

/// A part of the state. Encoded by `postcard` it has at most the bytes that were asked for, if more
/// than one item fits.
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
    Counters(CountersItem),
    Session(SessionItem),
    Registration(RegistrationItem),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct CountersItem {
    first: Revision,
    revision: Revision,
    applied: Index,
    next_number: u64,
    earlier: u64,
    bounds: Bounds,
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
    /// The results kept, in order of their numbers.
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
    /// Whose session holds it; who stands behind that is said there.
    holder: ClientId,
}

impl Directory {
    /// The part of the state after `from`: as many items as fit into `max_bytes`, but at least one
    /// if there is any. A cursor that another state gave goes on at the next item of this one.
    #[must_use]
    pub fn piece(&self, from: &Cursor, max_bytes: usize) -> Piece {
        let mut rest = self.items_after(&from.0).peekable();
        let (mut items, mut room) = (Vec::new(), max_bytes.saturating_sub(PIECE_BYTES));
        let mut last = from.0.clone();
        while let Some(item) = rest.next_if(|item| items.is_empty() || item.bytes() <= room) {
            room = room.saturating_sub(item.bytes());
            last = item.place();
            items.push(item);
        }
        let next = rest.peek().map(|_| Cursor(last));
        Piece { from: from.clone(), items, next }
    }

    fn items_after<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = Item> + 'a {
        let counters = (*place < Place::Counters).then(|| Item::Counters(self.counters()));
        let session = match place {
            Place::Start | Place::Counters => Some(Bound::Unbounded),
            Place::Session(client) => Some(Bound::Excluded(client.as_str())),
            Place::Registration(..) | Place::End => None,
        };
        let sessions =
            session.map(|start| self.sessions.range::<_, str>((start, Bound::Unbounded)));
        let registration = match place {
            Place::Start | Place::Counters | Place::Session(_) => Some(None),
            Place::Registration(username, device) => Some(Some((username, device))),
            Place::End => None,
        };
        let registrations = registration.map(|after| self.users.registrations_after(after));
        let sessions = sessions
            .into_iter()
            .flatten()
            .map(|(client, session)| Item::Session(SessionItem::new(client.clone(), session)));
        let registrations = registrations.into_iter().flatten().map(|(username, device, there)| {
            Item::Registration(RegistrationItem::new(username.clone(), device.clone(), there))
        });
        counters.into_iter().chain(sessions).chain(registrations)
    }

    const fn counters(&self) -> CountersItem {
        let Self { first, applied, next_number, earlier, bounds, .. } = *self;
        CountersItem { first, revision: self.revision(), applied, next_number, earlier, bounds }
    }
}

impl SessionItem {
    fn new(client: ClientId, session: &Session) -> Self {
        let (dropped, results) = session.results.parts();
        Self {
            client,
            principal: session.principal().clone(),
            generation: session.generation,
            ended_at: session.ended_at,
            dropped,
            results: results.filter(|_| !planted(Fault::DedupeLostInSnapshot)).cloned().collect(),
        }
    }
}

impl RegistrationItem {
    fn new(username: Username, device: Device, registration: &Arc<Registration>) -> Self {
        let Registration { ip, port, ref meta, revision, ref holder } = **registration;
        let (meta, holder) = (meta.clone(), holder.client().clone());
        Self { username, device, ip, port, meta, revision, holder }
    }
}

impl Item {
    fn place(&self) -> Place {
        match self {
            Self::Counters(_) => Place::Counters,
            Self::Session(session) => Place::Session(session.client.clone()),
            Self::Registration(registration) => {
                let RegistrationItem { username, device, .. } = registration;
                Place::Registration(username.clone(), device.clone())
            }
        }
    }

    /// The most bytes it has when encoded.
    fn bytes(&self) -> usize {
        match self {
            Self::Counters(_) => TAG + 7 * NUMBER,
            Self::Session(session) => {
                let SessionItem { client, principal, results, .. } = session;
                let principal = match principal {
                    Principal::Client(client) => text(client.as_str()),
                    Principal::Subject(subject) => text(subject.as_str()),
                };
                let results = results.iter().map(|(_, result)| NUMBER + result_bytes(result));
                let numbers = NUMBER + (TAG + NUMBER) + NUMBER + LENGTH;
                TAG + text(client.as_str()) + TAG + principal + numbers + results.sum::<usize>()
            }
            Self::Registration(registration) => {
                let RegistrationItem { username, device, meta, holder, .. } = registration;
                let names = text(username.as_str()) + text(device.as_str()) + text(holder.as_str());
                let meta = meta.as_ref().map_or(0, |meta| text(meta.as_str()));
                TAG + names + ADDRESS + TAG + meta + NUMBER
            }
        }
    }
}

fn result_bytes(result: &Applied) -> usize {
    match result {
        Applied::Connected { username, device, .. }
        | Applied::Disconnected { username, device, .. } => {
            TAG + text(username.as_str()) + text(device.as_str()) + NUMBER
        }
        Applied::Numbers { .. } => TAG + 2 * NUMBER,
        Applied::Refused { .. } => 3 * TAG,
    }
}

const fn text(text: &str) -> usize {
    LENGTH + text.len()
}

/// The most bytes of which of some variants it is, or whether it is there at all.
const TAG: usize = 1;
/// The most bytes of a number.
const NUMBER: usize = 10;
/// The most bytes of the length of a text, or of a session's results.
const LENGTH: usize = 2;
/// The most bytes of an IP address and a port.
const ADDRESS: usize = TAG + 16 + 3;
/// The most bytes of a piece without its items: two cursors and how many items there are.
const PIECE_BYTES: usize = 512;

#[cfg(test)]
mod tests;
