//! Scenarios of the consensus core on a tidy little world: links and disks answer at once, and time
//! passes only when told to.
//!
//! Owns the world; random faults are the simulator's, in the crate `rollcall-tests`.

mod election;
mod peers;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollcall_shared::id::{ClientId, NodeId, RequestId, Revision};
use rollcall_shared::time::Instant;

use super::config::{Config, Genesis, Members, Timings};
use super::ids::{Boot, ClusterId, Index, Lsn, PeerLink, ProcessId, ReadId};
use super::journal::Stored;
use super::log::Op;
use super::message::{Frame, Message};
use super::{Consensus, Input, Output, RoleKind, StopReason};
use crate::command::{Command, Generation, Write};
use crate::directory::Bounds;

/// Servers, what is on its way between them, and what they store.
struct World {
    now: Instant,
    members: Vec<u32>,
    servers: BTreeMap<u32, Server>,
    /// Pairs between which nothing gets through, not even a new link.
    cut: BTreeSet<(u32, u32)>,
    /// Pairs whose link was closed just now: it takes a moment until there is another.
    resting: BTreeSet<(u32, u32)>,
    wires: VecDeque<(u32, u32, PeerLink, Frame)>,
    next_link: u64,
    next_process: u64,
    requests: u64,
    /// All that is sent, if wanted.
    record: Option<Vec<Frame>>,
}

struct Server {
    core: Option<Consensus>,
    disk: Stored,
    links: BTreeMap<u32, PeerLink>,
    lsn: u64,
    reads: Vec<(ReadId, Index)>,
    stopped: Option<StopReason>,
}

impl World {
    fn new(members: u32) -> Self {
        let members: Vec<u32> = (1..=members).collect();
        let server = |&id: &u32| {
            let (links, reads) = Default::default();
            let disk = Stored::empty(NodeId(id));
            (id, Server { core: None, disk, links, lsn: 0, reads, stopped: None })
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
        }
    }

    /// All servers started and linked, until nothing happens any more.
    fn started(members: u32) -> Self {
        let mut world = Self::new(members);
        for id in world.members.clone() {
            world.start(id);
        }
        world.pass(100);
        world
    }

    fn server(&mut self, id: u32) -> &mut Server {
        self.servers.get_mut(&id).unwrap()
    }

    fn core(&self, id: u32) -> &Consensus {
        self.servers[&id].core.as_ref().unwrap()
    }

    fn start(&mut self, id: u32) {
        self.next_process += 1;
        let config = Config {
            me: NodeId(id),
            members: Members::new(self.members.iter().copied().map(NodeId)).unwrap(),
            timings: Timings::default(),
            bounds: Bounds::default(),
            process: ProcessId(self.next_process),
            new_boot: Boot(1000 + self.next_process),
            genesis: Genesis {
                cluster: ClusterId(self.next_process),
                first_revision: Revision(self.now.as_micros()),
            },
            seed: self.next_process,
        };
        let (now, disk) = (self.now, self.server(id).disk.clone());
        let server = self.server(id);
        server.core = Some(Consensus::new(now, config, disk));
        (server.lsn, server.stopped) = (0, None);
        self.settle();
    }

    /// Ends a process; its links end too.
    fn crash(&mut self, id: u32) {
        self.server(id).core = None;
        for other in self.members.clone() {
            self.unlink(id, other);
        }
        self.settle();
    }

    fn lose_disk(&mut self, id: u32) {
        self.server(id).disk = Stored::empty(NodeId(id));
    }

    fn cut(&mut self, a: &[u32], b: &[u32]) {
        for &a in a {
            for &b in b {
                self.cut.insert((a.min(b), a.max(b)));
                self.unlink(a, b);
            }
        }
        self.settle();
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.settle();
    }

    fn unlink(&mut self, a: u32, b: u32) {
        let now = self.now;
        for (one, other) in [(a, b), (b, a)] {
            let server = self.server(one);
            if let Some(link) = server.links.remove(&other)
                && let Some(core) = &mut server.core
            {
                core.handle(now, Input::LinkDown { peer: NodeId(other), link });
            }
        }
    }

