//! How servers agree on one log: election, replication, leases and admission (R0–R28), as a state
//! machine without clock, I/O or randomness of its own.
//!
//! Owns what is in the log and how far it is committed; what its commands do is
//! [`Directory`]'s, and what clients are told is [`Replica`](crate::Replica)'s.
//!
//! After each input, take outputs from [`Consensus::poll_output`] until there is none, then arm a
//! timer for [`Consensus::poll_timeout`]. Outputs are in order: what a link is to carry, and what is
//! to be stored, goes out in the order in which it is polled.

pub mod admissions;
mod candidate;
mod commit;
pub mod config;
mod digest;
mod election;
mod follower;
pub mod ids;
mod io;
pub mod journal;
mod leader;
mod lease;
pub mod log;
mod membership;
pub mod message;
mod offer;
pub mod peer;
pub mod quorum;
mod read;
pub mod timers;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use crate::command::Command;
use crate::directory::Directory;
use crate::fault::{Fault, planted};
use crate::sessions::message::SessionMessage;
use admissions::Admissions;
use candidate::Candidate;
use config::Config;
use election::{Contact, Election, Proposer};
use follower::Follower;
use ids::{ClusterId, Epoch, Index, Lsn, PeerLink, ProcessId};
pub use io::{Input, Output, Rejected, StopReason};
use journal::{Journal, Record, Stored};
use leader::Leader;
use lease::Leases;
use log::{Entry, Op, Snapshot};
use message::{Frame, Message};
use peer::{Peer, Violation};
use read::Reads;
use timers::{Random, Timer, Timers};
use transfer::Copies;

/// The most entries that wait to be committed.
pub const MAX_UNCOMMITTED: u64 = 65_536;
/// The most entries of a leader that wait for its own disk: others may commit them without it, and
/// what waits is in memory.
pub const MAX_UNSTORED: u64 = 2 * MAX_UNCOMMITTED;

/// The state machine.
#[derive(Clone, Debug)]
pub struct Consensus {
    config: Config,
    /// What must be equal on all servers, as a hash.
    settings: u64,
    /// The last time this server was told.
    now: Instant,
    /// What is stored, records on their way to the disk included.
    stored: Stored,
    journal: Journal,
    marks: Marks,
    /// Who was admitted by the log, its uncommitted entries included.
    admissions: Admissions,
    commit: Index,
    role: Role,
    contact: Option<Contact>,
    election: Election,
    /// The process that was promised the highest epoch, if this process promised it (R7).
    promised_to: Option<ProcessId>,
    promise_due: Option<PromiseDue>,
    copies: Copies,
    /// The highest epoch whose leader a server without a vote has heard: it promises nothing, but
    /// obeys no earlier leader either.
    followed: Epoch,
    leases: Leases,
    peers: BTreeMap<NodeId, Peer>,
    reads: Reads,
    timers: Timers,
    random: Random,
    outputs: VecDeque<Output>,
    /// Whether this server made the first entry of the cluster, and has not led yet.
    begins: bool,
    stopped: bool,
}

/// What a server does. What has a meaning in one role only is kept there.
#[derive(Clone, Debug)]
enum Role {
    /// Follows a leader or waits for one.
    Follower(Follower),
    /// Asks whether the leader is gone.
    Proposer(Proposer),
    /// Asks for promises.
    Candidate(Candidate),
    /// Orders the writes.
    Leader(Box<Leader>),
}

/// A role as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// Follows a leader or waits for one.
    Follower,
    /// Asks to lead.
    Candidate,
    /// Orders the writes.
    Leader,
    /// Has no vote: it lost its state, or is new.
    Blank,
}

/// Records that something waits for.
#[derive(Clone, Debug, Default)]
struct Marks {
    /// The first record: the boot.
    boot: Lsn,
    /// The last promise.
    promise: Lsn,
    /// The last change of the log to that of a new epoch.
    adopt: Lsn,
    /// The record that made this server a voter.
    voter: Lsn,
    /// The record that told this server which cluster it belongs to.
    cluster: Lsn,
    /// Records that added entries, and the last entry of each.
    appended: VecDeque<(Lsn, Index)>,
    /// The last entry that a crash does not remove.
    durable: Index,
}

/// A promise to be answered as soon as it is stored.
#[derive(Clone, Copy, Debug)]
struct PromiseDue {
    to: NodeId,
    link: PeerLink,
}

