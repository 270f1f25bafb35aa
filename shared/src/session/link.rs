//! The life of links: opening, greeting, welcome, loss, and moving to another server.
//!
//! Owns no request but `Hello` and `Ping`; what happens to requests is [`super::requests`]'.

use std::sync::Arc;
use std::time::Duration;

use super::liveness::{GRACE, Liveness, Verdict};
use super::{Code, Course, Error, Event, LinkId, Output, Session, State, Token, Welcomed};
use crate::close::{self, CloseCode};
use crate::codec::ask;
use crate::codec::json::Write as _;
use crate::codec::reply::{Greeting, Incoming};
use crate::id::RequestId;
use crate::message::{ErrorCode, Hello, Request, RequestKind, VERSION, tag};
use crate::time::Instant;

/// A WebSocket and how far it has come.
#[derive(Debug)]
pub(super) struct Link {
    url: Arc<str>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Something is awaited that has a time limit.
    Starting { step: Step, limit: Limit },
    /// A server has welcomed the session on it.
    Ready { since: Instant, liveness: Liveness },
}

/// What a link that is not ready waits for.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The driver gets a token.
    Token,
    /// The driver opens the socket.
    Opening { token: Option<String> },
    /// The server answers this `Hello`.
    Greeting { hello: RequestId },
}

/// A deadline that may be extended once, after a sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    at: Instant,
    extended: bool,
}

impl Limit {
    fn new(now: Instant) -> Self {
        Self { at: now + STEP, extended: false }
    }
}

