//! Whatever comes in whatever order, as long as it has the shape of a message: a session that has not ended
//! has a timer, no timer spins, nothing that servers say is a panic, and it ends when it is closed.

use super::*;

#[test]
fn a_session_bears_anything() {
    for seed in 0..1000 {
        let mut world = Garbage::new(seed);
        for step in 0..120 {
            world.take_outputs();
            let said = world.outputs;
            assert!(said < 60 * (step + 40), "seed {seed}: {said} outputs in {step} steps");
            if world.rig.session.is_closed() {
                break;
            }
            let next = world.rig.session.poll_timeout();
            let far =
                next.unwrap_or_else(|| panic!("seed {seed}: no timer")).since(world.rig.now());
            assert!(far <= Duration::from_secs(1000), "seed {seed}: {far:?}");
            world.step();
        }
        let rig = &mut world.rig;
        rig.session.close(rig.now());
        rig.pass(10_000);
        assert!(rig.session.is_closed(), "seed {seed}");
        assert_eq!(rig.session.poll_timeout(), None, "seed {seed}");
    }
}

struct Garbage {
    rig: Rig,
    random: Random,
    links: Vec<u64>,
    /// The link, the number and the type of each request.
    sent: Vec<(u64, u64, String)>,
    outputs: usize,
}

impl Garbage {
    fn new(seed: u64) -> Self {
        let token = if seed.is_multiple_of(4) { Token::Ask } else { Token::None };
        let mut rig = Rig::seeded("ws://a ws://b ws://x", token, seed);
        rig.session.backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let (links, sent) = Default::default();
        Self { rig, random: Random::new(seed), links, sent, outputs: 0 }
    }

    fn take_outputs(&mut self) {
        self.rig.poll();
        for output in std::mem::take(&mut self.rig.said) {
            self.outputs += 1;
            match output {
                Output::Token { link } | Output::Open { link, .. } => self.links.push(link.0),
                Output::Send { link, text } => {
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let kind = message["type"].as_str().unwrap().to_owned();
                    self.sent.push((link.0, message["id"].as_u64().unwrap(), kind));
                }
                _ => {}
            }
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn step(&mut self) {
        let (kind, ms) = (self.below(16), self.below(9000));
        match kind {
            0..=3 => self.happen_to_a_link(kind),
            4 => self.rig.pass(ms / 6),
            5 => self.rig.sleep(ms),
            6 => self.rig.session.handle_wake(self.rig.now()),
            7 => drop(self.rig.watch("a")),
            8 => {
                self.rig.lookup("x");
                for request in [Request::GetStatus, Request::Ping] {
                    self.rig.session.call(self.rig.now(), request);
                }
            }
            9 => drop(self.rig.connect("ann", 1 + ms as u16)),
            _ => self.answer(),
        }
    }

    /// To one of the last few.
    fn happen_to_a_link(&mut self, kind: u64) {
        let Some(last) = self.links.len().checked_sub(6.min(self.links.len()).max(1)) else {
            return;
        };
        let link = one_of(&mut self.random, &self.links[last..]);
        let code = one_of(&mut self.random, &[1006, 1001, 4000, 4002]);
        if kind == 3 {
            return self.rig.lose(link, code);
        }
        self.rig.session.handle_token(self.rig.now(), LinkId(link), Ok(None));
        if kind > 0 {
            self.rig.open(link);
        }
    }

    /// One of the last few requests, and perhaps something that nobody asked for.
    fn answer(&mut self) {
        let Some(last) = self.sent.len().checked_sub(8.min(self.sent.len()).max(1)) else {
            return;
        };
        let (link, id, kind) = one_of(&mut self.random, &self.sent[last..]);
        let (tag, payload) = self.some_answer(&kind);
        self.rig.reply_to(link, id, tag, &payload);
        let (name, subscription) = (self.below(3), self.below(3));
        let revision = self.revision();
        match self.below(60) {
            0..20 => self.rig.push(
                link,
                "UserConnected",
                &format!(
                    r#"{{"subscription":{subscription},"username":"a{name}","device":"d",
                    "ip":"10.0.0.1","port":1,"revision":{revision},"online":true}}"#
                ),
            ),
            20 => self.rig.push(link, "GoingAway", "{}"),
            21..24 => {
                let ann = r#"{"username":"ann","device":"default"}"#;
                self.rig.push(link, "SessionReplaced", ann);
            }
            _ => {}
        }
    }

    fn revision(&mut self) -> u64 {
        one_of(&mut self.random, &[0, 1, 5, 6, 7, u64::MAX])
    }

    fn some_answer(&mut self, kind: &str) -> (&'static str, String) {
        let revision = self.revision();
        match (kind, self.below(8)) {
            (_, 0) => {
                let code =
                    one_of(&mut self.random, &["no_quorum", "overloaded", "outcome_unknown"]);
                let more = format!(r#""retry":true,"retry_after_ms":{revision}"#);
                ("Error", format!(r#"{{"code":"{code}",{more}}}"#))
            }
            ("Hello", _) => ("Welcome", self.some_welcome()),
            (_, 1) => ("Error", r#"{"code":"not_found"}"#.to_owned()),
            ("Subscribe", _) => {
                let number = self.below(3);
                let more = one_of(&mut self.random, &MORE);
                let users = r#"{"username":"a1","addresses":[{"device":"d","ip":"10.0.0.1","port":1,"revision":3}]}"#;
                let set = format!(r#""revision":{revision},"users":[{users}]{more}"#);
                ("Subscribed", format!(r#"{{"subscription":{number},{set}}}"#))
            }
            ("Unsubscribe", _) => ("Unsubscribed", "{}".to_owned()),
            ("Ping", _) => ("Pong", "{}".to_owned()),
            ("GetUserAddress", _) => ("UserAddress", r#"{"users":[],"revision":3}"#.to_owned()),
            ("GetStatus", _) => ("Status", "{}".to_owned()),
            ("ConnectUser", _) => ("Connected", "{}".to_owned()),
            _ => ("Disconnected", "{}".to_owned()),
        }
    }

    fn some_welcome(&mut self) -> String {
        let (node, session) = (1 + self.below(4), self.below(3));
        let cluster = one_of(&mut self.random, &["c", "c", "c", "d"]);
        let next_id = one_of(&mut self.random, &[1, 1_u64 << 40, u64::MAX]);
        let heartbeat = one_of(&mut self.random, &[0, 5000, u64::MAX]);
        let all: Vec<u64> = (1..=4).filter(|_| self.random.below(3) > 0).collect();
        let members = members(all);
        format!(
            r#"{{"node":{node},"client":"me","cluster":"{cluster}","session":{session},
                "next_id":{next_id},"heartbeat_ms":{heartbeat},"members":[{members}]}}"#
        )
    }
}

fn one_of<T: Clone>(random: &mut Random, all: &[T]) -> T {
    all[random.below(all.len() as u64) as usize].clone()
}

/// What else an answer to `Subscribe` may say.
const MORE: [&str; 4] = ["", r#","recovered":true"#, r#","recovered":false"#, r#","more":true"#];
