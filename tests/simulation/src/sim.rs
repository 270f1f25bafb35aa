//! The world of one run: its events in order of simulated time, and what each does.
//!
//! Owns the loop and the servers; what goes wrong is drawn in `chaos`, what clients do in `crowd`.

mod chaos;
mod client;
mod crowd;
mod disk;
mod network;
mod plan;
mod server;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rollcall_replica::consensus::ids::{ClusterId, PeerLink};
use rollcall_replica::consensus::journal::Record;
use rollcall_replica::consensus::log::Op;
use rollcall_replica::directory::Bounds;
use rollcall_replica::{Input, Output};
use rollcall_shared::id::NodeId;

use crate::invariants::{self, Event, Invariant, Truth};
use crate::random::Random;
use chaos::Trouble;
use client::Client;
pub use client::{Answer, Ask, Operation};
use network::{Network, OnWire};
pub use plan::{Plan, Troubles};
use server::Server;

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which property, or `progress`.
    pub property: String,
    /// What is wrong.
    pub what: String,
    /// When, in microseconds of simulated time.
    pub at: u64,
    /// After how many steps.
    pub steps: u64,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many events were handled.
    pub steps: u64,
    /// A number that is equal for equal runs only.
    pub trace: u64,
    /// How many requests of clients were answered.
    pub answered: u64,
    /// How many entries were committed.
    pub committed: u64,
    /// The highest epoch.
    pub epochs: u64,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// Messages may have arrived.
    Arrive { from: u32, to: u32 },
    /// A server's timer may have ended.
    Wake { node: u32 },
    /// A server's fsync is done.
    Synced { node: u32, process: u64 },
    /// An end of a link comes up.
    LinkUp { node: u32, peer: u32, link: PeerLink },
    /// An end of a link learns that it is gone.
    LinkDown { node: u32, peer: u32, link: PeerLink },
    /// The higher id of a pair looks whether it must dial.
    Dial { a: u32, b: u32 },
    /// A server starts.
    Start { node: u32 },
    /// A client goes on.
    Client { client: usize },
    /// Something goes wrong.
    Trouble(Trouble),
}

/// One run.
pub struct Sim {
    plan: Plan,
    random: Random,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Next)>>,
    scheduled: u64,
    servers: BTreeMap<u32, Server>,
    network: Network,
    clients: Vec<Client>,
    truth: Truth,
    invariants: Vec<Box<dyn Invariant>>,
    breaking: bool,
    slow_until: u64,
    lost_disks: u32,
    /// The life of the cluster that began first.
    begun: Option<ClusterId>,
    last_process: u64,
    last_client_link: u64,
    last_read: u64,
    steps: u64,
    trace: u64,
    answered: u64,
    log: Option<Vec<String>>,
}

type Outcome = Result<(), Failure>;

impl Sim {
    /// The world of `plan`; with `logged`, every event is written down for a person.
    #[must_use]
    pub fn new(plan: Plan, logged: bool) -> Self {
        let mut random = Random::new(plan.seed.wrapping_mul(31).wrapping_add(plan.members.into()));
        let servers = (1..=plan.members).map(|id| (id, Server::new(id, &plan, &mut random)));
        let servers = servers.collect();
        let clients = (0..plan.clients).map(|number| Client::new(number, &mut random)).collect();
        let mut sim = Self {
            servers,
            clients,
            invariants: invariants::all(),
            truth: Truth::new(Bounds::default()),
            random,
            now: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            network: Network::default(),
            breaking: true,
            slow_until: 0,
            lost_disks: 0,
            begun: None,
            last_process: 0,
            last_client_link: 0,
            last_read: 0,
            steps: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            answered: 0,
            log: logged.then(Vec::new),
            plan,
        };
        sim.set_out();
        sim
    }

