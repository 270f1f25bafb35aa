//! The life of requests: sending, answers, retries, giving up.

use std::time::Duration;

use super::calls::Stage;
use super::event::{CallId, Code, Error, Event, LinkId, Output};
use super::flights::{Flight, Owner};
use super::held::{self, Outcome};
use super::link::Link;
use super::{Course, Session, trips};
use crate::codec::ask;
use crate::id::RequestId;
use crate::limits;
use crate::message::{ErrorCode, Request, RequestKind};

impl Session {
    /// Whether a new call may begin; if not, it is done.
    pub(super) fn admit(&mut self, call: CallId) -> bool {
        let refusal = match &self.course {
            Course::Closed(why) => why.clone(),
            Course::Closing(_) => super::closed_by_application(),
            Course::Running if self.calls.is_full() => {
                let message = "too many calls wait for an answer already";
                Error::new(Code::Refused(ErrorCode::Overloaded), message)
            }
            Course::Running => return true,
        };
        self.done(call, Err(refusal));
        false
    }

    /// Sends what may be sent now: first what restores registrations, then subscriptions, then
    /// calls in their order.
    pub(super) fn pump(&mut self) {
        let Some(home) = self.home else {
            if self.any_open_link().is_some() {
                while let Some((call, status)) = self.calls.next_status() {
                    self.issue(status, Owner::Call(call));
                }
            }
            return;
        };
        while self.flights.has_room() {
            let Some(request) = self.held.next_work(self.life_number()) else {
                break;
            };
            self.issue(request, Owner::Keeper);
        }
        while let Some((watch, subscribe)) = self.watches.next_pending(home) {
            self.issue(Request::Subscribe(subscribe), Owner::Watch(watch));
        }
        while let Some((call, request)) = self.calls.next_ready(self.flights.has_room()) {
            self.issue(request, Owner::Call(call));
        }
    }

    /// Sends a request for the first time, on the link that all go to.
    pub(super) fn issue(&mut self, request: Request, owner: Owner) {
        if let Some(link) = self.any_open_link() {
            self.issue_on(link, request, owner);
        }
    }

