//! The leader's part: heartbeats and grants, feeding followers, stepping down, handing over (R11,
//! R12a, R16–R18, R21, R24).
//!
//! When an entry is committed is decided in `commit`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::admissions::Admissions;
use super::config::Timings;
use super::digest::ahead;
use super::ids::{Boot, Epoch, Index, ReadId};
use super::journal::Record;
use super::log::{Entry, Op};
use super::message::{Heartbeat, Message};
use super::peer::Violation;
use super::quorum::commits;
use super::timers::Timer;
use super::transfer::PART_ENTRIES;
use super::{Consensus, Output, Role, StopReason};
use crate::command::Command;
use crate::fault::{Fault, planted};

/// A server that orders the writes.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    /// The last entry of its initial log.
    pub(super) init: Index,
    /// Whether its log counts: a commit quorum acknowledged the initial log.
    pub(super) settled: bool,
    /// Whether it may serve clients: the cluster was in use before, or all servers are there (R26).
    pub(super) complete: bool,
    /// Whether it was said that it is both.
    pub(super) announced: bool,
    /// Before that time nothing is committed: leases of earlier epochs may run (R15).
    pub(super) commit_from: Instant,
    /// Since when it leads.
    since: Instant,
    /// Whose promises it has, superseded ones left out.
    promised: BTreeSet<NodeId>,
    pub(super) followers: BTreeMap<NodeId, Progress>,
    /// When the last entries were appended, oldest first (R18).
    appended: VecDeque<(Instant, Index)>,
    /// The first entry that is not given to the storage yet.
    unstored: Index,
    /// A follower promised a higher epoch: since when that is known, and which (R12a).
    stuck: Option<(Instant, Epoch)>,
    /// Whether it hands over (R24).
    leaving: bool,
}

/// What a leader knows of a follower, on one link and in one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The last entry received and the last durable one; none before the first acknowledgement.
    pub(super) acked: Option<(Index, Index)>,
    /// The next entry to send.
    next: Index,
    /// The commit index it was told last.
    told: Index,
    /// The send time of the newest heartbeat it acknowledged, by this server's clock.
    echo: Option<Instant>,
    /// When it sent that acknowledgement, by its own clock.
    sent: Option<Instant>,
    /// The entry before the first one that was held when it was told what this log is.
    greeted: Index,
    /// Its question for a read point, while this server has no lease.
    pub(super) asks: Option<ReadId>,
}

/// A follower that made a write wait to the end of its read lease gets none for a while (R18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Penalty {
    until: Instant,
    lasts: Duration,
}

/// The most entries sent to a follower and not acknowledged.
const WINDOW: u64 = 16_384;
/// The most entries sent to a follower whose disk has not taken them yet: what waits for it is in its
/// memory. One that is so far behind falls out of the way of writes (R18).
const UNSTORED: u64 = 65_536;
const PENALTY: Duration = Duration::from_secs(1);
const PENALTY_MAX: Duration = Duration::from_secs(30);
const LEAVE: Duration = Duration::from_secs(1);

impl Leader {
    /// See [`Consensus::digest`].
    pub(super) fn digest<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        (3, self.epoch, self.init, self.unstored, &self.promised).hash(hasher);
        (self.settled, self.complete, self.announced, self.leaving).hash(hasher);
        (ahead(self.commit_from, now), self.stuck.map(|(_, epoch)| epoch)).hash(hasher);
        for (node, follower) in &self.followers {
            let Progress { acked, next, told, asks, .. } = follower;
            (node, acked, next, told, asks).hash(hasher);
        }
    }

    /// The first entry that some linked follower has not received.
    pub(super) fn first_unreceived(&self) -> Option<Index> {
        let received = self.followers.values().filter_map(|follower| follower.acked);
        received.map(|(received, _)| received.next()).min()
    }
}

