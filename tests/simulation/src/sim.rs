//! The world of one run: its events in order of simulated time, and what each does.
//!
//! Owns the loop; what goes wrong is drawn in `chaos`, what clients do in `crowd` and `watch`, and what
//! servers say is done in `outputs`.

mod attendance;
mod chaos;
mod client;
mod counts;
mod crowd;
mod disk;
mod keeper;
mod links;
mod lives;
mod network;
mod outputs;
mod plan;
mod progress;
mod server;
mod storing;
mod trace;
mod trial;
mod watch;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::Hasher;

use rollcall_replica::Input;
use rollcall_replica::consensus::ids::{Epoch, PeerLink};
use rollcall_replica::directory::Bounds;
use rollcall_shared::id::NodeId;

use crate::invariants::{self, Event, Invariant, Truth, observe};
use crate::random::Random;
use chaos::Trouble;
use client::Client;
pub use client::{Answer, Ask, Operation};
pub use counts::{Count, Counts};
use lives::Lives;
use network::Network;
pub use plan::{Kind, Plan, Troubles};
use server::Server;
use trace::Trace;
pub use trial::{Cut, Trial};
use watch::Watcher;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many events were handled.
    pub steps: u64,
    /// A number that is equal for equal runs only.
    pub trace: u64,
    /// What happened how often.
    pub counts: Counts,
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
    /// A server does a bit of what its disk needs besides.
    Keep { node: u32, process: u64 },
    /// A server learns that its disk has failed.
    DiskFailed { node: u32, process: u64 },
    /// A server's disk has room again.
    Room { node: u32 },
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
    /// A subscriber goes on.
    Watcher { watcher: usize },
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
    watchers: Vec<Watcher>,
    truth: Truth,
    invariants: Vec<Box<dyn Invariant>>,
    breaking: bool,
    slow_until: u64,
    lost_disks: u32,
    lives: Lives,
    /// The highest epoch whose leader was settled, and since when.
    settled: Option<(Epoch, u64)>,
    /// The servers that are asked by themselves.
    probed: BTreeSet<u32>,
    /// The highest epoch that was led.
    led: Option<Epoch>,
    /// The epoch whose leader was asked to shut down, until another one begins.
    handing_over: Option<Epoch>,
    last_process: u64,
    last_client_link: u64,
    last_read: u64,
    steps: u64,
    trace: Trace,
    counts: Counts,
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
        let watchers = (0..plan.watchers).map(|_| Watcher::default()).collect();
        let mut sim = Self {
            servers,
            clients,
            watchers,
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
            lives: Lives::default(),
            settled: None,
            probed: BTreeSet::new(),
            led: None,
            handing_over: None,
            last_process: 0,
            last_client_link: 0,
            last_read: 0,
            steps: 0,
            trace: Trace::new(),
            counts: Counts::default(),
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
        for watcher in 0..self.watchers.len() {
            let at = self.random.between(100_000, 600_000);
            self.at(at, Next::Watcher { watcher });
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
        self.settle()?;
        if self.is_settled() && !self.lives.several {
            self.try_out()?;
        }
        Ok(Report {
            steps: self.steps,
            trace: self.trace.finish(),
            counts: self.counts.clone(),
            committed: self.truth.last().0,
            epochs: self.truth.committed_in.iter().map(|epoch| epoch.0).max().unwrap_or(0),
        })
    }

    /// Runs until all servers and clients are content.
    fn settle(&mut self) -> Outcome {
        let bound = self.now + self.bound();
        loop {
            let until = self.now + 100_000;
            self.run_until(until)?;
            if self.lives.several {
                return Ok(());
            }
            if self.is_settled() {
                return self.check_told();
            }
            if self.now > bound {
                if self.must_progress() {
                    return Err(self.failure("14: progress", self.why_stuck()));
                }
                return Ok(());
            }
        }
    }

    /// What was written down.
    #[must_use]
    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    fn run_until(&mut self, end: u64) -> Outcome {
        while let Some(Reverse((at, _, next))) = self.queue.peek().copied()
            && at <= end
            && !self.lives.over
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
                server.woken_at = self.now;
            }
        }
        match next {
            Next::Arrive { from, to } => self.arrive(from, to),
            Next::Wake { node } => self.wake(node),
            Next::Synced { node, process } => self.synced(node, process),
            Next::Keep { node, process } => self.keep(node, process),
            Next::DiskFailed { node, process } => self.disk_failed(node, process),
            Next::Room { node } => {
                if let Some(server) = self.servers.get_mut(&node) {
                    server.disk.make_room();
                }
                Ok(())
            }
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
            Next::Watcher { watcher } => self.watch(watcher),
            Next::Trouble(trouble) => self.trouble(trouble),
        }
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
}

impl Next {
    /// The server whose process this is for.
    const fn node(self) -> Option<u32> {
        match self {
            Self::Arrive { to: node, .. }
            | Self::Wake { node }
            | Self::Synced { node, .. }
            | Self::Keep { node, .. }
            | Self::DiskFailed { node, .. }
            | Self::LinkUp { node, .. }
            | Self::LinkDown { node, .. } => Some(node),
            Self::Dial { .. }
            | Self::Start { .. }
            | Self::Room { .. }
            | Self::Client { .. }
            | Self::Watcher { .. }
            | Self::Trouble(_) => None,
        }
    }
}
