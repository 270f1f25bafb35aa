//! A server's part of the cluster, as a state machine: links and requests of clients and messages of
//! other servers go in; answers, changes, messages and records come out.
//!
//! It joins the [`Consensus`] on a log, the [`Directory`] that the log leads to, and the sessions of
//! clients across servers (section 7 of docs/replication.md). The very code that the simulator
//! runs is what the server runs.

mod apply;
mod clients;
mod leading;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rollcall_shared::id::{ClientId, Device, NodeId, RequestId, Revision, SessionNumber, Username};
use rollcall_shared::time::Instant;
use serde::{Deserialize, Serialize};

use crate::command::{Principal, Write, Written};
use crate::consensus::ids::{Epoch, Index, Lsn, PeerLink, ReadId};
use crate::consensus::journal::{Record, Stored};
use crate::consensus::message::Frame;
use crate::consensus::peer::CloseReason;
use crate::consensus::{self, Consensus, StopReason};
use crate::directory::{Change, Directory, Effect, Users};
use crate::fault::{Fault, planted};
use crate::sessions::attached::{Attached, Waits};
use crate::sessions::links::Links;
use crate::sessions::message::{SessionBody, SessionMessage};
use crate::sessions::writes::Writes;

/// A client's link to this server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// What must be known at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the servers agree by.
    pub consensus: consensus::config::Config,
    /// How long a request waits for a leader before it is answered that there is none.
    pub patience: Duration,
    /// After how many entries the log is cut off behind a snapshot.
    pub snapshot_every: u64,
    /// How many committed entries are applied before what else happens has its turn; of very many,
    /// one in 16.
    pub apply_at_once: u64,
}

impl Config {
    /// The default of `apply_at_once`: a few milliseconds' work.
    pub const APPLY_AT_ONCE: u64 = 2_048;
    /// The default of `patience`.
    pub const PATIENCE: Duration = Duration::from_secs(1);
    /// The default of `snapshot_every`.
    pub const SNAPSHOT_EVERY: u64 = 32_768;
}

/// What happens to the server.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a link to another server, ready to carry messages.
    PeerUp {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
    },
    /// A link to another server has ended.
    PeerDown {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
    },
    /// A message of another server came.
    Received {
        /// From which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
        /// The message.
        frame: Frame,
    },
    /// All records up to this one are durable. Records are numbered 1, 2, … in the order in which
    /// [`Output::Store`] was polled.
    Stored {
        /// The last one.
        through: Lsn,
    },
    /// A record could not be stored: the server ends, and nothing it waited for is said.
    StorageFailed,
    /// The server is to shut down; ends with [`Output::Stop`].
    Shutdown,
    /// A client's link says whose it is.
    Linked {
        /// The link.
        link: LinkId,
        /// Its client.
        client: ClientId,
        /// Who stands behind it.
        principal: Principal,
    },
    /// A linked client wants a session (`Hello`).
    Open {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
    },
    /// A linked client writes; its session is opened where there is none.
    Write {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// What to do.
        write: Write,
    },
    /// Something is to be read; [`Output::Readable`] says when the state is new enough.
    Read {
        /// The read.
        read: ReadId,
    },
    /// A client's link has ended.
    Unlinked {
        /// The link.
        link: LinkId,
    },
}

/// What is due, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message to another server.
    Send {
        /// To which server.
        peer: NodeId,
        /// On which link.
        link: PeerLink,
        /// The message.
        frame: Frame,
    },
    /// A link to another server is to be closed.
    ClosePeer {
        /// To which server.
        peer: NodeId,
        /// The link.
        link: PeerLink,
        /// Why.
        why: CloseReason,
    },
    /// A record is to be stored, behind all before it.
    Store(Record),
    /// Answer to [`Input::Open`].
    Opened {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// The session's number.
        session: SessionNumber,
        /// Above every request applied so far.
        next_id: RequestId,
    },
    /// Answer to [`Input::Write`].
    Written {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// How it ended.
        written: Written,
    },
    /// Answer to [`Input::Open`] or [`Input::Write`] where it could not be done.
    Refused {
        /// The link.
        link: LinkId,
        /// The number of the request.
        request: RequestId,
        /// Why not.
        why: Refused,
    },
    /// The state is new enough for a read: it may be answered from here on.
    Readable {
        /// The read.
        read: ReadId,
    },
    /// A read cannot be answered: there is no leader.
    Unreadable {
        /// The read.
        read: ReadId,
    },
    /// The directory changed.
    Changed(Change),
    /// The directory is another one, without the changes that led to it: the cluster has begun, or a
    /// snapshot was taken in.
    /// Subscriptions that ended before it have a gap.
    Installed {
        /// The revision of the new one, from which changes go on.
        revision: Revision,
    },
    /// Another session took over a registration of this link's session.
    Replaced {
        /// The link.
        link: LinkId,
        /// Whose registration.
        username: Username,
        /// Of which device.
        device: Device,
    },
    /// A link is to be closed: its session has ended meanwhile.
    SessionEnded {
        /// The link.
        link: LinkId,
    },
    /// This server has heard of no leader for so long that its clients should move: links with a
    /// session or a subscription are to be closed (R34). Any link of a known client may have got a
    /// session without asking (R29).
    CutOff,
    /// The server ends.
    Stop(StopReason),
}

