//! The replicated state: who is online, the sessions that keep them there, and the sequence.
//!
//! Deterministic: equal commands in equal order give equal states, outcomes and changes on every
//! server. It knows no clock (expiry is a command) and no links (`attachment` has those).

mod change;
mod session;
pub mod snapshot;
mod users;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use imbl::OrdMap;
use rollcall_shared::id::{ClientId, Device, RequestId, Revision, SessionNumber, Username};
use rollcall_shared::limits;
use rollcall_shared::message::{Reason, RequestKind};
use serde::{Deserialize, Serialize};

use crate::command::{Applied, Command, Generation, Opened, Principal, Refusal, Write, Written};
use crate::consensus::ids::Index;
use crate::fault::{Fault, planted};
pub use change::{Change, Event};
use session::{Lookup, Session};
use snapshot::{Builder, Cursor, Piece};
pub use users::{Holder, Registration, User, Users};

/// How many ended sessions are remembered for retries (R35 of docs/replication.md).
const ENDED_SESSIONS: usize = 100_000;
/// About how many bytes a part has that is loaded: an entry like others.
const LOAD_BYTES: usize = 8 * 1024;
/// How many results of ended sessions are remembered: full windows in all of them would take
/// gigabytes, and a session costs its client nothing.
const ENDED_RESULTS: usize = 1_000_000;

/// The most of what clients can add to the directory. They are part of the state: what is over them is
/// refused when a command is applied, and all must decide alike, at any time. What the state holds
/// already may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// The most registrations; a new one over it is [`Written::Full`].
    pub registrations: usize,
    /// The most live sessions; one over it is [`Opened::Full`].
    pub sessions: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { registrations: 5_000_000, sessions: 1_000_000 }
    }
}

