//! One server whose peers say exactly what a test wants, in the order it wants: runs that a tidy
//! world does not come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::id::{NodeId, RequestId, Revision};
use rollcall_shared::time::Instant;

use crate::command::{Command, Generation, Write};
use crate::consensus::config::{Config, Genesis, Members, Timings};
use crate::consensus::ids::{Boot, ClusterId, Epoch, Index, Lsn, PeerLink, ProcessId, ReadId};
use crate::consensus::journal::Stored;
use crate::consensus::log::{Entry, Init, Op, Outline};
use crate::consensus::message::{Frame, Heartbeat, Hello, Message, Part};
use crate::consensus::peer::CloseReason;
use crate::consensus::{Consensus, Input, Output, RoleKind, StopReason};
use crate::directory::Bounds;

mod copies;
mod followers;
mod leaders;

/// The server under test, with a disk that is done at once.
struct Scripted {
    now: Instant,
    core: Consensus,
    links: BTreeMap<u32, (PeerLink, u64)>,
    stored: u64,
    disk: Stored,
    /// What it said since it was asked last.
    said: Vec<(u32, Message)>,
    closed: Vec<(u32, CloseReason)>,
    read: Vec<ReadId>,
    stopped: Option<StopReason>,
}

const CLUSTER: ClusterId = ClusterId(77);
/// So small that a snapshot of a few clients has many pieces.
const PIECE_BYTES: usize = 700;

/// The boot that the first entry names for a server.
const fn first_boot(node: u32) -> Boot {
    Boot(10 + node as u64)
}

impl Scripted {
    /// Server `me` of `members`, with `boot` if its disk is empty.
    fn new(me: u32, members: u32, boot: Boot) -> Self {
        let config = Config {
            me: NodeId(me),
            members: Members::new((1..=members).map(NodeId)).unwrap(),
            timings: Timings::default(),
            bounds: Bounds::default(),
            process: ProcessId(900),
            new_boot: boot,
            genesis: Genesis { cluster: CLUSTER, first_revision: Revision(1) },
            seed: 5,
            piece_bytes: PIECE_BYTES,
        };
        let (now, disk) = (Instant::from_millis(1_000), Stored::empty(NodeId(me)));
        let core = Consensus::new(now, config, disk.clone());
        let (links, said, closed, read) = Default::default();
        let mut scripted =
            Self { now, core, links, stored: 0, disk, said, closed, read, stopped: None };
        scripted.drain();
        scripted
    }

    /// A voter that holds INIT and `writes` writes of epoch 0, led by the highest id.
    fn voter(me: u32, members: u32, writes: u64) -> Self {
        let mut scripted = Self::new(me, members, first_boot(me));
        let leader = members;
        scripted.link(leader);
        scripted.hear(leader, new_epoch(0, 1 + writes, &[(0, 1)]));
        let entries = std::iter::once(init(members)).chain((1..=writes).map(|n| write(0, n)));
        let entries: Vec<_> = entries.collect();
        scripted.hear(leader, part(0, 1, entries, 1 + writes));
        scripted.take_closed();
        for peer in (1..=members).filter(|peer| *peer != me) {
            scripted.link(peer);
        }
        scripted.hear(leader, heartbeat(0, 0));
        scripted.said();
        assert_eq!(scripted.core.role(), RoleKind::Follower);
        scripted
    }

    fn take_closed(&mut self) -> Vec<(u32, CloseReason)> {
        std::mem::take(&mut self.closed)
    }

    fn said(&mut self) -> Vec<(u32, Message)> {
        std::mem::take(&mut self.said)
    }

    /// The leader of epoch 0 of three servers, settled and in use.
    fn leader() -> Self {
        let mut scripted = Self::new(3, 3, first_boot(3));
        for peer in [1, 2] {
            scripted.link_as(peer, None);
        }
        for peer in [1, 2] {
            scripted.link(peer);
            scripted.hear(peer, ack(1));
        }
        scripted.write();
        for peer in [1, 2] {
            scripted.hear(peer, ack(2));
        }
        assert!(scripted.core.is_settled() && scripted.core.commit() == Index(2));
        scripted.take_closed();
        scripted.said();
        scripted
    }

    /// A client writes something.
    fn write(&mut self) {
        let entry = write(0, self.core.last().0);
        let Op::Command(command) = &entry.op else { unreachable!("a write is a command") };
        self.core.propose(self.now, command.clone()).unwrap();
        self.drain();
    }

