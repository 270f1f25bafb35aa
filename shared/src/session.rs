//! The client's session: requests in flight, retries, held registrations, subscriptions, backoff
//! and liveness, as a pure state machine that a driver feeds.
//!
//! Owns no socket, clock or randomness, and does not read what the application asked for: payloads
//! pass through as JSON text. The native client and the browser's are thin drivers of it.

mod answers;
mod backoff;
mod buffer;
mod calls;
mod event;
mod flights;
mod held;
mod home;
mod link;
mod liveness;
mod requests;
mod servers;
mod table;
mod trips;
mod view;
mod watches;
mod window;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backoff::{Backoff, Random};
use calls::{Calls, Stage};
use flights::Flights;
use held::Held;
use link::Link;
use liveness::{GRACE, Verdict};
use servers::Servers;
use watches::Watches;

pub use buffer::ChangeBuffer;
pub use event::{
    CallId, ChangeKind, Code, Error, Event, LinkId, Output, State, WatchChange, WatchId,
};
pub use table::Table;
pub use view::View;

use crate::id::{ClientId, Revision, SessionNumber};
use crate::limits;
use crate::message::{ConnectUser, DisconnectUser, ErrorCode, Filter, Request};
use crate::time::Instant;

/// What an application may choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// WebSocket URLs of servers. One is enough: the session learns of the others itself, and keeps a
    /// link to each.
    pub servers: Vec<String>,
    /// How long a call may take, with all its retries. Default 5 s.
    pub timeout: Duration,
    /// The shortest wait before a link is opened again. Default 100 ms.
    pub min_reconnect_delay: Duration,
    /// The longest wait before a link is opened again. Default 5 s.
    pub max_reconnect_delay: Duration,
    /// What to show the server.
    pub token: Token,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            min_reconnect_delay: Duration::from_millis(100),
            max_reconnect_delay: Duration::from_secs(5),
            token: Token::None,
        }
    }
}

/// Where the token for `Hello` comes from.
#[derive(Clone, Debug, Default)]
pub enum Token {
    /// There is none.
    #[default]
    None,
    /// It is always this one.
    Fixed(String),
    /// The driver is asked before each link, by [`Output::Token`].
    Ask,
}

/// A client's session.
///
/// # How to drive it
///
/// Hand it what happens by the `handle_*` methods and what the application wants by
/// [`Session::call`] and its neighbours, each with the present time. After *every* such call drain
/// [`Session::poll_output`] until it gives `None`, carry out what it says in that order, then wait
/// for the next input, no longer than until [`Session::poll_timeout`], which is to be answered by
/// [`Session::handle_timeout`]. A timer that fires late does no harm, one that never fires does.
///
/// Once [`Session::is_closed`], and its outputs are drained, nothing more comes of it.
///
/// ```
/// use rollcall_shared::id::ClientId;
/// use rollcall_shared::session::{Config, Output, Session};
/// use rollcall_shared::time::Instant;
///
/// let config = Config {
///     servers: vec!["ws://127.0.0.1:7101/ws".into()],
///     ..Config::default()
/// };
/// let client = ClientId::new("kJ2v0b9QX3mPz7Lw").unwrap();
/// let now = Instant::from_millis(0);
/// let mut session = Session::new(config, client, 7, 1_790_000_000_000, now);
/// assert!(matches!(session.poll_output(), Some(Output::Open { .. })));
/// ```
#[derive(Debug)]
pub struct Session {
    config: Config,
    client: ClientId,
    random: Random,
    backoff: Backoff,
    servers: Servers,
    /// The time of the input that is being taken in.
    now: Instant,
    /// Every link that is open or being opened, to each server one.
    links: Table<LinkId, Link>,
    last_link: u64,
    /// Before then no link is opened, while no server has welcomed the session.
    next_open: Instant,
    /// The link that requests go to.
    home: Option<LinkId>,
    /// Where that is, or was last.
    home_url: Option<Arc<str>>,
    course: Course,
    state: State,
    /// The payload of the `Welcome` on the link at home, present or last.
    welcome: Option<Arc<str>>,
    /// Why the home was left, for [`Event::Failover`].
    lost: String,
    /// Why the server that was reached last did not welcome the session, until one does.
    refusal: Option<Error>,
    life: Option<Life>,
    next_request: u64,
    calls: Calls,
    flights: Flights,
    held: Held,
    watches: Watches,
    wakes: Wakes,
    outputs: VecDeque<Output>,
}

