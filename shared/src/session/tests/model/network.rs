//! The servers of the model and the links to them: what is on its way, and what hinders it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::session::LinkId;

/// A server, and until when something is wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Server {
    /// It cannot be reached.
    pub(super) down_until: u64,
    /// It takes everything and says nothing.
    pub(super) frozen_until: u64,
    /// It has no quorum.
    pub(super) cut_off_until: u64,
    /// It began anew at this revision.
    pub(super) base: u64,
    /// Until when it hears of no change, and up to which it has heard.
    pub(super) lag_until: u64,
    pub(super) seen: u64,
}

impl Server {
    pub(super) fn heal(&mut self) {
        *self = Self { base: self.base, ..Self::default() };
    }
}

/// A link that the session has opened.
pub(super) struct Link {
    pub(super) id: LinkId,
    /// The server's number, from 0.
    pub(super) server: usize,
    pub(super) open: bool,
    /// Nothing gets through any more, and nobody has noticed.
    pub(super) dead: bool,
    /// Texts with the time they arrive, in order.
    pub(super) up: VecDeque<(u64, String)>,
    pub(super) down: VecDeque<(u64, String)>,
    /// What each subscription of this link is about, and up to which revision it was served.
    pub(super) subscriptions: Vec<Option<(Value, u64)>>,
}

impl Link {
    pub(super) fn new(id: LinkId, server: usize) -> Self {
        let (up, down, subscriptions) = Default::default();
        Self { id, server, open: false, dead: false, up, down, subscriptions }
    }

    /// What has arrived at the server by now.
    pub(super) fn arrived_up(&mut self, now_ms: u64) -> Option<String> {
        arrived(&mut self.up, now_ms)
    }

    /// What has arrived at the client by now.
    pub(super) fn arrived_down(&mut self, now_ms: u64) -> Option<String> {
        arrived(&mut self.down, now_ms)
    }

    pub(super) fn say(&mut self, at: u64, message: &Value) {
        self.down.push_back((at, message.to_string()));
    }

    /// The next subscription, and its number.
    pub(super) fn new_subscription(&mut self) -> usize {
        self.subscriptions.push(None);
        self.subscriptions.len()
    }
}

fn arrived(queue: &mut VecDeque<(u64, String)>, now_ms: u64) -> Option<String> {
    let due = queue.front().is_some_and(|(at, _)| *at <= now_ms);
    due.then(|| queue.pop_front().unwrap().1)
}

/// A message of a server.
pub(super) fn message(tag: &str, server: usize, id: Option<u64>, payload: &Value) -> Value {
    let origin = format!("server/{}", server + 1);
    match id {
        Some(id) => json!({"type": tag, "origin": origin, "id": id, "payload": payload}),
        None => json!({"type": tag, "origin": origin, "payload": payload}),
    }
}