impl Link {
    pub(super) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Starting { limit, .. } => limit.at,
            Phase::Ready { liveness, .. } => liveness.deadline(),
        }
    }

    pub(super) fn handle_heard(&mut self, now: Instant) {
        if let Phase::Ready { liveness, .. } = &mut self.phase {
            liveness.handle_heard(now);
        }
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Starting { .. } => true,
            Phase::Ready { liveness, .. } => liveness.is_fresh(now),
        }
    }

    pub(super) fn handle_wake(&mut self, now: Instant) -> Verdict {
        match &mut self.phase {
            Phase::Starting { limit, .. } => {
                if !limit.extended {
                    limit.extended = true;
                    limit.at = limit.at.max(now + GRACE);
                }
                Verdict::Wait
            }
            Phase::Ready { liveness, .. } => liveness.handle_wake(now),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Verdict {
        match &mut self.phase {
            Phase::Starting { limit, .. } if limit.at <= now => Verdict::Dead,
            Phase::Starting { .. } => Verdict::Wait,
            Phase::Ready { liveness, .. } => liveness.handle_timeout(now),
        }
    }
}

impl Session {
    /// Opens a link to the server whose turn it is.
    pub(super) fn open_link(&mut self, now: Instant) {
        self.retry_at = None;
        let Some(url) = self.servers.current().cloned() else {
            self.end(Error::invalid("servers", "no server is named".to_owned()));
            return;
        };
        self.last_link += 1;
        let id = LinkId(self.last_link);
        let step = match &self.config.token {
            Token::Ask => Step::Token,
            Token::Fixed(token) => Step::Opening { token: Some(token.clone()) },
            Token::None => Step::Opening { token: None },
        };
        self.output(match step {
            Step::Token => Output::Token { link: id },
            _ => Output::Open { link: id, url: Arc::clone(&url) },
        });
        let limit = Limit::new(now);
        let phase = Phase::Starting { step, limit };
        self.links.insert(id, Link { url, phase });
        self.set_state(State::Connecting);
    }

    pub(super) fn token_ready(&mut self, now: Instant, id: LinkId, token: Option<String>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if let Phase::Starting { step, limit } = &mut link.phase
            && matches!(step, Step::Token)
        {
            *step = Step::Opening { token };
            *limit = Limit::new(now);
            let url = Arc::clone(&link.url);
            self.output(Output::Open { link: id, url });
        }
    }

    /// Says `Hello` on a link that is open now.
    pub(super) fn greet(&mut self, now: Instant, id: LinkId) {
        let hello = RequestId(self.next_request);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Phase::Starting { step, limit } = &mut link.phase else {
            return;
        };
        let Step::Opening { token } = step else {
            return;
        };
        let payload = Hello {
            token: token.take(),
            versions: Some(vec![VERSION]),
            session: self.welcome.as_ref().map(|welcome| welcome.session),
        };
        *step = Step::Greeting { hello };
        *limit = Limit::new(now);
        self.next_request += 1;
        let mut origin = String::from("client/");
        origin.push_str(self.client.as_str());
        let text = ask::encode(Some(&origin), hello, &Request::Hello(payload));
        self.output(Output::Send { link: id, text });
        // What every server answers by itself needs no welcome, and may be why there is none.
        for status in self.flights.of_kind(RequestKind::GetStatus) {
            self.transmit(status);
        }
        self.pump();
    }

    /// The link on which `GetStatus` goes: that of all requests, or one that waits for its welcome.
    pub(super) fn any_open_link(&self) -> Option<LinkId> {
        let greeted = |(_, link): &&(LinkId, Link)| {
            matches!(link.phase, Phase::Starting { step: Step::Greeting { .. }, .. })
        };
        self.home.or_else(|| self.links.iter().find(greeted).map(|(id, _)| *id))
    }

    /// Takes in a message that answers the `Hello` of a link. Anything else is not expected there.
    pub(super) fn handle_greeting(&mut self, now: Instant, id: LinkId, message: &Incoming<'_>) {
        match message.r#type.as_ref() {
            tag::WELCOME => match message.read::<Greeting>() {
                Some(greeting) => self.handle_welcome(now, id, greeting, message.payload),
                None => self.drop_link(now, id, "unreadable Welcome"),
            },
            tag::ERROR => {
                let Some((error, retry)) = super::requests::refusal(message) else {
                    self.drop_link(now, id, "unreadable Error");
                    return;
                };
                if retry || error.code == Code::Refused(ErrorCode::Internal) {
                    self.drop_link(now, id, error.code.as_str());
                    self.refusal = Some(error);
                } else {
                    self.end(error);
                }
            }
            _ => {}
        }
    }

    /// Which request of a link that is not ready an answer may be to.
    pub(super) fn awaited_hello(&self, id: LinkId) -> Option<RequestId> {
        match self.links.get(&id)?.phase {
            Phase::Starting { step: Step::Greeting { hello }, .. } => Some(hello),
            _ => None,
        }
    }

    fn handle_welcome(&mut self, now: Instant, id: LinkId, greeting: Greeting, text: &str) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let heartbeat = Duration::from_millis(greeting.heartbeat_ms);
        link.phase = Phase::Ready { since: now, liveness: Liveness::new(heartbeat, now) };
        let url = Arc::clone(&link.url);
        self.home = Some(id);
        self.refusal = None;
        let members = greeting.members.iter().map(|member| member.0.as_str());
        self.servers.learn(members);
        self.next_request = self.next_request.max(greeting.next_id.0);
        let before = self.welcome.replace(Welcomed {
            text: text.to_owned(),
            cluster: greeting.cluster,
            session: greeting.session,
            url: Arc::clone(&url),
        });
        let same_cluster = match (&before, &self.welcome) {
            (Some(before), Some(now)) => before.cluster == now.cluster,
            _ => true,
        };
        if !same_cluster {
            self.watches.handle_new_cluster();
        }
        if !greeting.resumed || !same_cluster {
            self.life.0 += 1;
            self.held.handle_new_life();
        }
        self.set_state(State::Connected);
        if let Some(before) = before.filter(|before| before.url != url) {
            let reason = std::mem::take(&mut self.lost);
            self.event(Event::Failover { from: before.url, to: url, reason });
        }
        self.resend();
        self.pump();
    }

    /// This server shuts down: another takes its place, at once if there is one.
    pub(super) fn handle_going_away(&mut self, now: Instant, id: LinkId) {
        self.drop_link(now, id, "going away");
        if self.servers.has_others() && self.retry_at.is_some() {
            self.open_link(now);
        }
    }

    pub(super) fn link_closed(&mut self, now: Instant, id: LinkId, code: u16) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        // A token may expire while the link stands; another one may do.
        let renewable = matches!(link.phase, Phase::Ready { .. })
            && matches!(self.config.token, Token::Ask)
            && code == CloseCode::Unauthenticated.code();
        if close::may_reconnect(code) || renewable {
            self.lose(now, id, &closed_with(code));
            return;
        }
        self.links.remove(&id);
        let reason = if code == CloseCode::Unauthenticated.code() {
            Code::Refused(ErrorCode::Unauthenticated)
        } else {
            Code::Closed
        };
        let mut message = String::from("the server ended the link for good: ");
        message.push_str(&closed_with(code));
        self.end(Error::new(reason, &message));
    }

    /// Closes a link and opens another later.
    pub(super) fn drop_link(&mut self, now: Instant, id: LinkId, why: &str) {
        self.output(Output::Close { link: id, code: NORMAL });
        self.lose(now, id, why);
    }

    /// A link is gone: the next server is tried after a while.
    pub(super) fn lose(&mut self, now: Instant, id: LinkId, why: &str) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        match link.phase {
            Phase::Ready { since, .. } if now.since(since) >= self.backoff.max() => {
                self.failures = 1;
            }
            _ => self.failures = self.failures.saturating_add(1),
        }
        if self.home == Some(id) {
            self.home = None;
            why.clone_into(&mut self.lost);
            self.handle_home_lost();
        }
        if matches!(self.course, Course::Running) {
            self.servers.advance();
            let delay = self.backoff.delay(self.failures, &mut self.random);
            self.retry_at = Some(now + delay);
            self.set_state(State::Disconnected);
        }
        self.finish_closing();
    }

    /// Asks whether anyone is there. The answer counts as any other message does.
    pub(super) fn ping(&mut self, link: LinkId) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let text = ask::encode(None, id, &Request::Ping);
        self.output(Output::Send { link, text });
    }

    /// Ends a closing session once nothing is left to take back, or nowhere to do it.
    pub(super) fn finish_closing(&mut self) {
        if matches!(self.course, Course::Closing(_))
            && (self.home.is_none() || self.held.is_empty())
        {
            self.end(super::closed_by_application());
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, why: Error) {
        if self.is_closed() {
            return;
        }
        self.home = None;
        self.retry_at = None;
        while let Some((link, _)) = self.links.pop_first() {
            self.output(Output::Close { link, code: NORMAL });
        }
        self.fail_all(&why);
        self.course = Course::Closed(why);
        self.set_state(State::Closed);
    }
}

fn closed_with(code: u16) -> String {
    let mut text = String::from("closed with code ");
    u64::from(code).write(&mut text);
    text
}

/// The close code of an ordinary end.
const NORMAL: u16 = 1000;
/// How long each step of opening a link may take.
const STEP: Duration = Duration::from_secs(5);