impl Consensus {
    /// A server that starts at `now` and finds `stored`.
    #[must_use]
    pub fn new(now: Instant, config: Config, mut stored: Stored) -> Self {
        if planted(Fault::PromisesForgotten) {
            stored.promised = stored.established;
            stored.pending.clear();
        }
        let mut admissions = Admissions::default();
        if let Some(snapshot) = stored.log.snapshot() {
            admissions = snapshot.admissions.clone();
        }
        let commit = stored.log.snapshot_index();
        for (offset, entry) in stored.log.entries(stored.log.first(), usize::MAX).enumerate() {
            let index = Index(stored.log.first().0 + offset as u64);
            if index > commit {
                admissions.apply(index, entry);
            }
        }
        let marks = Marks { durable: stored.log.last(), ..Marks::default() };
        let hold = config.timings.hold;
        let mut consensus = Self {
            settings: config.settings(),
            now,
            journal: Journal::default(),
            marks,
            admissions,
            commit,
            role: Role::Follower(Follower::default()),
            contact: None,
            election: Election::default(),
            promised_to: None,
            promise_due: None,
            copies: Copies::default(),
            followed: Epoch(0),
            leases: Leases::new(now, hold),
            peers: BTreeMap::new(),
            reads: Reads::default(),
            timers: Timers::default(),
            random: Random::new(config.seed),
            outputs: VecDeque::new(),
            begins: false,
            stopped: false,
            stored,
            config,
        };
        if commit > Index(0) {
            consensus.outputs.push_back(Output::Committed(commit));
            consensus.take_admission();
        }
        match consensus.stored.boot {
            None => {
                let boot = consensus.config.new_boot;
                consensus.store(Record::Boot(boot));
            }
            Some(_) => {
                consensus.timers.set(Timer::Suspect, now);
                consensus.try_first_start();
            }
        }
        let mine =
            consensus.config.members.leader(consensus.stored.promised) == consensus.config.me;
        if planted(Fault::RestartResumesEpoch)
            && mine
            && consensus.stored.voter
            && consensus.stored.promised == consensus.stored.established
        {
            let (epoch, commit) = (consensus.stored.established, consensus.commit);
            consensus.lead(epoch, commit, now, std::collections::BTreeSet::new());
        }
        if consensus.config.members.count() > 1 {
            consensus.timers.set(Timer::Beat, now + consensus.config.timings.heartbeat);
        }
        consensus
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        if self.stopped {
            return;
        }
        match input {
            Input::LinkUp { peer, link } => self.handle_link_up(peer, link),
            Input::LinkDown { peer, link } => self.handle_link_down(peer, link),
            Input::Received { peer, link, frame } => self.handle_frame(peer, link, frame),
            Input::Stored { through } => self.handle_stored(through),
            Input::StorageFailed => self.stop(StopReason::Storage),
            Input::Shutdown => self.handle_shutdown(),
        }
    }

