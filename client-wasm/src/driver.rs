//! Drives a session in the browser: feed, send, arm the timer, forward events.
//!
//! Owns the sockets, the timer and who waits for what; it does not think about the protocol. What
//! calls the application waits in a queue until nothing is borrowed, so that a listener may call
//! the client again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Function, Promise};
use rollcall_shared::message::{Filter, Request};
use rollcall_shared::session::{
    CallId, Code, Error, Event, LinkId, Output, Session, State, Table, WatchId,
};
use rollcall_shared::time::Instant;
use wasm_bindgen::prelude::*;

use crate::args::Options;
use crate::host::{self, Listener, Settle, Timer};
use crate::identity::{self, Identity};
use crate::socket::{Heard, Socket};
use crate::watch::{Inbox, Watch};
use crate::{Rollcall, types};

/// A handle to the driver of a session.
#[derive(Clone)]
pub(crate) struct Driver(Rc<Inner>);

struct Inner {
    core: RefCell<Core>,
    /// What came in while something else was being carried out.
    posted: RefCell<VecDeque<Input>>,
    telling: Cell<bool>,
    tick: RefCell<Option<Listener>>,
}

type Input = Box<dyn FnOnce(&mut Core, Instant)>;

/// All that a driver owns.
pub(crate) struct Core {
    pub(crate) session: Session,
    sockets: Table<LinkId, Socket>,
    waiting: Table<CallId, (Answer, Settle)>,
    pub(crate) watches: Table<WatchId, Rc<Inbox>>,
    listeners: Vec<(String, Function)>,
    get_token: Option<Function>,
    connecting: Option<Connecting>,
    timer: Option<(Instant, Timer)>,
    calls_out: VecDeque<CallOut>,
    hints: Hints,
    identity: Option<Identity>,
}

/// The promise of `connect`.
struct Connecting {
    deadline: Instant,
    settle: Settle,
}

/// What a call resolves to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// The payload of the reply.
    Payload,
    /// The first of the numbers taken.
    First,
    /// The watch that was granted.
    Watch(WatchId),
    Nothing,
}

/// Something of the application's to be called, with one argument.
pub(crate) enum CallOut {
    /// Settles a promise.
    Settle(Function, JsValue),
    Listener(Function, JsValue),
    Token(LinkId, Function),
}

/// Listeners for signs that the page slept or the network changed, and what they are attached to.
#[derive(Default)]
struct Hints {
    on_hint: Option<Listener>,
}

/// Starts a client. The promise is that of `Rollcall.connect`.
pub(crate) fn connect(options: Options) -> Promise {
    let (promise, settle) = host::promise();
    if host::global("WebSocket").is_undefined() {
        let error = Error::new(Code::Unreachable, "there is no WebSocket here");
        return Promise::reject(&host::error(&error));
    }
    let Options { config, client, get_token, lazy } = options;
    identity::choose(client, move |identity| {
        let now = host::now();
        let seed = u64::from_le_bytes(host::random());
        let timeout = config.timeout;
        let client = identity.client.clone();
        let mut core = Core {
            session: Session::new(config, client, seed, host::unix_ms(), now),
            sockets: Table::default(),
            waiting: Table::default(),
            watches: Table::default(),
            listeners: Vec::new(),
            get_token,
            connecting: None,
            timer: None,
            calls_out: VecDeque::new(),
            hints: Hints::default(),
            identity: Some(identity),
        };
        if !lazy {
            core.connecting = Some(Connecting { deadline: now + timeout, settle: settle.clone() });
        }
        let driver = Driver::new(core);
        driver.attach_hints();
        driver.post(|_, _| {});
        if lazy {
            let client = Rollcall { driver };
            let _ = settle.resolve.call1(&JsValue::UNDEFINED, &client.into());
        }
    });
    promise
}

impl Driver {
    fn new(core: Core) -> Self {
        let driver = Self(Rc::new(Inner {
            core: RefCell::new(core),
            posted: RefCell::new(VecDeque::new()),
            telling: Cell::new(false),
            tick: RefCell::new(None),
        }));
        let tick = host::listener({
            let driver = driver.clone();
            move |_| driver.post(Core::handle_tick)
        });
        driver.0.tick.replace(Some(tick));
        driver
    }