/// Why the leader gives a link no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoSession {
    /// Its client id belongs to another principal.
    Forbidden,
    /// There are too many sessions.
    Full,
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// The link gets no session; not applied.
    NoSession(NoSession),
    /// There is no leader; not applied.
    NoQuorum,
    /// Too much waits already; not applied.
    Overloaded,
    /// It may have been applied, or may yet be: the same request tells.
    OutcomeUnknown,
}

/// The state machine. After each input, or after several that came together, take outputs from
/// [`Replica::poll_output`] until there is none, then arm a timer for [`Replica::poll_timeout`].
/// Inputs that were given before the outputs are taken travel as one batch.
///
/// Where very many entries are committed at once they are applied over several such rounds, the next
/// of which is due at once: so heartbeats, and whatever else comes meanwhile, have their turn.
#[derive(Clone, Debug)]
pub struct Replica {
    consensus: Consensus,
    patience: Duration,
    snapshot_every: u64,
    apply_at_once: u64,
    waits: Waits,
    now: Instant,
    directory: Directory,
    /// The last entry that was applied.
    applied: Index,
    /// The last entry that is to be applied.
    committed: Index,
    /// How many more may be in this round.
    room: u64,
    links: Links,
    writes: Writes,
    /// What this server knows of sessions while it leads.
    leading: Option<Attached>,
    /// This leader is settled, which counts once this entry is applied: its epoch.
    settles: Option<(Epoch, Index)>,
    following: Option<Following>,
    /// When a leader was in contact with this server last, as far as that is known (R34).
    heard: Instant,
    /// That time as it was when the clients were told to move.
    cut_off: Option<Instant>,
    /// Before that time no more sessions end.
    expires_from: Instant,
    /// Requests that are answered by then at the latest, in the order of that time.
    deadlines: VecDeque<(Instant, Waiter)>,
    /// Reads and the entry each waits for, once known.
    reads: BTreeMap<ReadId, Option<Index>>,
    readable: BTreeSet<(Index, ReadId)>,
    outputs: VecDeque<Output>,
    effects: Vec<Effect>,
    relayed: Relayed,
}

/// How often this server passed something on to a leader, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Writes of its clients; one that is passed on again counts again.
    pub writes: u64,
    /// Links that need a session.
    pub sessions: u64,
    /// Questions for a read point; one serves all reads that waited for it.
    pub reads: u64,
}

/// The leader this server reported its links to.
#[derive(Clone, Copy, Debug)]
struct Following {
    leader: NodeId,
    link: PeerLink,
    epoch: Epoch,
    /// When it did.
    since: Instant,
}

/// Who waits until a deadline.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    Request(LinkId, RequestId),
    Read(ReadId),
}

impl Replica {
    /// A server that starts at `now` and finds `stored`.
    #[must_use]
    pub fn new(now: Instant, config: Config, stored: Stored) -> Self {
        let timings = config.consensus.timings;
        let alone = config.consensus.members.count() == 1;
        let unheard = if alone { Duration::ZERO } else { timings.cutoff_wait };
        // Before the first entry there is nothing, at no revision of any cluster's life.
        let mut directory = Directory::new(Revision(0), config.consensus.bounds);
        let mut applied = Index(0);
        if let Some(snapshot) = stored.log.snapshot() {
            directory = snapshot.directory.clone();
            applied = snapshot.index;
        }
        Self {
            consensus: Consensus::new(now, config.consensus, stored),
            patience: config.patience,
            snapshot_every: config.snapshot_every,
            apply_at_once: config.apply_at_once.max(1),
            waits: Waits { grace: timings.grace, unheard },
            now,
            directory,
            applied,
            committed: applied,
            room: config.apply_at_once.max(1),
            links: Links::default(),
            writes: Writes::default(),
            leading: None,
            settles: None,
            following: None,
            heard: now,
            cut_off: None,
            expires_from: now,
            deadlines: VecDeque::new(),
            reads: BTreeMap::new(),
            readable: BTreeSet::new(),
            outputs: VecDeque::new(),
            effects: Vec::new(),
            relayed: Relayed::default(),
        }
    }

    /// Who is online, as far as this server has applied.
    #[must_use]
    pub const fn users(&self) -> &Users {
        self.directory.users()
    }

    /// The state, as far as this server has applied.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// How the servers agree.
    #[must_use]
    pub const fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    #[cfg(test)]
    pub(crate) const fn consensus_mut(&mut self) -> &mut Consensus {
        &mut self.consensus
    }

    /// The last entry that this server has applied.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// How many sessions are live.
    #[must_use]
    pub const fn live_sessions(&self) -> usize {
        self.directory.live_sessions()
    }

    /// What this server has passed on to leaders.
    #[must_use]
    pub const fn relayed(&self) -> Relayed {
        Relayed { reads: self.consensus.questions(), ..self.relayed }
    }

