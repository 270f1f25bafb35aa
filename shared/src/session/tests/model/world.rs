//! One run: an application that asks at random, a network that fails at random, and the judgement
//! at the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::{Cluster, Holder, refusal};
use super::network::{Link, Server, message};
use crate::session::backoff::Random;
use crate::session::tests::*;

pub(super) struct World {
    random: Random,
    session: Session,
    cluster: Cluster,
    now_ms: u64,
    servers: [Server; 3],
    links: BTreeMap<LinkId, Link>,
    kind: Trouble,
    /// Chance in 1000 that something goes wrong, each time something could.
    trouble: u64,
    app: App,
}

/// Where something may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Anywhere: servers, links, the cluster's memory, the driver.
    Everywhere,
    /// With two servers of three and the links to them.
    ElsewhereOnly,
}

/// The server with which nothing goes wrong, where there is one.
const GOOD: usize = 2;

/// What the application knows from answers and events alone.
#[derive(Default)]
struct App {
    calls: BTreeMap<CallId, Ask>,
    /// What it believes to hold, by port.
    holds: BTreeMap<String, Belief>,
    /// Each watch's set, kept by carrying out changes.
    watches: BTreeMap<WatchId, (Filter, Option<BTreeMap<String, u64>>)>,
    /// Of each watch: the revision of the last change, and up to which the sets were compared.
    revisions: BTreeMap<WatchId, (u64, u64)>,
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
    pub(super) fn new(seed: u64, kind: Trouble) -> Self {
        let timeout = if kind == Trouble::Everywhere { 2000 } else { 5000 };
        let config = Config {
            servers: vec!["ws://1".into(), "ws://3".into()],
            timeout: Duration::from_millis(timeout),
            ..Config::default()
        };
        let client = ClientId::new("me").unwrap();
        Self {
            random: Random::new(seed),
            session: Session::new(config, client, seed, 0, Instant::default()),
            cluster: Cluster::default(),
            now_ms: 0,
            servers: Default::default(),
            links: BTreeMap::new(),
            kind,
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
        self.servers.iter_mut().for_each(Server::heal);
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
            match self.kind {
                Trouble::Everywhere => self.go_wrong(),
                Trouble::ElsewhereOnly => self.fault_of_a_server(),
            }
        }
        self.advance();
    }

    fn go_wrong(&mut self) {
        match self.random.below(10) {
            0 => {
                self.cluster.restart();
                self.servers.iter_mut().for_each(|it| (it.base, it.seen, it.lag_until) = (0, 0, 0));
            }
            1 => self.cluster.expire(),
            2 => self.cluster.forget(),
            3 => self.now_ms += self.random.below(20_000), // the driver sleeps
            _ => self.fault_of_a_server(),
        }
        if !self.cluster.alive {
            let links: Vec<LinkId> = self.links.keys().copied().collect();
            for link in links {
                self.cut(link, 4001); // the session ended, or the servers were restarted
            }
        }
    }