    /// Links whom nothing keeps apart, and carries all there is until there is nothing.
    ///
    /// # Panics
    /// When they never come to rest: a loop that needs no time would eat a real server.
    fn settle(&mut self) {
        for _ in 0..SETTLES {
            self.drain();
            if let Some((from, to, link, frame)) = self.wires.pop_front() {
                let now = self.now;
                let server = self.server(to);
                if server.links.get(&from) == Some(&link)
                    && let Some(core) = &mut server.core
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

    fn link_one(&mut self) -> bool {
        let running =
            |id: &u32| self.servers[id].core.is_some() && self.servers[id].stopped.is_none();
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
                    let core = server.core.as_mut().unwrap();
                    core.handle(now, Input::LinkUp { peer: NodeId(other), link });
                }
                return true;
            }
        }
        false
    }

    fn drain(&mut self) {
        let now = self.now;
        for id in self.members.clone() {
            while let Some(output) = self.server(id).core.as_mut().and_then(Consensus::poll_output)
            {
                match output {
                    Output::Send { peer, link, frame } => {
                        self.record.iter_mut().for_each(|record| record.push(frame.clone()));
                        self.wires.push_back((id, peer.0, link, frame));
                    }
                    Output::Close { peer, .. } => {
                        self.resting.insert((id.min(peer.0), id.max(peer.0)));
                        self.unlink(id, peer.0);
                    }
                    Output::Store(record) => {
                        let server = self.server(id);
                        server.disk.apply(&record);
                        server.lsn += 1;
                        let through = Lsn(server.lsn);
                        let core = server.core.as_mut().unwrap();
                        core.handle(now, Input::Stored { through });
                    }
                    Output::ReadPoint { read, point } => self.server(id).reads.push((read, point)),
                    Output::Stop(why) => {
                        self.server(id).stopped = Some(why);
                        self.crash(id);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lets `millis` milliseconds pass, timer by timer.
    fn pass(&mut self, millis: u64) {
        let end = Instant::from_micros(self.now.as_micros() + millis * 1000);
        loop {
            let next = |server: &Server| server.core.as_ref().and_then(Consensus::poll_timeout);
            let next = self.servers.values().filter_map(next).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.resting.clear();
            for id in self.members.clone() {
                let now = self.now;
                if let Some(core) = &mut self.server(id).core
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
    fn leader(&self) -> Option<u32> {
        let leads = |server: &&Server| server.core.as_ref().is_some_and(Consensus::is_settled);
        let mut leaders = self.servers.values().filter(leads);
        let leader = leaders.next().and_then(|server| Some(server.core.as_ref()?.me().0));
        assert!(leaders.next().is_none(), "two settled leaders");
        leader
    }

    /// Writes at `id`; the index of the entry, and whether it is committed by now.
    fn write(&mut self, id: u32) -> Option<(Index, bool)> {
        self.requests += 1;
        let client: ClientId = "c".parse().unwrap();
        let (generation, request) = (Generation(1), RequestId(self.requests));
        let write = Write::Sequence { count: 1 };
        let now = self.now;
        let core = self.server(id).core.as_mut()?;
        let command = Command::Write { client, generation, request, write };
        let index = core.propose(now, command).ok()?;
        self.settle();
        Some((index, self.core(id).commit() >= index))
    }

    /// Asks `id` for a read point; it is among the server's `reads` when it has come.
    fn read(&mut self, id: u32) -> ReadId {
        self.requests += 1;
        let (now, read) = (self.now, ReadId(self.requests));
        self.server(id).core.as_mut().unwrap().read(now, read);
        self.settle();
        read
    }

    fn point(&self, id: u32, read: ReadId) -> Option<Index> {
        self.servers[&id].reads.iter().find(|(r, _)| *r == read).map(|(_, point)| *point)
    }

    /// `to` gets a message on its link from `from`, which did not send it, in its turn.
    fn forge(&mut self, from: u32, to: u32, message: Message) {
        let Some(link) = self.server(to).links.get(&from).copied() else { return };
        let (now, peer) = (self.now, NodeId(from));
        let Some(core) = &mut self.server(to).core else { return };
        let number = core.peers.get(&peer).map_or(0, |peer| peer.received());
        core.handle(now, Input::Received { peer, link, frame: Frame { number, message } });
        self.settle();
    }

    fn roles(&self) -> Vec<Option<RoleKind>> {
        self.servers.values().map(|server| server.core.as_ref().map(Consensus::role)).collect()
    }
}

/// More messages than any scenario needs until all is quiet.
const SETTLES: usize = 100_000;
