//! The life of links: opening, greeting, welcome, loss.
//!
//! There is one to every server that can be reached. Owns no request but `Hello` and `Ping`; what
//! happens to requests is [`super::requests`]', which link they go to is [`super::home`]'s.

use std::sync::Arc;
use std::time::Duration;

use super::home::Standing;
use super::liveness::{GRACE, Liveness, Verdict};
use super::trips::Trips;
use super::{Code, Course, Error, LinkId, Output, Session, State, Token};
use crate::close::{self, CloseCode};
use crate::codec::ask;
use crate::codec::json::Write as _;
use crate::codec::reply::{Greeting, Incoming};
use crate::id::RequestId;
use crate::limits;
use crate::message::{ErrorCode, Hello, Request, RequestKind, VERSION, tag};
use crate::time::Instant;

/// A WebSocket and how far it has come.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) url: Arc<str>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Something is awaited that has a time limit.
    Starting { step: Step, limit: Limit },
    /// A server has welcomed the session on it.
    Ready(Box<Ready>),
}

/// What is known of a link on which a server has welcomed the session.
#[derive(Debug)]
pub(super) struct Ready {
    since: Instant,
    liveness: Liveness,
    /// The payload of its `Welcome`.
    pub(super) welcome: Arc<str>,
    pub(super) trips: Trips,
    pub(super) standing: Standing,
    /// It is or was the home, or had its chance to become that since it was last found alive.
    pub(super) considered: bool,
    /// The `Ping` that is not answered yet.
    pub(super) ping: Option<(RequestId, Instant)>,
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
            Phase::Ready(ready) => ready.liveness.deadline(),
        }
    }

    pub(super) fn handle_heard(&mut self, now: Instant) {
        if let Phase::Ready(ready) = &mut self.phase {
            ready.liveness.handle_heard(now);
        }
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Starting { .. } => true,
            Phase::Ready(ready) => ready.liveness.is_fresh(now),
        }
    }

    /// Whether a wake-up asked for a sign of life that has not come yet.
    pub(super) fn is_asked(&self) -> bool {
        self.ready().is_some_and(|ready| ready.liveness.is_asked())
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
            Phase::Ready(ready) => ready.liveness.handle_wake(now),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Verdict {
        match &mut self.phase {
            Phase::Starting { limit, .. } if limit.at <= now => Verdict::Dead,
            Phase::Starting { .. } => Verdict::Wait,
            Phase::Ready(ready) => ready.liveness.handle_timeout(now),
        }
    }

    /// What is known of it, once a server has welcomed the session on it.
    pub(super) fn ready(&self) -> Option<&Ready> {
        match &self.phase {
            Phase::Ready(ready) => Some(ready),
            Phase::Starting { .. } => None,
        }
    }

    pub(super) fn ready_mut(&mut self) -> Option<&mut Ready> {
        match &mut self.phase {
            Phase::Ready(ready) => Some(ready),
            Phase::Starting { .. } => None,
        }
    }
}

impl Session {
    /// What is known of a link that serves. There once, and not once for every use.
    #[inline(never)]
    pub(super) fn ready_mut(&mut self, link: LinkId) -> Option<&mut Ready> {
        self.links.get_mut(&link).and_then(Link::ready_mut)
    }

    /// Opens links to the servers that are due. While none serves this client they are opened one
    /// after the other, a little apart: the first will mostly do, and says who the others are.
    pub(super) fn open_links(&mut self) {
        while matches!(self.course, Course::Running) {
            let reached = self.home.is_some();
            if !reached && self.now < self.next_open {
                break;
            }
            let id = LinkId(self.last_link + 1);
            let Some(server) = self.servers.next_due(self.now, reached) else {
                break;
            };
            server.link = Some(id);
            let url = Arc::clone(server.url());
            self.last_link = id.0;
            self.open_link(id, url);
            self.next_open = self.now + APART;
        }
        self.show_state();
    }

    fn open_link(&mut self, id: LinkId, url: Arc<str>) {
        let step = match &self.config.token {
            Token::Ask => Step::Token,
            Token::Fixed(token) => Step::Opening { token: Some(token.clone()) },
            Token::None => Step::Opening { token: None },
        };
        self.output(match step {
            Step::Token => Output::Token { link: id },
            _ => Output::Open { link: id, url: Arc::clone(&url) },
        });
        let limit = Limit::new(self.now);
        let phase = Phase::Starting { step, limit };
        self.links.insert(id, Link { url, phase });
    }