impl Consensus {
    /// Leads `epoch`, from its stored initial log on (R10, R15).
    pub(super) fn lead(
        &mut self,
        epoch: Epoch,
        commit: Index,
        commit_from: Instant,
        promised: BTreeSet<NodeId>,
    ) {
        let init = self.stored.log.last();
        self.election.failures = 0;
        self.contact = None;
        for timer in [Timer::Suspect, Timer::Retry, Timer::Gather] {
            self.timers.stop(timer);
        }
        self.role = Role::Leader(Box::new(Leader {
            epoch,
            init,
            settled: false,
            complete: self.was_in_use(),
            announced: false,
            commit_from,
            since: self.now,
            promised,
            followers: BTreeMap::new(),
            appended: VecDeque::new(),
            unstored: init.next(),
            stuck: None,
            leaving: false,
        }));
        self.outputs.push_back(Output::Leading { epoch });
        self.committed(commit.min(init));
        for node in self.linked() {
            self.greet_follower(node);
        }
        self.advance_commit();
    }

    /// Ends this server's leadership, if it has one.
    pub(super) fn resign(&mut self, replaced: bool) {
        if let Role::Leader(leader) = &self.role {
            let (epoch, commit_from) = (leader.epoch, leader.commit_from);
            self.store_appended();
            self.leases.waits_until = self.leases.waits_until.max(commit_from);
            self.timers.stop(Timer::Commit);
            self.outputs.push_back(Output::Resigned { epoch, replaced });
            self.role = Role::Follower(super::Follower::default());
        }
    }

    /// Whether the log holds more than the beginning of a cluster.
    fn was_in_use(&self) -> bool {
        let log = &self.stored.log;
        log.snapshot().is_some_and(|snapshot| snapshot.directory.applied() > Index(0))
            || log.entries(log.first(), usize::MAX).any(|entry| {
                matches!(&entry.op, Op::Command(command) if !matches!(command, Command::Load(_)))
            })
    }