/// Whether the session goes on.
#[derive(Debug)]
enum Course {
    Running,
    /// It takes back what it holds, until this time at the latest.
    Closing(Instant),
    Closed(Error),
}

/// Whose session it is that the last `Welcome` named.
#[derive(Debug)]
struct Life {
    /// This life of the cluster.
    cluster: String,
    /// This life of the session.
    session: SessionNumber,
    number: held::Life,
}

/// When the driver last slept through a deadline: calls that ran out meanwhile get a short grace,
/// each once.
#[derive(Clone, Copy, Debug, Default)]
struct Wakes {
    last: Option<Instant>,
    /// Deadlines up to here have had their grace.
    spent: Instant,
}

impl Session {
    /// A session that starts to connect at once.
    ///
    /// `seed` decides the jitter of delays. `unix_ms` is the wall clock's time: the first request
    /// id comes from it, so that a client that forgot its last id does not use one twice.
    #[must_use]
    pub fn new(config: Config, client: ClientId, seed: u64, unix_ms: u64, now: Instant) -> Self {
        let mut random = Random::new(seed);
        let first = random.below(config.servers.len() as u64) as usize;
        let mut session = Self {
            random,
            backoff: Backoff::new(config.min_reconnect_delay, config.max_reconnect_delay),
            servers: Servers::new(&config.servers, first),
            now,
            links: Table::default(),
            last_link: 0,
            next_open: now,
            home: None,
            home_url: None,
            course: Course::Running,
            state: State::Connecting,
            welcome: None,
            lost: String::new(),
            refusal: None,
            life: None,
            next_request: unix_ms.saturating_mul(1024).clamp(1, limits::REQUEST_ID / 2),
            calls: Calls::default(),
            flights: Flights::default(),
            held: Held::default(),
            watches: Watches::default(),
            wakes: Wakes::default(),
            outputs: VecDeque::new(),
            config,
            client,
        };
        if session.servers.is_empty() {
            session.end(Error::invalid("servers", "no server is named".to_owned()));
        } else {
            session.open_links();
        }
        session
    }

    /// Asks the cluster something. [`Event::Done`] brings the reply's payload.
    ///
    /// `Hello`, `Subscribe` and `Unsubscribe` are the session's own: see [`Session::subscribe`].
    pub fn call(&mut self, now: Instant, request: Request) -> CallId {
        self.now = now;
        let call = self.calls.next_id();
        let own =
            matches!(request, Request::Hello(_) | Request::Subscribe(_) | Request::Unsubscribe(_));
        if own {
            let message = "the session sends this request itself";
            self.done(call, Err(Error::invalid("type", message.to_owned())));
        } else if self.admit(call) {
            let key = held::key(&request);
            let deadline = now + self.config.timeout;
            self.calls.insert(call, deadline, Stage::Queued(request));
            if key.is_none_or(|key| self.held.enter(key, call)) {
                self.calls.make_ready(call);
            }
            self.pump();
        }
        call
    }

    /// Registers an address and holds the registration: whenever the session began anew, it is
    /// registered again, until it is disconnected, replaced or lost.
    pub fn connect_user(&mut self, now: Instant, registration: ConnectUser) -> CallId {
        self.call(now, Request::ConnectUser(registration))
    }

