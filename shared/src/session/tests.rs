//! Tests of the session: here a rig that feeds it and writes down what it says; the tests are in
//! the files below, those against a model of a server in `model`.

mod calls;
mod links;
mod model;
mod registrations;
mod watches;

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
struct Rig {
    session: Session,
    now_ms: u64,
}

impl Rig {
    /// Delays without jitter (100 ms each), ids that begin at 1.
    fn new(servers: &str) -> Self {
        Self::with(servers, Token::None)
    }

    fn with(servers: &str, token: Token) -> Self {
        let delay = Duration::from_millis(100);
        let config = Config {
            servers: servers.split_whitespace().map(str::to_owned).collect(),
            min_reconnect_delay: delay,
            max_reconnect_delay: delay,
            token,
            ..Config::default()
        };
        let client = ClientId::new("me").unwrap();
        let session = Session::new(config, client, 1, 0, Instant::from_millis(0));
        Self { session, now_ms: 0 }
    }

    /// One that a server has welcomed, on link 1.
    fn connected() -> Self {
        let mut rig = Self::new("ws://a ws://b");
        rig.open(1);
        rig.welcome(1, "");
        rig.drain();
        rig
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms)
    }

    fn open(&mut self, link: u64) {
        self.session.handle_opened(self.now(), LinkId(link));
    }

    fn text(&mut self, link: u64, text: &str) {
        self.session.handle_text(self.now(), LinkId(link), text);
    }

    fn lose(&mut self, link: u64, code: u16) {
        self.session.handle_closed(self.now(), LinkId(link), code);
    }

    /// A reply: `reply(1, 5, "Pong", "{}")`.
    fn reply(&mut self, link: u64, id: u64, tag: &str, payload: &str) {
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

    /// Answers the last `Hello`. What `more` says comes later in the object, and so counts.
    fn welcome(&mut self, link: u64, more: &str) {
        let hello = self.session.next_request - 1;
        let payload = format!(
            r#"{{"node":1,"client":"me","cluster":"c","session":5,"resumed":false,"next_id":1,
                "members":[],"heartbeat_ms":5000{more}}}"#
        );
        self.reply(link, hello, "Welcome", &payload);
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

    /// Everything said since the last time.
    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_output()).map(|output| describe(&output)).collect()
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.drain(), expected);
    }
}

fn describe(output: &Output) -> String {
    match output {
        Output::Token { link } => format!("token {}", link.0),
        Output::Open { link, url } => format!("open {} {url}", link.0),
        Output::Close { link, code } => format!("close {} {code}", link.0),
        Output::Send { link, text } => {
            let message: serde_json::Value = serde_json::from_str(text).unwrap();
            let (tag, id) = (message["type"].as_str().unwrap(), &message["id"]);
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