/// The state. One command after the other goes through [`Directory::apply`]. A clone costs a few
/// pointers, and what is changed afterwards is copied piece by piece: that is how a snapshot is
/// made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    users: Users,
    sessions: OrdMap<ClientId, Arc<Session>>,
    /// Ended sessions in the order of their end.
    ended: OrdMap<Index, ClientId>,
    /// The results that these remember together.
    ended_results: usize,
    /// [`ENDED_RESULTS`], or fewer in a test.
    max_ended_results: usize,
    live: usize,
    /// The index of the last command applied.
    applied: Index,
    /// The revision before the first change.
    first: Revision,
    /// The next sequence number.
    next_number: u64,
    /// How many entries the logs of earlier lives had: sessions go on being numbered behind them.
    earlier: u64,
    /// What is being loaded, while this is nothing yet.
    loading: Option<Box<Builder>>,
    bounds: Bounds,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Command::Open`].
    Opened(Opened),
    /// Of [`Command::Write`].
    Written(Written),
    /// Of [`Command::Expire`]: whether the session was live until now.
    Expired(bool),
    /// Of [`Command::Begin`].
    Begun,
    /// Of [`Command::Bounds`].
    Bounded,
    /// Of [`Command::Load`]: whether all is loaded now.
    Loaded(bool),
}

/// What a command did besides its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The directory changed.
    Changed(Change),
    /// Another session of the same principal took a registration over.
    Replaced {
        /// Whose session held it.
        holder: (ClientId, Principal),
        /// Whose registration.
        username: Username,
        /// Of which device.
        device: Device,
    },
}

impl Directory {
    /// An empty directory whose first change gets the revision after `first`.
    #[must_use]
    pub fn new(first: Revision, bounds: Bounds) -> Self {
        Self {
            users: Users::new(first),
            sessions: OrdMap::new(),
            ended: OrdMap::new(),
            ended_results: 0,
            max_ended_results: ENDED_RESULTS,
            live: 0,
            applied: Index(0),
            first,
            next_number: 1,
            earlier: 0,
            loading: None,
            bounds,
        }
    }

    /// One that is to be loaded by [`Command::Load`].
    #[must_use]
    pub fn to_be_loaded(first: Revision, bounds: Bounds) -> Self {
        Self { loading: Some(Box::default()), ..Self::new(first, bounds) }
    }

    /// The state in parts that [`Command::Load`] takes.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut next = Some(Cursor::start());
        std::iter::from_fn(move || {
            let piece = self.piece(&next.take()?, LOAD_BYTES);
            next.clone_from(&piece.next);
            Some(piece)
        })
    }

    /// The same, whose sequence goes on from `number` at least.
    #[must_use]
    pub fn with_numbers_from(mut self, number: u64) -> Self {
        self.next_number = self.next_number.max(number);
        self
    }

    /// Who is online now. Cloning it is cheap and gives a picture that stays as it is.
    #[must_use]
    pub const fn users(&self) -> &Users {
        &self.users
    }

    /// The revision of the last change.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.users.revision()
    }

    /// The revision before the first change.
    #[must_use]
    pub const fn first_revision(&self) -> Revision {
        self.first
    }

    /// The index of the last command applied, 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// How many of everything there may be.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The next sequence number.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The generation of a session that the entry at `index` opens: those of earlier lives are below.
    #[must_use]
    pub const fn generation_at(&self, index: Index) -> Generation {
        Generation(self.earlier.saturating_add(index.0))
    }

    /// A session's number for clients: it differs between lives of the cluster too.
    #[must_use]
    pub const fn session_number(&self, generation: Generation) -> SessionNumber {
        SessionNumber(self.first.0.saturating_add(generation.0))
    }

    /// How many sessions are live.
    #[must_use]
    pub const fn live_sessions(&self) -> usize {
        self.live
    }

    /// The live session of `client` and who stands behind it.
    #[must_use]
    pub fn live_session(&self, client: &ClientId) -> Option<(Generation, &Principal)> {
        let session = self.sessions.get(client).filter(|session| session.is_live())?;
        Some((session.generation, session.principal()))
    }

    /// All live sessions in order of their clients' ids, and who stands behind each.
    pub fn each_live_session(&self) -> impl Iterator<Item = (&ClientId, &Principal, Generation)> {
        let live = self.sessions.iter().filter(|(_, session)| session.is_live());
        live.map(|(client, session)| (client, session.principal(), session.generation))
    }

    /// Above every request of `client` applied so far, if its session is known, live or not.
    #[must_use]
    pub fn next_id(&self, client: &ClientId) -> Option<RequestId> {
        self.sessions.get(client).map(|session| session.results.next_id())
    }

    /// Applies the command of the entry at `index`; what it did besides its outcome is added to
    /// `effects`, in order. Not every entry is a command, so indices may have gaps.
    ///
    /// # Panics
    /// When `index` is not above that of the last command: no entry is applied twice.
    pub fn apply(&mut self, index: Index, command: Command, effects: &mut Vec<Effect>) -> Outcome {
        assert!(index > self.applied, "entries are applied once and in order");
        if let Command::Load(piece) = command {
            return Outcome::Loaded(self.load(piece));
        }
        self.loading = None;
        self.applied = index;
        match command {
            Command::Open { client, principal } => Outcome::Opened(self.open(client, principal)),
            Command::Write { client, generation, request, write } => {
                Outcome::Written(self.write(&client, generation, request, write, effects))
            }
            Command::Expire { client, generation } => {
                Outcome::Expired(self.expire(&client, generation, effects))
            }
            Command::Begin => Outcome::Begun,
            Command::Bounds(bounds) => {
                self.bounds = bounds;
                Outcome::Bounded
            }
            Command::Load(_) => unreachable!("it is loaded above"),
        }
    }

    /// Takes a part of what this is to be; whether it is whole now. What does not fit together is
    /// nothing, on every server alike.
    fn load(&mut self, piece: Piece) -> bool {
        let Some(mut builder) = self.loading.take() else { return false };
        if builder.push(piece).is_err() {
            return false;
        }
        if !builder.is_whole() {
            self.loading = Some(builder);
            return false;
        }
        let Ok(loaded) = builder.finish() else { return false };
        let earlier = loaded.earlier.saturating_add(loaded.applied.0);
        let mut users = loaded.users.clone();
        users.go_on_from(self.first);
        let Self { first, bounds, .. } = *self;
        *self = Self { users, applied: Index(0), first, earlier, bounds, ..loaded };
        true
    }

    fn open(&mut self, client: ClientId, principal: Principal) -> Opened {
        let generation = self.generation_at(self.applied);
        let full = self.live >= self.bounds.sessions;
        let Some(session) = self.sessions.get(&client) else {
            if full {
                return Opened::Full;
            }
            let fresh = Session::new(generation, Holder::new(client.clone(), principal));
            let next_id = fresh.results.next_id();
            self.sessions.insert(client, Arc::new(fresh));
            self.live += 1;
            return Opened::Live { generation, next_id };
        };
        if *session.principal() != principal {
            return Opened::Forbidden;
        }
        let next_id = session.results.next_id();
        let Some(ended_at) = session.ended_at else {
            return Opened::Live { generation: session.generation, next_id };
        };
        if full {
            return Opened::Full;
        }
        self.ended.remove(&ended_at);
        self.ended_results -= session.results.len();
        self.live += 1;
        if let Some(session) = self.session_mut(&client) {
            session.ended_at = None;
            session.generation = generation;
        }
        Opened::Live { generation, next_id }
    }

    fn write(
        &mut self,
        client: &ClientId,
        generation: Generation,
        request: RequestId,
        write: Write,
        effects: &mut Vec<Effect>,
    ) -> Written {
        let Some(session) = self.sessions.get(client) else {
            return Written::NotCurrent;
        };
        // The order of these checks is R23's.
        match session.results.lookup(request) {
            Lookup::Known(result) if result.kind() == write.kind() => {
                return Written::Applied(result.clone());
            }
            Lookup::Known(_) => return Written::Reused,
            Lookup::Dropped => return Written::Stale,
            Lookup::New => {}
        }
        if !session.is_live() || session.generation != generation {
            return Written::NotCurrent;
        }
        let holder = session.holder.clone();
        let Some(result) = self.write_anew(holder, write, effects) else {
            return Written::Full;
        };
        if let Some(session) = self.session_mut(client) {
            session.results.remember(request, result.clone());
        }
        Written::Applied(result)
    }

    /// The result of a new write of a live session, or `None` where a bound forbids it.
    fn write_anew(
        &mut self,
        holder: Holder,
        write: Write,
        effects: &mut Vec<Effect>,
    ) -> Option<Applied> {
        match write {
            Write::Connect { username, device, ip, port, meta } => {
                let fresh = Registration { ip, port, meta, revision: Revision(0), holder };
                self.connect(username, device, fresh, effects)
            }
            Write::Disconnect { username, device } => {
                Some(self.disconnect(holder.client(), username, device, effects))
            }
            Write::Sequence { count } => {
                let first = self.next_number;
                self.next_number += u64::from(count);
                Some(Applied::Numbers { first, count })
            }
        }
    }

    fn connect(
        &mut self,
        username: Username,
        device: Device,
        mut fresh: Registration,
        effects: &mut Vec<Effect>,
    ) -> Option<Applied> {
        let standing = self.users.registration(&username, &device);
        let appeared = standing.is_none();
        let mut held = false;
        if let Some(standing) = standing {
            if standing.holder == fresh.holder {
                if standing.same_address(&fresh) {
                    let revision = standing.revision;
                    return Some(Applied::Connected { username, device, revision });
                }
                held = true;
            } else if standing.holder.principal() == fresh.holder.principal() {
                let holder = standing.holder.identity();
                self.release(&holder.0, &username, &device);
                let (username, device) = (username.clone(), device.clone());
                effects.push(Effect::Replaced { holder, username, device });
            } else {
                let kind = RequestKind::ConnectUser;
                return Some(Applied::Refused { kind, refusal: Refusal::UsernameTaken });
            }
        } else if self.users.registrations() >= self.bounds.registrations
            || self.users.devices(&username) >= limits::DEVICES
        {
            return None;
        }
        if !held && let Some(session) = self.session_mut(fresh.holder.client()) {
            session.held.insert((username.clone(), device.clone()));
        }
        let revision = self.users.revision().next();
        fresh.revision = revision;
        let registration = Arc::new(fresh);
        self.users.insert(username.clone(), device.clone(), Arc::clone(&registration));
        let event =
            if appeared { Event::Connected(registration) } else { Event::Updated(registration) };
        let change = Change { revision, username: username.clone(), device: device.clone(), event };
        effects.push(Effect::Changed(change));
        Some(Applied::Connected { username, device, revision })
    }

    fn disconnect(
        &mut self,
        client: &ClientId,
        username: Username,
        device: Device,
        effects: &mut Vec<Effect>,
    ) -> Applied {
        let kind = RequestKind::DisconnectUser;
        let Some(standing) = self.users.registration(&username, &device) else {
            return Applied::Refused { kind, refusal: Refusal::NotFound };
        };
        if standing.holder.client() != client {
            return Applied::Refused { kind, refusal: Refusal::NotOwner };
        }
        self.release(client, &username, &device);
        let revision = self.remove(&username, &device, Reason::Left, effects);
        Applied::Disconnected { username, device, revision }
    }

    fn expire(
        &mut self,
        client: &ClientId,
        generation: Generation,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let ended_at = Index(self.generation_at(self.applied).0);
        let current =
            |session: &&mut Session| session.is_live() && session.generation == generation;
        let Some(session) = self.session_mut(client).filter(current) else {
            return false;
        };
        session.ended_at = Some(ended_at);
        let (held, results) = (std::mem::take(&mut session.held), session.results.len());
        self.ended_results += results;
        self.live -= 1;
        for (username, device) in held {
            self.remove(&username, &device, Reason::Expired, effects);
        }
        if planted(Fault::ExpirySharesRevision) {
            let last = self.users.revision();
            for effect in effects.iter_mut() {
                if let Effect::Changed(change) = effect {
                    change.revision = last;
                }
            }
        }
        self.ended.insert(ended_at, client.clone());
        self.forget_oldest();
        true
    }

    /// Drops the sessions that ended first while too much is remembered.
    fn forget_oldest(&mut self) {
        while self.ended.len() > ENDED_SESSIONS || self.ended_results > self.max_ended_results {
            let Some((first, oldest)) = self.ended.get_min().cloned() else { return };
            self.ended.remove(&first);
            if let Some(session) = self.sessions.remove(&oldest) {
                self.ended_results -= session.results.len();
            }
        }
    }

    fn remove(
        &mut self,
        username: &Username,
        device: &Device,
        reason: Reason,
        effects: &mut Vec<Effect>,
    ) -> Revision {
        let revision = self.users.revision().next();
        let online = self.users.remove(username, device);
        let event = Event::Disconnected { reason, online };
        let (username, device) = (username.clone(), device.clone());
        effects.push(Effect::Changed(Change { revision, username, device, event }));
        revision
    }

    fn release(&mut self, client: &ClientId, username: &Username, device: &Device) {
        if let Some(session) = self.session_mut(client) {
            session.held.remove(&(username.clone(), device.clone()));
        }
    }

    /// A session to change, which is copied before if a snapshot has it too.
    fn session_mut(&mut self, client: &ClientId) -> Option<&mut Session> {
        self.sessions.get_mut(client).map(Arc::make_mut)
    }
}

/// Equal states have equal numbers, which is all that equality asks for. It also tells states apart
/// well enough: what a cluster's state is after an entry is decided by that entry's index, and a
/// walk through all of the state would cost more than it tells.
impl Hash for Directory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.applied, self.users.revision(), self.next_number).hash(state);
    }
}

#[cfg(test)]
mod tests;
