//! The links of this server's clients: whose they are, which session they have, and the requests on
//! them that wait for it (R29).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollcall_shared::id::RequestId;

use super::Identity;
use super::message::Attach;
use super::writes::MAX_PENDING;
use crate::command::{Generation, Write};
use crate::replica::LinkId;

/// All links of this server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, Link>,
    by_identity: BTreeMap<Identity, BTreeSet<LinkId>>,
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

impl LinkSession {
    /// The session the link has or had.
    pub(crate) const fn generation(self) -> Option<Generation> {
        match self {
            Self::Without => None,
            Self::Asked(had) => had,
            Self::Live(generation) => Some(generation),
        }
    }
}

impl Link {
    /// A request waits for the session, or is given back where too many do.
    pub(crate) fn push_waiting(&mut self, request: Request) -> Result<(), Request> {
        if self.waiting.len() >= MAX_PENDING {
            return Err(request);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// Takes back a request that waits for the session.
    pub(crate) fn take_waiting(&mut self, request: RequestId) -> Option<Request> {
        let at = self.waiting.iter().position(|waiting| waiting.id() == request)?;
        self.waiting.remove(at)
    }
}

impl Request {
    pub(crate) const fn id(&self) -> RequestId {
        match self {
            Self::Open(id) | Self::Write(id, _) => *id,
        }
    }
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

    /// All links, and whose they are.
    pub(crate) fn each(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
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
}
