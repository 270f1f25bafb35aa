//! The task that drives a session on tokio: feed, send, arm the timer, forward events.
//!
//! Owns the sockets and who waits for what; it does not think about the protocol.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollcall_shared::id::ClientId;
use rollcall_shared::message::{Filter, Request};
use rollcall_shared::session::{
    CallId, Config, Error, Event as Told, LinkId, Output, Session, State, WatchId,
};
use rollcall_shared::time::Instant;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::socket::{Happened, Socket};
use crate::watch::{Feed, Inbox};
use crate::{Event, builder};

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Call { request: Request, done: Done<String> },
    Subscribe { filter: Filter, done: Done<Feed> },
    Unsubscribe { watch: WatchId, done: Option<Done<()>> },
    Close { done: oneshot::Sender<()> },
}

type Done<T> = oneshot::Sender<Result<T, Error>>;

/// How the session stands, for every handle to see.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) welcome: Option<Arc<str>>,
    /// Why it has ended for good.
    pub(crate) ended: Option<Error>,
    /// Why the last link came to nothing.
    pub(crate) last_failure: String,
    /// Why the server that was reached last did not welcome the client, unless one has since.
    pub(crate) refusal: Option<Error>,
}

/// Starts a driver and gives what a handle needs to talk to it.
pub(crate) fn spawn(
    config: Config,
    client_id: ClientId,
) -> (mpsc::Sender<Command>, broadcast::WeakSender<Event>, watch::Receiver<Standing>) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (events, _) = broadcast::channel(EVENTS);
    let (standing, seen) = watch::channel(Standing {
        state: State::Connecting,
        welcome: None,
        ended: None,
        last_failure: String::new(),
        refusal: None,
    });
    let weak_events = events.downgrade();
    let start = tokio::time::Instant::now();
    let mut seed = [0; 8];
    builder::fill(&mut seed);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(0);
    let seed = u64::from_le_bytes(seed);
    let driver = Driver {
        session: Session::new(config, client_id, seed, unix_ms, Instant::default()),
        start,
        sockets: BTreeMap::new(),
        home: None,
        commands: inbox,
        waiting: HashMap::new(),
        watches: HashMap::new(),
        closing: Vec::new(),
        goodbyes: Vec::new(),
        events,
        standing,
    };
    tokio::spawn(driver.run());
    (commands, weak_events, seen)
}

struct Driver {
    session: Session,
    start: tokio::time::Instant,
    sockets: BTreeMap<LinkId, Socket>,
    /// The link whose `Welcome` handles see.
    home: Option<LinkId>,
    commands: mpsc::Receiver<Command>,
    waiting: HashMap<CallId, Waiting>,
    watches: HashMap<WatchId, Arc<Inbox>>,
    closing: Vec<oneshot::Sender<()>>,
    goodbyes: Vec<tokio::task::JoinHandle<()>>,
    events: broadcast::Sender<Event>,
    standing: watch::Sender<Standing>,
}

/// Who waits for the end of a call.
enum Waiting {
    Payload(Done<String>),
    Watch(WatchId, Done<Feed>),
    Unit(Done<()>),
}

