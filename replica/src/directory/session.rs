//! A client's session: what it holds and the writes it is remembered for.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_shared::id::{Device, RequestId, Username};
use rollcall_shared::limits;

use crate::command::{Applied, Generation, Principal};
use crate::consensus::ids::Index;

/// A session, live or ended.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) generation: Generation,
    pub(super) principal: Principal,
    pub(super) live: bool,
    /// The index of the command that ended it; meaningless while it is live.
    pub(super) ended_at: Index,
    pub(super) held: BTreeSet<(Username, Device)>,
    pub(super) results: Results,
}

impl Session {
    pub(super) fn new(generation: Generation, principal: Principal) -> Self {
        let (held, results) = (BTreeSet::new(), Results::default());
        Self { generation, principal, live: true, ended_at: Index(0), held, results }
    }
}

/// The results of the last [`limits::WINDOW`] writes (R23).
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    kept: BTreeMap<RequestId, Applied>,
    /// The highest number no longer kept.
    dropped: RequestId,
    /// The highest number applied.
    highest: RequestId,
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
        match self.kept.get(&request) {
            Some(result) => Lookup::Known(result),
            None if request <= self.dropped || self.would_drop(request) => Lookup::Dropped,
            None => Lookup::New,
        }
    }

    /// Whether the result of `request` would be dropped at once: the kept ones are as many as can
    /// be, and all newer. Applied, it could not be told from a write never seen when it is retried.
    fn would_drop(&self, request: RequestId) -> bool {
        self.kept.len() >= limits::WINDOW
            && self.kept.first_key_value().is_some_and(|(oldest, _)| request < *oldest)
    }

    pub(super) fn remember(&mut self, request: RequestId, result: Applied) {
        self.highest = self.highest.max(request);
        self.kept.insert(request, result);
        if self.kept.len() > limits::WINDOW
            && let Some((oldest, _)) = self.kept.pop_first()
        {
            self.dropped = self.dropped.max(oldest);
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Above every number applied so far, where there is one above it.
    pub(super) fn next_id(&self) -> RequestId {
        RequestId(self.highest.0.saturating_add(1).min(limits::REQUEST_ID))
    }
}