    /// Until when the state as it is applied now answers reads that arrive, without any input: the
    /// end of this server's lease, where nothing is held that is not applied (R19). Whoever answers
    /// by it has been shown the state of this moment, and sees a later answer of this before any
    /// output that is polled after it has left: what this server says to others may rest on its
    /// lease being gone, or on it knowing more.
    #[must_use]
    pub fn readable_until(&self, now: Instant) -> Option<Instant> {
        let (point, end) = self.consensus.read_lease(now)?;
        (point <= self.applied || planted(Fault::ShownWithoutTail)).then_some(end)
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        let input = match input {
            Input::Linked { link, client, principal } => {
                return self.handle_linked(link, (client, principal));
            }
            Input::Open { link, request } => return self.handle_open(link, request),
            Input::Write { link, request, write } => {
                return self.handle_write(link, request, write);
            }
            Input::Read { read } => return self.handle_read(read),
            Input::Unlinked { link } => return self.handle_unlinked(link),
            Input::PeerUp { peer, link } => consensus::Input::LinkUp { peer, link },
            Input::PeerDown { peer, link } => consensus::Input::LinkDown { peer, link },
            Input::Received { peer, link, frame } => {
                consensus::Input::Received { peer, link, frame }
            }
            Input::Stored { through } => consensus::Input::Stored { through },
            Input::StorageFailed => consensus::Input::StorageFailed,
            Input::Shutdown => consensus::Input::Shutdown,
        };
        self.consensus.handle(now, input);
    }

    /// Takes in that the time of [`Replica::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.consensus.handle_timeout(now);
        self.end_waiting();
        if self.consensus.has_stopped() {
            return;
        }
        self.expire_sessions();
        self.cut_off_clients();
    }

    /// When [`Replica::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let leading = self.leading.as_ref().filter(|_| !self.consensus.has_stopped());
        let session = leading.and_then(Attached::next_deadline);
        let session = session.map(|at| at.max(self.expires_from));
        let waiting = self.deadlines.front().map(|(at, _)| *at);
        let more = (self.is_behind() && !self.consensus.has_stopped()).then_some(self.now);
        [self.consensus.poll_timeout(), session, waiting, more].into_iter().flatten().min()
    }

    /// The next output, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(output) = self.consensus.poll_output() {
                self.handle_output(output);
            } else if self.is_behind() && self.room > 0 {
                // Not before all else was handled: a snapshot may have taken the place of the entries.
                self.apply_some();
            } else if !self.settle() && !self.answer_owed() {
                // A part of the backlog at least, so that it stays bounded whatever comes in a round.
                let behind = self.committed.0.saturating_sub(self.applied.0);
                self.room = self.apply_at_once.max(behind / BACKLOG_PART);
                return None;
            }
        }
    }

    /// Whether entries are committed that are not applied yet.
    fn is_behind(&self) -> bool {
        self.applied < self.committed
    }

    fn handle_output(&mut self, output: consensus::Output) {
        use consensus::Output as Agreed;
        match output {
            Agreed::Send { peer, link, frame } => {
                self.outputs.push_back(Output::Send { peer, link, frame });
            }
            Agreed::Close { peer, link, why } => {
                self.outputs.push_back(Output::ClosePeer { peer, link, why });
            }
            Agreed::Store(record) => self.outputs.push_back(Output::Store(record)),
            Agreed::Unlinked { peer, link } => self.server_lost(peer, link),
            Agreed::Leading { epoch } => self.begin_leading(epoch),
            Agreed::Settled { epoch } => self.settles = Some((epoch, self.committed)),
            Agreed::Resigned { replaced, .. } => self.resigned(replaced),
            Agreed::Following { leader, link, epoch } => self.follow(leader, link, epoch),
            Agreed::Committed(index) => self.committed = self.committed.max(index),
            Agreed::Installed(snapshot) => self.install(&snapshot),
            Agreed::ReadPoint { read, point } => self.handle_read_point(read, point),
            Agreed::Session { peer, link, message } => self.handle_session(peer, link, message),
            Agreed::Stop(why) => {
                // Who waits for what was committed before the end is told.
                self.room = u64::MAX;
                self.apply_some();
                self.outputs.push_back(Output::Stop(why));
            }
        }
    }

    fn handle_session(&mut self, peer: NodeId, link: PeerLink, message: SessionMessage) {
        let SessionMessage { epoch, body } = message;
        match body {
            SessionBody::Attached { .. } | SessionBody::Overloaded { .. } => {
                let of_leader = |following: &Following| {
                    (following.leader, following.link, following.epoch) == (peer, link, epoch)
                };
                if let Some(following) = self.following.filter(of_leader) {
                    self.handle_from_leader(following, body);
                }
            }
            SessionBody::Attach(_) | SessionBody::Detach { .. } | SessionBody::Write { .. } => {
                if self.leading.as_ref().is_some_and(|leading| leading.epoch() == epoch) {
                    self.handle_from_follower(peer, link, body);
                }
            }
        }
    }
}

/// What part of the committed entries is applied in a round where they are very many.
const BACKLOG_PART: u64 = 16;

#[cfg(test)]
mod tests;