    /// Whether commands of clients are taken.
    pub(super) fn takes_commands(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.complete && !leader.leaving)
    }

    /// Whether this server leads and a commit quorum has its log.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.settled && leader.complete)
    }

    /// Adds an entry at the end of the log. It is stored and sent at the next flush.
    pub(super) fn append(&mut self, op: Op) -> Index {
        let Role::Leader(leader) = &mut self.role else { unreachable!("only leaders append") };
        let entry = Arc::new(Entry { epoch: leader.epoch, op });
        let index = self.stored.log.last().next();
        self.admissions.apply(index, &entry);
        self.stored.log.push(entry);
        if planted(Fault::ReplyBeforeCommit) {
            self.committed(index);
            return index;
        }
        match leader.appended.back_mut() {
            Some((at, last)) if *at == self.now => *last = index,
            _ => leader.appended.push_back((self.now, index)),
        }
        index
    }

    /// Gives the entries appended since the last time to the storage.
    pub(super) fn store_appended(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let (first, last) = (leader.unstored, self.stored.log.last());
        if first > last {
            return;
        }
        leader.unstored = last.next();
        let entries = self.stored.log.entries(first, usize::MAX).cloned().collect();
        let lsn = self.journal.issue();
        self.marks.appended.push_back((lsn, last));
        self.outputs.push_back(Output::Store(Record::Append { first, entries }));
    }

    /// Tells a newly linked follower what this leader's log is (R11).
    pub(super) fn greet_follower(&mut self, node: NodeId) {
        let outline = self.stored.log.outline();
        let Role::Leader(leader) = &mut self.role else { return };
        if !planted(Fault::ReceiptOutlivesLink) || !leader.followers.contains_key(&node) {
            leader.followers.insert(node, Progress::default());
        }
        if let Some(follower) = leader.followers.get_mut(&node) {
            follower.greeted = outline.base.0;
        }
        let (epoch, init) = (leader.epoch, leader.init);
        self.send(node, Message::NewEpoch { epoch, init, outline });
        self.send_heartbeat(node);
    }

    pub(super) fn beat(&mut self) {
        match &self.role {
            Role::Leader(_) => self.beat_as_leader(),
            Role::Candidate(_) => {
                for node in self.linked() {
                    self.send_prepare(node);
                }
            }
            Role::Follower(_) | Role::Proposer(_) => {}
        }
        self.tend_links();
        self.timers.set(Timer::Beat, self.now + self.config.timings.heartbeat);
    }

    fn beat_as_leader(&mut self) {
        // Without acknowledgements of a commit quorum it steps down for good, so that a leader that
        // can send but not receive is replaced (R21).
        let heard = self.quorum_time(self.now).unwrap_or_default();
        // A leader that is a quorum by itself gets no acknowledgement that would tell it.
        self.recover_stuck(heard);
        let Role::Leader(leader) = &self.role else { return };
        if self.now.since(heard.max(leader.since)) >= self.config.timings.suspect {
            self.resign(false);
            self.lose_contact();
            return;
        }
        for node in self.linked() {
            self.send_heartbeat(node);
        }
        self.hand_over();
    }

    fn send_heartbeat(&mut self, node: NodeId) {
        let grant = self.grant_to(node);
        let Role::Leader(leader) = &self.role else { return };
        let epoch = leader.epoch;
        let echo = leader.followers.get(&node).and_then(|follower| follower.sent);
        if !grant.is_zero()
            && let Some(peer) = self.peers.get(&node)
        {
            self.leases.grant(node, peer.link, self.now + Timings::waited(grant));
        }
        let (commit, sent) = (self.commit, self.now);
        self.send(node, Message::Heartbeat(Heartbeat { epoch, commit, sent, echo, grant }));
    }

    /// How long `node` may answer reads: not beyond this leader's own lease, and only if it keeps up
    /// with the log, for every commit waits for it meanwhile (R13.2, R18).
    fn grant_to(&self, node: NodeId) -> Duration {
        let Role::Leader(leader) = &self.role else { return Duration::ZERO };
        let timings = &self.config.timings;
        let follower = leader.followers.get(&node);
        let Some((received, _)) = follower.and_then(|follower| follower.acked) else {
            return Duration::ZERO;
        };
        let old = |(at, _): &&(Instant, Index)| self.now.since(*at) > timings.lease / 2;
        let due = leader.appended.iter().rev().find(old).map_or(leader.init, |(_, last)| *last);
        let penalised = self.leases.penalties.get(&node).is_some_and(|p| p.until > self.now);
        let keeps_up = received >= self.commit.max(due);
        // What it holds of this epoch cannot be committed yet: it would make reads wait for that,
        // while this leader knows a point before it (R15).
        let waits = self.now < leader.commit_from;
        let serves = leader.settled && leader.complete && !waits;
        if !serves || penalised || !keeps_up || !self.counts_now(node) {
            return Duration::ZERO;
        }
        if planted(Fault::GrantBeyondLease) {
            return timings.lease;
        }
        let rest = self.lease_end(self.now).map_or(Duration::ZERO, |end| end.since(self.now));
        let margin = Timings::waited(rest) - rest;
        timings.lease.min(rest.saturating_sub(margin))
    }

    /// A write waited to the end of `node`'s read lease: it gets none for a while.
    pub(super) fn penalise(&mut self, node: NodeId) {
        let before = self.leases.penalties.get(&node);
        let again = before.filter(|before| self.now.since(before.until) < PENALTY_MAX);
        let lasts = again.map_or(PENALTY, |before| (before.lasts * 2).min(PENALTY_MAX));
        self.leases.penalties.insert(node, Penalty { until: self.now + lasts, lasts });
    }

    /// The latest time such that a commit quorum acknowledged a heartbeat sent at or after it (R17).
    fn quorum_time(&self, now: Instant) -> Option<Instant> {
        let Role::Leader(leader) = &self.role else { return None };
        let times = leader.followers.iter().filter(|(node, _)| self.counts_now(**node));
        let mut times: Vec<_> = times.filter_map(|(_, follower)| follower.echo).collect();
        if self.counts_itself() {
            times.push(now);
        }
        times.sort_unstable_by(|a, b| b.cmp(a));
        let enough = |count: &usize| commits(&self.config.members, *count, true);
        let count = (1..=times.len()).find(enough)?;
        Some(times[count - 1])
    }

    /// Whether this leader's own disk counts: the log admits it, and nobody else after it.
    pub(super) fn counts_itself(&self) -> bool {
        self.is_admitted(Index(u64::MAX))
    }

    /// When this leader's lease ends, if it has one (R17).
    pub(super) fn lease_end(&self, now: Instant) -> Option<Instant> {
        let Role::Leader(leader) = &self.role else { return None };
        let held = self.quorum_time(now).filter(|_| leader.complete)?;
        Some(held + self.config.timings.hold)
    }

    /// How many entries of its log each linked follower has not received yet, if this server leads
    /// and has heard of that.
    pub fn lags(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let followers = match &self.role {
            Role::Leader(leader) => Some(&leader.followers),
            _ => None,
        };
        let last = self.stored.log.last();
        followers.into_iter().flatten().filter_map(move |(node, follower)| {
            let (received, _) = follower.acked?;
            Some((*node, last.0.saturating_sub(received.0)))
        })
    }

    /// Whether this server leads and may answer reads at `now`.
    #[must_use]
    pub fn holds_lease(&self, now: Instant) -> bool {
        if planted(Fault::ReadsByBelief) {
            return matches!(self.role, Role::Leader(_));
        }
        self.lease_end(now).is_some_and(|end| end > now)
    }

    /// The newest time of this server's clock at which a leader is known to have been in contact
    /// with it (R34).
    #[must_use]
    pub fn confirmed(&self, now: Instant) -> Instant {
        self.leases.confirmed.max(self.quorum_time(now).unwrap_or_default())
    }

    pub(super) fn handle_heartbeat_ack(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        echo: Instant,
        sent: Instant,
    ) -> Result<(), Violation> {
        let now = self.now;
        let echo = if planted(Fault::LeaseFromReceipt) { now } else { echo };
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        if leader.epoch != epoch {
            return Ok(());
        }
        let Some(follower) = leader.followers.get_mut(&node) else { return Ok(()) };
        if echo > now {
            return Err(Violation::Acknowledgement);
        }
        if follower.echo.is_none_or(|before| before <= echo) {
            (follower.echo, follower.sent) = (Some(echo), Some(sent));
        }
        let confirmed = self.quorum_time(now).unwrap_or_default();
        self.leases.confirmed = self.leases.confirmed.max(confirmed);
        self.recover_stuck(confirmed);
        Ok(())
    }

    /// A follower promised an epoch above this leader's, and a commit quorum still follows: takes
    /// the next epoch of its own, at most once a second (R12a).
    fn recover_stuck(&mut self, confirmed: Instant) {
        let Role::Leader(leader) = &self.role else { return };
        let Some((since, promised)) = leader.stuck else { return };
        let waits = self.leases.forced.is_some_and(|at| self.now.since(at) < PENALTY);
        if confirmed <= since || waits {
            return;
        }
        let mine = BTreeSet::from([self.config.me]);
        let above = promised.max(self.election.seen).max(self.stored.promised);
        if let Some(epoch) = self.config.members.next_epoch(above, &mine) {
            self.leases.forced = Some(self.now);
            self.prepare(epoch);
        }
    }

    pub(super) fn handle_nack(&mut self, epoch: Epoch, promised: Epoch) {
        self.election.seen = self.election.seen.max(promised);
        let now = self.now;
        match &mut self.role {
            // One that restarted has forgotten to whom it promised: it is only one promise less.
            Role::Candidate(candidate) if candidate.epoch == epoch && promised > epoch => {
                self.retry_election();
            }
            Role::Leader(leader) if leader.epoch == epoch && promised > epoch => {
                let since = leader.stuck.map_or(now, |(since, _)| since);
                leader.stuck = Some((since, promised));
            }
            _ => {}
        }
    }

    /// A promise that came after enough others: when all have promised, no lease of an earlier epoch
    /// is left (R15).
    pub(super) fn take_late_promise(&mut self, node: NodeId, boot: Boot, theirs: &Admissions) {
        if self.admissions.supersedes(node, boot) || theirs.supersedes(node, boot) {
            return;
        }
        let (now, all) = (self.now, self.config.members.count());
        let Role::Leader(leader) = &mut self.role else { return };
        leader.promised.insert(node);
        if leader.promised.len() == all {
            leader.commit_from = leader.commit_from.min(now);
            self.advance_commit();
        }
    }

    pub(super) fn handle_ack(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        received: Index,
        durable: Index,
        voter: bool,
    ) -> Result<(), Violation> {
        let (last, first) = (self.stored.log.last(), self.stored.log.first());
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        if leader.epoch != epoch {
            return Ok(());
        }
        let Some(follower) = leader.followers.get_mut(&node) else { return Ok(()) };
        if received > last || durable > received {
            return Err(Violation::Acknowledgement);
        }
        if received.next() < first {
            // What it lacks is gone: it needs the snapshot. It is told so once.
            if follower.acked.is_some() || follower.greeted.next() < first {
                self.greet_follower(node);
            }
            return Ok(());
        }
        match &mut follower.acked {
            Some(acked) => *acked = (acked.0.max(received), acked.1.max(durable)),
            None => {
                follower.acked = Some((received, durable));
                follower.next = received.next();
            }
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.voter |= voter;
        }
        self.copies.offers.end(node);
        self.admit(node);
        self.advance_commit();
        self.hand_over();
        Ok(())
    }

    /// Sends each follower what it lacks, and how far is committed.
    pub(super) fn send_appends(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        for node in leader.followers.keys().copied().collect::<Vec<_>>() {
            while let Some(message) = self.next_append(node) {
                self.send(node, message);
            }
        }
        let timings = &self.config.timings;
        let Role::Leader(leader) = &mut self.role else { return };
        // Only whether something is older than half a lease matters.
        while leader.appended.len() > 1 && self.now.since(leader.appended[1].0) > timings.lease / 2
        {
            leader.appended.pop_front();
        }
    }

    fn next_append(&mut self, node: NodeId) -> Option<Message> {
        let commit = self.commit;
        let log = &self.stored.log;
        let Role::Leader(leader) = &mut self.role else { return None };
        let follower = leader.followers.get_mut(&node)?;
        let (received, durable) = follower.acked?;
        if follower.next < log.first() {
            self.greet_follower(node);
            return None;
        }
        let first = follower.next;
        let most = (received.0 + WINDOW).min(durable.0 + UNSTORED);
        let room = most.saturating_sub(first.0);
        let count = usize::try_from(room).unwrap_or(usize::MAX).min(PART_ENTRIES);
        let entries: Vec<_> = log.entries(first, count).cloned().collect();
        if entries.is_empty() && follower.told >= commit {
            return None;
        }
        follower.next = Index(first.0 + entries.len() as u64);
        follower.told = commit;
        Some(Message::Append { epoch: leader.epoch, first, entries, commit })
    }

    /// Begins to shut down: a leader hands over first (R24).
    pub(super) fn handle_shutdown(&mut self) {
        match &mut self.role {
            Role::Leader(leader) if self.config.members.count() > 1 => {
                leader.leaving = true;
                self.timers.set(Timer::Leave, self.now + LEAVE);
                self.hand_over();
            }
            _ => self.stop(StopReason::Shutdown),
        }
    }

    /// Asks the next server in turn that is there to take over, once it has the whole log.
    fn hand_over(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if !leader.leaving {
            return;
        }
        let live = leader.followers.keys().filter(|node| self.counts_now(**node)).copied();
        let live: BTreeSet<_> = live.collect();
        let Some(epoch) = self.config.members.next_epoch(self.stored.promised, &live) else {
            return;
        };
        let heir = self.config.members.leader(epoch);
        let acked = leader.followers.get(&heir).and_then(|follower| follower.acked);
        if acked.is_some_and(|(_, durable)| durable >= self.stored.log.last()) {
            self.send(heir, Message::Elect { epoch });
        }
    }

    /// A server that hands over ends when another one leads.
    pub(super) fn leave_if_replaced(&mut self) {
        if self.timers.is_set(Timer::Leave) {
            self.stop(StopReason::Shutdown);
        }
    }
}