    /// Takes in that the time of [`Consensus::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while !self.stopped
            && let Some(timer) = self.timers.poll(now)
        {
            self.fire(timer);
        }
    }

    /// When [`Consensus::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().filter(|_| !self.stopped)
    }

    /// Whether this server takes no part any more: it said [`Output::Stop`].
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// The next output, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush();
        }
        loop {
            let mut output = self.outputs.pop_front()?;
            // Numbered only now, so that a report can go before what waits already. What waited for a
            // link that has ended meanwhile has no number, and goes nowhere.
            if let Output::Send { peer, link, frame } = &mut output {
                let on = self.peers.get_mut(peer).filter(|peer| peer.link == *link);
                let Some(peer) = on else { continue };
                frame.number = peer.number_next();
            }
            if let Output::Stop(_) = output {
                self.outputs.clear();
            }
            return Some(output);
        }
    }

    /// Appends a command to the log.
    ///
    /// # Errors
    /// [`Rejected`] says why it is not taken; nothing has happened then.
    pub fn propose(&mut self, now: Instant, command: Command) -> Result<Index, Rejected> {
        self.now = now;
        if !self.takes_commands() {
            return Err(Rejected::NotLeader);
        }
        let last = self.stored.log.last().0;
        let unstored = last - self.marks.durable.0.min(last);
        if last - self.commit.0 >= MAX_UNCOMMITTED || unstored >= MAX_UNSTORED {
            return Err(Rejected::Overloaded);
        }
        Ok(self.append(Op::Command(command)))
    }

    /// Sends a message about sessions to a server, if `link` is the one to it still. Whether it is.
    pub fn send_session(
        &mut self,
        now: Instant,
        node: NodeId,
        link: PeerLink,
        message: SessionMessage,
    ) -> bool {
        self.now = now;
        let same = |peer: &Peer| peer.link == link && peer.hello.is_some();
        let linked = self.peers.get(&node).is_some_and(same);
        if linked {
            self.send(node, Message::Session(message));
        }
        linked
    }

    /// Sends messages about sessions, in their order, before all that waits to be polled: the answer
    /// to [`Output::Following`], to be given before the next output is polled (R32). Where `link`
    /// has ended meanwhile nothing is sent: the next one begins with HELLO, and its report follows.
    pub fn report(&mut self, node: NodeId, link: PeerLink, messages: Vec<SessionMessage>) {
        if self.peers.get(&node).is_none_or(|peer| peer.link != link) {
            return;
        }
        for message in messages.into_iter().rev() {
            let frame = Frame { number: 0, message: Message::Session(message) };
            self.outputs.push_front(Output::Send { peer: node, link, frame });
        }
    }

    /// Takes the state after the entry at `index` as a snapshot, in place of the entries before.
    ///
    /// # Panics
    /// When that entry is not committed or not held.
    pub fn compact(&mut self, now: Instant, index: Index, directory: Directory) {
        self.now = now;
        assert!(index <= self.commit, "a snapshot is of committed state");
        let epoch = self.stored.log.epoch_at(index).expect("what is applied next to last is held");
        let cluster = self.stored.log.cluster().expect("a log with entries has its INIT");
        let mut admissions = self.admissions.clone();
        admissions.truncate(index);
        let snapshot = Arc::new(Snapshot { index, epoch, cluster, admissions, directory });
        let keep = self.first_needed(index);
        self.store(Record::Compact { snapshot, keep });
    }

    /// This server's id.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.config.me
    }

    /// How it is configured.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The last entry known to be committed.
    #[must_use]
    pub const fn commit(&self) -> Index {
        self.commit
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last(&self) -> Index {
        self.stored.log.last()
    }

    /// The entry at `index`, if it is held.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.stored.log.entry(index)
    }

    /// The state that is stored, records on their way to the disk included.
    #[must_use]
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The life of the cluster, once known.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.stored.log.cluster()
    }

    /// Whether a backup that was restored here is of no use: the cluster has begun without it.
    #[must_use]
    pub fn ignores_restored(&self) -> bool {
        self.stored.restored.is_some() && self.cluster().is_some()
    }

    /// What this server is.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        match &self.role {
            Role::Leader(_) => RoleKind::Leader,
            _ if !self.stored.voter => RoleKind::Blank,
            Role::Candidate(_) | Role::Proposer(_) => RoleKind::Candidate,
            Role::Follower(_) => RoleKind::Follower,
        }
    }

    /// The highest epoch this server knows of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.stored.promised.max(self.followed)
    }

    /// The leader this server is, or is in contact with.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.config.me),
            _ => self.contact.filter(|contact| contact.leads).map(|contact| contact.with),
        }
    }

    /// Whether `timer` runs, for a model checker that ends timers itself.
    #[must_use]
    pub fn is_running(&self, timer: Timer) -> bool {
        self.timers.is_set(timer)
    }

    /// Ends `timer` at `now`, whenever it was due, for a model checker.
    pub fn expire(&mut self, now: Instant, timer: Timer) {
        self.now = now;
        self.timers.stop(timer);
        if !self.stopped {
            self.fire(timer);
        }
    }

    /// Becomes the candidate of `epoch` without asking whether others agree, for a model checker:
    /// more than R3–R6 and R12a ever allow, so what holds here holds for them. Whether it did.
    pub fn campaign(&mut self, now: Instant, epoch: Epoch) -> bool {
        self.now = now;
        let mine = self.config.members.leader(epoch) == self.config.me;
        let may = !self.stopped && self.is_voter() && mine && epoch > self.stored.promised;
        if may {
            self.prepare(epoch);
        }
        may
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Beat => self.beat(),
            Timer::Suspect => self.lose_contact(),
            Timer::Gather => self.elect_from_opinions(),
            Timer::Retry => self.retry_election(),
            Timer::Commit => self.advance_commit(),
            Timer::Leave => self.stop(StopReason::Shutdown),
        }
    }

    fn handle_message(&mut self, node: NodeId, message: Message) -> Result<(), Violation> {
        match message {
            Message::Hello(_) => return Err(Violation::Hello),
            Message::Alive => {}
            Message::Heartbeat(heartbeat) => return self.handle_heartbeat(node, heartbeat),
            Message::HeartbeatAck { epoch, echo, sent } => {
                return self.handle_heartbeat_ack(node, epoch, echo, sent);
            }
            Message::Propose { round } => self.handle_propose(node, round),
            Message::Opinion(opinion) => self.handle_opinion(node, opinion),
            Message::Elect { epoch } => self.handle_elect(node, epoch),
            Message::Prepare { epoch } => return self.handle_prepare(node, epoch),
            Message::Promise(promise) => self.handle_promise(node, promise),
            Message::Nack { epoch, promised } => self.handle_nack(epoch, promised),
            Message::Fetch { epoch, from } => return self.handle_fetch(node, epoch, from),
            Message::Part { epoch, part } => return self.handle_part(node, epoch, part),
            Message::NewEpoch { epoch, init, outline } => {
                return self.handle_new_epoch(node, epoch, init, &outline);
            }
            Message::Append { epoch, first, entries, commit } => {
                return self.handle_append(node, epoch, first, entries, commit);
            }
            Message::Ack { epoch, received, durable, voter } => {
                return self.handle_ack(node, epoch, received, durable, voter);
            }
            Message::Init { entry } => return self.handle_init(entry),
            Message::Read { read } => self.handle_read(node, read),
            Message::ReadPoint { read, epoch, point } => {
                self.handle_read_point(node, read, epoch, point);
            }
            Message::Session(message) => {
                if let Some(peer) = self.peers.get(&node) {
                    let link = peer.link;
                    self.outputs.push_back(Output::Session { peer: node, link, message });
                }
            }
        }
        Ok(())
    }

    /// Gives a record to the storage and takes it into account at once. What must not be said before
    /// it is durable waits for its place in the journal.
    fn store(&mut self, record: Record) -> Lsn {
        let lsn = self.journal.issue();
        let (voter, cluster) = (self.stored.voter, self.stored.log.cluster().is_some());
        self.stored.apply(&record);
        match &record {
            Record::Boot(_) => self.marks.boot = lsn,
            Record::Promise(_) => self.marks.promise = lsn,
            Record::Append { .. } => self.marks.appended.push_back((lsn, self.stored.log.last())),
            Record::Adopt(_) => {
                self.marks.adopt = lsn;
                self.marks.appended.clear();
                self.marks.appended.push_back((lsn, self.stored.log.last()));
            }
            Record::Voter | Record::Compact { .. } => {}
        }
        if matches!(record, Record::Adopt(_) | Record::Compact { .. }) {
            self.copies.offers.forget_useless(&self.stored.log);
        }
        if self.stored.voter && !voter {
            self.marks.voter = lsn;
        }
        if self.stored.log.cluster().is_some() && !cluster {
            self.marks.cluster = lsn;
        }
        self.outputs.push_back(Output::Store(record));
        lsn
    }

    fn handle_stored(&mut self, through: Lsn) {
        let before = self.journal.durable();
        if !self.journal.stored(through) {
            return;
        }
        while let Some(&(lsn, index)) = self.marks.appended.front()
            && lsn <= through
        {
            self.marks.appended.pop_front();
            self.marks.durable = index;
        }
        let done = |mark: Lsn| before < mark && mark <= through;
        let (boot, cluster, voter) =
            (done(self.marks.boot), done(self.marks.cluster), done(self.marks.voter));
        if boot {
            self.say_hello_to_all();
            self.try_first_start();
        }
        if cluster {
            self.begin_if_first();
            self.close_all_links();
        }
        if voter && self.contact.is_none() && !matches!(self.role, Role::Leader(_)) {
            self.await_contact();
        }
        self.send_promise_due();
        self.candidate_stored();
        self.advance_commit();
    }

    fn is_durable(&self, mark: Lsn) -> bool {
        mark <= self.journal.durable()
    }

    fn boot_is_durable(&self) -> bool {
        self.stored.boot.is_some() && self.is_durable(self.marks.boot)
    }

    /// Whether this server has stored that it is a voter.
    fn is_voter(&self) -> bool {
        (self.stored.voter && self.is_durable(self.marks.voter)) || planted(Fault::BlankVotes)
    }

    fn stop(&mut self, why: StopReason) {
        self.stopped = true;
        self.copies.aside.clear();
        self.outputs.push_back(Output::Stop(why));
    }

    /// Says what has gathered since the last time: entries to followers, acknowledgements to the
    /// leader, questions for read points. So one round of inputs is one message to each.
    fn flush(&mut self) {
        if self.stopped {
            return;
        }
        self.store_appended();
        self.send_appends();
        self.send_ack();
        self.ask_for_read_point();
    }
}

#[cfg(test)]
mod tests;