    /// Ends a registration.
    pub fn disconnect_user(&mut self, now: Instant, registration: DisconnectUser) -> CallId {
        self.call(now, Request::DisconnectUser(registration))
    }

    /// Watches who matches. Once the call is done, [`Session::view`] has the set; the
    /// [`Event::Change`]s that follow lead from each set to the next, over all links.
    pub fn subscribe(&mut self, now: Instant, filter: Filter) -> (CallId, WatchId) {
        self.now = now;
        let call = self.calls.next_id();
        if !self.admit(call) {
            return (call, WatchId(0));
        }
        let watch = self.watches.insert(filter, call);
        let deadline = now + self.config.timeout;
        self.calls.insert(call, deadline, Stage::Subscribing(watch));
        self.pump();
        (call, watch)
    }

    /// Ends a watch: no event of it comes after this.
    pub fn unsubscribe(&mut self, now: Instant, watch: WatchId) -> CallId {
        self.now = now;
        let call = self.calls.next_id();
        let Some((number, waiting)) = self.watches.remove(watch) else {
            let code = Code::Refused(ErrorCode::NotFound);
            self.done(call, Err(Error::new(code, "there is no such watch")));
            return call;
        };
        if let Some(waiting) = waiting {
            self.finish_call(waiting, Err(Error::new(Code::Closed, "unsubscribed")));
        }
        if let Some(number) = number {
            self.end_subscription(number);
        }
        // Nothing more is told of it, whatever that server still says.
        self.done(call, Ok("{}".to_owned()));
        call
    }

    /// Ends the session: its calls fail as closed, and what it holds is disconnected, which may
    /// take a moment; then the link is closed.
    pub fn close(&mut self, now: Instant) {
        if !matches!(self.course, Course::Running) {
            return;
        }
        self.now = now;
        self.course = Course::Closing(now + GOODBYE);
        self.fail_all(&closed_by_application());
        self.held.release_all();
        self.pump();
        self.finish_closing();
    }

    /// The driver has a token for a link, none, or a reason why it could not get one.
    pub fn handle_token(
        &mut self,
        now: Instant,
        link: LinkId,
        token: Result<Option<String>, String>,
    ) {
        self.now = now;
        match token {
            Ok(token) => self.token_ready(link, token),
            Err(why) => self.lose(link, &why),
        }
    }

    /// A WebSocket is open.
    pub fn handle_opened(&mut self, now: Instant, link: LinkId) {
        self.now = now;
        self.greet(link);
    }

    /// A WebSocket was closed by the other side, or could not be opened; `code` is 1006 where no
    /// close frame came.
    pub fn handle_closed(&mut self, now: Instant, link: LinkId, code: u16) {
        self.now = now;
        self.link_closed(link, code);
    }

    /// A text message came.
    pub fn handle_text(&mut self, now: Instant, link: LinkId, text: &str) {
        self.handle_alive(now, link);
        self.receive(link, text);
    }

    /// Something else came that shows that the other side lives, such as a WebSocket ping.
    pub fn handle_alive(&mut self, now: Instant, link: LinkId) {
        self.now = now;
        if let Some(link) = self.links.get_mut(&link) {
            link.handle_heard(now);
        }
    }

    /// The application may have slept, or the network may have changed: links are asked for a sign
    /// of life, and a wait before the next attempt is over.
    pub fn handle_wake(&mut self, now: Instant) {
        self.now = now;
        self.servers.retry_all(now);
        self.next_open = now;
        self.open_links();
        let stale = self.links.iter().filter(|(_, link)| !link.is_fresh(now));
        let stale: Vec<LinkId> = stale.map(|(id, _)| *id).collect();
        for link in stale {
            self.wake_link(link);
        }
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(due) = self.poll_timeout().filter(|due| *due <= now) else {
            return;
        };
        self.now = now;
        if now.since(due) > LATE {
            self.wakes.spent = self.wakes.last.unwrap_or_default();
            self.wakes.last = Some(now);
            let links: Vec<LinkId> = self.links.iter().map(|(id, _)| *id).collect();
            for link in links {
                self.wake_link(link);
            }
        }
        self.open_links();
        self.check_links();
        // A call whose time is up is not tried once more: its last refusal is its answer.
        self.expire_calls();
        self.look_after_due();
        self.pump();
        if matches!(self.course, Course::Closing(deadline) if deadline <= now) {
            self.end(closed_by_application());
        }
        self.finish_closing();
    }

