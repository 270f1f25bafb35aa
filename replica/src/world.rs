//! A tidy little world for scenarios: links and disks answer at once, and time passes only when told
//! to.
//!
//! Owns no test; random faults are the simulator's, in the crate `rollcall-tests`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollcall_shared::id::{ClientId, NodeId, RequestId, Revision};
use rollcall_shared::time::Instant;

use crate::command::{Command, Generation, Principal, Write};
use crate::consensus::config::{Config as ConsensusConfig, Genesis, Members, Timings};
use crate::consensus::ids::{Boot, ClusterId, Index, Lsn, PeerLink, ProcessId, ReadId};
use crate::consensus::journal::Stored;
use crate::consensus::message::{Frame, Message};
use crate::consensus::{Consensus, RoleKind, StopReason};
use crate::directory::Bounds;
use crate::replica::{Config, Input, LinkId, Output, Replica};

/// Servers, what is on its way between them, and what they store.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) members: Vec<u32>,
    pub(crate) servers: BTreeMap<u32, Server>,
    /// Pairs between which nothing gets through, not even a new link.
    pub(crate) cut: BTreeSet<(u32, u32)>,
    /// Pairs whose link was closed just now: it takes a moment until there is another.
    pub(crate) resting: BTreeSet<(u32, u32)>,
    pub(crate) wires: VecDeque<(u32, u32, PeerLink, Frame)>,
    pub(crate) next_link: u64,
    pub(crate) next_process: u64,
    pub(crate) requests: u64,
    /// All that is sent, if wanted.
    pub(crate) record: Option<Vec<Frame>>,
    /// The limits that servers which start from here on are told.
    pub(crate) bounds: Bounds,
    /// After how many entries servers that start from here on take a snapshot.
    pub(crate) snapshot_every: u64,
    /// How many entries they apply at once.
    pub(crate) apply_at_once: u64,
}

pub(crate) struct Server {
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Stored,
    pub(crate) links: BTreeMap<u32, PeerLink>,
    pub(crate) lsn: u64,
    /// What the server said to its clients and shards, since it was asked last.
    pub(crate) outputs: Vec<Output>,
    pub(crate) stopped: Option<StopReason>,
}

impl World {
    pub(crate) fn new(members: u32) -> Self {
        let members: Vec<u32> = (1..=members).collect();
        let server = |&id: &u32| {
            let (links, outputs) = Default::default();
            let disk = Stored::empty(NodeId(id));
            (id, Server { replica: None, disk, links, lsn: 0, outputs, stopped: None })
        };
        Self {
            now: Instant::from_millis(1000),
            servers: members.iter().map(server).collect(),
            members,
            cut: BTreeSet::new(),
            resting: BTreeSet::new(),
            wires: VecDeque::new(),
            next_link: 0,
            next_process: 0,
            requests: 0,
            record: None,
            bounds: Bounds::default(),
            snapshot_every: 20,
            apply_at_once: Config::APPLY_AT_ONCE,
        }
    }

    /// All servers started and linked, until nothing happens any more.
    pub(crate) fn started(members: u32) -> Self {
        let mut world = Self::new(members);
        for id in world.members.clone() {
            world.start(id);
        }
        world.pass(100);
        world
    }

    pub(crate) fn server(&mut self, id: u32) -> &mut Server {
        self.servers.get_mut(&id).unwrap()
    }

    pub(crate) fn replica(&self, id: u32) -> &Replica {
        self.servers[&id].replica.as_ref().unwrap()
    }

    pub(crate) fn core(&self, id: u32) -> &Consensus {
        self.replica(id).consensus()
    }

