//! A cluster as one client sees it: directory, sessions, remembered outcomes, history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Everything the cluster knows. Only one client talks to it; `Other` stands for all the rest.
#[derive(Default)]
pub(super) struct Cluster {
    /// Which life of the cluster it is.
    pub(super) life: u64,
    pub(super) session: u64,
    pub(super) alive: bool,
    pub(super) revision: u64,
    sequence: u64,
    /// Who holds a name, and where.
    pub(super) directory: BTreeMap<String, Entry>,
    /// Changes after `forgotten`.
    history: Vec<(u64, &'static str, Value)>,
    forgotten: u64,
    /// The directory at each revision at which it changed, for servers that lag behind.
    snapshots: BTreeMap<u64, BTreeMap<String, Entry>>,
    outcomes: BTreeMap<u64, (&'static str, Value)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    Client,
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) holder: Holder,
    pub(super) port: u64,
    pub(super) revision: u64,
}

impl Cluster {
    /// Every server lost its memory.
    pub(super) fn restart(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }

    /// The session of the client ends, and its registrations with it.
    pub(super) fn expire(&mut self) {
        self.alive = false;
        let names: Vec<String> = self.directory.keys().cloned().collect();
        for name in names {
            if self.directory[&name].holder == Holder::Client {
                self.leave(&name, "expired");
            }
        }
    }

    /// The answer of a server to `Hello`.
    pub(super) fn hello(&mut self, node: usize, named: Option<u64>) -> Value {
        let resumed = self.alive && named == Some(self.session);
        if !self.alive {
            self.begin();
        }
        let last = self.outcomes.keys().next_back().copied().unwrap_or(0);
        json!({
            "node": node, "client": "me", "cluster": format!("life-{}", self.life),
            "session": self.session, "resumed": resumed, "next_id": last + 1,
            "members": [
                {"node": 1, "url": "ws://1"}, {"node": 2, "url": "ws://2"},
                {"node": 3, "url": "ws://3"},
            ],
            "heartbeat_ms": 5000,
        })
    }

    fn begin(&mut self) {
        self.alive = true;
        self.session += 1;
    }

    /// Applies a write once, and repeats its outcome otherwise.
    pub(super) fn write(&mut self, id: u64, tag: &str, payload: &Value) -> (&'static str, Value) {
        if let Some((tag, payload)) = self.outcomes.get(&id) {
            return (*tag, payload.clone());
        }
        let oldest = self.outcomes.keys().rev().nth(63).copied().unwrap_or(0);
        assert!(id > oldest, "write {id} is older than the window, which begins at {oldest}");
        if !self.alive {
            self.begin();
        }
        let outcome = self.apply(tag, payload);
        self.outcomes.insert(id, outcome.clone());
        outcome
    }

    fn apply(&mut self, tag: &str, payload: &Value) -> (&'static str, Value) {
        if tag == "GetSequenceNumber" {
            let first = self.sequence + 1;
            self.sequence += payload["count"].as_u64().unwrap();
            return ("SequenceNumber", json!({"first": first, "count": payload["count"]}));
        }
        let name = payload["username"].as_str().unwrap().to_owned();
        let holder = self.directory.get(&name).map(|entry| entry.holder);
        if tag == "ConnectUser" {
            if holder == Some(Holder::Other) {
                return refusal("username_taken", false);
            }
            let port = payload["port"].as_u64().unwrap();
            self.put(&name, Holder::Client, port);
            return ("Connected", self.registered(&name));
        }
        match holder {
            None => refusal("not_found", false),
            Some(Holder::Other) => refusal("not_owner", false),
            Some(Holder::Client) => {
                self.leave(&name, "left");
                ("Disconnected", self.registered(&name))
            }
        }
    }

    fn registered(&self, name: &str) -> Value {
        json!({"username": name, "device": "default", "revision": self.revision})
    }

    pub(super) fn put(&mut self, name: &str, holder: Holder, port: u64) {
        let before = self.directory.get(name);
        if before.is_some_and(|entry| entry.holder == holder && entry.port == port) {
            return;
        }
        let tag = if before.is_some() { "UserUpdated" } else { "UserConnected" };
        self.revision += 1;
        let revision = self.revision;
        self.directory.insert(name.to_owned(), Entry { holder, port, revision });
        let change = json!({
            "username": name, "device": "default", "ip": "10.0.0.1", "port": port,
            "revision": revision, "online": true,
        });
        self.history.push((revision, tag, change));
        self.snapshots.insert(self.revision, self.directory.clone());
    }

    pub(super) fn leave(&mut self, name: &str, reason: &str) {
        self.directory.remove(name);
        self.revision += 1;
        let change = json!({
            "username": name, "device": "default", "reason": reason,
            "revision": self.revision, "online": false,
        });
        self.history.push((self.revision, "UserDisconnected", change));
        self.snapshots.insert(self.revision, self.directory.clone());
    }

    /// Changes up to now can no longer be recovered.
    pub(super) fn forget(&mut self) {
        self.forgotten = self.revision;
        self.history.clear();
    }

    /// Changes after a revision, if all of them are still known.
    pub(super) fn since(&self, since: u64) -> Option<&[(u64, &'static str, Value)]> {
        let known = since >= self.forgotten && since <= self.revision;
        known.then(|| &self.history[self.history.partition_point(|change| change.0 <= since)..])
    }

    pub(super) fn users(&self, names: &dyn Fn(&str) -> bool) -> Vec<Value> {
        self.users_at(self.revision, names)
    }

    /// Who was there at a revision.
    pub(super) fn users_at(&self, at: u64, names: &dyn Fn(&str) -> bool) -> Vec<Value> {
        let none = BTreeMap::new();
        let directory = self.snapshots.get(&at).unwrap_or(&none);
        let listed = directory.iter().filter(|(name, _)| names(name));
        listed
            .map(|(name, entry)| {
                json!({"username": name, "addresses": [{
                    "device": "default", "ip": "10.0.0.1", "port": entry.port,
                    "revision": entry.revision,
                }]})
            })
            .collect()
    }
}

pub(super) fn refusal(code: &str, retry: bool) -> (&'static str, Value) {
    ("Error", json!({"code": code, "message": "m", "retry": retry}))
}
