//! The cluster as a model: its states, and what may happen in each.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rollcall_replica::command::{Command, Generation, Write};
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::{Epoch, PeerLink};
use rollcall_replica::consensus::message::Message;
use rollcall_replica::consensus::peer::CloseReason;
use rollcall_shared::id::RequestId;
use stateright::{Model, Property};

use crate::bounds::Bounds;
use crate::server::Server;
use crate::truth::Truth;

/// All servers and what is on its way between them.
#[derive(Clone)]
pub struct State {
    servers: Vec<Arc<Server>>,
    digests: Vec<u64>,
    /// Messages by sender and receiver, with their digests; each queue is first in, first out.
    wires: BTreeMap<(u32, u32), VecDeque<(u64, Message)>>,
    links: BTreeMap<(u32, u32), PeerLink>,
    truth: Truth,
    left: Left,
    next_write: u64,
    /// What does not hold in this state.
    pub violation: Option<String>,
}

/// How much trouble may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Left {
    writes: u32,
    breaks: u32,
    crashes: u32,
    lost_disks: u32,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The oldest message arrives.
    Deliver { from: u32, to: u32 },
    /// A server tries to lead.
    Campaign { server: u32, epoch: u64 },
    /// A leader takes a write.
    Write { server: u32 },
    /// The link of two servers breaks, with all that is on it, and there is a new one.
    Break { one: u32, other: u32 },
    /// A process ends, and starts again.
    Crash { server: u32, kept: usize, lose_disk: bool },
    /// A disk is done.
    Sync { server: u32 },
}

/// The model.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What is explored.
    pub bounds: Bounds,
    /// Which rule is broken, to see that it is found.
    #[cfg(feature = "faults")]
    pub fault: Option<rollcall_replica::fault::Fault>,
}

impl Cluster {
    /// The model within `bounds`.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }

    /// Breaks the rule on this thread: the checker has many.
    fn plant(&self) {
        #[cfg(feature = "faults")]
        rollcall_replica::fault::plant(self.fault);
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.plant();
        vec![State::begun(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        let pending = state.wires.iter().filter(|(_, wire)| !wire.is_empty());
        actions.extend(pending.map(|(&(from, to), _)| Action::Deliver { from, to }));
        for server in 1..=self.bounds.members {
            self.actions_of(state, server, actions);
        }
        if state.left.breaks > 0 {
            for &(one, other) in state.links.keys() {
                actions.push(Action::Break { one, other });
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.plant();
        let mut next = state.clone();
        let done = catch_unwind(AssertUnwindSafe(|| next.act(action, &self.bounds)));
        match done {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => next.violation = Some(format!("the core panicked at {action:?}")),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, state: &State| state.violation.is_none()),
            // That the bounds leave room for what is to be explored.
            Property::sometimes("the last epoch is led", |model, state: &State| {
                let last = Epoch(model.bounds.last_epoch());
                state.servers.iter().any(|server| {
                    server.core.role() == RoleKind::Leader && server.core.epoch() == last
                })
            }),
            Property::sometimes("all writes are committed later", |_, state: &State| {
                state.left.writes == 0
                    && state.servers.iter().any(|server| {
                        let core = &server.core;
                        core.last() == core.commit() && core.epoch() > Epoch(0)
                    })
            }),
        ]
    }
}

impl Cluster {
    fn actions_of(&self, state: &State, id: u32, actions: &mut Vec<Action>) {
        let server = state.server(id);
        if server.ended.is_some() {
            return;
        }
        let members = &server.core.config().members;
        for &epoch in self.bounds.epochs.iter().filter(|epoch| **epoch > server.core.epoch().0) {
            if members.leader(Epoch(epoch)).0 == id && server.core.stored().voter {
                actions.push(Action::Campaign { server: id, epoch });
            }
        }
        if state.left.writes > 0 && server.core.role() == RoleKind::Leader {
            actions.push(Action::Write { server: id });
        }
        if server.waiting() > 0 {
            actions.push(Action::Sync { server: id });
        }
        if state.left.crashes > 0 {
            for kept in 0..=server.waiting() {
                actions.push(Action::Crash { server: id, kept, lose_disk: false });
            }
            if state.left.lost_disks > 0 {
                actions.push(Action::Crash { server: id, kept: 0, lose_disk: true });
            }
        }
    }
}

impl State {
    /// A cluster that has begun and was used: all servers are voters, the highest id leads epoch 0,
    /// and nothing is on its way.
    fn begun(bounds: &Bounds) -> Self {
        let servers = (1..=bounds.members).map(|id| Arc::new(Server::new(id, bounds.members)));
        let Bounds { writes, breaks, crashes, lost_disks, .. } = *bounds;
        let mut state = Self {
            servers: servers.collect(),
            digests: vec![0; bounds.members as usize],
            wires: BTreeMap::new(),
            links: BTreeMap::new(),
            truth: Truth::default(),
            left: Left { writes: writes + 1, breaks, crashes, lost_disks },
            next_write: 1,
            violation: None,
        };
        for one in 1..=bounds.members {
            for other in one + 1..=bounds.members {
                state.link(one, other);
            }
        }
        state.deliver_all(bounds);
        assert!(
            state.act(Action::Write { server: bounds.members }, bounds),
            "the highest id leads"
        );
        state.deliver_all(bounds);
        let leader = &state.server(bounds.members).core;
        let (commit, last) = (leader.commit(), leader.last());
        assert!(commit == last && state.violation.is_none(), "all is well at the beginning");
        state.truth = Truth::new(commit);
        for id in 1..=bounds.members {
            state.with(id, |server| {
                if bounds.slow_disks {
                    server.slow_down()
                }
            });
        }
        state
    }

    fn deliver_all(&mut self, bounds: &Bounds) {
        while let Some((&(from, to), _)) = self.wires.iter().find(|(_, wire)| !wire.is_empty()) {
            self.act(Action::Deliver { from, to }, bounds);
        }
    }

    fn server(&self, id: u32) -> &Server {
        &self.servers[id as usize - 1]
    }

    /// Does what `action` says; whether it was anything.
    fn act(&mut self, action: Action, bounds: &Bounds) -> bool {
        match action {
            Action::Deliver { from, to } => {
                let wire = self.wires.get_mut(&(from, to));
                let Some((_, message)) = wire.and_then(VecDeque::pop_front) else { return false };
                let link = self.links[&(from.min(to), from.max(to))];
                self.with(to, |server| server.receive(from, link, message));
                true
            }
            Action::Campaign { server, epoch } => {
                self.with(server, |server| server.act(|core, now| core.campaign(now, Epoch(epoch))))
            }
            Action::Write { server } => {
                let command = self.command();
                let taken = self.with(server, |server| {
                    server.act(|core, now| core.propose(now, command).is_ok())
                });
                self.left.writes -= u32::from(taken);
                self.next_write += u64::from(taken);
                taken
            }
            Action::Break { one, other } => {
                self.left.breaks -= 1;
                self.link(one, other);
                true
            }
            Action::Crash { server, kept, lose_disk } => {
                self.left.crashes -= 1;
                self.left.lost_disks -= u32::from(lose_disk);
                self.with(server, |server| server.crash(kept, lose_disk, bounds.members));
                for other in (1..=bounds.members).filter(|other| *other != server) {
                    self.link(server.min(other), server.max(other));
                }
                true
            }
            Action::Sync { server } => {
                self.with(server, Server::sync);
                true
            }
        }
    }

    fn command(&self) -> Command {
        let client = "c".parse().expect("a client id");
        let (generation, request) = (Generation(1), RequestId(self.next_write));
        Command::Write { client, generation, request, write: Write::Sequence { count: 1 } }
    }

    /// There is a new link between two servers; what the old one carried is lost.
    fn link(&mut self, one: u32, other: u32) {
        let last = self.links.values().max().map_or(0, |link| link.0);
        let link = PeerLink(last + 1);
        self.links.insert((one, other), link);
        self.wires.insert((one, other), VecDeque::new());
        self.wires.insert((other, one), VecDeque::new());
        self.with(one, |server| server.link(other, link));
        self.with(other, |server| server.link(one, link));
    }

    /// Lets a server do something, puts what it says on the wires, and looks at it.
    fn with<T>(&mut self, id: u32, what: impl FnOnce(&mut Server) -> T) -> T {
        let at = id as usize - 1;
        let server = Arc::make_mut(&mut self.servers[at]);
        let result = what(server);
        let (said, closed) = (server.said(), server.closed());
        self.digests[at] = server.digest();
        for (to, message) in said {
            let mut hasher = DefaultHasher::new();
            message.hash(&mut hasher);
            self.wires.entry((id, to)).or_default().push_back((hasher.finish(), message));
        }
        let server = Arc::clone(&self.servers[at]);
        if let Err(what) = self.truth.look(&server, &self.servers) {
            self.violation.get_or_insert(what);
        }
        for (other, why) in closed {
            // A server that got its cluster id says so on a new link; nothing else ends one.
            if let CloseReason::Violation(violation) = why {
                self.violation
                    .get_or_insert_with(|| format!("{id} accuses {other}: {violation:?}"));
            }
            self.link(id.min(other), id.max(other));
        }
        result
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.digests.hash(hasher);
        for (pair, wire) in self.wires.iter().filter(|(_, wire)| !wire.is_empty()) {
            pair.hash(hasher);
            wire.iter().for_each(|(digest, _)| digest.hash(hasher));
        }
        self.truth.hash(hasher);
        (self.left, &self.violation).hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |state: &Self| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        digest(self) == digest(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            let core = &server.core;
            let stored = core.stored();
            writeln!(
                f,
                "  server {} {:?} promised {} established {} pending {:?} log ..{} commit {}",
                core.me(),
                core.role(),
                stored.promised,
                stored.established,
                stored.pending,
                core.last(),
                core.commit(),
            )?;
        }
        match &self.violation {
            Some(what) => writeln!(f, "  WRONG: {what}"),
            None => Ok(()),
        }
    }
}