    pub(crate) fn start(&mut self, id: u32) {
        self.next_process += 1;
        let consensus = ConsensusConfig {
            me: NodeId(id),
            members: Members::new(self.members.iter().copied().map(NodeId)).unwrap(),
            timings: Timings::default(),
            bounds: self.bounds,
            process: ProcessId(self.next_process),
            new_boot: Boot(1000 + self.next_process),
            genesis: Genesis {
                cluster: ClusterId(self.next_process),
                first_revision: Revision(self.now.as_micros()),
            },
            seed: self.next_process,
            piece_bytes: ConsensusConfig::PIECE_BYTES,
        };
        let snapshot_every = self.snapshot_every;
        let apply_at_once = self.apply_at_once;
        let patience = Config::PATIENCE;
        let config = Config { consensus, patience, snapshot_every, apply_at_once };
        let (now, disk) = (self.now, self.server(id).disk.clone());
        let server = self.server(id);
        server.replica = Some(Replica::new(now, config, disk));
        (server.lsn, server.stopped) = (0, None);
        self.settle();
    }

    /// Ends a process; its links end too.
    pub(crate) fn crash(&mut self, id: u32) {
        self.server(id).replica = None;
        for other in self.members.clone() {
            self.unlink(id, other);
        }
        self.settle();
    }

    pub(crate) fn lose_disk(&mut self, id: u32) {
        self.server(id).disk = Stored::empty(NodeId(id));
    }

    pub(crate) fn cut(&mut self, a: &[u32], b: &[u32]) {
        for &a in a {
            for &b in b {
                self.cut.insert((a.min(b), a.max(b)));
                self.unlink(a, b);
            }
        }
        self.settle();
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.settle();
    }

    pub(crate) fn unlink(&mut self, a: u32, b: u32) {
        let now = self.now;
        for (one, other) in [(a, b), (b, a)] {
            let server = self.server(one);
            if let Some(link) = server.links.remove(&other)
                && let Some(core) = &mut server.replica
            {
                core.handle(now, Input::PeerDown { peer: NodeId(other), link });
            }
        }
    }

    /// Links whom nothing keeps apart, and carries all there is until there is nothing.
    ///
    /// # Panics
    /// When they never come to rest: a loop that needs no time would eat a real server.
    pub(crate) fn settle(&mut self) {
        for _ in 0..SETTLES {
            self.drain();
            if let Some((from, to, link, frame)) = self.wires.pop_front() {
                let now = self.now;
                let server = self.server(to);
                if server.links.get(&from) == Some(&link)
                    && let Some(core) = &mut server.replica
                {
                    core.handle(now, Input::Received { peer: NodeId(from), link, frame });
                }
            } else if !self.link_one() {
                return;
            }
        }
        panic!(
            "servers talk without end, lately: {:?}",
            self.wires.iter().take(8).collect::<Vec<_>>()
        );
    }

    pub(crate) fn link_one(&mut self) -> bool {
        let running =
            |id: &u32| self.servers[id].replica.is_some() && self.servers[id].stopped.is_none();
        let alive: Vec<u32> = self.members.iter().copied().filter(running).collect();
        for &a in &alive {
            for &b in alive.iter().filter(|&&b| b > a) {
                if self.cut.contains(&(a, b))
                    || self.resting.contains(&(a, b))
                    || self.servers[&a].links.contains_key(&b)
                {
                    continue;
                }
                self.next_link += 1;
                let (link, now) = (PeerLink(self.next_link), self.now);
                for (one, other) in [(a, b), (b, a)] {
                    let server = self.server(one);
                    server.links.insert(other, link);
                    let core = server.replica.as_mut().unwrap();
                    core.handle(now, Input::PeerUp { peer: NodeId(other), link });
                }
                return true;
            }
        }
        false
    }

    pub(crate) fn drain(&mut self) {
        let now = self.now;
        for id in self.members.clone() {
            while let Some(output) = self.server(id).replica.as_mut().and_then(Replica::poll_output)
            {
                match output {
                    Output::Send { peer, link, frame } => {
                        self.record.iter_mut().for_each(|record| record.push(frame.clone()));
                        self.wires.push_back((id, peer.0, link, frame));
                    }
                    Output::ClosePeer { peer, .. } => {
                        self.resting.insert((id.min(peer.0), id.max(peer.0)));
                        self.unlink(id, peer.0);
                    }
                    Output::Store(record) => {
                        let server = self.server(id);
                        server.disk.apply(&record);
                        server.lsn += 1;
                        let through = Lsn(server.lsn);
                        let core = server.replica.as_mut().unwrap();
                        core.handle(now, Input::Stored { through });
                    }
                    Output::Stop(why) => {
                        self.server(id).stopped = Some(why);
                        self.crash(id);
                    }
                    other => self.server(id).outputs.push(other),
                }
            }
        }
    }

