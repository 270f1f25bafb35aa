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
use crate::consensus::message::{Frame, Heartbeat, Hello, Message, Opinion, Part};
use crate::consensus::peer::CloseReason;
use crate::consensus::{Consensus, Input, Output, RoleKind, StopReason};
use crate::directory::Bounds;

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
    held: bool,
}

const CLUSTER: ClusterId = ClusterId(77);

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
            genesis: Genesis { cluster: ClusterId(1), first_revision: Revision(1) },
            seed: 5,
        };
        let (now, disk) = (Instant::from_millis(1_000), Stored::empty(NodeId(me)));
        let core = Consensus::new(now, config, disk.clone());
        let (links, said, closed, read) = Default::default();
        let mut scripted = Self {
            now,
            core,
            links,
            stored: 0,
            disk,
            said,
            closed,
            read,
            stopped: None,
            held: false,
        };
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

    /// A new link to `peer`, which says who it is.
    fn link(&mut self, peer: u32) {
        let link = PeerLink(self.links.values().map(|(link, _)| link.0).max().unwrap_or(0) + 1);
        self.links.insert(peer, (link, 0));
        self.core.handle(self.now, Input::LinkUp { peer: NodeId(peer), link });
        let hello = Hello {
            node: NodeId(peer),
            boot: first_boot(peer),
            process: ProcessId(peer.into()),
            cluster: Some(CLUSTER),
            voter: true,
            settings: self.core.config().settings(),
            promised: Epoch(0),
        };
        self.hear(peer, Message::Hello(hello));
    }

    fn hear(&mut self, peer: u32, message: Message) {
        let (link, number) = self.links[&peer];
        self.links.insert(peer, (link, number + 1));
        let frame = Frame { number, message };
        self.core.handle(self.now, Input::Received { peer: NodeId(peer), link, frame });
        if !self.held {
            self.drain();
        }
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
    let op = Op::Init(Init { cluster: CLUSTER, boots, first_revision: Revision(1) });
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

fn heartbeat(epoch: u64, commit: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        epoch: Epoch(epoch),
        commit: Index(commit),
        sent: Instant::from_millis(1),
        echo: None,
        grant: Duration::ZERO,
    })
}

/// A server of three that lost its disk and holds the log up to entry 8, of which 5 are committed.
fn blank_of_three() -> Scripted {
    let mut blank = Scripted::new(1, 3, Boot(99));
    blank.link(3);
    blank.hear(3, new_epoch(0, 8, &[(0, 1)]));
    let log = std::iter::once(init(3)).chain((1..=7).map(|n| write(0, n))).collect();
    blank.hear(3, part(0, 1, log, 8));
    blank.take_closed();
    blank.link(3);
    blank.hear(3, new_epoch(0, 8, &[(0, 1)]));
    blank.hear(3, heartbeat(0, 5));
    assert_eq!(blank.core.role(), RoleKind::Blank);
    blank
}

#[test]
fn an_admission_that_is_not_committed_yet_replaces_nobody() {
    let mut blank = blank_of_three();
    blank.hear(3, append(0, 9, vec![admit(0, 1, Boot(99))], 6));
    assert_eq!(blank.stopped, None, "entry 9 admits this very server");
    blank.hear(3, append(0, 10, vec![], 9));
    assert_eq!(blank.core.role(), RoleKind::Follower);
}

#[test]
fn who_was_replaced_by_a_committed_admission_stops() {
    let mut old = Scripted::voter(1, 3, 3);
    old.hear(3, heartbeat(0, 4));
    old.hear(3, append(0, 5, vec![admit(0, 1, Boot(99))], 4));
    assert_eq!(old.stopped, None);
    old.hear(3, append(0, 6, vec![], 5));
    assert_eq!(old.stopped, Some(StopReason::Superseded));
    old.hear(3, heartbeat(0, 5));
}

/// A blank server promises nothing, but once it heard of a leader it obeys no earlier one.
#[test]
fn a_blank_server_obeys_the_newest_leader_only() {
    let mut blank = Scripted::new(1, 5, Boot(99));
    for peer in [5, 4] {
        blank.link(peer);
    }
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(5, part(0, 1, vec![init(5), write(0, 1)], 2));
    blank.take_closed();
    for peer in [5, 4] {
        blank.link(peer);
    }
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(4, new_epoch(1, 4, &[(0, 1), (1, 3)]));
    blank.hear(4, part(1, 3, vec![write(1, 2)], 4));
    blank.said();
    // The old leader was not heard to be replaced yet; what it commits now is not for this server.
    blank.hear(5, append(0, 3, vec![write(0, 3), write(0, 4)], 4));
    assert_eq!(blank.said_to(5, |m| matches!(m, Message::Nack { .. })), 1);
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(4, part(1, 4, vec![write(1, 5)], 4));
    assert_eq!(blank.core.last(), Index(4));
    assert_eq!(blank.core.stored().established, Epoch(1));
    assert_eq!(blank.take_closed(), []);
}