    fn fault_of_a_server(&mut self) {
        let good = u64::from(self.kind == Trouble::ElsewhereOnly);
        if good == 1 && self.random.below(8) == 0 {
            // Its link ends; it is there again at once.
            let links: Vec<LinkId> =
                self.links.values().filter(|it| it.server == GOOD).map(|it| it.id).collect();
            return links.into_iter().for_each(|link| self.cut(link, 4000));
        }
        let server = self.random.below(3 - good) as usize;
        let until = self.now_ms + self.random.below(8000);
        let links: Vec<LinkId> =
            self.links.values().filter(|it| it.server == server).map(|it| it.id).collect();
        match self.random.below(12) {
            10 | 11 => {
                if self.servers[server].lag_until <= self.now_ms {
                    self.servers[server].seen = self.cluster.revision;
                }
                self.servers[server].lag_until = until;
            }
            7..=9 => {
                self.servers[server].base = self.seen(server);
                links.into_iter().for_each(|link| self.cut(link, 1006));
            }
            0 => {
                self.servers[server].down_until = until;
                links.into_iter().for_each(|link| self.cut(link, 1006));
            }
            1 => self.servers[server].frozen_until = until,
            2 => self.servers[server].cut_off_until = until,
            3 => {
                self.servers[server].cut_off_until = until;
                links.into_iter().for_each(|link| self.cut(link, 4002));
            }
            4 => {
                for link in links {
                    let goodbye = json!({"reason": "shutdown"});
                    self.say(link, &message("GoingAway", server, None, &goodbye));
                }
            }
            5 => {
                for link in self.links.values_mut().filter(|it| it.server == server) {
                    link.dead = true;
                }
            }
            _ => links.into_iter().for_each(|link| self.cut(link, 1006)),
        }
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

    /// A link ends. What was on its way may still reach the server.
    fn cut(&mut self, link: LinkId, code: u16) {
        let Some(mut it) = self.links.remove(&link) else {
            return;
        };
        if it.open && code != 4001 && self.random.below(2) == 0 {
            for (_, text) in std::mem::take(&mut it.up) {
                let message: Value = serde_json::from_str(&text).unwrap();
                let (tag, id) = (message["type"].as_str().unwrap(), message["id"].as_u64());
                if is_write(tag) {
                    self.cluster.write(id.unwrap(), tag, &message["payload"]);
                }
            }
        }
        self.session.handle_closed(self.now(), link, code);
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
                Output::Open { link, url } => {
                    let server = url.strip_prefix("ws://").unwrap().parse::<usize>().unwrap() - 1;
                    let down = self.servers[server].down_until > self.now_ms;
                    if down || (self.bad_luck() && !self.is_good(server)) {
                        self.session.handle_closed(self.now(), link, 1006);
                    } else {
                        self.links.insert(link, Link::new(link, server));
                    }
                }
                Output::Send { link, text } => {
                    let Some(server) = self.links.get(&link).map(|it| it.server) else {
                        continue;
                    };
                    let at = self.now_ms + self.delay(server);
                    self.links.get_mut(&link).unwrap().up.push_back((at, text));
                }
                Output::Close { link, .. } => {
                    self.links.remove(&link);
                }
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn is_good(&self, server: usize) -> bool {
        self.kind == Trouble::ElsewhereOnly && server == GOOD
    }

    fn delay(&mut self, server: usize) -> u64 {
        // Now and then something takes longer than a call may.
        if self.bad_luck() && !self.is_good(server) {
            self.random.below(4000)
        } else {
            self.random.below(30)
        }
    }

    fn deliver(&mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            while self.deliver_one(link) {}
        }
    }

    /// Lets one thing happen on a link, if there is one to happen.
    fn deliver_one(&mut self, link: LinkId) -> bool {
        let now_ms = self.now_ms;
        let Some(it) = self.links.get_mut(&link) else {
            return false;
        };
        let frozen = self.servers[it.server].frozen_until > now_ms;
        if it.dead {
            return false;
        }
        if !it.open {
            if !frozen {
                it.open = true;
                self.session.handle_opened(self.now(), link);
                self.carry_out();
            }
            return !frozen;
        }
        if !frozen && let Some(text) = it.arrived_up(now_ms) {
            self.serve(link, &text);
            return true;
        }
        if !frozen {
            self.serve_changes(link);
        }
        let text = self.links.get_mut(&link).and_then(|it| it.arrived_down(now_ms));
        if let Some(text) = &text {
            self.session.handle_text(self.now(), link, text);
            self.carry_out();
        }
        text.is_some()
    }

    fn say(&mut self, link: LinkId, message: &Value) {
        let Some(server) = self.links.get(&link).map(|it| it.server) else {
            return;
        };
        let at = self.now_ms + self.delay(server);
        self.links.get_mut(&link).unwrap().say(at, message);
    }

    fn serve(&mut self, link: LinkId, text: &str) {
        let asked: Value = serde_json::from_str(text).unwrap();
        let (tag, id) = (asked["type"].as_str().unwrap(), asked["id"].as_u64().unwrap());
        let payload = &asked["payload"];
        let server = self.links[&link].server;
        let cut_off = self.servers[server].cut_off_until > self.now_ms;
        let (tag, payload) = if cut_off && tag != "Ping" {
            refusal("no_quorum", true)
        } else if tag != "Hello" && !self.is_good(server) && self.bad_luck() {
            if is_write(tag) && self.random.below(2) == 0 {
                self.cluster.write(id, tag, payload);
                refusal("outcome_unknown", true)
            } else {
                refusal(["no_quorum", "overloaded"][self.random.below(2) as usize], true)
            }
        } else {
            match tag {
                "Hello" => ("Welcome", self.cluster.hello(server + 1, payload["session"].as_u64())),
                "Subscribe" => return self.serve_subscribe(link, id, payload),
                "Unsubscribe" => {
                    let number = payload["subscription"].as_u64().unwrap();
                    if let Some(it) = self.links.get_mut(&link) {
                        it.subscriptions[number as usize - 1] = None;
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
        let reply = message(tag, server, Some(id), &payload);
        self.say(link, &reply);
        // A retry and the first copy may both be answered; "not applied" is said of one copy only.
        if reply["payload"]["retry"] != json!(true) && self.bad_luck() {
            self.say(link, &reply);
        }
    }

    /// Up to which revision a server has heard of changes.
    fn seen(&self, server: usize) -> u64 {
        let (it, newest) = (&self.servers[server], self.cluster.revision);
        if it.lag_until > self.now_ms { it.seen.min(newest) } else { newest }
    }

    fn serve_subscribe(&mut self, link: LinkId, id: u64, payload: &Value) {
        let Some(it) = self.links.get_mut(&link) else {
            return;
        };
        let (number, server) = (it.new_subscription(), it.server);
        let since = payload["since"].as_u64();
        let seen = self.seen(server);
        let recovered = since.is_some_and(|since| {
            since >= self.servers[server].base
                && since <= seen
                && self.cluster.since(since).is_some()
        });
        let revision = since.filter(|_| recovered).unwrap_or(seen);
        let filter = payload.clone();
        let mut users = if recovered {
            Vec::new()
        } else {
            self.cluster.users_at(seen, &|name| matches(&filter, name))
        };
        let rest = users.split_off(users.len().min(2));
        let mut first = json!({
            "subscription": number, "revision": revision, "users": users, "more": !rest.is_empty(),
        });
        if since.is_some() {
            first["recovered"] = json!(recovered);
        }
        self.say(link, &message("Subscribed", server, Some(id), &first));
        if !rest.is_empty() {
            let part = json!({"users": rest, "more": false});
            self.say(link, &message("Users", server, Some(id), &part));
        }
        if let Some(it) = self.links.get_mut(&link) {
            it.subscriptions[number - 1] = Some((filter, revision));
        }
    }

    /// Pushes what each subscription of a link has not been told yet.
    fn serve_changes(&mut self, link: LinkId) {
        let Some(server) = self.links.get(&link).map(|it| it.server) else {
            return;
        };
        let seen = self.seen(server);
        let Some(it) = self.links.get_mut(&link) else {
            return;
        };
        let mut pushes = Vec::new();
        let mut forgotten = false;
        for (at, subscription) in it.subscriptions.iter_mut().enumerate() {
            let Some((filter, served)) = subscription else {
                continue;
            };
            let Some(changes) = self.cluster.since(*served) else {
                forgotten = true;
                continue;
            };
            for (at_revision, tag, change) in changes {
                if *at_revision > seen {
                    break;
                }
                if matches(filter, change["username"].as_str().unwrap()) {
                    let mut payload = change.clone();
                    payload["subscription"] = json!(at + 1);
                    pushes.push(message(tag, it.server, None, &payload));
                }
            }
            *served = seen.max(*served);
        }
        for push in pushes {
            self.say(link, &push);
        }
        if forgotten {
            // A real server has queued them by then; one that cannot serve on ends the link.
            self.cut(link, 4000);
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
                let (last, compared) = self.app.revisions.entry(watch).or_default();
                let news = it.revision.0 > *compared;
                assert!(!news || it.revision.0 > *last, "changes come in order, each once");
                *last = it.revision.0.max(*last);
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
            // The differences that follow, up to this revision, are in order of names.
            Event::Resync { watch } => {
                let (_, revision) = self.session.view(watch).unwrap();
                self.app.revisions.insert(watch, (0, revision.0));
            }
            Event::State { .. } | Event::Failover { .. } | Event::RegistrationRenewed { .. } => {}
        }
    }

    fn finish(&mut self, ask: Ask, result: Result<String, Error>) {
        let code = result.as_ref().err().map(|error| error.code.as_str());
        let unanswered = matches!(code, Some("timeout" | "unreachable" | "no_quorum"));
        assert!(
            !unanswered || self.kind == Trouble::Everywhere,
            "{ask:?} ended as {code:?} at {} ms, though a server was there",
            self.now_ms
        );
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
        let ready = self.session.links.iter().filter(|(_, link)| link.ready().is_some()).count();
        assert_eq!((ready, self.links.len()), (3, 3), "a link to each server");
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

fn is_write(tag: &str) -> bool {
    matches!(tag, "ConnectUser" | "DisconnectUser" | "GetSequenceNumber")
}

fn matches(filter: &Value, name: &str) -> bool {
    if let Some(names) = filter["usernames"].as_array() {
        return names.iter().any(|known| known == name);
    }
    filter["prefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
}
