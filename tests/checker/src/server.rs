//! A server of the model: its process and its disk. It does what it must at once; only messages, and
//! records where disks are slow, wait.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rollcall_replica::consensus::config::{Config, Genesis, Members, Timings};
use rollcall_replica::consensus::ids::{Boot, ClusterId, Lsn, PeerLink, ProcessId};
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_replica::consensus::message::{Frame, Message};
use rollcall_replica::consensus::peer::CloseReason;
use rollcall_replica::consensus::timers::Timer;
use rollcall_replica::consensus::{Consensus, Input, Output, StopReason};
use rollcall_replica::directory::Bounds as DirectoryBounds;
use rollcall_shared::id::{NodeId, Revision};
use rollcall_shared::time::Instant;

/// A process with its disk.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its process.
    pub core: Consensus,
    /// Which start of it, and which disk.
    pub process: u64,
    boot: u64,
    /// Why it ended for good, if it did.
    pub ended: Option<StopReason>,
    durable: Stored,
    /// Records that are not durable yet, and how many of this process are.
    waiting: Vec<Record>,
    synced: u64,
    slow: bool,
    now: Instant,
    /// What it said to others since it was asked last, in order.
    said: Vec<(u32, Message)>,
    /// The links it closed.
    closed: Vec<(u32, CloseReason)>,
}

impl Server {
    /// The first start of server `me`.
    #[must_use]
    pub fn new(me: u32, members: u32) -> Self {
        let durable = Stored::empty(NodeId(me));
        let now = Instant::from_millis(1);
        let core = Consensus::new(now, config(me, members, 1, 1), durable.clone());
        let mut server = Self {
            core,
            process: 1,
            boot: 1,
            ended: None,
            durable,
            waiting: Vec::new(),
            synced: 0,
            slow: false,
            now,
            said: Vec::new(),
            closed: Vec::new(),
        };
        server.drain();
        server
    }

    /// From here on records wait for [`Server::sync`].
    pub const fn slow_down(&mut self) {
        self.slow = true;
    }

    /// Its state as a number; equal ones need not be explored twice.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.process, self.boot, self.ended, self.waiting.len()).hash(&mut hasher);
        self.core.digest(&mut hasher);
        hasher.finish()
    }

    /// A later time: nothing here depends on how much later.
    fn later(&mut self) -> Instant {
        self.now = self.now + Duration::from_secs(3_600);
        self.now
    }

    /// There is a new link to `peer`; what the old one carried is lost.
    pub fn link(&mut self, peer: u32, link: PeerLink) {
        let now = self.later();
        self.core.handle(now, Input::LinkUp { peer: NodeId(peer), link });
        self.drain();
    }

    /// A message of `peer` arrives.
    pub fn receive(&mut self, peer: u32, link: PeerLink, message: Message) {
        let peer = NodeId(peer);
        // Messages that mean nothing here are left out of the model, so the numbers are made anew.
        let frame = Frame { number: self.core.received_from(peer), message };
        let now = self.later();
        self.core.handle(now, Input::Received { peer, link, frame });
        self.drain();
    }

    /// Does `action` and all that follows from it at once.
    pub fn act<T>(&mut self, action: impl FnOnce(&mut Consensus, Instant) -> T) -> T {
        let now = self.later();
        let result = action(&mut self.core, now);
        self.drain();
        result
    }

    /// How many records wait to be durable.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// All records that wait become durable.
    pub fn sync(&mut self) {
        for record in std::mem::take(&mut self.waiting) {
            self.durable.apply(&record);
            self.synced += 1;
        }
        let (now, through) = (self.later(), Lsn(self.synced));
        self.core.handle(now, Input::Stored { through });
        self.drain();
    }

    /// The process ends; of the records that wait, `kept` have reached the disk. It starts again.
    pub fn crash(&mut self, kept: usize, lose_disk: bool, members: u32) {
        let me = self.core.me().0;
        for record in std::mem::take(&mut self.waiting).into_iter().take(kept) {
            self.durable.apply(&record);
        }
        if lose_disk {
            self.durable = Stored::empty(NodeId(me));
            self.boot += 1;
        }
        self.process += 1;
        self.synced = 0;
        let now = self.later();
        let config = config(me, members, self.process, self.boot);
        self.core = Consensus::new(now, config, self.durable.clone());
        (self.said, self.closed) = Default::default();
        self.drain();
    }

    /// What it said to others since it was asked last.
    pub fn said(&mut self) -> Vec<(u32, Message)> {
        std::mem::take(&mut self.said)
    }

    /// The links it closed since it was asked last.
    pub fn closed(&mut self) -> Vec<(u32, CloseReason)> {
        std::mem::take(&mut self.closed)
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Send { peer, frame, .. } if matters(&frame.message) => {
                        self.said.push((peer.0, frame.message));
                    }
                    Output::Close { peer, why, .. } => self.closed.push((peer.0, why)),
                    Output::Store(record) => self.store(record),
                    Output::Stop(why) => self.ended = Some(why),
                    _ => {}
                }
            }
            if !self.core.is_running(Timer::Commit) {
                return;
            }
            // There are no leases, so there is nothing to wait for.
            let now = self.later();
            self.core.expire(now, Timer::Commit);
        }
    }

    fn store(&mut self, record: Record) {
        self.waiting.push(record);
        if !self.slow {
            let record = self.waiting.pop().expect("it was just pushed");
            self.durable.apply(&record);
            self.synced += 1;
            let through = Lsn(self.synced);
            self.core.handle(self.now, Input::Stored { through });
        }
    }
}

/// Whether a message can change what a model without time explores: anyone may try to lead at any
/// time, so who suspects whom does not matter, and there are no leases.
const fn matters(message: &Message) -> bool {
    !matches!(
        message,
        Message::Alive
            | Message::Heartbeat(_)
            | Message::HeartbeatAck { .. }
            | Message::Propose { .. }
            | Message::Opinion(_)
            | Message::Elect { .. }
            | Message::Read { .. }
            | Message::ReadPoint { .. }
            | Message::Session(_)
    )
}

fn config(me: u32, members: u32, process: u64, boot: u64) -> Config {
    let ids = (1..=members).map(NodeId);
    let unique = |number: u64| number * 100 + u64::from(me);
    Config {
        me: NodeId(me),
        members: Members::new(ids).expect("models have 1 to 7 members"),
        timings: Timings { hold: Duration::ZERO, lease: Duration::ZERO, ..Timings::default() },
        bounds: DirectoryBounds::default(),
        process: ProcessId(unique(process)),
        new_boot: Boot(unique(boot)),
        genesis: Genesis { cluster: ClusterId(unique(boot)), first_revision: Revision(1) },
        seed: 1,
        piece_bytes: Config::PIECE_BYTES,
    }
}