    /// When the next link is to be opened.
    pub(super) fn next_open(&self) -> Option<Instant> {
        if !matches!(self.course, Course::Running) {
            return None;
        }
        let reached = self.home.is_some();
        let at = self.servers.next_retry(reached)?;
        Some(if reached { at } else { at.max(self.next_open) })
    }

    pub(super) fn token_ready(&mut self, id: LinkId, token: Option<String>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if let Phase::Starting { step, limit } = &mut link.phase
            && matches!(step, Step::Token)
        {
            *step = Step::Opening { token };
            *limit = Limit::new(self.now);
            let url = Arc::clone(&link.url);
            self.output(Output::Open { link: id, url });
        }
    }

    /// Says `Hello` on a link that is open now.
    pub(super) fn greet(&mut self, id: LinkId) {
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
            session: self.life.as_ref().map(|life| life.session),
        };
        *step = Step::Greeting { hello };
        *limit = Limit::new(self.now);
        self.next_request += 1;
        let mut origin = String::from("client/");
        origin.push_str(self.client.as_str());
        let text = ask::encode(Some(&origin), hello, &Request::Hello(payload));
        self.output(Output::Send { link: id, text });
        if !self.is_served() {
            // What every server answers by itself needs no welcome, and may say why there is none.
            for status in self.flights.of_kind(RequestKind::GetStatus) {
                self.send(status, id);
            }
            self.pump();
        }
    }

    /// The link on which `GetStatus` goes: that of all requests, or one that waits for its welcome.
    pub(super) fn any_open_link(&self) -> Option<LinkId> {
        self.home.or_else(|| self.greeted_link(&[]))
    }

    /// A link that waits for its welcome, and is none of those in `tried`.
    pub(super) fn greeted_link(&self, tried: &[LinkId]) -> Option<LinkId> {
        let greeted = |(id, link): &&(LinkId, Link)| {
            matches!(link.phase, Phase::Starting { step: Step::Greeting { .. }, .. })
                && !tried.contains(id)
        };
        self.links.iter().find(greeted).map(|(id, _)| *id)
    }

    /// Takes in a message that answers the `Hello` of a link. Anything else is not expected there.
    pub(super) fn handle_greeting(&mut self, id: LinkId, message: &Incoming<'_>) {
        match message.r#type.as_ref() {
            tag::WELCOME => match message.read::<Greeting>() {
                Some(greeting) => self.handle_welcome(id, &greeting, message.payload),
                None => self.drop_link(id, "unreadable Welcome"),
            },
            tag::ERROR => {
                let Some((error, retry)) = super::answers::refusal(message) else {
                    self.drop_link(id, "unreadable Error");
                    return;
                };
                let hindered = retry || error.code == Code::Refused(ErrorCode::Internal);
                if hindered || self.home.is_some() {
                    self.drop_link(id, error.code.as_str());
                    self.refusal = Some(error).filter(|_| self.home.is_none());
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

    fn handle_welcome(&mut self, id: LinkId, greeting: &Greeting, text: &str) {
        let cluster = greeting.cluster.as_str();
        let other_life = self.life.as_ref().is_some_and(|life| life.cluster != cluster);
        if other_life && self.home.is_some() {
            // Either the others are dead and nobody has noticed yet, or these are two clusters.
            self.drop_link(id, "it belongs to another cluster, or to another life of it");
            let unasked = |link: &LinkId| self.links.get(link).is_some_and(|link| !link.is_asked());
            let others: Vec<LinkId> =
                self.ready_links().map(|(id, _)| id).filter(unasked).collect();
            others.into_iter().for_each(|link| self.wake_link(link));
            return;
        }
        let heartbeat = Duration::from_millis(greeting.heartbeat_ms);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.phase = Phase::Ready(Box::new(Ready {
            since: self.now,
            liveness: Liveness::new(heartbeat, self.now),
            welcome: Arc::from(text),
            trips: Trips::default(),
            standing: Standing::default(),
            considered: false,
            ping: None,
        }));
        let links = &self.links;
        let serves = |link| links.get(&link).is_some_and(|it| it.ready().is_some());
        let astray = self.now + self.backoff.max();
        let members = &greeting.members;
        for unwanted in self.servers.learn(id, greeting.node, members, astray, self.home, serves) {
            self.output(Output::Close { link: unwanted, code: NORMAL });
            self.forget_link(unwanted);
        }
        self.refusal = None;
        // Whatever it says, there are numbers left.
        self.next_request = self.next_request.max(greeting.next_id.0.min(limits::REQUEST_ID / 2));
        self.begin_life(cluster, greeting.session);
        if self.links.get(&id).is_some() {
            if self.home.is_none() {
                self.set_home(id);
            }
            // How far is it? The answer may make it home.
            self.ping(id);
        } // else another link to that server serves already
        self.pump();
        self.open_links();
    }

    pub(super) fn link_closed(&mut self, id: LinkId, code: u16) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        // A token may expire while the link stands; another one may do.
        let renewable = matches!(link.phase, Phase::Ready(_))
            && matches!(self.config.token, Token::Ask)
            && code == CloseCode::Unauthenticated.code();
        let elsewhere = self.another_link(&[id]).is_some();
        if close::may_reconnect(code) || renewable || elsewhere {
            self.lose(id, &closed_with(code));
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
    pub(super) fn drop_link(&mut self, id: LinkId, why: &str) {
        self.output(Output::Close { link: id, code: NORMAL });
        self.lose(id, why);
    }

    /// A link is gone: its server is tried again after a while, what was under way on it goes to
    /// another at once.
    pub(super) fn lose(&mut self, id: LinkId, why: &str) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let since = link.ready().map(|ready| ready.since);
        let steady = since.is_some_and(|since| self.now.since(since) >= self.backoff.max());
        let failures = self.servers.lost(id, steady);
        let served = self.ready_links().any(|(other, _)| other != id && self.serves_well(other));
        // While others serve there is time: not all clients of a lost server come back to it at once.
        let failures = if served { u32::MAX } else { failures };
        let at = self.now + self.backoff.delay(failures, &mut self.random);
        self.servers.retry(id, at);
        if since.is_some() && !served {
            self.servers.retry_all(at);
        }
        if self.home == Some(id) {
            self.home = None;
            why.clone_into(&mut self.lost);
        }
        self.forget_link(id);
        // The next server need not wait for its turn.
        self.next_open = self.now;
        self.choose_home();
        self.finish_closing();
        self.open_links();
    }

    /// A link is gone, and what was awaited on it.
    fn forget_link(&mut self, id: LinkId) {
        self.links.remove(&id);
        self.watches.handle_link_lost(id);
        self.held.handle_link_lost(id);
        // An `Unsubscribe` has come true with the end of its link; a `Subscribe` is made anew.
        self.flights.handle_link_lost(id);
        self.rescue(None, false);
    }

    /// Asks whether anyone is there. The answer counts as any other message does, and shows how far
    /// away the server is.
    pub(super) fn ping(&mut self, link: LinkId) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let now = self.now;
        if let Some(ready) = self.ready_mut(link) {
            ready.ping.get_or_insert((id, now));
        }
        let text = ask::encode(None, id, &Request::Ping);
        self.output(Output::Send { link, text });
    }

    /// A `Pong` came, which any server says by itself.
    pub(super) fn handle_pong(&mut self, link: LinkId, id: RequestId) {
        let now = self.now;
        if let Some(ready) = self.ready_mut(link)
            && let Some((_, sent)) = ready.ping.take_if(|(ping, _)| *ping <= id)
        {
            if ready.standing.handle_alive() {
                ready.considered = false;
            } else {
                // A server that was stopped is not far away.
                ready.trips.measured(now.since(sent));
            }
            self.consider(link);
        }
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
        while let Some((link, _)) = self.links.pop_first() {
            self.output(Output::Close { link, code: NORMAL });
        }
        self.fail_all(&why);
        self.course = Course::Closed(why);
        self.set_state(State::Closed);
    }

    /// Tells how the session stands, if that is something new.
    pub(super) fn show_state(&mut self) {
        self.set_state(match (&self.course, self.home) {
            (Course::Closed(_), _) => State::Closed,
            (_, Some(_)) => State::Connected,
            (_, None) if self.links.is_empty() => State::Disconnected,
            (_, None) => State::Connecting,
        });
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
/// How far apart links are opened while no server has welcomed the session.
const APART: Duration = Duration::from_millis(250);