    /// Sends a request for the first time.
    pub(super) fn issue_on(&mut self, link: LinkId, request: Request, owner: Owner) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.flights.insert(id, request, owner, self.life_number());
        if let Owner::Call(call) = owner {
            self.calls.set_sent(call, id);
        }
        self.send(id, link);
    }

    /// Sends a copy of a request that is under way.
    pub(super) fn send(&mut self, id: RequestId, link: LinkId) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let text = ask::encode(None, id, &flight.request);
        if text.len() > limits::MESSAGE_BYTES {
            // The server would close the link over it, for every call.
            let message = "the request is larger than a message may be".to_owned();
            let field = match flight.request.kind() {
                RequestKind::GetUserAddress | RequestKind::Subscribe => "usernames",
                _ => "payload",
            };
            self.settle(id, Err(Error::invalid(field, message)));
            return;
        }
        if flight.refusal.take().is_some() {
            flight.refused_by.clear(); // a pause is over
        }
        flight.forget_copy(link);
        flight.copies.push(link);
        let now = self.now;
        let patience = match self.ready_mut(link) {
            Some(ready) => {
                ready.trips.sent(id, now);
                ready.trips.patience()
            }
            None => trips::LONGEST,
        };
        self.flights.set_due(id, now + patience);
        self.output(Output::Send { link, text });
    }

    /// Looks after what is due: sends it again after a pause, asks elsewhere what is late.
    pub(super) fn look_after_due(&mut self) {
        while let Some(id) = self.flights.take_due(self.now) {
            let Some(flight) = self.flights.get_mut(id) else {
                continue;
            };
            let Some(last) = flight.copies.last().copied() else {
                if let Some(home) = self.home {
                    self.send(id, home);
                }
                continue;
            };
            let of_link = flight.is_of_link();
            if flight.refusal.is_some() {
                self.ask_link_again(id, last);
                continue;
            }
            self.handle_late(last);
            let Some(flight) = self.flights.get_mut(id) else {
                continue;
            };
            if flight.copies.last() != Some(&last) {
                continue; // it was moved with all the others
            }
            let tried = flight.copies.clone();
            let anywhere = flight.request.kind() == RequestKind::GetStatus;
            let elsewhere = if of_link { None } else { self.another_link(&tried) };
            let elsewhere = elsewhere.or_else(|| self.greeted_link(&tried).filter(|_| anywhere));
            if let Some(link) = elsewhere {
                self.send(id, link);
            } else {
                let ready = self.links.get(&last).and_then(Link::ready);
                let patience = ready.map_or(trips::LONGEST, |it| it.trips.patience());
                self.flights.set_due(id, self.now + patience);
            }
        }
    }

    /// What only means a link was refused on it for a while. A watch whose home is another one by now
    /// is subscribed there instead, one that is gone is not subscribed.
    fn ask_link_again(&mut self, id: RequestId, link: LinkId) {
        let owner = self.flights.get_mut(id).map(|flight| flight.owner);
        match owner {
            Some(Owner::Watch(watch))
                if self.home != Some(link) || !self.watches.contains(watch) =>
            {
                self.flights.remove(id);
                self.watches.handle_answered(watch, link);
            }
            _ => self.send(id, link),
        }
    }

    /// One copy of a request was not applied, for now.
    pub(super) fn handle_refusal(
        &mut self,
        link: LinkId,
        id: RequestId,
        error: Error,
        after: Duration,
    ) {
        let no_quorum = error.code == Code::Refused(ErrorCode::NoQuorum);
        if no_quorum {
            self.handle_no_quorum(link);
        }
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        flight.uncertain |= error.code == Code::Refused(ErrorCode::OutcomeUnknown);
        if !flight.copies.contains(&link) {
            return;
        }
        if !flight.is_of_link() {
            flight.forget_copy(link);
            if no_quorum {
                flight.refused_by.push(link);
            }
            if !flight.copies.is_empty() {
                return; // another copy may be answered
            }
            if no_quorum {
                let tried = flight.refused_by.clone();
                if let Some(other) = self.another_link(&tried) {
                    return self.send(id, other);
                }
            }
        }
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        flight.refusal = Some(error);
        flight.retries = flight.retries.saturating_add(1);
        let delay = self.backoff.delay(flight.retries, &mut self.random);
        self.flights.set_due(id, self.now + delay.max(after.min(LONGEST_WAIT)));
    }

    /// A request has its outcome.
    pub(super) fn settle(&mut self, id: RequestId, result: Result<String, Error>) {
        let Some(flight) = self.flights.remove(id) else {
            return;
        };
        if let Some(key) = held::key(&flight.request) {
            let told = self.registration_event(&key, &flight, &result);
            let outcome = self.outcome(&key, &flight, &result);
            if let Some(next) = self.held.settle(&key, outcome) {
                self.calls.make_ready(next);
            }
            if let Some(event) = told {
                self.event(event);
            }
        }
        match (flight.owner, result) {
            (Owner::Call(call), result) => self.finish_call(call, result),
            (Owner::Watch(watch), Err(error)) => self.refuse_watch(watch, error),
            _ => {}
        }
    }

    /// What to tell of a registration that the session makes again by itself.
    fn registration_event(
        &self,
        key: &held::Key,
        flight: &Flight,
        result: &Result<String, Error>,
    ) -> Option<Event> {
        let Request::ConnectUser(registration) = &flight.request else {
            return None;
        };
        if flight.owner != Owner::Keeper || !self.held.wants(key, registration) {
            return None;
        }
        let (username, device) = key.clone();
        Some(match result {
            Ok(_) => Event::RegistrationRenewed { username, device },
            Err(error) => Event::RegistrationLost { username, device, error: error.clone() },
        })
    }

    fn outcome(&self, key: &held::Key, flight: &Flight, result: &Result<String, Error>) -> Outcome {
        let keeper = flight.owner == Owner::Keeper;
        match (&flight.request, result) {
            (Request::ConnectUser(registration), Ok(_)) => Outcome::Connected {
                registration: registration.clone(),
                wanted: match flight.owner {
                    Owner::Call(_) => true,
                    _ => keeper && self.held.wants(key, registration),
                },
                life: flight.life,
            },
            (Request::ConnectUser(_), Err(_)) if keeper => Outcome::Lost,
            (Request::DisconnectUser(_), Ok(_)) => Outcome::Disconnected,
            (Request::DisconnectUser(_), Err(error)) => match error.code {
                Code::Refused(ErrorCode::NotFound | ErrorCode::NotOwner) => Outcome::Disconnected,
                // Asking again would be answered the same.
                _ if keeper => Outcome::Disconnected,
                _ => Outcome::Unchanged,
            },
            _ => Outcome::Unchanged,
        }
    }

    pub(super) fn refuse_watch(&mut self, watch: super::WatchId, error: Error) {
        match self.watches.remove(watch) {
            Some((_, Some(call))) => self.finish_call(call, Err(error)),
            Some((number, None)) => {
                self.event(Event::WatchEnded { watch, error });
                if let Some(number) = number {
                    // It was to move; where it was it is granted still.
                    self.end_subscription(number);
                }
            }
            None => {}
        }
    }

    pub(super) fn expire_calls(&mut self) {
        while let Some((call, deadline)) = self.calls.first() {
            if self.with_grace(deadline) > self.now {
                return;
            }
            self.give_up(call);
        }
    }

    /// A call ran out of time: what it asked may still be under way.
    fn give_up(&mut self, call: CallId) {
        let error = match self.calls.stage(call) {
            Some(Stage::Sent(id)) => {
                let id = *id;
                self.abandon(id)
            }
            Some(Stage::Queued(request)) => {
                let key = held::key(request);
                if let Some(next) = key.and_then(|key| self.held.leave(&key, call)) {
                    self.calls.make_ready(next);
                }
                self.not_sent()
            }
            Some(Stage::Subscribing(watch)) => {
                let watch = *watch;
                self.watches.remove(watch);
                self.not_sent()
            }
            None => return,
        };
        self.finish_call(call, Err(error));
    }

    fn not_sent(&self) -> Error {
        if let Some(refusal) = &self.refusal {
            refusal.clone()
        } else if self.home.is_some() {
            Error::new(Code::Timeout, "no answer in time")
        } else {
            Error::new(Code::Unreachable, "no server could be reached in time")
        }
    }

    /// The call of a request gives up. A write that may have been applied goes on without it.
    fn abandon(&mut self, id: RequestId) -> Error {
        let timeout = Error::new(Code::Timeout, "no answer in time");
        let Some(flight) = self.flights.get_mut(id) else {
            return timeout;
        };
        flight.owner = Owner::Nobody;
        let last = flight.refusal.clone();
        if !flight.request.kind().is_write() {
            let error = last.unwrap_or(timeout);
            self.settle(id, Err(error.clone()));
            return error;
        }
        match last {
            // Not applied, as far as anyone will ask.
            Some(error) if !flight.uncertain => {
                self.settle(id, Err(error.clone()));
                error
            }
            _ => Error::new(Code::Timeout, "no answer in time; it may have been applied"),
        }
    }

    /// Ends every call; what was sent goes on without them.
    pub(super) fn fail_all(&mut self, why: &Error) {
        while let Some((call, _)) = self.calls.first() {
            match self.calls.stage(call) {
                Some(Stage::Sent(id)) => {
                    let id = *id;
                    if let Some(flight) = self.flights.get_mut(id) {
                        flight.owner = Owner::Nobody;
                    }
                }
                Some(Stage::Queued(request)) => {
                    if let Some(key) = held::key(request) {
                        self.held.leave(&key, call);
                    }
                }
                Some(Stage::Subscribing(_)) | None => {}
            }
            self.finish_call(call, Err(why.clone()));
        }
        for watch in self.watches.clear() {
            let error = why.clone();
            self.event(Event::WatchEnded { watch, error });
        }
    }

    pub(super) fn finish_call(&mut self, call: CallId, result: Result<String, Error>) {
        if self.calls.remove(call).is_some() {
            self.done(call, result);
        }
    }

    pub(super) fn done(&mut self, call: CallId, result: Result<String, Error>) {
        self.event(Event::Done { call, result });
    }
}

/// The longest wait before a retry that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
