//! The life of requests: sending, answers, retries, giving up.

use std::sync::Arc;
use std::time::Duration;

use super::calls::Stage;
use super::event::{CallId, ChangeKind, Code, Error, Event, LinkId, Output};
use super::flights::{Flight, Owner};
use super::held::{self, Outcome};
use super::{Course, Session};
use crate::codec::ask;
use crate::codec::json::Write as _;
use crate::codec::reply::{Incoming, More, Part, Refusal};
use crate::id::RequestId;
use crate::limits;
use crate::message::{
    Change, ErrorCode, Request, RequestKind, SessionReplaced, Unsubscribe, UserAddress, tag,
};
use crate::time::Instant;

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
        if self.home.is_none() {
            if self.any_open_link().is_some() {
                while let Some((call, status)) = self.calls.next_status() {
                    self.issue(status, Owner::Call(call));
                }
            }
            return;
        }
        while self.flights.has_room() {
            let Some(request) = self.held.next_work(self.life) else {
                break;
            };
            self.issue(request, Owner::Keeper);
        }
        while let Some((watch, subscribe)) = self.watches.next_pending() {
            self.issue(Request::Subscribe(subscribe), Owner::Watch(watch));
        }
        while let Some((call, request)) = self.calls.next_ready(self.flights.has_room()) {
            self.issue(request, Owner::Call(call));
        }
    }

    /// Sends a request for the first time.
    pub(super) fn issue(&mut self, request: Request, owner: Owner) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.flights.insert(id, request, owner, self.life);
        if let Owner::Call(call) = owner {
            self.calls.set_sent(call, id);
        }
        self.transmit(id);
    }

    /// Sends a request that is under way, on the link of the time.
    pub(super) fn transmit(&mut self, id: RequestId) {
        let any = self.any_open_link();
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let kind = flight.request.kind();
        let Some(link) = (if kind == RequestKind::GetStatus { any } else { self.home }) else {
            return;
        };
        let text = ask::encode(None, id, &flight.request);
        if text.len() > limits::MESSAGE_BYTES {
            // The server would close the link over it, for every call.
            let message = "the request is larger than a message may be".to_owned();
            let field = match kind {
                RequestKind::GetUserAddress | RequestKind::Subscribe => "usernames",
                _ => "payload",
            };
            self.settle(id, Err(Error::invalid(field, message)));
            return;
        }
        self.output(Output::Send { link, text });
    }

    /// Sends everything under way again, on a new link.
    pub(super) fn resend(&mut self) {
        for id in self.flights.resend() {
            self.transmit(id);
        }
    }

    pub(super) fn retry_due(&mut self, now: Instant) {
        if self.home.is_none() {
            return;
        }
        while let Some(id) = self.flights.take_due(now) {
            self.transmit(id);
        }
    }

    /// The link that requests went to is gone.
    pub(super) fn handle_home_lost(&mut self) {
        self.watches.handle_link_lost();
        for flight in self.flights.handle_link_lost() {
            // An `Unsubscribe` has come true with the end of its link; a `Subscribe` is made anew.
            if let Owner::Call(call) = flight.owner {
                self.finish_call(call, Ok("{}".to_owned()));
            }
        }
    }

    /// Takes in a message.
    pub(super) fn receive(&mut self, now: Instant, link: LinkId, text: &str) {
        if self.links.get(&link).is_none() {
            return;
        }
        let Some(message) = Incoming::decode(text) else {
            self.drop_link(now, link, "unreadable message");
            return;
        };
        if self.home == Some(link) {
            match message.id {
                Some(id) => self.handle_reply(now, id, &message),
                None => self.handle_push(now, link, &message),
            }
            self.pump();
            self.finish_closing();
        } else if message.id.is_some() && message.id == self.awaited_hello(link) {
            self.handle_greeting(now, link, &message);
        } else if let Some(id) = message.id
            && self.any_open_link() == Some(link)
        {
            self.handle_reply(now, id, &message);
            self.finish_closing();
        }
    }

    fn handle_push(&mut self, now: Instant, link: LinkId, message: &Incoming<'_>) {
        match message.r#type.as_ref() {
            tag::GOING_AWAY => self.handle_going_away(now, link),
            tag::SESSION_REPLACED => {
                let Some(SessionReplaced { username, device }) = message.read() else {
                    return;
                };
                let key = (username, device);
                self.held.handle_replaced(&key);
                let (username, device) = key;
                self.event(Event::SessionReplaced { username, device });
            }
            other => {
                let Some(kind) = ChangeKind::from_tag(other) else {
                    return; // of a newer server
                };
                let Some(change) = message.read::<Change>() else {
                    // Leaving it out would leave a gap that nobody sees.
                    self.drop_link(now, link, "unreadable change");
                    return;
                };
                let origin = origin(message);
                if let Some(event) = self.watches.handle_change(kind, change, &origin) {
                    self.event(event);
                }
            }
        }
    }

    fn handle_reply(&mut self, now: Instant, id: RequestId, message: &Incoming<'_>) {
        let Some(flight) = self.flights.get_mut(id) else {
            return; // a late or second copy
        };
        let answer = message.r#type.as_ref();
        if answer == tag::ERROR {
            match refusal(message) {
                Some((error, true)) => self.plan_retry(now, id, error, retry_after(message)),
                Some((error, false)) => self.settle(id, Err(error)),
                None => self.settle(id, Err(unreadable())),
            }
            return;
        }
        let kind = flight.request.kind();
        let continues = answer == tag::USERS && flight.parts.is_some();
        if !continues && Some(answer) != reply_tag(kind) {
            self.settle(id, Err(unreadable()));
            return;
        }
        let in_parts = kind == RequestKind::Subscribe
            || continues
            || (kind == RequestKind::GetUserAddress
                && message.read::<More>().is_some_and(|More(more)| more));
        if in_parts {
            self.handle_part(id, message);
        } else {
            self.settle(id, Ok(message.payload.to_owned()));
        }
    }

    /// Takes in a part of a large answer, and the answer with its last.
    fn handle_part(&mut self, id: RequestId, message: &Incoming<'_>) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let Some(part) = message.read::<Part>() else {
            self.settle(id, Err(unreadable()));
            return;
        };
        let more = part.more;
        match &mut flight.parts {
            Some(parts) => {
                parts.users.extend(part.users);
                parts.unknown.extend(part.unknown);
            }
            none => *none = Some(part),
        }
        if more {
            return;
        }
        let Some(answer) = flight.parts.take() else {
            return;
        };
        match flight.owner {
            Owner::Watch(watch) => {
                self.flights.remove(id);
                let Some(subscription) = answer.subscription else {
                    self.refuse_watch(watch, unreadable());
                    return;
                };
                let origin = origin(message);
                let told = self.watches.handle_subscribed(watch, subscription, answer, &origin);
                match told {
                    Some((events, call)) => {
                        if let Some(call) = call {
                            self.finish_call(call, Ok("{}".to_owned()));
                        }
                        for event in events {
                            self.event(event);
                        }
                    }
                    None => {
                        let request = Request::Unsubscribe(Unsubscribe { subscription });
                        self.issue(request, Owner::Nobody);
                    }
                }
            }
            _ => self.settle(id, Ok(join(answer))),
        }
    }

    fn plan_retry(&mut self, now: Instant, id: RequestId, error: Error, after: Duration) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        flight.uncertain |= error.code == Code::Refused(ErrorCode::OutcomeUnknown);
        let failures = flight.retries + 1;
        let delay = self.backoff.delay(failures, &mut self.random);
        let at = now + delay.max(after.min(LONGEST_WAIT));
        self.flights.retry_at(id, at, error);
    }

    /// A request has its outcome.
    pub(super) fn settle(&mut self, id: RequestId, result: Result<String, Error>) {
        let Some(flight) = self.flights.remove(id) else {
            return;
        };
        if let Some(key) = held::key(&flight.request) {
            let lost = self.registration_lost(&key, &flight, &result);
            let outcome = self.outcome(&key, &flight, &result);
            if let Some(next) = self.held.settle(&key, outcome) {
                self.calls.make_ready(next);
            }
            if let Some(event) = lost {
                self.event(event);
            }
        }
        match (flight.owner, result) {
            (Owner::Call(call), result) => self.finish_call(call, result),
            (Owner::Watch(watch), Err(error)) => self.refuse_watch(watch, error),
            _ => {}
        }
    }

    fn registration_lost(
        &self,
        key: &held::Key,
        flight: &Flight,
        result: &Result<String, Error>,
    ) -> Option<Event> {
        match (&flight.request, result) {
            (Request::ConnectUser(registration), Err(error))
                if flight.owner == Owner::Keeper && self.held.wants(key, registration) =>
            {
                Some(Event::RegistrationLost {
                    username: key.0.clone(),
                    device: key.1.clone(),
                    error: error.clone(),
                })
            }
            _ => None,
        }
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

    fn refuse_watch(&mut self, watch: super::WatchId, error: Error) {
        match self.watches.remove(watch) {
            Some((_, Some(call))) => self.finish_call(call, Err(error)),
            Some((_, None)) => self.event(Event::WatchEnded { watch, error }),
            None => {}
        }
    }

    pub(super) fn expire_calls(&mut self, now: Instant) {
        while let Some((call, deadline)) = self.calls.first() {
            if self.with_grace(deadline) > now {
                return;
            }
            self.give_up(now, call);
        }
    }

    /// A call ran out of time: what it asked may still be under way.
    fn give_up(&mut self, now: Instant, call: CallId) {
        let error = match self.calls.stage(call) {
            Some(Stage::Sent(id)) => {
                let id = *id;
                self.abandon(now, id)
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
    fn abandon(&mut self, now: Instant, id: RequestId) -> Error {
        let timeout = Error::new(Code::Timeout, "no answer in time");
        let Some(flight) = self.flights.get_mut(id) else {
            return timeout;
        };
        let last = flight.retry.as_ref().map(|(_, error)| error.clone());
        let write = flight.request.kind().is_write();
        if !write || (last.is_some() && !flight.uncertain) {
            flight.owner = Owner::Nobody;
            let error = last.unwrap_or(timeout);
            // Not applied, as far as anyone will ask.
            self.settle(id, Err(error.clone()));
            return error;
        }
        flight.owner = Owner::Nobody;
        if flight.retry.is_none() {
            let delay = self.backoff.delay(flight.retries + 1, &mut self.random);
            self.flights.retry_at(id, now + delay, timeout.clone());
        }
        timeout
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

/// What an `Error` says, and whether to try again.
pub(super) fn refusal(message: &Incoming<'_>) -> Option<(Error, bool)> {
    let refusal: Refusal = message.read()?;
    let error =
        Error { code: Code::Refused(refusal.code), field: refusal.field, message: refusal.message };
    Some((error, refusal.retry))
}

fn retry_after(message: &Incoming<'_>) -> Duration {
    let after: Option<u64> = message.read::<Refusal>().and_then(|refusal| refusal.retry_after_ms);
    Duration::from_millis(after.unwrap_or(0))
}

/// The type of the reply to a request.
fn reply_tag(kind: RequestKind) -> Option<&'static str> {
    Some(match kind {
        RequestKind::Hello => return None,
        RequestKind::ConnectUser => tag::CONNECTED,
        RequestKind::DisconnectUser => tag::DISCONNECTED,
        RequestKind::GetUserAddress => tag::USER_ADDRESS,
        RequestKind::GetSequenceNumber => tag::SEQUENCE_NUMBER,
        RequestKind::Subscribe => tag::SUBSCRIBED,
        RequestKind::Unsubscribe => tag::UNSUBSCRIBED,
        RequestKind::GetStatus => tag::STATUS,
        RequestKind::Ping => tag::PONG,
    })
}

/// One `UserAddress` of all its parts. A user split between two parts becomes one again.
fn join(answer: Part) -> String {
    let mut users: Vec<crate::message::User> = Vec::new();
    for user in answer.users {
        match users.last_mut() {
            Some(last) if last.username == user.username => last.addresses.extend(user.addresses),
            _ => users.push(user),
        }
    }
    let whole = UserAddress {
        users,
        unknown: answer.unknown,
        revision: answer.revision.unwrap_or_default(),
        more: false,
    };
    let mut text = String::new();
    whole.write(&mut text);
    text
}

fn origin(message: &Incoming<'_>) -> Arc<str> {
    Arc::from(message.origin.as_deref().unwrap_or_default())
}

fn unreadable() -> Error {
    let code = Code::Refused(ErrorCode::Internal);
    Error::new(code, "the server's answer could not be read")
}

/// The longest wait before a retry that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
