//! A server's part of the cluster, as a state machine: links and writes go in, what is due to the
//! links comes out.
//!
//! Today it is a cluster of one server: a command is committed as soon as it is there. Its surface,
//! inputs with `now` and outputs polled until empty, is the one election and replication will have.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rollcall_shared::id::{ClientId, Device, RequestId, Revision, SessionNumber, Username};
use rollcall_shared::time::Instant;
use serde::{Deserialize, Serialize};

use crate::attachment::{Attachment, Identity};
use crate::command::{Command, Generation, Opened, Principal, Write, Written};
use crate::directory::{Bounds, Change, Directory, Effect, Outcome, Users};

/// A client's link to this server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// What must be known at the start.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long a session outlives its last link.
    pub grace: Duration,
    /// The revision before the first change. It is above every one of an earlier life.
    pub first_revision: Revision,
    /// The most registrations; more are refused as [`Written::Full`].
    pub max_registrations: usize,
    /// The most live sessions; more are refused as [`Output::Refused`].
    pub max_sessions: usize,
}

/// What happens to the server.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link says whose it is.
    Linked {
        /// The link.
        link: LinkId,
        /// Its client.
        client: ClientId,
        /// Who stands behind it.
        principal: Principal,
    },
    /// A linked client wants a session (`Hello`).
    Open {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
    },
    /// A linked client writes; its session is opened where there is none.
    Write {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// What to do.
        write: Write,
    },
    /// A link has ended.
    Unlinked {
        /// The link.
        link: LinkId,
    },
}

/// What is due to the links, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer to [`Input::Open`].
    Opened {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// The session's number.
        session: SessionNumber,
        /// Above every request applied so far.
        next_id: RequestId,
    },
    /// Answer to [`Input::Write`].
    Written {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// How it ended.
        written: Written,
    },
    /// Answer to [`Input::Open`] or [`Input::Write`] where no session can be had.
    Refused {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// Why not.
        why: NoSession,
    },
    /// The directory changed.
    Changed(Change),
    /// Another session took over a registration of this link's session.
    Replaced {
        /// The link.
        link: LinkId,
        /// Whose registration.
        username: Username,
        /// Of which device.
        device: Device,
    },
}

/// Why a link has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoSession {
    /// Its client id belongs to another principal.
    Forbidden,
    /// There are too many sessions.
    Full,
}

/// The state machine. After each input, take outputs from [`Replica::poll_output`] until there is
/// none, then arm a timer for [`Replica::poll_timeout`].
#[derive(Debug)]
pub struct Replica {
    directory: Directory,
    attachment: Attachment,
    links: BTreeMap<LinkId, Identity>,
    outputs: VecDeque<Output>,
    effects: Vec<Effect>,
}

impl Replica {
    /// A server whose directory is empty.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let bounds =
            Bounds { registrations: config.max_registrations, sessions: config.max_sessions };
        Self {
            directory: Directory::new(config.first_revision, bounds),
            attachment: Attachment::new(config.grace),
            links: BTreeMap::new(),
            outputs: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// Who is online.
    #[must_use]
    pub const fn users(&self) -> &Users {
        self.directory.users()
    }

    /// How many sessions are live.
    #[must_use]
    pub const fn live_sessions(&self) -> usize {
        self.directory.live_sessions()
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Linked { link, client, principal } => {
                let who = (client, principal);
                let before = self.links.insert(link, who.clone());
                assert!(before.is_none(), "a link says once whose it is");
                self.attachment.attach(who, link);
            }
            Input::Open { link, request } => self.handle_open(link, request),
            Input::Write { link, request, write } => self.handle_write(link, request, write),
            Input::Unlinked { link } => {
                if let Some(who) = self.links.remove(&link) {
                    let live = self.live_generation(&who).is_some();
                    self.attachment.detach(now, who, link, live);
                }
            }
        }
    }

    /// Takes in that the time of [`Replica::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(who) = self.attachment.poll_expired(now) {
            if let Some(generation) = self.live_generation(&who) {
                self.apply(Command::Expire { client: who.0, generation });
            }
        }
    }

    /// When [`Replica::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.attachment.next_deadline()
    }

    /// The next output, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn handle_open(&mut self, link: LinkId, request: RequestId) {
        let Some(who) = self.links.get(&link).cloned() else { return };
        let output = match self.open(who) {
            Ok((generation, next_id)) => {
                let session = self.directory.session_number(generation);
                Output::Opened { link, request, session, next_id }
            }
            Err(why) => Output::Refused { link, request, why },
        };
        self.outputs.push_back(output);
    }

    fn handle_write(&mut self, link: LinkId, request: RequestId, write: Write) {
        let Some(who) = self.links.get(&link).cloned() else { return };
        let session = match self.live_generation(&who) {
            Some(generation) => Ok(generation),
            None => self.open(who.clone()).map(|(generation, _)| generation),
        };
        let output = match session {
            Ok(generation) => {
                let written = self.write(who.0, generation, request, write);
                Output::Written { link, request, written }
            }
            Err(why) => Output::Refused { link, request, why },
        };
        self.outputs.push_back(output);
    }

    fn write(
        &mut self,
        client: ClientId,
        generation: Generation,
        request: RequestId,
        write: Write,
    ) -> Written {
        match self.apply(Command::Write { client, generation, request, write }) {
            Outcome::Written(written) => written,
            Outcome::Opened(_) | Outcome::Expired(_) => unreachable!("a write ends as written"),
        }
    }

    fn open(
        &mut self,
        (client, principal): Identity,
    ) -> Result<(Generation, RequestId), NoSession> {
        match self.apply(Command::Open { client, principal }) {
            Outcome::Opened(Opened::Live { generation, next_id }) => Ok((generation, next_id)),
            Outcome::Opened(Opened::Forbidden) => Err(NoSession::Forbidden),
            Outcome::Opened(Opened::Full) => Err(NoSession::Full),
            Outcome::Written(_) | Outcome::Expired(_) => unreachable!("an opening ends as opened"),
        }
    }

    /// The live session of a client, if it is its principal's.
    fn live_generation(&self, (client, principal): &Identity) -> Option<Generation> {
        let (generation, owner) = self.directory.live_session(client)?;
        (owner == principal).then_some(generation)
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let index = self.directory.applied().next();
        let outcome = self.directory.apply(index, command, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Changed(change) => self.outputs.push_back(Output::Changed(change)),
                Effect::Replaced { holder, username, device } => {
                    for link in self.attachment.links(&holder) {
                        let (username, device) = (username.clone(), device.clone());
                        self.outputs.push_back(Output::Replaced { link, username, device });
                    }
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