    /// When [`Session::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.iter().map(|(_, link)| link.deadline()).min();
        let due = self.links.first().and_then(|_| self.flights.next_due());
        let call = self.calls.first().map(|(_, deadline)| self.with_grace(deadline));
        let closing = match self.course {
            Course::Closing(deadline) => Some(deadline),
            Course::Running | Course::Closed(_) => None,
        };
        [self.next_open(), links, due, call, closing].into_iter().flatten().min()
    }

    /// What to do next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it has ended for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.course, Course::Closed(_))
    }

    /// Why it has ended for good.
    #[must_use]
    pub fn closed_because(&self) -> Option<&Error> {
        match &self.course {
            Course::Closed(error) => Some(error),
            Course::Running | Course::Closing(_) => None,
        }
    }

    /// Why the server that was reached last did not welcome the session, unless one has since: the
    /// cluster may have no quorum.
    #[must_use]
    pub fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// The link that requests go to.
    #[must_use]
    pub fn home(&self) -> Option<LinkId> {
        self.home
    }

    /// The payload of the `Welcome` on that link, present or last, as JSON text.
    #[must_use]
    pub fn welcome(&self) -> Option<&str> {
        self.welcome.as_deref()
    }

    /// Who is there as far as a watch knows, and the revision that is true at. None before its
    /// first answer.
    #[must_use]
    pub fn view(&self, watch: WatchId) -> Option<(&View, Revision)> {
        self.watches.view(watch)
    }

    /// Until when a call with this deadline may wait: longer, if the driver slept through it.
    fn with_grace(&self, deadline: Instant) -> Instant {
        match self.wakes.last {
            Some(wake) if deadline <= wake && deadline > self.wakes.spent => {
                deadline.max(wake + GRACE)
            }
            _ => deadline,
        }
    }

    fn wake_link(&mut self, id: LinkId) {
        let verdict = match self.links.get_mut(&id) {
            Some(link) => link.handle_wake(self.now),
            None => Verdict::Wait,
        };
        self.follow(id, verdict);
    }

    fn check_links(&mut self) {
        let links: Vec<LinkId> = self.links.iter().map(|(id, _)| *id).collect();
        for id in links {
            let verdict = match self.links.get_mut(&id) {
                Some(link) => link.handle_timeout(self.now),
                None => Verdict::Wait,
            };
            self.follow(id, verdict);
        }
    }

    fn follow(&mut self, link: LinkId, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Ask => self.ping(link),
            Verdict::Dead => {
                self.output(Output::Close { link, code: 1000 });
                self.lose(link, "no answer");
            }
        }
    }

    fn set_state(&mut self, state: State) {
        let previous = std::mem::replace(&mut self.state, state);
        if previous != state {
            let retry_at = self.next_open().filter(|_| state == State::Disconnected);
            self.event(Event::State { state, previous, retry_at });
        }
    }

    fn life_number(&self) -> held::Life {
        self.life.as_ref().map(|life| life.number).unwrap_or_default()
    }

    fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    #[inline(never)]
    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

fn closed_by_application() -> Error {
    Error::new(Code::Closed, "the application closed the client")
}

/// A timer that fires later than this after its deadline shows that the driver slept.
const LATE: Duration = Duration::from_secs(2);
/// How long taking back registrations may take at the end.
const GOODBYE: Duration = Duration::from_secs(2);