    /// Feeds the session, then does what it says. What comes in meanwhile waits its turn.
    pub(crate) fn post(&self, input: impl FnOnce(&mut Core, Instant) + 'static) {
        self.0.posted.borrow_mut().push_back(Box::new(input));
        self.run();
    }

    /// Carries out what was posted. Apart from [`Driver::post`], so that it is there once and not
    /// once for every kind of input.
    #[inline(never)]
    fn run(&self) {
        loop {
            let Ok(mut core) = self.0.core.try_borrow_mut() else {
                return; // further up the stack this loop goes on
            };
            let Some(input) = self.0.posted.borrow_mut().pop_front() else {
                break;
            };
            input(&mut core, host::now());
            core.carry_out(self);
            core.arm(&self.0.tick.borrow());
        }
        self.call_out();
    }

    /// Calls the application, with nothing borrowed.
    fn call_out(&self) {
        if self.0.telling.replace(true) {
            return; // further up the stack they are called in order
        }
        loop {
            let next = self.0.core.borrow_mut().calls_out.pop_front();
            let none = JsValue::UNDEFINED;
            match next {
                Some(CallOut::Settle(settle, value)) => {
                    // The functions of a promise do not throw.
                    let _ = settle.call1(&none, &value);
                }
                Some(CallOut::Listener(listener, event)) => {
                    if let Err(thrown) = listener.call1(&none, &event) {
                        // Nobody handles this promise: the host reports it as an error.
                        let _ = Promise::reject(&thrown);
                    }
                }
                Some(CallOut::Token(link, get_token)) => self.get_token(link, &get_token),
                None => break,
            }
        }
        self.0.telling.set(false);
    }

    fn get_token(&self, link: LinkId, get_token: &Function) {
        let token = match get_token.call0(&JsValue::UNDEFINED) {
            Ok(token) => Promise::resolve(&token),
            Err(thrown) => Promise::reject(&thrown),
        };
        let hand_over = |result: fn(JsValue) -> Result<Option<String>, String>| {
            let driver = self.clone();
            host::once(move |value| {
                let token = result(value);
                driver.post(move |core, now| core.session.handle_token(now, link, token));
                JsValue::UNDEFINED
            })
        };
        let got = hand_over(|value| Ok(value.as_string()));
        let failed = hand_over(|_| Err("getToken failed".to_owned()));
        let _ = host::call_method(&token, "then", &[got, failed]);
    }

    pub(crate) fn call(&self, request: Request, answer: Answer, settle: Settle) {
        self.post(move |core, now| {
            let call = core.session.call(now, request);
            core.waiting.insert(call, (answer, settle));
        });
    }

    pub(crate) fn subscribe(&self, filter: Filter) -> Promise {
        let (promise, settle) = host::promise();
        self.post(move |core, now| {
            let (call, watch) = core.session.subscribe(now, filter);
            core.waiting.insert(call, (Answer::Watch(watch), settle));
        });
        promise
    }

    /// Ends a watch; `settle` is for who waits for the cluster to say so.
    pub(crate) fn unsubscribe(&self, watch: WatchId, settle: Option<Settle>) {
        self.post(move |core, now| {
            let inbox = core.watches.remove(&watch);
            if let Some(inbox) = &inbox {
                inbox.end(None, &mut core.calls_out);
                let call = core.session.unsubscribe(now, watch);
                if let Some(settle) = settle {
                    core.waiting.insert(call, (Answer::Nothing, settle));
                }
            } else if let Some(settle) = settle {
                core.settle(settle.resolve, JsValue::UNDEFINED); // it has ended before
            }
        });
    }

    pub(crate) fn listen(&self, event: &str, listener: Function) {
        let event = event.to_owned();
        self.post(move |core, _| core.listeners.push((event, listener)));
    }

    pub(crate) fn unlisten(&self, event: &str, listener: &Function) {
        let (event, listener) = (event.to_owned(), listener.clone());
        self.post(move |core, _| {
            core.listeners.retain(|(name, known)| *name != event || *known != listener);
        });
    }

    pub(crate) fn close(&self) {
        self.post(|core, now| core.session.close(now));
    }