#[test]
fn a_copy_that_was_broken_off_is_begun_again() {
    let mut follower = Scripted::voter(1, 3, 2);
    follower.hear(2, new_epoch(1, 5, &[(0, 1), (1, 4)]));
    assert_eq!(follower.said_to(2, |m| matches!(m, Message::Fetch { .. })), 1);
    // The leader is silent for a moment, but its link stands.
    follower.pass(380);
    for peer in [2, 3] {
        follower.hear(peer, Message::Alive);
    }
    follower.pass(80);
    assert_eq!(follower.core.role(), RoleKind::Candidate);
    follower.said();
    follower.hear(2, heartbeat(1, 3));
    assert_eq!(follower.said_to(2, |m| matches!(m, Message::Fetch { .. })), 1);
    follower.hear(2, part(1, 4, vec![write(1, 9), write(1, 10)], 5));
    assert_eq!(follower.said_to(2, |m| matches!(m, Message::Ack { .. })), 1);
}

#[test]
fn a_question_for_a_read_point_is_asked_of_the_next_leader() {
    let mut follower = Scripted::voter(1, 3, 2);
    follower.hear(3, heartbeat(0, 3));
    follower.core.read(follower.now, ReadId(7));
    follower.drain();
    assert_eq!(follower.said_to(3, |m| matches!(m, Message::Read { .. })), 1);
    follower.hear(2, new_epoch(1, 3, &[(0, 1)]));
    follower.hear(2, heartbeat(1, 3));
    let asked = follower.said();
    let asked = asked.iter().find_map(|(to, message)| match message {
        Message::Read { read } if *to == 2 => Some(*read),
        _ => None,
    });
    let read = asked.expect("the new leader is asked");
    follower.hear(2, Message::ReadPoint { read, epoch: Epoch(1), point: Index(3) });
    assert_eq!(follower.read, [ReadId(7)]);
}

#[test]
fn a_log_begins_with_init() {
    let mut blank = Scripted::new(1, 3, first_boot(1));
    blank.link(3);
    blank.hear(3, new_epoch(0, 1, &[(0, 1)]));
    blank.hear(3, part(0, 1, vec![write(0, 1)], 1));
    assert_eq!(blank.take_closed().len(), 1, "what does not begin with INIT is no log");
    blank.link(3);
    blank.hear(3, Message::Init { entry: init(3) });
    assert_eq!(blank.core.last(), Index(1));
}

#[test]
fn a_heartbeat_that_cannot_be_leaves_the_election_as_it_was() {
    let mut follower = Scripted::voter(1, 3, 1);
    let echo = Some(follower.now + Duration::from_secs(9));
    let (epoch, commit, grant) = (Epoch(1), Index(2), Duration::ZERO);
    let sent = follower.now;
    follower.hear(2, Message::Heartbeat(Heartbeat { epoch, commit, sent, echo, grant }));
    assert_eq!(follower.core.epoch(), Epoch(0), "nothing was promised");
    assert_eq!(follower.take_closed().len(), 1);
}

#[test]
fn a_candidate_that_asks_again_ends_a_rival_proposal() {
    let mut follower = Scripted::voter(1, 3, 1);
    follower.hear(2, Message::Prepare { epoch: Epoch(1) });
    assert_eq!(follower.said_to(2, |m| matches!(m, Message::Promise(_))), 1);
    follower.pass(390);
    for peer in [2, 3] {
        follower.hear(peer, Message::Alive);
    }
    follower.pass(60);
    let proposed = follower.said();
    let round = proposed.iter().rev().find_map(|(_, message)| match message {
        Message::Propose { round } => Some(*round),
        _ => None,
    });
    let round = round.expect("it proposes");
    follower.hear(2, Message::Prepare { epoch: Epoch(1) });
    let opinion = Opinion {
        round,
        agrees: true,
        promised: Epoch(1),
        established: Epoch(0),
        pending: [Epoch(1)].into(),
        commit: Index(1),
        snapshot: Index(0),
    };
    follower.hear(3, Message::Opinion(opinion));
    follower.pass(30);
    assert_eq!(follower.core.epoch(), Epoch(1), "the candidate is at work");
    assert_eq!(
        follower.said_to(3, |m| matches!(m, Message::Elect { .. } | Message::Prepare { .. })),
        0
    );
}
