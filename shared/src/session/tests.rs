//! Tests of the session: here a rig that feeds it and writes down what it says; the tests are in
//! the files below, those against a model of a server in `model`.

mod calls;
mod failover;
mod garbage;
mod links;
mod model;
mod registrations;
mod servers;
mod watches;
mod worst;

use std::time::Duration;

use super::*;
use crate::id::{Device, Prefix, Username};
use crate::message::{GetSequenceNumber, GetUserAddress, Ip};

/// A session, a clock, and what the session said in a short form:
///
/// - `open 1 ws://a`, `close 1 1000`, `token 1`: links
/// - `1< ConnectUser#3 {…}`: a message sent on link 1
/// - `done 2 ok {…}`, `done 2 timeout`: calls
/// - `state connected`, `+ann:tv@7`, `=ann:tv@8`, `-ann:tv@9 left`, and events by their names
///
/// The `Ping` after each welcome, which measures the distance, is answered at once (it took no time)
/// and left out, as is its number: the others count as if there were none. With `keep_pings` it is left
/// to the test.
struct Rig {
    session: Session,
    now_ms: u64,
    said: Vec<Output>,
    /// The ids of what was left out.
    left_out: Vec<u64>,
    keep_pings: bool,
    /// How many servers there are, for [`Rig::join`].
    size: u64,
    /// Links and the ids of their `Hello`s.
    hellos: Vec<(u64, u64)>,
}

impl Rig {
    /// Delays without jitter (100 ms each), ids that begin at 1.
    fn new(servers: &str) -> Self {
        Self::with(servers, Token::None)
    }

    fn with(servers: &str, token: Token) -> Self {
        Self::seeded(servers, token, SEED)
    }

    fn seeded(servers: &str, token: Token, seed: u64) -> Self {
        let delay = Duration::from_millis(100);
        let config = Config {
            servers: servers.split_whitespace().map(str::to_owned).collect(),
            min_reconnect_delay: delay,
            max_reconnect_delay: delay,
            token,
            ..Config::default()
        };
        let client = ClientId::new("me").unwrap();
        let session = Session::new(config, client, seed, 0, Instant::from_millis(0));
        let (said, left_out, hellos) = Default::default();
        Self { session, now_ms: 0, said, left_out, keep_pings: false, size: 0, hellos }
    }

    /// One that a server has welcomed, on link 1.
    fn connected() -> Self {
        let mut rig = Self::new("ws://a ws://b");
        rig.open(1);
        rig.welcome(1, "");
        rig.drain();
        rig
    }

    /// One with links to `size` servers: 1 at `ws://a`, 2 at `ws://b` and so on. The first is its home,
    /// which chance decides: some seed has it so. Ids are used up to `size`.
    fn cluster(size: u64) -> Self {
        let is_at_home = |rig: &Self| rig.home() == Some(1);
        (0..).map(|seed| Self::cluster_by(seed, size)).find(is_at_home).unwrap()
    }

    fn cluster_by(seed: u64, size: u64) -> Self {
        let mut rig = Self::seeded("ws://a", Token::None, seed);
        rig.size = size;
        for link in 1..=size {
            rig.open(link);
            rig.join(link, link);
        }
        rig.drain();
        rig
    }

