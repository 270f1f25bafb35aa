//! The requests under way: each from its first sending until its outcome is known.
//!
//! A write is sent again under its id until it has an outcome, also after its call gave up: only
//! so does the window move, and only so is known what stands. Owns no decision about outcomes.

use super::event::{CallId, Error, WatchId};
use super::held::Life;
use super::table::Table;
use super::window::Window;
use crate::codec::reply::Part;
use crate::id::RequestId;
use crate::message::{Request, RequestKind};
use crate::time::Instant;

/// Every request under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: Table<RequestId, Flight>,
    /// When which request is to be sent again.
    retries: Table<(Instant, RequestId), ()>,
    window: Window,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) request: Request,
    pub(super) owner: Owner,
    /// The life of the session it was first sent in.
    pub(super) life: Life,
    /// How often it was to be retried.
    pub(super) retries: u32,
    /// A copy of it was sent whose answer can no longer come: it may have been applied.
    pub(super) uncertain: bool,
    /// The parts of the answer so far.
    pub(super) parts: Option<Part>,
    /// When it is sent again, and what the last answer was; while none, an answer is awaited.
    pub(super) retry: Option<(Instant, Error)>,
}

/// Who waits for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A call of the application.
    Call(CallId),
    /// A watch, to be subscribed on the present link.
    Watch(WatchId),
    /// The session, to restore or take back a registration.
    Keeper,
    /// Nobody: its call gave up.
    Nobody,
}

impl Flights {
    pub(super) fn has_room(&self) -> bool {
        self.window.has_room()
    }

    pub(super) fn insert(&mut self, id: RequestId, request: Request, owner: Owner, life: Life) {
        if request.kind().is_write() {
            self.window.open(id);
        }
        let flight =
            Flight { request, owner, life, retries: 0, uncertain: false, parts: None, retry: None };
        self.flights.insert(id, flight);
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Flight> {
        self.flights.get_mut(&id)
    }

    /// Takes a request out: its outcome is known or no longer of interest.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some((at, _)) = flight.retry {
            self.retries.remove(&(at, id));
        }
        self.window.settle(id);
        Some(flight)
    }

    /// Plans to send a request again.
    pub(super) fn retry_at(&mut self, id: RequestId, at: Instant, why: Error) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        flight.retries = flight.retries.saturating_add(1);
        if let Some((old, _)) = flight.retry.replace((at, why)) {
            self.retries.remove(&(old, id));
        }
        self.retries.insert((at, id), ());
    }

    /// When the next request is to be sent again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|((at, _), ())| *at)
    }

    /// A request that is to be sent again by now; it counts as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<RequestId> {
        let ((at, id), ()) = *self.retries.first()?;
        if at > now {
            return None;
        }
        self.retries.pop_first();
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.retry = None;
            flight.parts = None;
        }
        Some(id)
    }

    /// The link is gone: no answer to what was sent on it will come. Takes out what only meant
    /// that link, and leaves the rest to [`Flights::resend`].
    pub(super) fn handle_link_lost(&mut self) -> Vec<Flight> {
        for (_, flight) in self.flights.iter_mut() {
            flight.uncertain |= flight.retry.is_none();
        }
        let bound: Vec<RequestId> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.is_of_link())
            .map(|(id, _)| *id)
            .collect();
        bound.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The requests of this kind that are under way, in order of ids.
    pub(super) fn of_kind(&self, kind: RequestKind) -> Vec<RequestId> {
        let flights = self.flights.iter().filter(|(_, flight)| flight.request.kind() == kind);
        flights.map(|(id, _)| *id).collect()
    }

    /// Everything under way, in order of ids; all of it counts as sent now.
    pub(super) fn resend(&mut self) -> Vec<RequestId> {
        self.retries = Table::default();
        for (_, flight) in self.flights.iter_mut() {
            flight.retry = None;
            flight.parts = None;
        }
        self.flights.iter().map(|(id, _)| *id).collect()
    }
}

impl Flight {
    /// Whether it means nothing on another link.
    fn is_of_link(&self) -> bool {
        matches!(self.request, Request::Subscribe(_) | Request::Unsubscribe(_))
    }
}
