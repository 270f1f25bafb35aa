//! The requests under way: each from its first sending until its outcome is known.
//!
//! A write is sent again under its id until it has an outcome, also after its call gave up: only
//! so does the window move, and only so is known what stands. Copies of one request may be under way
//! on several links. Owns no decision about outcomes.

use super::event::{CallId, Error, LinkId, WatchId};
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
    /// When which request is to be looked after: its answer is late, or it is to be sent again.
    due: Table<(Instant, RequestId), ()>,
    window: Window,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) request: Request,
    pub(super) owner: Owner,
    /// The life of the session it was first sent in.
    pub(super) life: Life,
    /// The links on which an answer is awaited, in the order of sending.
    pub(super) copies: Vec<LinkId>,
    /// The links that had no quorum, since the last pause.
    pub(super) refused_by: Vec<LinkId>,
    /// How often it was to be retried after a pause.
    pub(super) retries: u32,
    /// A copy of it was sent whose answer can no longer come: it may have been applied.
    pub(super) uncertain: bool,
    /// The parts of the answer so far, and the link they come on.
    pub(super) parts: Option<(LinkId, Part)>,
    /// The last answer was a refusal, and no other is awaited: it is sent again when it is due.
    pub(super) refusal: Option<Error>,
    /// When it is to be looked after.
    due: Option<Instant>,
}

/// Who waits for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A call of the application.
    Call(CallId),
    /// A watch, to be subscribed on one link.
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
        let flight = Flight {
            request,
            owner,
            life,
            copies: Vec::new(),
            refused_by: Vec::new(),
            retries: 0,
            uncertain: false,
            parts: None,
            refusal: None,
            due: None,
        };
        self.flights.insert(id, flight);
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Flight> {
        self.flights.get_mut(&id)
    }

    /// Takes a request out: its outcome is known or no longer of interest.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(at) = flight.due {
            self.due.remove(&(at, id));
        }
        self.window.settle(id);
        Some(flight)
    }

    /// A request is to be looked after at this time, and not before.
    pub(super) fn set_due(&mut self, id: RequestId, at: Instant) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if let Some(old) = flight.due.replace(at) {
            self.due.remove(&(old, id));
        }
        self.due.insert((at, id), ());
    }

    /// When the next request is to be looked after.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|((at, _), ())| *at)
    }

    /// A request that is to be looked after by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<RequestId> {
        let ((at, id), ()) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.due = None;
        }
        Some(id)
    }

    /// A link is gone: no answer to what was sent on it will come. What only meant that link goes too.
    pub(super) fn handle_link_lost(&mut self, link: LinkId) {
        let mut bound = Vec::new();
        for (id, flight) in self.flights.iter_mut() {
            if flight.forget_copy(link) {
                flight.uncertain = true;
                if flight.is_of_link() {
                    bound.push(*id);
                }
            }
        }
        bound.into_iter().for_each(|id| drop(self.remove(id)));
    }

    /// The requests of this kind that are under way, in order of ids.
    pub(super) fn of_kind(&self, kind: RequestKind) -> Vec<RequestId> {
        let flights = self.flights.iter().filter(|(_, flight)| flight.request.kind() == kind);
        flights.map(|(id, _)| *id).collect()
    }

    /// The requests whose answer is awaited on no link but this one, if any, in order of ids: with
    /// those that wait to be sent again, if `paused`. What only means a link is not among them.
    pub(super) fn stranded(&self, link: Option<LinkId>, paused: bool) -> Vec<RequestId> {
        let stranded = self.flights.iter().filter(|(_, flight)| {
            !flight.is_of_link()
                && (paused || flight.refusal.is_none())
                && flight.copies.iter().all(|copy| Some(*copy) == link)
        });
        stranded.map(|(id, _)| *id).collect()
    }
}

impl Flight {
    /// Whether it means nothing on another link.
    pub(super) fn is_of_link(&self) -> bool {
        matches!(self.request, Request::Subscribe(_) | Request::Unsubscribe(_))
    }

    /// No answer is awaited on `link` any more. Returns whether one was.
    pub(super) fn forget_copy(&mut self, link: LinkId) -> bool {
        let before = self.copies.len();
        self.copies.retain(|copy| *copy != link);
        self.parts.take_if(|(from, _)| *from == link);
        self.copies.len() < before
    }
}