    /// A server answers the `Hello` of a link, and names all of the cluster.
    fn join(&mut self, link: u64, node: u64) {
        let members = members(1..=self.size);
        self.welcome(link, &format!(r#","node":{node},"members":[{members}]"#));
    }

    /// The link that requests go to.
    fn home(&self) -> Option<u64> {
        self.session.home.map(|home| home.0)
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms)
    }

    fn open(&mut self, link: u64) {
        self.hellos.push((link, self.session.next_request));
        self.session.handle_opened(self.now(), LinkId(link));
    }

    fn text(&mut self, link: u64, text: &str) {
        self.session.handle_text(self.now(), LinkId(link), text);
    }

    fn lose(&mut self, link: u64, code: u16) {
        self.session.handle_closed(self.now(), LinkId(link), code);
    }

    /// A reply: `reply(1, 5, "Pong", "{}")`.
    fn reply(&mut self, link: u64, shown: u64, tag: &str, payload: &str) {
        let mut id = shown;
        for left_out in &self.left_out {
            id += u64::from(*left_out <= id);
        }
        self.reply_to(link, id, tag, payload);
    }

    fn reply_to(&mut self, link: u64, id: u64, tag: &str, payload: &str) {
        self.text(
            link,
            &format!(r#"{{"type":"{tag}","origin":"server/1","id":{id},"payload":{payload}}}"#),
        );
    }

    fn refuse(&mut self, link: u64, id: u64, code: &str, retry: bool) {
        let payload = format!(r#"{{"code":"{code}","message":"m","retry":{retry}}}"#);
        self.reply(link, id, "Error", &payload);
    }

    fn push(&mut self, link: u64, tag: &str, payload: &str) {
        self.text(link, &format!(r#"{{"type":"{tag}","origin":"server/1","payload":{payload}}}"#));
    }

    /// Answers the `Hello` of a link. What `more` says comes later in the object, and so counts.
    fn welcome(&mut self, link: u64, more: &str) {
        let hello = self.hellos.iter().rfind(|(it, _)| *it == link).unwrap().1;
        let payload = format!(
            r#"{{"node":1,"client":"me","cluster":"c","session":5,"resumed":false,"next_id":1,
                "members":[],"heartbeat_ms":5000{more}}}"#
        );
        self.reply_to(link, hello, "Welcome", &payload);
        self.poll();
        let is_ping = |output: &Output| match output {
            Output::Send { link: on, text } if on.0 == link => {
                let message: serde_json::Value = serde_json::from_str(text).unwrap();
                (message["type"] == "Ping").then(|| message["id"].as_u64().unwrap())
            }
            _ => None,
        };
        if !self.keep_pings
            && let Some(at) = self.said.iter().rposition(|output| is_ping(output).is_some())
        {
            let id = is_ping(&self.said.remove(at)).unwrap();
            self.left_out.push(id);
            self.reply_to(link, id, "Pong", "{}");
        }
    }

    fn poll(&mut self) {
        self.said.extend(std::iter::from_fn(|| self.session.poll_output()));
    }

    /// Lets time pass, every deadline in time.
    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.session.poll_timeout() {
            let due_ms = due.as_micros().div_ceil(1000).max(self.now_ms);
            if due_ms > end {
                break;
            }
            self.now_ms = due_ms;
            self.session.handle_timeout(self.now());
            assert!(
                self.session.poll_timeout().is_none_or(|next| next > self.now()),
                "a deadline that stays would spin the driver"
            );
        }
        self.now_ms = end;
    }

    /// Lets time pass while the driver sleeps.
    fn sleep(&mut self, ms: u64) {
        self.now_ms += ms;
        self.session.handle_timeout(self.now());
    }

    fn connect(&mut self, name: &str, port: u16) -> CallId {
        let registration = ConnectUser {
            username: Username::new(name).unwrap(),
            ip: Ip::Observed,
            port,
            device: Device::default(),
            meta: None,
        };
        self.session.connect_user(self.now(), registration)
    }

    fn disconnect(&mut self, name: &str) -> CallId {
        let username = Username::new(name).unwrap();
        let registration = DisconnectUser { username, device: Device::default() };
        self.session.disconnect_user(self.now(), registration)
    }

    fn sequence(&mut self) -> CallId {
        let request = Request::GetSequenceNumber(GetSequenceNumber { count: 1 });
        self.session.call(self.now(), request)
    }

    fn lookup(&mut self, name: &str) -> CallId {
        let usernames = vec![Username::new(name).unwrap()];
        self.session.call(self.now(), Request::GetUserAddress(GetUserAddress { usernames }))
    }

    fn watch(&mut self, prefix: &str) -> WatchId {
        let filter = Filter::Prefix(Prefix::new(prefix).unwrap());
        self.session.subscribe(self.now(), filter).1
    }

    /// The numbers of the links and their URLs that are to be opened, of what was said since the last
    /// time.
    fn opened(&mut self) -> Vec<(u64, String)> {
        let opened = |line: String| {
            let (link, url) = line.strip_prefix("open ")?.split_once(' ')?;
            Some((link.parse().unwrap(), url.to_owned()))
        };
        self.drain().into_iter().filter_map(opened).collect()
    }

    /// Everything said since the last time.
    fn drain(&mut self) -> Vec<String> {
        self.poll();
        let shown =
            |id: u64| id - self.left_out.iter().filter(|left_out| **left_out < id).count() as u64;
        std::mem::take(&mut self.said).iter().map(|output| describe(output, &shown)).collect()
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.drain(), expected);
    }
}

/// The seed with which the first of two servers is tried first.
const SEED: u64 = 2;
/// These servers as `Welcome` names them: 1 at `ws://a`, 2 at `ws://b` and so on.
fn members(nodes: impl IntoIterator<Item = u64>) -> String {
    let member = |node| {
        let letter = char::from(b'a' + (node as u8 - 1));
        format!(r#"{{"node":{node},"url":"ws://{letter}"}}"#)
    };
    nodes.into_iter().map(member).collect::<Vec<_>>().join(",")
}

fn describe(output: &Output, shown: &dyn Fn(u64) -> u64) -> String {
    match output {
        Output::Token { link } => format!("token {}", link.0),
        Output::Open { link, url } => format!("open {} {url}", link.0),
        Output::Close { link, code } => format!("close {} {code}", link.0),
        Output::Send { link, text } => {
            let message: serde_json::Value = serde_json::from_str(text).unwrap();
            let (tag, id) = (message["type"].as_str().unwrap(), message["id"].as_u64().unwrap());
            let id = shown(id);
            format!("{}< {tag}#{id} {}", link.0, message["payload"])
        }
        Output::Event(event) => describe_event(event),
    }
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::State { state, .. } => format!("state {}", state.as_str()),
        Event::Done { call, result } => match result {
            Ok(payload) => format!("done {} ok {payload}", call.0),
            Err(error) => format!("done {} {}", call.0, error.code.as_str()),
        },
        Event::Change { change, .. } => describe_change(change),
        Event::Resync { watch } => format!("resync {}", watch.0),
        Event::WatchEnded { watch, error } => format!("ended {} {}", watch.0, error.code.as_str()),
        Event::Failover { from, to, reason } => format!("failover {from} {to}: {reason}"),
        Event::SessionReplaced { username, .. } => format!("replaced {username}"),
        Event::RegistrationRenewed { username, .. } => format!("renewed {username}"),
        Event::RegistrationLost { username, error, .. } => {
            format!("lost {username} {}", error.code.as_str())
        }
    }
}

fn describe_change(change: &WatchChange) -> String {
    let sign = match change.kind {
        ChangeKind::Connected => '+',
        ChangeKind::Updated => '=',
        ChangeKind::Disconnected => '-',
    };
    let it = &change.change;
    let reason = match it.reason {
        Some(crate::message::Reason::Left) => " left",
        Some(crate::message::Reason::Expired) => " expired",
        None => "",
    };
    format!("{sign}{}:{}@{}{reason}", it.username, it.device, it.revision)
}
