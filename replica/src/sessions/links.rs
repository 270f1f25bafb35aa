//! The links of this server's clients: whose they are, which session they have, and the requests on
//! them that wait (R29).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollcall_shared::id::{ClientId, RequestId};

use super::Identity;
use super::message::Attach;
use crate::command::{Generation, Write};
use crate::replica::LinkId;

/// All links of this server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, Link>,
    by_identity: BTreeMap<Identity, BTreeSet<LinkId>>,
    /// Writes that are on their way through the log, in the order in which they came.
    writes: BTreeMap<ClientId, VecDeque<PendingWrite>>,
}

/// A client's link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) who: Identity,
    pub(crate) session: LinkSession,
    /// Requests that wait for the session, in order.
    pub(crate) waiting: VecDeque<Request>,
}

/// What a link has of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkSession {
    /// It needs none so far.
    Without,
    /// It has asked the leader; before, it had that one.
    Asked(Option<Generation>),
    /// It has this one.
    Live(Generation),
}

/// A request that waits for a session.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// A `Hello`.
    Open(RequestId),
    /// A write.
    Write(RequestId, Write),
}

impl Request {
    pub(crate) const fn id(&self) -> RequestId {
        match self {
            Self::Open(id) | Self::Write(id, _) => *id,
        }
    }
}

/// A write on its way.
#[derive(Clone, Debug)]
pub(crate) struct PendingWrite {
    pub(crate) link: LinkId,
    pub(crate) generation: Generation,
    pub(crate) request: RequestId,
    pub(crate) write: Write,
    /// Whether a leader may have it.
    pub(crate) sent: bool,
}

impl Links {
    /// A link says whose it is.
    ///
    /// # Panics
    /// When it has said so before: the driver's bug.
    pub(crate) fn insert(&mut self, link: LinkId, who: Identity) {
        self.by_identity.entry(who.clone()).or_default().insert(link);
        let (session, waiting) = (LinkSession::Without, VecDeque::new());
        let before = self.links.insert(link, Link { who, session, waiting });
        assert!(before.is_none(), "a link says once whose it is");
    }

    /// A link has ended: whose it was, and whether it was the last.
    pub(crate) fn remove(&mut self, link: LinkId) -> Option<(Identity, bool)> {
        let Link { who, .. } = self.links.remove(&link)?;
        let mut last = false;
        if let Some(links) = self.by_identity.get_mut(&who) {
            links.remove(&link);
            last = links.is_empty();
        }
        if last {
            self.by_identity.remove(&who);
        }
        if let Some(writes) = self.writes.get_mut(&who.0) {
            writes.retain(|write| write.link != link);
            if writes.is_empty() {
                self.writes.remove(&who.0);
            }
        }
        Some((who, last))
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    /// Sets what a link has of a session.
    pub(crate) fn set_session(&mut self, link: LinkId, session: LinkSession) {
        if let Some(link) = self.links.get_mut(&link) {
            link.session = session;
        }
    }

    /// The links of `who`.
    pub(crate) fn of(&self, who: &Identity) -> impl Iterator<Item = LinkId> {
        self.by_identity.get(who).into_iter().flatten().copied()
    }

    /// All links that need a session: what a leader is told on a new link or in a new epoch.
    pub(crate) fn report(&self) -> Vec<Attach> {
        let needs = self.links.iter().filter(|(_, link)| link.session != LinkSession::Without);
        let attach = |(&link, Link { who: (client, principal), .. }): (&LinkId, &Link)| Attach {
            link,
            client: client.clone(),
            principal: principal.clone(),
        };
        needs.map(attach).collect()
    }

    /// A write is on its way.
    pub(crate) fn push_write(&mut self, client: ClientId, write: PendingWrite) {
        self.writes.entry(client).or_default().push_back(write);
    }

    /// The links that wait for the write with this number; they wait no longer.
    pub(crate) fn take_writes(&mut self, client: &ClientId, request: RequestId) -> Vec<LinkId> {
        let Some(writes) = self.writes.get_mut(client) else { return Vec::new() };
        let mut links = Vec::new();
        // Nearly always the oldest one, and only that.
        while writes.front().is_some_and(|write| write.request == request) {
            links.extend(writes.pop_front().map(|write| write.link));
        }
        writes.retain(|write| {
            let found = write.request == request;
            if found {
                links.push(write.link);
            }
            !found
        });
        if writes.is_empty() {
            self.writes.remove(client);
        }
        links
    }

    /// Takes one write of one link back; whether a leader may have it.
    pub(crate) fn take_write(&mut self, link: LinkId, request: RequestId) -> Option<bool> {
        let client = &self.links.get(&link)?.who.0;
        let writes = self.writes.get_mut(client)?;
        let same = |write: &PendingWrite| write.link == link && write.request == request;
        let at = writes.iter().position(same)?;
        writes.remove(at).map(|write| write.sent)
    }

    /// A leader may have this write now.
    pub(crate) fn mark_sent(&mut self, client: &ClientId, link: LinkId, request: RequestId) {
        let writes = self.writes.get_mut(client).into_iter().flatten();
        for write in writes.filter(|write| write.link == link && write.request == request) {
            write.sent = true;
        }
    }

    /// All writes on their way, in the order of each client's.
    pub(crate) fn each_write(&mut self) -> impl Iterator<Item = (&ClientId, &mut PendingWrite)> {
        let each =
            |(client, writes)| std::iter::repeat(client).zip(IntoIterator::into_iter(writes));
        self.writes.iter_mut().flat_map(each)
    }
}