impl Driver {
    async fn run(mut self) {
        loop {
            self.carry_out();
            if self.session.is_closed() {
                break;
            }
            let timer = timer(self.start, self.session.poll_timeout());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_commands(command),
                    None => break, // nobody holds a handle: go without a goodbye
                },
                (link, happened) = next(&mut self.sockets) => self.handle(link, happened),
                () = timer => self.session.handle_timeout(self.now()),
            }
        }
        self.finish().await;
    }

    fn now(&self) -> Instant {
        let elapsed = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Takes the commands that have gathered as one batch: what comes of them is sent together.
    fn handle_commands(&mut self, first: Command) {
        self.handle_command(first);
        for _ in 1..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => self.handle_command(command),
                Err(_) => return,
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Call { request, done } => {
                let call = self.session.call(now, request);
                self.waiting.insert(call, Waiting::Payload(done));
            }
            Command::Subscribe { filter, done } => {
                let (call, watch) = self.session.subscribe(now, filter);
                self.waiting.insert(call, Waiting::Watch(watch, done));
            }
            Command::Unsubscribe { watch, done } => {
                self.watches.remove(&watch);
                let call = self.session.unsubscribe(now, watch);
                if let Some(done) = done {
                    self.waiting.insert(call, Waiting::Unit(done));
                }
            }
            Command::Close { done } => {
                self.closing.push(done);
                self.session.close(now);
            }
        }
    }

    fn handle(&mut self, link: LinkId, happened: Happened) {
        let now = self.now();
        match happened {
            Happened::Opened => self.session.handle_opened(now, link),
            Happened::Text(text) => self.session.handle_text(now, link, text.as_str()),
            Happened::Alive => self.session.handle_alive(now, link),
            Happened::Closed(code, reason) => {
                tracing::debug!(link = link.0, code, reason, "link closed");
                self.sockets.remove(&link);
                self.standing.send_modify(|standing| standing.last_failure = reason);
                self.session.handle_closed(now, link, code);
            }
        }
    }

    /// Does what the session says, until it says no more.
    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Token { link } => {
                    let now = self.now();
                    self.session.handle_token(now, link, Ok(None));
                }
                Output::Open { link, url } => {
                    self.sockets.insert(link, Socket::open(url));
                }
                Output::Send { link, text } => {
                    if let Some(socket) = self.sockets.get_mut(&link) {
                        socket.send(text);
                    }
                }
                Output::Close { link, code } => {
                    let goodbye = self.sockets.remove(&link).and_then(|socket| socket.close(code));
                    self.goodbyes.retain(|goodbye| !goodbye.is_finished());
                    self.goodbyes.extend(goodbye);
                }
                Output::Event(event) => self.tell(event),
            }
        }
        // A home that is left for a better one is no event.
        if self.home != self.session.home() {
            self.home = self.session.home();
            self.publish(self.session.state());
        }
    }

    fn tell(&mut self, event: Told) {
        let told = match event {
            Told::Done { call, result } => return self.done(call, result),
            Told::Change { watch, change } => {
                let Some(inbox) = self.watches.get(&watch) else {
                    return;
                };
                inbox.push(change);
                if Arc::strong_count(inbox) == 1 {
                    // The reader was dropped while the queue of commands was full.
                    self.watches.remove(&watch);
                    let now = self.now();
                    self.session.unsubscribe(now, watch);
                }
                return;
            }
            Told::WatchEnded { watch, error } => {
                if let Some(inbox) = self.watches.remove(&watch) {
                    inbox.end(error);
                }
                return;
            }
            Told::State { state, previous, retry_at } => {
                self.publish(state);
                let now = self.now();
                Event::State { state, previous, retry_in: retry_at.map(|at| at.since(now)) }
            }
            Told::Resync { .. } => Event::Resync,
            Told::Failover { from, to, reason } => {
                // Who hears of it may look at once.
                self.publish(self.session.state());
                Event::Failover { from: from.to_string(), to: to.to_string(), reason }
            }
            Told::SessionReplaced { username, device } => {
                Event::SessionReplaced { username, device }
            }
            Told::RegistrationRenewed { username, device } => {
                Event::RegistrationRenewed { username, device }
            }
            Told::RegistrationLost { username, device, error } => {
                Event::RegistrationLost { username, device, error }
            }
        };
        // An error says that nobody listens.
        let _ = self.events.send(told);
    }

    fn publish(&self, state: State) {
        let welcome = self.session.welcome().map(Arc::from);
        let ended = self.session.closed_because().cloned();
        let refusal = self.session.refusal().cloned();
        self.standing.send_modify(|standing| {
            standing.state = state;
            standing.welcome = welcome;
            standing.ended = ended;
            standing.refusal = refusal;
        });
    }

    fn done(&mut self, call: CallId, result: Result<String, Error>) {
        // An error of `send` says that the caller has gone, which is its right.
        match self.waiting.remove(&call) {
            Some(Waiting::Payload(done)) => {
                let _ = done.send(result);
            }
            Some(Waiting::Unit(done)) => {
                let _ = done.send(result.map(drop));
            }
            Some(Waiting::Watch(watch, done)) => {
                let feed = result.map(|_| self.begin(watch));
                if let Err(Ok(_)) = done.send(feed) {
                    self.watches.remove(&watch);
                    let now = self.now();
                    self.session.unsubscribe(now, watch);
                }
            }
            None => {}
        }
    }

    /// A subscription was granted.
    fn begin(&mut self, id: WatchId) -> Feed {
        let inbox = Arc::new(Inbox::new());
        self.watches.insert(id, Arc::clone(&inbox));
        let (users, revision) = match self.session.view(id) {
            Some((view, revision)) => (view.users().collect(), revision),
            None => (Vec::new(), rollcall_shared::id::Revision(0)),
        };
        Feed { id, inbox, users, revision }
    }

    /// Says goodbye on the links, if it was asked for, and tells who waits for it.
    async fn finish(mut self) {
        for goodbye in self.goodbyes.drain(..) {
            // An error says that the task has panicked or was cancelled with its runtime.
            let _ = goodbye.await;
        }
        for closing in self.closing.drain(..) {
            let _ = closing.send(());
        }
    }
}

/// Waits for a deadline of the session; for ever, without one.
async fn timer(start: tokio::time::Instant, deadline: Option<Instant>) {
    match deadline {
        Some(at) => {
            tokio::time::sleep_until(start + Duration::from_micros(at.as_micros())).await;
        }
        None => std::future::pending().await,
    }
}

/// What happens next on any socket. Dropping the future loses nothing.
async fn next(sockets: &mut BTreeMap<LinkId, Socket>) -> (LinkId, Happened) {
    std::future::poll_fn(|cx| {
        for (link, socket) in &mut *sockets {
            if let Poll::Ready(happened) = socket.poll(cx) {
                return Poll::Ready((*link, happened));
            }
        }
        Poll::Pending
    })
    .await
}

/// Commands that may wait for the driver; who sends more waits too.
const COMMANDS: usize = 256;
/// Events that may wait for a slow listener before it misses some.
const EVENTS: usize = 256;