    /// A new link to `peer`, which says who it is.
    fn link(&mut self, peer: u32) {
        self.link_as(peer, Some(CLUSTER));
    }

    /// The same, with what it says of its cluster.
    fn link_as(&mut self, peer: u32, cluster: Option<ClusterId>) {
        let link = PeerLink(self.links.values().map(|(link, _)| link.0).max().unwrap_or(0) + 1);
        self.links.insert(peer, (link, 0));
        self.core.handle(self.now, Input::LinkUp { peer: NodeId(peer), link });
        let hello = Hello {
            node: NodeId(peer),
            boot: first_boot(peer),
            process: ProcessId(peer.into()),
            cluster,
            voter: cluster.is_some(),
            settings: self.core.config().settings(),
            promised: Epoch(0),
        };
        self.hear(peer, Message::Hello(hello));
    }

    /// The link to `peer` ends.
    fn lose(&mut self, peer: u32) {
        let (link, _) = self.links[&peer];
        self.core.handle(self.now, Input::LinkDown { peer: NodeId(peer), link });
        self.drain();
    }

    fn hear(&mut self, peer: u32, message: Message) {
        let (link, number) = self.links[&peer];
        self.links.insert(peer, (link, number + 1));
        let frame = Frame { number, message };
        self.core.handle(self.now, Input::Received { peer: NodeId(peer), link, frame });
        self.drain();
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            assert!(self.stopped.is_none(), "nothing comes after the end, but {output:?} did");
            match output {
                Output::Send { peer, frame, .. } => self.said.push((peer.0, frame.message)),
                Output::Close { peer, why, .. } => self.closed.push((peer.0, why)),
                Output::Store(record) => {
                    self.disk.apply(&record);
                    self.stored += 1;
                    let through = Lsn(self.stored);
                    self.core.handle(self.now, Input::Stored { through });
                }
                Output::ReadPoint { read, .. } => self.read.push(read),
                Output::Stop(why) => self.stopped = Some(why),
                _ => {}
            }
        }
    }

    fn said_to(&mut self, peer: u32, what: impl Fn(&Message) -> bool) -> usize {
        self.said().iter().filter(|(to, message)| *to == peer && what(message)).count()
    }
}

fn init(members: u32) -> Arc<Entry> {
    let boots = (1..=members).map(|id| (NodeId(id), first_boot(id))).collect();
    let op = Op::Init(Init {
        cluster: CLUSTER,
        boots,
        first_revision: Revision(1),
        restored: false,
        bounds: Bounds::default(),
    });
    Arc::new(Entry { epoch: Epoch(0), op })
}

fn write(epoch: u64, number: u64) -> Arc<Entry> {
    let client = "c".parse().unwrap();
    let write = Write::Sequence { count: 1 };
    let (generation, request) = (Generation(1), RequestId(number));
    let op = Op::Command(Command::Write { client, generation, request, write });
    Arc::new(Entry { epoch: Epoch(epoch), op })
}

fn admit(epoch: u64, node: u32, boot: Boot) -> Arc<Entry> {
    Arc::new(Entry { epoch: Epoch(epoch), op: Op::Admit { node: NodeId(node), boot } })
}

fn new_epoch(epoch: u64, last: u64, runs: &[(u64, u64)]) -> Message {
    let runs = runs.iter().map(|&(epoch, first)| (Epoch(epoch), Index(first))).collect();
    let outline = Outline { base: (Index(0), Epoch(0)), runs, last: Index(last) };
    Message::NewEpoch { epoch: Epoch(epoch), init: Index(last), outline }
}

fn part(epoch: u64, first: u64, entries: Vec<Arc<Entry>>, last: u64) -> Message {
    let (first, last) = (Index(first), Index(last));
    Message::Part { epoch: Epoch(epoch), part: Part::Entries { first, entries, last } }
}

fn append(epoch: u64, first: u64, entries: Vec<Arc<Entry>>, commit: u64) -> Message {
    let (first, commit) = (Index(first), Index(commit));
    Message::Append { epoch: Epoch(epoch), first, entries, commit }
}

fn ack(index: u64) -> Message {
    let (received, durable) = (Index(index), Index(index));
    Message::Ack { epoch: Epoch(0), received, durable, voter: true }
}

fn heartbeat(epoch: u64, commit: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        epoch: Epoch(epoch),
        commit: Index(commit),
        sent: Instant::from_millis(1),
        echo: None,
        grant: Duration::ZERO,
    })
}
