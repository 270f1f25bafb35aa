//! A client's session: what it holds and the writes it is remembered for.

use std::collections::VecDeque;

use imbl::OrdSet;
use rollcall_shared::id::{Device, RequestId, Username};
use rollcall_shared::limits;

use super::Holder;
use crate::command::{Applied, Generation, Principal};
use crate::consensus::ids::Index;

/// A session, live or ended. It is cloned when it changes while a snapshot has it too: what it
/// holds can be a lot and is shared, its results are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) generation: Generation,
    /// Whose it is, as its registrations name it.
    pub(super) holder: Holder,
    /// The index of the command that ended it; `None` while it is live.
    pub(super) ended_at: Option<Index>,
    pub(super) held: OrdSet<(Username, Device)>,
    pub(super) results: Results,
}

impl Session {
    pub(super) fn new(generation: Generation, holder: Holder) -> Self {
        let (held, results) = (OrdSet::new(), Results::default());
        Self { generation, holder, ended_at: None, held, results }
    }

    pub(super) const fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }

    pub(super) fn principal(&self) -> &Principal {
        self.holder.principal()
    }
}

/// The results of the last [`limits::WINDOW`] writes (R23).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// In order of their numbers. The highest number ever applied is among them.
    kept: VecDeque<(RequestId, Applied)>,
    /// The highest number no longer kept.
    dropped: RequestId,
}

/// What is known of a request number.
pub(super) enum Lookup<'a> {
    /// Its result.
    Known(&'a Applied),
    /// It is too old to tell.
    Dropped,
    /// It was not applied.
    New,
}

impl Results {
    pub(super) fn lookup(&self, request: RequestId) -> Lookup<'_> {
        match self.position(request) {
            Ok(at) => Lookup::Known(&self.kept[at].1),
            // The result of one below all that are kept, and they are as many as can be, would be
            // dropped at once. Retried, it could not be told from a write never seen.
            Err(0) if self.kept.len() >= limits::WINDOW => Lookup::Dropped,
            Err(_) if request <= self.dropped => Lookup::Dropped,
            Err(_) => Lookup::New,
        }
    }

    /// Keeps the result of a request that [`Results::lookup`] finds new.
    pub(super) fn remember(&mut self, request: RequestId, result: Applied) {
        if self.kept.len() >= limits::WINDOW
            && let Some((oldest, _)) = self.kept.pop_front()
        {
            self.dropped = self.dropped.max(oldest);
        }
        let (Ok(at) | Err(at)) = self.position(request);
        self.kept.insert(at, (request, result));
    }

    fn position(&self, request: RequestId) -> Result<usize, usize> {
        // Nearly every request is above all before it.
        if self.kept.back().is_none_or(|(newest, _)| *newest < request) {
            return Err(self.kept.len());
        }
        self.kept.binary_search_by_key(&request, |(number, _)| *number)
    }

    /// The highest number no longer kept, and those that are.
    pub(super) fn parts(&self) -> (RequestId, impl Iterator<Item = &(RequestId, Applied)>) {
        (self.dropped, self.kept.iter())
    }

    /// The opposite of [`Results::parts`]; `None` where no writes lead to that.
    pub(super) fn from_parts(dropped: RequestId, kept: Vec<(RequestId, Applied)>) -> Option<Self> {
        // One is dropped only where the window is full.
        let fits = kept.len() == limits::WINDOW
            || (kept.len() < limits::WINDOW && dropped == RequestId(0));
        let rises = kept.is_sorted_by(|(one, _), (next, _)| one < next);
        let newer = kept.first().is_none_or(|(oldest, _)| *oldest > dropped);
        (fits && rises && newer).then(|| Self { kept: kept.into(), dropped })
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Above every number applied so far, where there is one above it.
    pub(super) fn next_id(&self) -> RequestId {
        let highest = self.kept.back().map_or(0, |(newest, _)| newest.0);
        RequestId(highest.saturating_add(1).min(limits::REQUEST_ID))
    }
}
