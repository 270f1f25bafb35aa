//! One run: an application that asks at random, a network that fails at random, and the judgement
//! at the end.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::cluster::{Cluster, Holder, refusal};
use crate::session::backoff::Random;
use crate::session::tests::*;

pub(super) struct World {
    random: Random,
    session: Session,
    cluster: Cluster,
    now_ms: u64,
    /// The link the network carries now, and what is on its way on it.
    link: Option<Link>,
    /// Chance in 1000 that something goes wrong, each time something could.
    trouble: u64,
    app: App,
}

struct Link {
    id: LinkId,
    /// Texts with the time they arrive, in order.
    up: VecDeque<(u64, String)>,
    down: VecDeque<(u64, String)>,
    /// What each subscription of this link is about, and up to which revision it was served.
    subscriptions: Vec<Option<(Value, u64)>>,
}

/// What the application knows from answers and events alone.
#[derive(Default)]
struct App {
    calls: BTreeMap<CallId, Ask>,
    /// What it believes to hold, by port.
    holds: BTreeMap<String, Belief>,
    /// Each watch's set, kept by carrying out changes.
    watches: BTreeMap<WatchId, (Filter, Option<BTreeMap<String, u64>>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Holds(u16),
    HoldsNot,
    /// A `DisconnectUser` timed out.
    Open,
}

#[derive(Clone, Debug)]
enum Ask {
    Connect(String, u16),
    Disconnect(String),
    Watch(WatchId),
    Other,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let config = Config {
            servers: vec!["ws://a".into(), "ws://b".into()],
            timeout: Duration::from_millis(2000),
            ..Config::default()
        };
        let client = ClientId::new("me").unwrap();
        Self {
            random: Random::new(seed),
            session: Session::new(config, client, seed, 0, Instant::default()),
            cluster: Cluster::default(),
            now_ms: 0,
            link: None,
            trouble: 20,
            app: App::default(),
        }
    }