    fn set_out(&mut self) {
        for node in 1..=self.plan.members {
            let at = self.random.below(200_000);
            self.at(at, Next::Start { node });
            for other in node + 1..=self.plan.members {
                self.at(at, Next::Dial { a: node, b: other });
            }
        }
        for client in 0..self.clients.len() {
            let at = self.random.between(100_000, 600_000);
            self.at(at, Next::Client { client });
        }
        self.plan_troubles();
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first property that does not hold, or that no progress is made once all is well.
    pub fn run(&mut self) -> Result<Report, Failure> {
        let end = self.plan.break_for;
        self.run_until(end)?;
        self.heal_all();
        let bound = self.now + self.bound();
        loop {
            let until = self.now + 100_000;
            self.run_until(until)?;
            if self.truth.reborn || self.is_settled() {
                break;
            }
            if self.now > bound {
                if self.must_progress() {
                    return Err(self.failure("14: progress", self.why_stuck()));
                }
                break;
            }
        }
        Ok(Report {
            steps: self.steps,
            trace: self.trace,
            answered: self.answered,
            committed: self.truth.last().0,
            epochs: self.truth.committed_in.iter().map(|epoch| epoch.0).max().unwrap_or(0),
        })
    }

    /// What was written down.
    #[must_use]
    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    fn run_until(&mut self, end: u64) -> Outcome {
        while let Some(Reverse((at, _, next))) = self.queue.peek().copied()
            && at <= end
            && !self.truth.reborn
        {
            self.queue.pop();
            self.now = self.now.max(at);
            self.steps += 1;
            self.handle(next)?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn at(&mut self, at: u64, next: Next) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled, next)));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>10} {}", self.now, text()));
        }
    }

    /// Makes the trace depend on what has just happened.
    fn mix(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn failure(&self, property: &str, what: String) -> Failure {
        Failure { property: property.to_owned(), what, at: self.now, steps: self.steps }
    }

    fn observe(&mut self, event: &Event<'_>) -> Outcome {
        observe(&mut self.invariants, &self.truth, event)
            .map_err(|(property, what)| self.failure(property, what))
    }

    fn handle(&mut self, next: Next) -> Outcome {
        // A suspended process does nothing until it is woken; then all is late.
        if let Some(node) = next.node()
            && let Some(until) = self.servers.get(&node).and_then(|server| server.paused_until)
        {
            if until > self.now {
                self.at(until, next);
                return Ok(());
            }
            if let Some(server) = self.servers.get_mut(&node) {
                server.paused_until = None;
            }
        }
        match next {
            Next::Arrive { from, to } => self.arrive(from, to),
            Next::Wake { node } => self.wake(node),
            Next::Synced { node, process } => self.synced(node, process),
            Next::LinkUp { node, peer, link } => {
                if let Some(server) = self.servers.get_mut(&node)
                    && server.replica.is_some()
                {
                    server.links.insert(peer, link);
                    self.tell(node, Input::PeerUp { peer: NodeId(peer), link })?;
                }
                Ok(())
            }
            Next::LinkDown { node, peer, link } => self.link_down(node, peer, link),
            Next::Dial { a, b } => {
                self.dial(a, b);
                Ok(())
            }
            Next::Start { node } => self.start(node),
            Next::Client { client } => self.client_step(client),
            Next::Trouble(trouble) => self.trouble(trouble),
        }
    }

    fn arrive(&mut self, from: u32, to: u32) -> Outcome {
        while let Some(OnWire { link, frame, .. }) = self.network.arrive(from, to, self.now) {
            let known = self.servers.get(&to).and_then(|server| server.links.get(&from));
            if known != Some(&link) {
                continue;
            }
            self.note(|| format!("{from} -> {to} {:?}", frame.message));
            self.tell(to, Input::Received { peer: NodeId(from), link, frame })?;
        }
        Ok(())
    }

    fn wake(&mut self, node: u32) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.wake_at.is_some_and(|at| at <= self.now) {
            server.wake_at = None;
        }
        let now = server.clock.local(self.now);
        let Some(replica) = &mut server.replica else { return Ok(()) };
        if replica.poll_timeout().is_some_and(|at| at <= now) {
            replica.handle_timeout(now);
        }
        self.drain(node)
    }

    fn synced(&mut self, node: u32, process: u64) -> Outcome {
        let Some(server) = self.servers.get_mut(&node).filter(|s| s.process == process) else {
            return Ok(());
        };
        if server.replica.is_none() {
            return Ok(());
        }
        let (through, again) = server.disk.synced();
        if again {
            self.begin_sync(node);
        }
        self.tell(node, Input::Stored { through })
    }

    fn link_down(&mut self, node: u32, peer: u32, link: PeerLink) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.links.get(&peer) == Some(&link) {
            server.links.remove(&peer);
            self.tell(node, Input::PeerDown { peer: NodeId(peer), link })?;
        }
        self.dial_later(node, peer);
        Ok(())
    }

    fn dial_later(&mut self, a: u32, b: u32) {
        let at = self.now + self.random.between(5_000, 60_000);
        self.at(at, Next::Dial { a: a.min(b), b: a.max(b) });
    }

    /// The higher id dials where it has no link.
    fn dial(&mut self, a: u32, b: u32) {
        let running = |id: u32| self.servers.get(&id).is_some_and(|s| s.replica.is_some());
        let linked = self.servers.get(&b).is_some_and(|server| server.links.contains_key(&a));
        if linked {
            return;
        }
        if !running(a) || !running(b) || self.network.is_cut(a, b) {
            self.dial_later(a, b);
            return;
        }
        let link = self.network.next_link();
        let first = self.now + self.random.between(50, 50 + self.plan.delay);
        let second = first + self.random.between(50, 50 + self.plan.delay);
        self.network.comes_up(b, a, first);
        self.network.comes_up(a, b, second);
        self.at(first, Next::LinkUp { node: a, peer: b, link });
        self.at(second, Next::LinkUp { node: b, peer: a, link });
        // Should the dialler's end never come up, somebody must try again.
        self.at(second + 1, Next::Dial { a, b });
    }

    /// Gives a server its input and does all it says.
    fn tell(&mut self, node: u32, input: Input) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let now = server.clock.local(self.now);
        let Some(replica) = &mut server.replica else { return Ok(()) };
        replica.handle(now, input);
        // Now and then more arrives before the server gets to say something.
        if self.random.one_in(8) {
            self.at(self.now, Next::Wake { node });
            return Ok(());
        }
        self.drain(node)
    }

    fn drain(&mut self, node: u32) -> Outcome {
        loop {
            let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
            let Some(replica) = &mut server.replica else { return Ok(()) };
            let output = replica.poll_output();
            let commit = replica.consensus().commit();
            if let Some(Output::Store(record)) = &output {
                server.keep(record);
            }
            if let Some(replica) = server.replica.as_ref().filter(|_| commit != server.commit) {
                server.commit = commit;
                let agreed = self.truth.committed(node, replica, &server.log);
                agreed.map_err(|what| self.failure("1: committed logs agree", what))?;
                self.check_ended()?;
            }
            let Some(output) = output else { break };
            if self.breaking && self.random.one_in(self.plan.crash_within) {
                self.note(|| format!("{node} crashes before {output:?}"));
                return self.crash(node, false);
            }
            self.do_output(node, output)?;
        }
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let Some(replica) = &server.replica else { return Ok(()) };
        let process = server.process;
        observe(&mut self.invariants, &self.truth, &Event::Step { node, process, replica })
            .map_err(|(property, what)| Failure {
                property: property.to_owned(),
                what,
                at: self.now,
                steps: self.steps,
            })?;
        if let Some(at) = replica.poll_timeout() {
            let at = server.clock.global(at).max(self.now);
            if server.wake_at.is_none_or(|before| at < before) {
                server.wake_at = Some(at);
                self.at(at, Next::Wake { node });
            }
        }
        Ok(())
    }

    fn do_output(&mut self, node: u32, output: Output) -> Outcome {
        match output {
            Output::Send { peer, link, frame } => {
                self.mix(u64::from(node) << 32 | u64::from(peer.0));
                self.mix(self.now);
                self.send(node, peer.0, OnWire { link, frame, at: 0 });
            }
            Output::ClosePeer { peer, link, why } => {
                self.note(|| format!("{node} closes its link to {}: {why}", peer.0));
                self.close(node, peer.0, link);
            }
            Output::Store(record) => {
                if self.begins_anew(&record) {
                    self.truth.reborn = true;
                    return self.check_rebirth(node);
                }
                if let Record::Append { entries, .. } = &record
                    && let Some(Op::Init(init)) = entries.first().map(|entry| &entry.op)
                {
                    self.begun = Some(init.cluster);
                }
                self.observe(&Event::Record { node, record: &record })?;
                self.note(|| format!("{node} stores {}", brief(&record)));
                let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
                if server.disk.write(record) {
                    self.begin_sync(node);
                }
            }
            Output::Stop(why) => {
                self.note(|| format!("{node} stops: {why:?}"));
                self.crash(node, false)?;
            }
            output => {
                self.note(|| format!("{node} says {output:?}"));
                let Some(replica) = self.servers.get(&node).and_then(|s| s.replica.as_ref()) else {
                    return Ok(());
                };
                let said = Event::Said { node, output: &output, replica };
                observe(&mut self.invariants, &self.truth, &said)
                    .map_err(|(property, what)| self.failure(property, what))?;
                self.heard(node, &output)?;
            }
        }
        Ok(())
    }

    fn begin_sync(&mut self, node: u32) {
        let slow = if self.slow_until > self.now { 20 } else { 1 };
        let takes = self.random.between(1, self.plan.fsync.max(1)) * slow;
        let Some(server) = self.servers.get(&node) else { return };
        let process = server.process;
        self.at(self.now + takes, Next::Synced { node, process });
    }

    fn send(&mut self, from: u32, to: u32, wire: OnWire) {
        let delay = self.random.between(20, 20 + self.plan.delay);
        let wire = OnWire { at: self.now + delay, ..wire };
        if self.breaking && self.random.one_in(self.plan.damage) {
            match self.random.below(3) {
                // Lost, doubled, or out of order: no link does that; the core must notice.
                0 => return,
                1 => {
                    self.network.send(from, to, wire.clone());
                }
                _ => {
                    let at = self.network.send(from, to, wire);
                    self.network.swap_last(from, to);
                    self.at(at, Next::Arrive { from, to });
                    return;
                }
            }
        }
        let at = self.network.send(from, to, wire);
        self.at(at, Next::Arrive { from, to });
    }

    /// One end closes a link; the other hears of it, unless a cut is between them.
    fn close(&mut self, node: u32, peer: u32, link: PeerLink) {
        if let Some(server) = self.servers.get_mut(&node)
            && server.links.get(&peer) == Some(&link)
        {
            server.links.remove(&peer);
        }
        if !self.network.is_cut(node, peer) {
            let at = self.now + self.random.between(20, 20 + self.plan.delay);
            self.at(at, Next::LinkDown { node: peer, peer: node, link });
        }
        self.dial_later(node, peer);
    }
}

impl Next {
    /// The server whose process this is for.
    const fn node(self) -> Option<u32> {
        match self {
            Self::Arrive { to: node, .. }
            | Self::Wake { node }
            | Self::Synced { node, .. }
            | Self::LinkUp { node, .. }
            | Self::LinkDown { node, .. } => Some(node),
            Self::Dial { .. } | Self::Start { .. } | Self::Client { .. } | Self::Trouble(_) => None,
        }
    }
}

fn observe(
    invariants: &mut [Box<dyn Invariant>],
    truth: &Truth,
    event: &Event<'_>,
) -> Result<(), (&'static str, String)> {
    for invariant in invariants {
        invariant.observe(truth, event).map_err(|what| (invariant.name(), what))?;
    }
    Ok(())
}

fn brief(record: &Record) -> String {
    match record {
        Record::Append { first, entries } => format!("{} entries from {first}", entries.len()),
        Record::Compact { snapshot, keep } => format!("snapshot {}, keep {keep}", snapshot.index),
        Record::Adopt(adopt) => format!("adopts {}: {} entries", adopt.epoch, adopt.entries.len()),
        other => format!("{other:?}"),
    }
}
