//! What servers say: replies to requests, parts of large ones, pushes.

use std::sync::Arc;
use std::time::Duration;

use super::event::{ChangeKind, Code, Error, Event, LinkId, WatchId};
use super::flights::Owner;
use super::watches::{Number, Subscribed};
use super::{Session, trips};
use crate::codec::json::Write as _;
use crate::codec::reply::{Incoming, More, Part, Refusal};
use crate::id::{RequestId, Revision};
use crate::message::{
    Change, ErrorCode, Request, RequestKind, SessionReplaced, Unsubscribe, UserAddress, tag,
};

impl Session {
    /// Takes in a message.
    pub(super) fn receive(&mut self, link: LinkId, text: &str) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let Some(message) = Incoming::decode(text) else {
            self.drop_link(link, "unreadable message");
            return;
        };
        if let Some(ready) = known.ready_mut() {
            match message.id {
                // The application's own `Ping` is a request as any other.
                Some(id)
                    if message.r#type.as_ref() == tag::PONG
                        && self.flights.get_mut(id).is_none() =>
                {
                    self.handle_pong(link, id);
                }
                Some(id) => {
                    ready.trips.answered(id, self.now);
                    self.handle_reply(link, id, &message);
                }
                None => self.handle_push(link, &message),
            }
            self.pump();
            self.finish_closing();
        } else if message.id.is_some() && message.id == self.awaited_hello(link) {
            self.handle_greeting(link, &message);
        } else if let Some(id) = message.id {
            self.handle_reply(link, id, &message);
            self.finish_closing();
        }
    }

    fn handle_push(&mut self, link: LinkId, message: &Incoming<'_>) {
        match message.r#type.as_ref() {
            // This server shuts down: everything goes to another, at once if there is one.
            tag::GOING_AWAY => self.drop_link(link, "going away"),
            tag::SESSION_REPLACED => {
                let Some(SessionReplaced { username, device }) = message.read() else {
                    return;
                };
                let key = (username, device);
                let links: Vec<LinkId> = self.ready_links().map(|(id, _)| id).collect();
                // Every link of the session tells it.
                if self.held.handle_replaced(&key, link, &links, self.now) {
                    let (username, device) = key;
                    self.event(Event::SessionReplaced { username, device });
                }
            }
            other => {
                let Some(kind) = ChangeKind::from_tag(other) else {
                    return; // of a newer server
                };
                let Some(change) = message.read::<Change>() else {
                    // Leaving it out would leave a gap that nobody sees.
                    self.drop_link(link, "unreadable change");
                    return;
                };
                let origin = origin(message);
                if let Some(event) = self.watches.handle_change(link, kind, change, &origin) {
                    self.event(event);
                    if let Some(home) = self.home.filter(|home| *home != link) {
                        // What has come now may be what it lacked at home.
                        self.watches.move_to(home);
                    }
                }
            }
        }
    }

    fn handle_reply(&mut self, link: LinkId, id: RequestId, message: &Incoming<'_>) {
        let answer = message.r#type.as_ref();
        if answer == tag::ERROR {
            match refusal(message) {
                Some((error, true)) => self.handle_refusal(link, id, error, retry_after(message)),
                Some((error, false)) => {
                    self.handle_served(link);
                    self.settle(id, Err(error));
                }
                None => self.settle(id, Err(unreadable())),
            }
            return;
        }
        self.handle_served(link);
        let Some(flight) = self.flights.get_mut(id) else {
            return; // a late or second copy
        };
        let kind = flight.request.kind();
        let continues = answer == tag::USERS;
        if continues && flight.parts.as_ref().is_none_or(|(from, _)| *from != link) {
            return; // of an answer whose beginning came on another link, or was of an earlier copy
        }
        if !continues && Some(answer) != reply_tag(kind) {
            self.settle(id, Err(unreadable()));
            return;
        }
        let in_parts = kind == RequestKind::Subscribe
            || continues
            || (kind == RequestKind::GetUserAddress
                && message.read::<More>().is_some_and(|More(more)| more));
        if in_parts {
            self.handle_part(link, id, message);
        } else {
            self.settle(id, Ok(message.payload.to_owned()));
        }
    }

    /// A server has answered a request.
    fn handle_served(&mut self, link: LinkId) {
        if let Some(ready) = self.ready_mut(link) {
            ready.standing.handle_answer();
        }
    }

    /// Takes in a part of a large answer, and the answer with its last.
    fn handle_part(&mut self, link: LinkId, id: RequestId, message: &Incoming<'_>) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let Some(part) = message.read::<Part>() else {
            self.settle(id, Err(unreadable()));
            return;
        };
        let more = part.more;
        match &mut flight.parts {
            Some((from, parts)) if *from == link => {
                parts.users.extend(part.users);
                parts.unknown.extend(part.unknown);
            }
            Some(_) => {
                // The other answer is being told already. Should that one break off, this one is gone
                // by then: it is awaited no more.
                flight.forget_copy(link);
                return;
            }
            none => *none = Some((link, part)),
        }
        if more {
            // It is not late as long as it comes.
            self.flights.set_due(id, self.now + trips::LONGEST);
            return;
        }
        let Some((_, answer)) = flight.parts.take() else {
            return;
        };
        match flight.owner {
            Owner::Watch(watch) => {
                let since = match self.flights.remove(id).map(|flight| flight.request) {
                    Some(Request::Subscribe(subscribe)) => subscribe.since,
                    _ => None,
                };
                self.handle_subscribed(link, watch, since, answer, origin(message));
            }
            _ => self.settle(id, Ok(join(answer))),
        }
    }

    fn handle_subscribed(
        &mut self,
        link: LinkId,
        watch: WatchId,
        since: Option<Revision>,
        answer: Part,
        origin: Arc<str>,
    ) {
        let Some(number) = answer.subscription else {
            self.refuse_watch(watch, unreadable());
            return;
        };
        let place = self.watches.place(watch).filter(|place| *place != link);
        let granted = if place.is_some() && place == self.home {
            self.watches.handle_answered(watch, link); // It comes late.
            None
        } else {
            let stays =
                place.filter(|place| self.serves_well(*place)).map(|_| since.unwrap_or_default());
            self.watches.handle_subscribed(watch, (link, number), answer, &origin, stays)
        };
        let Some(Subscribed { events, call, before }) = granted else {
            self.end_subscription((link, number));
            if let Some(home) = self.home {
                self.watches.move_to(home);
            }
            return;
        };
        if let Some(call) = call {
            self.finish_call(call, Ok("{}".to_owned()));
        }
        for event in events {
            self.event(event);
        }
        if let Some(before) = before {
            self.end_subscription(before);
        }
    }

    /// Nobody needs a subscription any more; its link says so, if it is there.
    pub(super) fn end_subscription(&mut self, (link, subscription): Number) {
        if self.links.get(&link).is_some_and(|link| link.ready().is_some()) {
            self.issue_on(link, Request::Unsubscribe(Unsubscribe { subscription }), Owner::Nobody);
        }
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
