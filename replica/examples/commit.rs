//! What a committed write costs the processor in a cluster of three, all three servers together,
//! with links and disks that cost nothing: one write at a time, and 64 at a time.
//!
//! `cargo run --release -p rollcall-replica --example commit`

// An example prints; and it measures, which takes a clock.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::time::Duration;

use rollcall_replica::command::{Principal, Write};
use rollcall_replica::consensus::config::{Config as ConsensusConfig, Genesis, Members, Timings};
use rollcall_replica::consensus::ids::{Boot, ClusterId, Lsn, PeerLink, ProcessId};
use rollcall_replica::consensus::journal::Stored;
use rollcall_replica::consensus::message::Frame;
use rollcall_replica::directory::Bounds;
use rollcall_replica::{Config, Input, LinkId, Output, Replica};
use rollcall_shared::id::{ClientId, NodeId, RequestId, Revision};
use rollcall_shared::time::Instant;

const SERVERS: u32 = 3;
const WRITES: u64 = 200_000;

fn main() {
    for at_a_time in [1_u64, 64] {
        let mut runs: Vec<f64> = (0..5).map(|_| run(at_a_time)).collect();
        runs.sort_by(f64::total_cmp);
        println!("{at_a_time:>2} at a time: {:.0} ns a write (median of 5)", runs[2]);
    }
}

fn run(at_a_time: u64) -> f64 {
    let mut cluster = Cluster::new();
    for link in 0..at_a_time {
        let client: ClientId = format!("client-{link}").parse().expect("a client id");
        let principal = Principal::Client(client.clone());
        cluster.tell(SERVERS, Input::Linked { link: LinkId(link), client, principal });
    }
    let before = std::time::Instant::now();
    let rounds = WRITES / at_a_time;
    for round in 1..=rounds {
        cluster.answered = 0;
        for link in 0..at_a_time {
            let (link, request) = (LinkId(link), RequestId(round));
            let write = Write::Sequence { count: 1 };
            cluster.tell(SERVERS, Input::Write { link, request, write });
        }
        cluster.settle();
        assert_eq!(cluster.answered, at_a_time, "each write is answered in its round");
        // Heartbeats go on, as often as they would at a million writes a second.
        cluster.pass(Duration::from_micros(at_a_time));
    }
    before.elapsed().as_secs_f64() * 1e9 / (rounds * at_a_time) as f64
}

struct Cluster {
    now: Instant,
    servers: Vec<Replica>,
    stored: Vec<u64>,
    wires: VecDeque<(u32, u32, PeerLink, Frame)>,
    links: u64,
    answered: u64,
}

impl Cluster {
    fn new() -> Self {
        let now = Instant::from_millis(1);
        let servers = (1..=SERVERS).map(|id| {
            let members = Members::new((1..=SERVERS).map(NodeId)).expect("three members");
            let consensus = ConsensusConfig {
                me: NodeId(id),
                members,
                timings: Timings::default(),
                bounds: Bounds::default(),
                process: ProcessId(id.into()),
                new_boot: Boot(id.into()),
                genesis: Genesis { cluster: ClusterId(1), first_revision: Revision(1) },
                seed: id.into(),
                piece_bytes: ConsensusConfig::PIECE_BYTES,
            };
            let (patience, snapshot_every) = (Config::PATIENCE, Config::SNAPSHOT_EVERY);
            let apply_at_once = Config::APPLY_AT_ONCE;
            let config = Config { consensus, patience, snapshot_every, apply_at_once };
            Replica::new(now, config, Stored::empty(NodeId(id)))
        });
        let servers: Vec<_> = servers.collect();
        let (stored, wires) = (vec![0; servers.len()], VecDeque::new());
        let mut cluster = Self { now, servers, stored, wires, links: 0, answered: 0 };
        cluster.settle();
        for a in 1..=SERVERS {
            for b in a + 1..=SERVERS {
                cluster.link(a, b);
            }
        }
        cluster.settle();
        cluster.pass(Duration::from_millis(500));
        cluster
    }

    fn link(&mut self, a: u32, b: u32) {
        self.links += 1;
        let link = PeerLink(self.links);
        for (one, other) in [(a, b), (b, a)] {
            self.tell(one, Input::PeerUp { peer: NodeId(other), link });
        }
    }

    fn tell(&mut self, id: u32, input: Input) {
        self.servers[id as usize - 1].handle(self.now, input);
    }

    fn settle(&mut self) {
        loop {
            for id in 1..=SERVERS {
                self.drain(id);
            }
            if self.wires.is_empty() {
                return;
            }
            while let Some((from, to, link, frame)) = self.wires.pop_front() {
                self.tell(to, Input::Received { peer: NodeId(from), link, frame });
            }
        }
    }

    fn drain(&mut self, id: u32) {
        let at = id as usize - 1;
        while let Some(output) = self.servers[at].poll_output() {
            match output {
                Output::Send { peer, link, frame } => {
                    self.wires.push_back((id, peer.0, link, frame));
                }
                Output::Store(_) => {
                    self.stored[at] += 1;
                    let through = Lsn(self.stored[at]);
                    self.servers[at].handle(self.now, Input::Stored { through });
                }
                // A link that says which cluster it is in replaces the one that could not.
                Output::ClosePeer { peer, link, .. } => {
                    self.tell(peer.0, Input::PeerDown { peer: NodeId(id), link });
                    self.link(id, peer.0);
                }
                Output::Written { .. } => self.answered += 1,
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.servers.iter().filter_map(Replica::poll_timeout).min()
            && at <= end
        {
            self.now = self.now.max(at);
            for server in &mut self.servers {
                if server.poll_timeout().is_some_and(|at| at <= self.now) {
                    server.handle_timeout(self.now);
                }
            }
            self.settle();
        }
        self.now = end;
    }
}
