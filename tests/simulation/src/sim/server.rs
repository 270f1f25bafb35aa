//! A server of a run: its process, its clock, its disk, and the ends of its links.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::consensus::config::{Config as ConsensusConfig, Genesis, Members};
use rollcall_replica::consensus::ids::{Boot, ClusterId, Index, PeerLink, ProcessId, ReadId};
use rollcall_replica::consensus::journal::{Base, Record};
use rollcall_replica::consensus::log::Entry;
use rollcall_replica::directory::Bounds;
use rollcall_replica::{Config, History, Replica};
use rollcall_shared::id::{NodeId, Revision};
use rollcall_shared::time::Instant;

use super::disk::Disk;
use super::plan::Plan;
use super::storing::Fate;
use super::{Count, Next, Outcome, Sim};
use crate::invariants::Event;
use crate::random::Random;

/// A server.
pub(super) struct Server {
    /// Its process, while it runs.
    pub(super) replica: Option<Replica>,
    /// Which start of its process.
    pub(super) process: u64,
    /// How often it went on with the copy of a snapshot, as it said last.
    pub(super) gone_on: u64,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// The links whose end is up here.
    pub(super) links: BTreeMap<u32, PeerLink>,
    pub(super) paused_until: Option<u64>,
    /// When it was suspended last.
    pub(super) woken_at: u64,
    pub(super) wake_at: Option<u64>,
    /// All entries that its process gave to the disk or found there, compacted ones too.
    pub(super) log: BTreeMap<Index, Arc<Entry>>,
    /// The commit index that was compared last.
    pub(super) commit: Index,
    /// The last changes, for subscriptions.
    pub(super) history: History,
    /// Subscriptions whose read point has come.
    pub(super) ready: Vec<ReadId>,
    /// Until when reads are answered from what was applied when this was said, by its own clock, and
    /// how far that is.
    pub(super) readable: Option<(Instant, Index)>,
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
            gone_on: 0,
            disk: Disk::new(id, plan),
            clock: Clock { offset: random.below(1_000_000_000), rate },
            links: BTreeMap::new(),
            paused_until: None,
            woken_at: 0,
            wake_at: None,
            log: BTreeMap::new(),
            commit: Index(0),
            history: History::new(Revision(0), 0, 0),
            ready: Vec::new(),
            readable: None,
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
    pub(super) fn start(&mut self, node: u32) -> Outcome {
        let running = self.servers.get(&node).is_none_or(|server| server.replica.is_some());
        if running {
            return Ok(());
        }
        let Some(stored) = self.open_disk(node)? else { return Ok(()) };
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
            piece_bytes: self.plan.piece_bytes,
        };
        let snapshot_every = self.plan.snapshot_every;
        let (patience, apply_at_once) = (Config::PATIENCE, self.plan.apply_at_once);
        let config = Config { consensus, patience, snapshot_every, apply_at_once };
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let now = server.clock.local(self.now);
        let replica = Replica::new(now, config, stored.clone());
        let history = History::new(replica.directory().revision(), self.plan.history, usize::MAX);
        (server.history, server.commit) = (history, Index(0));
        server.ready.clear();
        server.log.clear();
        let mut index = stored.log.first();
        while let Some(entry) = stored.log.entry(index) {
            server.log.insert(index, Arc::clone(entry));
            index = index.next();
        }
        (server.process, server.gone_on) = (process, 0);
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
    pub(super) fn crash(&mut self, node: u32, fate: Fate) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.replica.take().is_none() {
            return Ok(());
        }
        self.counts.add(Count::Crash);
        server.readable = None;
        server.paused_until = None;
        let links = std::mem::take(&mut server.links);
        let forgets = self.plan.in_memory && self.breaking;
        self.stop_disk(node, if forgets { Fate::Lost } else { fate })?;
        self.network.drop_of(node);
        for (peer, link) in links {
            if !self.network.is_cut(node, peer) {
                let at = self.now + self.random.between(20, 20 + self.plan.delay);
                self.at(at, Next::LinkDown { node: peer, peer: node, link });
            }
        }
        self.drop_clients_of(node);
        self.drop_watchers_of(node);
        // A quick one is back before others have noticed.
        let most = if self.random.one_in(3) { 30_000 } else { 1_500_000 };
        let back = if self.breaking { self.random.between(1_000, most) } else { 1_000 };
        self.at(self.now + back, Next::Start { node });
        Ok(())
    }
}
