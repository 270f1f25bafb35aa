//! A server of a run: its process, its clock, its disk, and the ends of its links.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::consensus::config::{Config as ConsensusConfig, Genesis, Members};
use rollcall_replica::consensus::ids::{Boot, ClusterId, Index, PeerLink, ProcessId};
use rollcall_replica::consensus::journal::{Base, Record};
use rollcall_replica::consensus::log::{Entry, Op};
use rollcall_replica::directory::Bounds;
use rollcall_replica::{Config, Replica};
use rollcall_shared::id::{NodeId, Revision};
use rollcall_shared::time::Instant;

use super::disk::Disk;
use super::plan::Plan;
use super::{Next, Outcome, Sim};
use crate::invariants::Event;
use crate::random::Random;

/// A server.
pub(super) struct Server {
    /// Its process, while it runs.
    pub(super) replica: Option<Replica>,
    /// Which start of its process.
    pub(super) process: u64,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// The links whose end is up here.
    pub(super) links: BTreeMap<u32, PeerLink>,
    pub(super) paused_until: Option<u64>,
    /// Since when it was neither suspended nor cut off nor newly started.
    pub(super) well_since: u64,
    pub(super) wake_at: Option<u64>,
    /// All entries that its process gave to the disk or found there, compacted ones too.
    pub(super) log: BTreeMap<Index, Arc<Entry>>,
    /// The commit index that was compared last.
    pub(super) commit: Index,
}

/// A clock that is off, and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    offset: u64,
    /// Local microseconds in a million of the world's.
    rate: u64,
}

impl Clock {
    pub(super) fn local(&self, now: u64) -> Instant {
        let elapsed = u128::from(now) * u128::from(self.rate) / 1_000_000;
        Instant::from_micros(self.offset + u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The first time of the world at which this clock shows `local`, or a little later.
    pub(super) fn global(&self, local: Instant) -> u64 {
        let elapsed = u128::from(local.as_micros().saturating_sub(self.offset)) * 1_000_000;
        u64::try_from(elapsed.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
    }
}

impl Server {
    pub(super) fn new(id: u32, plan: &Plan, random: &mut Random) -> Self {
        let rate = 1_000_000 - plan.drift + random.below(2 * plan.drift + 1);
        Self {
            replica: None,
            process: 0,
            disk: Disk::new(id),
            clock: Clock { offset: random.below(1_000_000_000), rate },
            links: BTreeMap::new(),
            paused_until: None,
            well_since: 0,
            wake_at: None,
            log: BTreeMap::new(),
            commit: Index(0),
        }
    }

    /// Keeps what a record does to the log.
    pub(super) fn keep(&mut self, record: &Record) {
        let (first, entries) = match record {
            Record::Append { first, entries } => (*first, entries),
            Record::Adopt(adopt) => {
                let first = match &adopt.base {
                    Base::Keep(last) => {
                        self.log.retain(|index, _| index <= last);
                        last.next()
                    }
                    Base::Snapshot(snapshot) => {
                        self.log.clear();
                        snapshot.index.next()
                    }
                };
                (first, &adopt.entries)
            }
            _ => return,
        };
        let mut index = first;
        for entry in entries {
            self.log.insert(index, Arc::clone(entry));
            index = index.next();
        }
    }
}

impl Sim {
    /// Whether a record begins a life of the cluster other than the one known.
    pub(super) fn begins_anew(&self, record: &Record) -> bool {
        let Record::Append { entries, .. } = record else { return false };
        let Some(Op::Init(init)) = entries.first().map(|entry| &entry.op) else { return false };
        self.begun.is_some_and(|cluster| cluster != init.cluster)
    }

    /// A second life may begin only where nothing is left of the first, or where that one served
    /// nobody (R26). What follows is another history: the run ends.
    pub(super) fn check_rebirth(&mut self, node: u32) -> Outcome {
        let served = self.truth.log.iter().any(|entry| matches!(entry.op, Op::Command(_)));
        let has = |server: &Server| server.disk.durable.log.cluster() == self.begun;
        let left: Vec<u32> =
            self.servers.iter().filter(|(_, s)| has(s)).map(|(id, _)| *id).collect();
        self.note(|| format!("{node} begins a second life; {left:?} have the first"));
        if served && !left.is_empty() {
            let what = format!("{node} begins a second life; {left:?} still have the first");
            return Err(self.failure("one history", what));
        }
        Ok(())
    }

    pub(super) fn start(&mut self, node: u32) -> Outcome {
        let running = self.servers.get(&node).is_none_or(|server| server.replica.is_some());
        if running {
            return Ok(());
        }
        self.last_process += 1;
        let process = self.last_process;
        let consensus = ConsensusConfig {
            me: NodeId(node),
            members: Members::new((1..=self.plan.members).map(NodeId)).expect("1 to 7 members"),
            timings: self.plan.timings,
            bounds: Bounds::default(),
            process: ProcessId(self.random.any()),
            new_boot: Boot(self.random.any()),
            genesis: Genesis {
                cluster: ClusterId(self.random.any()),
                first_revision: Revision(1_000_000 + self.now),
            },
            seed: self.random.any(),
        };
        let snapshot_every = self.plan.snapshot_every;
        let config = Config { consensus, patience: Config::PATIENCE, snapshot_every };
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let stored = server.disk.durable.clone();
        let now = server.clock.local(self.now);
        let replica = Replica::new(now, config, stored.clone());
        server.commit = Index(0);
        server.log.clear();
        let mut index = stored.log.first();
        while let Some(entry) = stored.log.entry(index) {
            server.log.insert(index, Arc::clone(entry));
            index = index.next();
        }
        server.process = process;
        server.well_since = self.now;
        server.wake_at = None;
        let started = Event::Started { node, stored: &stored, replica: &replica };
        self.observe(&started)?;
        if let Some(server) = self.servers.get_mut(&node) {
            server.replica = Some(replica);
        }
        self.note(|| format!("{node} starts"));
        for other in 1..=self.plan.members {
            if other != node {
                self.dial_later(node, other);
            }
        }
        self.drain(node)
    }

    /// Ends a process between two of its outputs; its links end, and with them those of its
    /// clients.
    pub(super) fn crash(&mut self, node: u32, lose_disk: bool) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.replica.take().is_none() {
            return Ok(());
        }
        server.disk.crash(&mut self.random);
        server.paused_until = None;
        let links = std::mem::take(&mut server.links);
        let lose = lose_disk || (self.plan.in_memory && self.breaking);
        if lose {
            server.disk.lose();
            self.lost_disks += 1;
            self.observe(&Event::LostDisk { node })?;
        }
        self.network.drop_of(node);
        for (peer, link) in links {
            if !self.network.is_cut(node, peer) {
                let at = self.now + self.random.between(20, 20 + self.plan.delay);
                self.at(at, Next::LinkDown { node: peer, peer: node, link });
            }
        }
        self.drop_clients_of(node);
        let back = if self.breaking { self.random.between(1_000, 1_500_000) } else { 1_000 };
        self.at(self.now + back, Next::Start { node });
        Ok(())
    }
}