    pub(super) fn run(mut self) {
        let watches = 1 + self.random.below(3);
        for at in 0..watches {
            let filter = match at {
                0 => Filter::All,
                1 => Filter::Prefix(Prefix::new("b").unwrap()),
                _ => Filter::Usernames(vec![Username::new("b1").unwrap()]),
            };
            let (call, watch) = self.session.subscribe(self.now(), filter.clone());
            self.app.calls.insert(call, Ask::Watch(watch));
            self.app.watches.insert(watch, (filter, None));
        }
        for _ in 0..400 {
            self.step();
        }
        self.trouble = 0;
        let end = self.now_ms + 60_000;
        while self.now_ms < end {
            self.advance();
        }
        self.judge();
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms)
    }

    fn bad_luck(&mut self) -> bool {
        self.random.below(1000) < self.trouble
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => self.ask(),
            4 => self.others_act(),
            _ => {}
        }
        if self.bad_luck() {
            match self.random.below(8) {
                0 => self.cluster.restart(),
                1 => self.cluster.expire(),
                2 => self.cluster.forget(),
                3 => self.now_ms += self.random.below(20_000), // the driver sleeps
                4 => self.push(&json!({"type": "GoingAway", "payload": {"reason": "shutdown"}})),
                _ => self.cut(1006),
            }
            if !self.cluster.alive {
                self.cut(4001); // the session ended, or the servers were restarted
            }
        }
        self.advance();
    }

    fn ask(&mut self) {
        let name = format!("{}{}", ["a", "b"][self.random.below(2) as usize], self.random.below(3));
        let username = Username::new(&name).unwrap();
        let port = 1 + self.random.below(3) as u16;
        let device = Device::default();
        let (request, ask) = match self.random.below(6) {
            0 | 1 => {
                let ip = Ip::Observed;
                let meta = None;
                let request = ConnectUser { username, ip, port, device, meta };
                (Request::ConnectUser(request), Ask::Connect(name, port))
            }
            2 => {
                let request = DisconnectUser { username, device };
                (Request::DisconnectUser(request), Ask::Disconnect(name))
            }
            3 => {
                let usernames = vec![username];
                (Request::GetUserAddress(GetUserAddress { usernames }), Ask::Other)
            }
            _ => (Request::GetSequenceNumber(GetSequenceNumber { count: 2 }), Ask::Other),
        };
        let call = self.session.call(self.now(), request);
        self.app.calls.insert(call, ask);
    }

    fn others_act(&mut self) {
        let name = format!("b{}", self.random.below(4));
        let port = 100 + self.random.below(100);
        match self.cluster.directory.get(&name).map(|entry| entry.holder) {
            None => self.cluster.put(&name, Holder::Other, port),
            Some(Holder::Other) if self.random.below(2) == 0 => self.cluster.leave(&name, "left"),
            Some(Holder::Other) => self.cluster.put(&name, Holder::Other, port),
            Some(Holder::Client) => {}
        }
    }

    fn cut(&mut self, code: u16) {
        if let Some(link) = self.link.take() {
            self.session.handle_closed(self.now(), link.id, code);
        }
    }

    /// Lets a little time pass: outputs, the network, timers.
    fn advance(&mut self) {
        self.carry_out();
        self.now_ms += 1 + self.random.below(20);
        self.deliver();
        let now = self.now();
        self.session.handle_timeout(now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Token { .. } => unreachable!("no token is configured"),
                Output::Open { link, .. } => {
                    if self.bad_luck() {
                        self.session.handle_closed(self.now(), link, 1006);
                        continue;
                    }
                    self.link = Some(Link {
                        id: link,
                        up: VecDeque::new(),
                        down: VecDeque::new(),
                        subscriptions: Vec::new(),
                    });
                    self.session.handle_opened(self.now(), link);
                }
                Output::Send { link, text } => {
                    let at = self.now_ms + self.delay();
                    if let Some(open) = self.link.as_mut().filter(|open| open.id == link) {
                        open.up.push_back((at, text));
                    }
                }
                Output::Close { link, .. } => {
                    self.link.take_if(|open| open.id == link);
                }
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn delay(&mut self) -> u64 {
        // Now and then something takes longer than a call may.
        if self.bad_luck() { self.random.below(4000) } else { self.random.below(30) }
    }

    fn deliver(&mut self) {
        loop {
            let now_ms = self.now_ms;
            let Some(link) = &mut self.link else {
                return;
            };
            if link.up.front().is_some_and(|(at, _)| *at <= now_ms) {
                let text = link.up.pop_front().unwrap().1;
                self.serve(&text);
                continue;
            }
            self.serve_changes();
            let Some(link) = &mut self.link else {
                return;
            };
            if link.down.front().is_some_and(|(at, _)| *at <= now_ms) {
                let text = link.down.pop_front().unwrap().1;
                let id = link.id;
                self.session.handle_text(self.now(), id, &text);
                self.carry_out();
            } else {
                return;
            }
        }
    }

    fn push(&mut self, message: &Value) {
        let at = self.now_ms + self.delay();
        if let Some(link) = &mut self.link {
            link.down.push_back((at, message.to_string()));
        }
    }

    fn serve(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let (tag, id) = (message["type"].as_str().unwrap(), message["id"].as_u64().unwrap());
        let payload = &message["payload"];
        let write = matches!(tag, "ConnectUser" | "DisconnectUser" | "GetSequenceNumber");
        let (tag, payload) = if tag != "Hello" && self.bad_luck() {
            if write && self.random.below(2) == 0 {
                self.cluster.write(id, tag, payload);
                refusal("outcome_unknown", true)
            } else {
                refusal(["no_quorum", "overloaded"][self.random.below(2) as usize], true)
            }
        } else {
            match tag {
                "Hello" => ("Welcome", self.cluster.hello(payload["session"].as_u64())),
                "Subscribe" => return self.serve_subscribe(id, payload),
                "Unsubscribe" => {
                    let number = payload["subscription"].as_u64().unwrap();
                    if let Some(link) = &mut self.link {
                        link.subscriptions[number as usize - 1] = None;
                    }
                    ("Unsubscribed", payload.clone())
                }
                "Ping" => ("Pong", json!({})),
                "GetUserAddress" => {
                    let name = payload["usernames"][0].as_str().unwrap();
                    let users = self.cluster.users(&|known| known == name);
                    let revision = self.cluster.revision;
                    ("UserAddress", json!({"users": users, "unknown": [], "revision": revision}))
                }
                _ => self.cluster.write(id, tag, payload),
            }
        };
        let reply = json!({"type": tag, "origin": "server/1", "id": id, "payload": payload});
        self.push(&reply);
        // A retry and the first copy may both be answered; "not applied" is said of one copy only.
        if reply["payload"]["retry"] != json!(true) && self.bad_luck() {
            self.push(&reply);
        }
    }

    fn serve_subscribe(&mut self, id: u64, payload: &Value) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.subscriptions.push(None);
        let number = link.subscriptions.len();
        let since = payload["since"].as_u64();
        let recovered = since.is_some_and(|since| self.cluster.since(since).is_some());
        let revision = since.filter(|_| recovered).unwrap_or(self.cluster.revision);
        let filter = payload.clone();
        let mut users =
            if recovered { Vec::new() } else { self.cluster.users(&|name| matches(&filter, name)) };
        let rest = users.split_off(users.len().min(2));
        let mut first = json!({
            "subscription": number, "revision": revision, "users": users, "more": !rest.is_empty(),
        });
        if since.is_some() {
            first["recovered"] = json!(recovered);
        }
        self.push(&json!({"type": "Subscribed", "origin": "server/1", "id": id, "payload": first}));
        if !rest.is_empty() {
            let part = json!({"users": rest, "more": false});
            self.push(&json!({"type": "Users", "origin": "server/1", "id": id, "payload": part}));
        }
        if let Some(link) = &mut self.link {
            link.subscriptions[number - 1] = Some((filter, revision));
        }
    }

    /// Pushes what each subscription has not been told yet.
    fn serve_changes(&mut self) {
        let Some(link) = &mut self.link else {
            return;
        };
        let mut pushes = Vec::new();
        let mut forgotten = false;
        for (at, subscription) in link.subscriptions.iter_mut().enumerate() {
            let Some((filter, served)) = subscription else {
                continue;
            };
            let Some(changes) = self.cluster.since(*served) else {
                forgotten = true;
                continue;
            };
            for (_, tag, change) in changes {
                if matches(filter, change["username"].as_str().unwrap()) {
                    let mut payload = change.clone();
                    payload["subscription"] = json!(at + 1);
                    pushes.push(json!({"type": tag, "origin": "server/1", "payload": payload}));
                }
            }
            *served = self.cluster.revision;
        }
        for push in pushes {
            self.push(&push);
        }
        if forgotten {
            // A real server has queued them by then; one that cannot serve on ends the link.
            self.cut(4000);
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Done { call, result } => {
                let ask = self.app.calls.remove(&call).expect("a call is done once");
                self.finish(ask, result);
            }
            Event::Change { watch, change } => {
                let set = self.app.watches.get_mut(&watch).unwrap().1.as_mut();
                let set = set.expect("changes come after the watch was granted");
                let it = &change.change;
                let name = it.username.to_string();
                match change.kind {
                    ChangeKind::Connected => {
                        assert!(set.insert(name, it.revision.0).is_none(), "it was not there");
                    }
                    ChangeKind::Updated => {
                        assert!(set.insert(name, it.revision.0).is_some(), "it was there");
                    }
                    ChangeKind::Disconnected => {
                        assert!(set.remove(&name).is_some(), "it was there");
                    }
                }
            }
            Event::RegistrationLost { username, .. } => {
                self.app.holds.insert(username.to_string(), Belief::HoldsNot);
            }
            Event::WatchEnded { .. } | Event::SessionReplaced { .. } => {
                unreachable!("the model never does that")
            }
            Event::State { .. } | Event::Resync { .. } | Event::Failover { .. } => {}
        }
    }

    fn finish(&mut self, ask: Ask, result: Result<String, Error>) {
        let code = result.as_ref().err().map(|error| error.code.as_str());
        match (ask, code) {
            (Ask::Connect(name, port), None) => {
                self.app.holds.insert(name, Belief::Holds(port));
            }
            (Ask::Disconnect(name), None | Some("not_found" | "not_owner")) => {
                self.app.holds.insert(name, Belief::HoldsNot);
            }
            (Ask::Disconnect(name), Some("timeout")) => {
                self.app.holds.insert(name, Belief::Open);
            }
            (Ask::Watch(watch), None) => {
                let (view, _) = self.session.view(watch).unwrap();
                let set = view
                    .users()
                    .map(|user| (user.username.to_string(), user.addresses[0].revision.0))
                    .collect();
                self.app.watches.get_mut(&watch).unwrap().1 = Some(set);
            }
            (Ask::Watch(watch), Some(_)) => {
                self.app.watches.remove(&watch);
            }
            _ => {}
        }
    }

    fn judge(&self) {
        assert!(self.app.calls.is_empty(), "unanswered: {:?}", self.app.calls);
        assert_eq!(self.session.state(), State::Connected);
        for (watch, (filter, set)) in &self.app.watches {
            let expected: BTreeMap<String, u64> = self
                .cluster
                .directory
                .iter()
                .filter(|(name, _)| filter.matches(&Username::new(name).unwrap()))
                .map(|(name, entry)| (name.clone(), entry.revision))
                .collect();
            assert_eq!(set.as_ref(), Some(&expected), "the set that {filter:?} led to");
            let (view, _) = self.session.view(*watch).unwrap();
            let names: Vec<_> = view.users().map(|user| user.username.to_string()).collect();
            assert!(names.iter().eq(expected.keys()), "the session's own set");
        }
        for (name, held) in &self.app.holds {
            let Belief::Holds(port) = held else {
                continue;
            };
            let stands = self.cluster.directory.get(name);
            let stands = stands.filter(|entry| entry.holder == Holder::Client);
            assert_eq!(stands.map(|entry| entry.port), Some(u64::from(*port)), "{name} is held");
        }
        for (name, entry) in &self.cluster.directory {
            let belief = self.app.holds.get(name).copied().unwrap_or(Belief::HoldsNot);
            let unwanted = entry.holder == Holder::Client && belief == Belief::HoldsNot;
            assert!(!unwanted, "{name} stands and nobody wants it");
        }
    }
}

fn matches(filter: &Value, name: &str) -> bool {
    if let Some(names) = filter["usernames"].as_array() {
        return names.iter().any(|known| known == name);
    }
    filter["prefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
}