    /// Lets `millis` milliseconds pass, timer by timer.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = Instant::from_micros(self.now.as_micros() + millis * 1000);
        loop {
            let next = |server: &Server| server.replica.as_ref().and_then(Replica::poll_timeout);
            let next = self.servers.values().filter_map(next).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.resting.clear();
            for id in self.members.clone() {
                let now = self.now;
                if let Some(core) = &mut self.server(id).replica
                    && core.poll_timeout().is_some_and(|at| at <= now)
                {
                    core.handle_timeout(now);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// The leader in its own eyes and in those of a commit quorum.
    pub(crate) fn leader(&self) -> Option<u32> {
        let leads = |server: &&Server| {
            server.replica.as_ref().is_some_and(|replica| replica.consensus().is_settled())
        };
        let mut leaders = self.servers.values().filter(leads);
        let leader =
            leaders.next().and_then(|server| Some(server.replica.as_ref()?.consensus().me().0));
        assert!(leaders.next().is_none(), "two settled leaders");
        leader
    }

    /// Writes at `id`; the index of the entry, and whether it is committed by now.
    pub(crate) fn write(&mut self, id: u32) -> Option<(Index, bool)> {
        self.requests += 1;
        let client: ClientId = "c".parse().unwrap();
        let (generation, request) = (Generation(1), RequestId(self.requests));
        let write = Write::Sequence { count: 1 };
        let now = self.now;
        let core = self.server(id).replica.as_mut()?.consensus_mut();
        let command = Command::Write { client, generation, request, write };
        let index = core.propose(now, command).ok()?;
        self.settle();
        Some((index, self.core(id).commit() >= index))
    }

    /// Something is read at `id`; [`World::is_read`] tells whether it was answered.
    pub(crate) fn read(&mut self, id: u32) -> ReadId {
        self.requests += 1;
        let read = ReadId(self.requests);
        self.tell(id, Input::Read { read });
        read
    }

    pub(crate) fn is_read(&self, id: u32, read: ReadId) -> bool {
        let answered =
            |output: &Output| matches!(output, Output::Readable { read: r } if *r == read);
        self.servers[&id].outputs.iter().any(answered)
    }

    /// Something happens at `id`, and all that follows from it at once.
    pub(crate) fn tell(&mut self, id: u32, input: Input) {
        let now = self.now;
        self.server(id).replica.as_mut().unwrap().handle(now, input);
        self.settle();
    }

    /// What `id` said since it was asked last.
    pub(crate) fn outputs(&mut self, id: u32) -> Vec<Output> {
        std::mem::take(&mut self.server(id).outputs)
    }

    /// A link of `client` at `id`.
    pub(crate) fn link(&mut self, id: u32, client: &str) -> LinkId {
        self.next_link += 1;
        let (link, client) = (LinkId(self.next_link), client.parse::<ClientId>().unwrap());
        let principal = Principal::Client(client.clone());
        self.tell(id, Input::Linked { link, client, principal });
        link
    }

    /// `to` gets a message on its link from `from`, which did not send it, in its turn.
    pub(crate) fn forge(&mut self, from: u32, to: u32, message: Message) {
        let Some(link) = self.server(to).links.get(&from).copied() else { return };
        let (now, peer) = (self.now, NodeId(from));
        let Some(core) = &mut self.server(to).replica else { return };
        let number = core.consensus().received_from(peer);
        core.handle(now, Input::Received { peer, link, frame: Frame { number, message } });
        self.settle();
    }

    pub(crate) fn roles(&self) -> Vec<Option<RoleKind>> {
        self.servers
            .values()
            .map(|server| server.replica.as_ref().map(|replica| replica.consensus().role()))
            .collect()
    }
}

/// More messages than any scenario needs until all is quiet.
const SETTLES: usize = 100_000;
