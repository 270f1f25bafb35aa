//! Clients as they are: one request at a time, sent again to another server when the answer is late,
//! links dropped without a word, absences longer than the grace.

use std::time::Duration;

use rollcall_replica::LinkId;
use rollcall_replica::command::{Write, Written};
use rollcall_shared::id::{ClientId, RequestId, Revision, SessionNumber};

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    /// Its link: to which server, and whether its session was answered there.
    pub(super) link: Option<ClientLink>,
    pub(super) next_request: u64,
    pub(super) open: Option<Operation>,
    /// The first write that was answered: asked again when it may be forgotten (R23).
    pub(super) earliest: Option<Operation>,
    /// Absent until then.
    pub(super) away_until: u64,
    pub(super) port: u16,
    /// When its last link ended.
    pub(super) unlinked_at: u64,
}

/// A client's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLink {
    pub(super) node: u32,
    pub(super) link: LinkId,
    /// Since when its session is answered for on it.
    pub(super) answered: Option<u64>,
    /// Which session it was told to have.
    pub(super) session: Option<SessionNumber>,
}

/// A request that is not answered yet.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Whose: the number of the client.
    pub client: usize,
    /// Whose, as servers know it.
    pub id: ClientId,
    /// Its number.
    pub request: RequestId,
    /// What is asked.
    pub ask: Ask,
    /// When it was asked first.
    pub invoked: u64,
    /// Whether it was answered before, and is asked once more with its number.
    pub repeats: bool,
    /// When it is sent again.
    pub(super) again_at: u64,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A write.
    Write(Write),
    /// Who is online, all of them.
    Read,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of a write: how it ended.
    Written(Written),
    /// What was read.
    Read {
        /// The revision of the answer.
        revision: Revision,
        /// Who was online: a fingerprint of all registrations.
        state: u64,
    },
}

/// How long a client waits for an answer.
pub(super) const LATE: Duration = Duration::from_millis(700);