    /// Looks at the core, unless it is at work, which no reader can see.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Core) -> T) -> Option<T> {
        self.0.core.try_borrow().ok().map(|core| look(&core))
    }

    pub(crate) fn state(&self) -> State {
        self.read(|core| core.session.state()).unwrap_or(State::Connecting)
    }

    pub(crate) fn welcome(&self) -> JsValue {
        self.read(|core| core.session.welcome().map(host::json)).flatten().unwrap_or(JsValue::NULL)
    }

    /// Listens for signs that the page woke up or the network changed. Workers and Node.js have
    /// some of them or none.
    fn attach_hints(&self) {
        let on_hint = host::listener({
            let driver = self.clone();
            // Also of a page that is hidden, whose timers may run once a minute only; and when it gets
            // hidden, which does no harm.
            move |_| driver.post(|core, now| core.session.handle_wake(now))
        });
        for (target, event) in hint_sources() {
            let args = [event.into(), on_hint.as_ref().clone()];
            let _ = host::call_method(&target, "addEventListener", &args);
        }
        self.post(move |core, _| core.hints.on_hint = Some(on_hint));
    }
}

fn hint_sources() -> [(JsValue, &'static str); 5] {
    let global = host::global_object();
    let document = host::global("document");
    [
        (document.clone(), "visibilitychange"),
        (document, "resume"),
        (global.clone(), "online"),
        (global.clone(), "offline"),
        (global, "pageshow"),
    ]
}

impl Core {
    /// What a link's socket says. Nothing is heard of a socket that was closed here.
    pub(crate) fn handle_heard(&mut self, now: Instant, link: LinkId, heard: Heard) {
        if self.sockets.get(&link).is_none() {
            return;
        }
        match heard {
            Heard::Opened => self.session.handle_opened(now, link),
            Heard::Text(text) => {
                self.trace("in", &text);
                self.session.handle_text(now, link, &text);
            }
            Heard::Closed(code) => {
                self.sockets.remove(&link);
                self.session.handle_closed(now, link, code);
            }
            Heard::Other => {}
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        self.timer = None;
        self.session.handle_timeout(now);
        if self.connecting.as_ref().is_some_and(|connecting| connecting.deadline <= now) {
            let refusal = self.session.refusal().cloned();
            let error = refusal
                .unwrap_or_else(|| Error::new(Code::Unreachable, "no server could be reached"));
            self.connected(Err(&error), None);
            self.session.close(now);
        }
    }

    /// Does what the session says, until it says no more.
    fn carry_out(&mut self, driver: &Driver) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Token { link } => {
                    if let Some(get_token) = &self.get_token {
                        self.calls_out.push_back(CallOut::Token(link, get_token.clone()));
                    }
                }
                Output::Open { link, url } => match Socket::open(&url, link, driver) {
                    Some(socket) => {
                        self.sockets.insert(link, socket);
                    }
                    None => self.session.handle_closed(host::now(), link, NO_CLOSE_FRAME),
                },
                Output::Send { link, text } => {
                    self.trace("out", &text);
                    if let Some(socket) = self.sockets.get(&link) {
                        socket.send(text);
                    }
                }
                Output::Close { link, code } => {
                    if let Some(socket) = self.sockets.remove(&link) {
                        socket.close(code);
                    }
                }
                Output::Event(event) => self.tell(event, driver),
            }
        }
    }

    fn tell(&mut self, event: Event, driver: &Driver) {
        match event {
            Event::Done { call, result } => self.done(call, result, driver),
            Event::Change { watch, change } => {
                let Some(inbox) = self.watches.get(&watch) else {
                    return;
                };
                inbox.push(change, &mut self.calls_out);
                if Rc::strong_count(inbox) == 1 && !inbox.is_awaited() {
                    // The application has let go of the watch.
                    self.watches.remove(&watch);
                    self.session.unsubscribe(host::now(), watch);
                }
            }
            Event::WatchEnded { watch, error } => {
                if let Some(inbox) = self.watches.remove(&watch) {
                    inbox.end(Some(error), &mut self.calls_out);
                }
            }
            Event::State { state, previous, retry_at } => {
                let ended = self.session.closed_because().cloned();
                let code = ended.as_ref().map(|error| error.code);
                self.emit("state", || types::state(state, previous, retry_at, code));
                match (state, ended) {
                    (State::Connected, _) => self.connected(Ok(()), Some(driver)),
                    (State::Closed, Some(error)) => self.closed(&error),
                    _ => {}
                }
            }
            Event::Resync { .. } => self.emit("resync", || host::object(&[])),
            Event::Failover { from, to, reason } => {
                self.emit("failover", || types::failover(&from, &to, &reason));
            }
            Event::SessionReplaced { username, device } => {
                self.emit("sessionreplaced", || types::registration(&username, &device, None));
            }
            Event::RegistrationRenewed { username, device } => {
                self.emit("registrationrenewed", || types::registration(&username, &device, None));
            }
            Event::RegistrationLost { username, device, error } => {
                let code = Some(error.code);
                self.emit("registrationlost", || types::registration(&username, &device, code));
            }
        }
    }

    fn done(&mut self, call: CallId, result: Result<String, Error>, driver: &Driver) {
        let Some((answer, settle)) = self.waiting.remove(&call) else {
            return;
        };
        match result {
            Ok(payload) => {
                let value = match answer {
                    Answer::Payload => host::json(&payload),
                    Answer::First => host::property(&host::json(&payload), "first"),
                    Answer::Nothing => JsValue::UNDEFINED,
                    Answer::Watch(id) => {
                        let inbox = Rc::new(Inbox::default());
                        self.watches.insert(id, Rc::clone(&inbox));
                        Watch::new(driver.clone(), id, inbox).into()
                    }
                };
                self.settle(settle.resolve, value);
            }
            Err(error) => self.settle(settle.reject, host::error(&error)),
        }
    }

    fn settle(&mut self, settle: Function, value: JsValue) {
        self.calls_out.push_back(CallOut::Settle(settle, value));
    }

    /// Settles the promise of `connect`, if it waits still.
    fn connected(&mut self, result: Result<(), &Error>, driver: Option<&Driver>) {
        let Some(Connecting { settle, .. }) = self.connecting.take() else {
            return;
        };
        match (result, driver) {
            (Ok(()), Some(driver)) => {
                let client = Rollcall { driver: driver.clone() };
                self.settle(settle.resolve, client.into());
            }
            (Err(error), _) => self.settle(settle.reject, host::error(error)),
            (Ok(()), None) => {}
        }
    }

    /// The session has ended: nothing of it must keep the page or its tab's id busy.
    fn closed(&mut self, error: &Error) {
        self.connected(Err(error), None);
        self.identity = None;
        if let Some(on_hint) = self.hints.on_hint.take() {
            for (target, event) in hint_sources() {
                let args = [event.into(), on_hint.as_ref().clone()];
                let _ = host::call_method(&target, "removeEventListener", &args);
            }
        }
    }

    /// Queues an event for who listens to it; it is made only if somebody does.
    fn emit(&mut self, name: &str, make: impl FnOnce() -> JsValue) {
        if self.listeners.iter().any(|(known, _)| known == name) {
            self.queue(name, &make());
        }
    }

    /// Apart from [`Core::emit`], so that it is there once and not once for every kind of event.
    #[inline(never)]
    fn queue(&mut self, name: &str, event: &JsValue) {
        for (known, listener) in &self.listeners {
            if known == name {
                self.calls_out.push_back(CallOut::Listener(listener.clone(), event.clone()));
            }
        }
    }

    fn trace(&mut self, direction: &str, text: &str) {
        self.emit("message", || types::traced(direction, text));
    }

    /// Sets the timer for the next deadline, unless one fires before anyway.
    fn arm(&mut self, tick: &Option<Listener>) {
        let connecting = self.connecting.as_ref().map(|connecting| connecting.deadline);
        let deadline = [self.session.poll_timeout(), connecting].into_iter().flatten().min();
        match (deadline, &self.timer) {
            (Some(deadline), Some((armed, _))) if *armed <= deadline => return,
            (None, None) => return,
            _ => {}
        }
        if let Some((_, timer)) = self.timer.take() {
            timer.stop();
        }
        if let (Some(at), Some(tick)) = (deadline, tick) {
            let timer = Timer::start(tick.as_ref().unchecked_ref(), at);
            self.timer = Some((at, timer));
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// The close code of a link that could not be opened.
pub(crate) const NO_CLOSE_FRAME: u16 = 1006;
