//! Pieces put together again, with a look at every one: they come from elsewhere, and a state that
//! is not whole or contradicts itself must not begin to live.

use std::fmt;
use std::sync::Arc;

use imbl::OrdSet;
use rollcall_shared::id::Revision;
use rollcall_shared::limits;

use super::{CountersItem, Cursor, Item, Piece, Place, RegistrationItem, SessionItem};
use crate::command::Applied;
use crate::consensus::ids::Index;
use crate::directory::session::{Results, Session};
use crate::directory::users::{Holder, Registration, Users};
use crate::directory::{Bounds, Directory, ENDED_SESSIONS};

/// Puts the pieces of one state together. Cloning it is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// What there is so far.
    pub(super) directory: Directory,
    /// The entries that opened or ended a session: each did so to one only.
    indices: OrdSet<Index>,
    pub(super) next: Cursor,
}

/// Why a piece is refused. After all but [`BadPiece::Elsewhere`] and [`BadPiece::Unfinished`] the
/// builder has taken in a part of it and is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPiece {
    /// It does not begin where the one before it ended.
    Elsewhere,
    /// Its items are not in order, or it goes on somewhere else than after its last one.
    Order,
    /// A number cannot be: it is above the counter it was taken from, or was taken twice.
    Number,
    /// The remembered results of a session are not what a session remembers.
    Results,
    /// The session that holds a registration is not there, or not live.
    Holder,
    /// There is more of it than the rules of every cluster allow.
    Full,
    /// There are pieces to come.
    Unfinished,
}

impl fmt::Display for BadPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "it does not begin where the one before it ended",
            Self::Order => "its items are not in order",
            Self::Number => "a number in it cannot be",
            Self::Results => "a session remembers what it cannot",
            Self::Holder => "a registration has no live session",
            Self::Full => "there is more of it than there can be",
            Self::Unfinished => "there are pieces to come",
        })
    }
}

impl std::error::Error for BadPiece {}

impl Default for Builder {
    /// Nothing yet.
    fn default() -> Self {
        let directory = Directory::new(Revision(0), Bounds::default());
        Self { directory, indices: OrdSet::new(), next: Cursor::start() }
    }
}

impl Builder {
    /// Takes in the piece at [`Builder::next`].
    ///
    /// # Errors
    /// [`BadPiece`] says what is wrong with it.
    pub fn push(&mut self, piece: Piece) -> Result<(), BadPiece> {
        if piece.from != self.next || self.is_whole() {
            return Err(BadPiece::Elsewhere);
        }
        let mut last = piece.from.0;
        for item in piece.items {
            let place = item.place();
            if place <= last || (last == Place::Start && place != Place::Counters) {
                return Err(BadPiece::Order);
            }
            match item {
                Item::Counters(counters) => self.add_counters(&counters)?,
                Item::Session(session) => self.add_session(session)?,
                Item::Registration(registration) => self.add_registration(registration)?,
            }
            last = place;
        }
        self.next = match piece.next {
            // Nothing at all is no state, and a piece without items would be asked for forever.
            _ if last == Place::Start => return Err(BadPiece::Order),
            None => Cursor(Place::End),
            Some(next) if next.0 == last && next != self.next => next,
            Some(_) => return Err(BadPiece::Order),
        };
        Ok(())
    }

    /// Where the next piece begins.
    #[must_use]
    pub const fn next(&self) -> &Cursor {
        &self.next
    }

    /// Whether the last piece has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.next.0 == Place::End
    }

    /// The state.
    ///
    /// # Errors
    /// [`BadPiece::Unfinished`] if a piece is missing.
    pub fn finish(self) -> Result<Directory, BadPiece> {
        if self.is_whole() { Ok(self.directory) } else { Err(BadPiece::Unfinished) }
    }

    fn add_counters(&mut self, counters: &CountersItem) -> Result<(), BadPiece> {
        let &CountersItem { first, revision, applied, next_number, earlier, bounds } = counters;
        let all = [revision.0, applied.0, next_number, earlier];
        if all.into_iter().any(|n| n > COUNTER) || revision < first || next_number == 0 {
            return Err(BadPiece::Number);
        }
        self.directory.users = Users::new(revision);
        self.directory.first = first;
        self.directory.applied = applied;
        self.directory.next_number = next_number;
        self.directory.earlier = earlier;
        self.directory.bounds = bounds;
        Ok(())
    }

    fn add_session(&mut self, item: SessionItem) -> Result<(), BadPiece> {
        let SessionItem { client, principal, generation, ended_at, dropped, results } = item;
        self.take_index(Index(generation.0))?;
        if let Some(ended_at) = ended_at {
            self.take_index(ended_at)?;
        }
        for (_, result) in &results {
            self.check_result(result)?;
        }
        let results = Results::from_parts(dropped, results).ok_or(BadPiece::Results)?;
        let directory = &mut self.directory;
        match ended_at {
            None => directory.live += 1,
            Some(ended_at) => {
                if ended_at.0 <= generation.0 {
                    return Err(BadPiece::Number);
                }
                directory.ended.insert(ended_at, client.clone());
                directory.ended_results += results.len();
                if directory.ended.len() > ENDED_SESSIONS
                    || directory.ended_results > directory.max_ended_results
                {
                    return Err(BadPiece::Full);
                }
            }
        }
        let holder = Holder::new(client.clone(), principal);
        let session = Session { ended_at, results, ..Session::new(generation, holder) };
        directory.sessions.insert(client, Arc::new(session));
        Ok(())
    }

    fn add_registration(&mut self, item: RegistrationItem) -> Result<(), BadPiece> {
        let RegistrationItem { username, device, ip, port, meta, revision, holder } = item;
        self.check_revision(revision)?;
        if self.directory.users.devices(&username) >= limits::DEVICES {
            return Err(BadPiece::Full);
        }
        let session = self.directory.session_mut(&holder).ok_or(BadPiece::Holder)?;
        if !session.is_live() {
            return Err(BadPiece::Holder);
        }
        session.held.insert((username.clone(), device.clone()));
        let holder = session.holder.clone();
        let registration = Arc::new(Registration { ip, port, meta, revision, holder });
        self.directory.users.restore(username, device, registration);
        Ok(())
    }

    fn take_index(&mut self, index: Index) -> Result<(), BadPiece> {
        let last = self.directory.generation_at(self.directory.applied).0;
        let fits = index > Index(0) && index.0 <= last;
        let fresh = self.indices.insert(index).is_none();
        if fits && fresh { Ok(()) } else { Err(BadPiece::Number) }
    }

    fn check_result(&self, result: &Applied) -> Result<(), BadPiece> {
        match *result {
            Applied::Connected { revision, .. } | Applied::Disconnected { revision, .. } => {
                self.check_revision(revision)
            }
            Applied::Numbers { first, count } => {
                let end = first.saturating_add(u64::from(count));
                let fits = first > 0 && end <= self.directory.next_number;
                if fits { Ok(()) } else { Err(BadPiece::Number) }
            }
            Applied::Refused { .. } => Ok(()),
        }
    }

    fn check_revision(&self, revision: Revision) -> Result<(), BadPiece> {
        // What was restored has the revisions of its earlier life.
        let anew = self.directory.first < revision || self.directory.earlier > 0;
        let fits = anew && revision <= self.directory.revision();
        if fits { Ok(()) } else { Err(BadPiece::Number) }
    }
}

/// The most a counter can have come to. It leaves room to count on for as long as anything lives.
const COUNTER: u64 = 1 << 62;
