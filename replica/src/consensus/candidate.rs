//! Promises and the choice of the log (R7–R10, R15): from PREPARE to leading.
//!
//! Owns the candidate's part; the answer to PREPARE is in `follower`, the copying of a log in
//! `transfer`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;

use super::admissions::Admissions;
use super::config::Timings;
use super::digest::ahead;
use super::ids::{Boot, Epoch, Index};
use super::journal::{Adopt, Base, Record};
use super::message::{Message, Position, Promise};
use super::quorum::{Standing, elects};
use super::timers::Timer;
use super::transfer::Staging;
use super::{Consensus, Entry, Output, Role};
use crate::fault::{Fault, planted};

/// A server that asks for promises.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) epoch: Epoch,
    phase: Phase,
    promises: BTreeMap<NodeId, Reply>,
    /// Servers whose log was to be fetched and that are gone.
    gone: BTreeSet<NodeId>,
}

/// How far a candidate is.
#[derive(Clone, Debug)]
enum Phase {
    /// Its own promise is on its way to the disk.
    Storing,
    /// It waits for promises.
    Gathering,
    /// It copies the best log.
    Fetching { staging: Box<Staging>, elected: Elected },
    /// That log is on its way to the disk.
    Adopting { elected: Elected },
}

/// What the electing set says for the time as leader.
#[derive(Clone, Debug)]
pub(super) struct Elected {
    /// The highest commit index of the set.
    pub(super) commit: Index,
    /// When no lease can rest on acknowledgements of the set any more (R15).
    pub(super) leases_end: Instant,
}

/// A promise as it was taken in.
#[derive(Clone, Debug)]
struct Reply {
    boot: Boot,
    standing: Standing,
    last: Index,
    commit: Index,
    admissions: Admissions,
    /// When no lease can rest on this server's acknowledgements any more.
    leases_end: Instant,
}

impl Candidate {
    /// See [`Consensus::digest`].
    pub(super) fn digest<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        (2, self.epoch, &self.gone).hash(hasher);
        for (node, reply) in &self.promises {
            let Reply { boot, standing, last, commit, admissions, leases_end } = reply;
            (node, boot, standing, last, commit, admissions, ahead(*leases_end, now)).hash(hasher);
        }
        let elected = |elected: &Elected| (elected.commit, ahead(elected.leases_end, now));
        match &self.phase {
            Phase::Storing => 0.hash(hasher),
            Phase::Gathering => 1.hash(hasher),
            Phase::Fetching { staging, elected: e } => {
                (2, staging.digest(), elected(e)).hash(hasher)
            }
            Phase::Adopting { elected: e } => (3, elected(e)).hash(hasher),
        }
    }

    /// The log it copies.
    pub(super) const fn staging(&mut self) -> Option<&mut Staging> {
        match &mut self.phase {
            Phase::Fetching { staging, .. } => Some(staging),
            Phase::Storing | Phase::Gathering | Phase::Adopting { .. } => None,
        }
    }
}

impl Consensus {
    /// Becomes the candidate of `epoch`: promises it itself, then asks the others (R7).
    pub(super) fn prepare(&mut self, epoch: Epoch) {
        self.raise(epoch);
        self.promised_to = Some(self.config.process);
        let (promises, gone) = Default::default();
        self.role = Role::Candidate(Candidate { epoch, phase: Phase::Storing, promises, gone });
        self.timers.stop(Timer::Suspect);
        self.timers.stop(Timer::Gather);
        self.extend_retry();
    }

    /// Goes on where a record was waited for.
    pub(super) fn candidate_stored(&mut self) {
        let promised = self.is_durable(self.marks.promise);
        let adopted = self.is_durable(self.marks.adopt);
        let Role::Candidate(candidate) = &mut self.role else { return };
        match &candidate.phase {
            Phase::Storing if promised => {
                self.enter(Phase::Gathering);
                if let Some(boot) = self.stored.boot {
                    let reply = self.own_reply(boot);
                    self.take_promise(self.config.me, reply);
                }
                for node in self.linked() {
                    self.send_prepare(node);
                }
                self.count_promises();
            }
            Phase::Adopting { elected } if adopted => {
                let (epoch, elected) = (candidate.epoch, elected.clone());
                let all = self.have_all_promised();
                let early = all || planted(Fault::NoWaitForOldLeases);
                let from = if early { self.now } else { elected.leases_end };
                let promised = self.unsuperseded();
                self.lead(epoch, elected.commit, from, promised);
            }
            _ => {}
        }
    }

    /// Asks `node` for its promise. Repeated with every heartbeat, which counts as contact, so that
    /// others do not start a rival election (R3).
    pub(super) fn send_prepare(&mut self, node: NodeId) {
        if let Role::Candidate(candidate) = &self.role
            && !matches!(candidate.phase, Phase::Storing)
        {
            let epoch = candidate.epoch;
            self.send(node, Message::Prepare { epoch });
        }
    }

    pub(super) fn handle_promise(&mut self, node: NodeId, promise: Promise) {
        let Some(boot) = self.peers.get(&node).and_then(|peer| peer.hello.as_ref()).map(|h| h.boot)
        else {
            return;
        };
        if let Role::Leader(leader) = &self.role {
            if leader.epoch == promise.epoch {
                self.take_late_promise(node, boot, &promise.admissions);
            }
            return;
        }
        let Role::Candidate(candidate) = &self.role else { return };
        if candidate.epoch != promise.epoch {
            return;
        }
        let Promise { established, pending, last, commit, admissions, hold, .. } = promise;
        let standing = Standing { established, pending };
        let leases_end = self.now + Timings::waited(hold);
        self.take_promise(node, Reply { boot, standing, last, commit, admissions, leases_end });
        self.count_promises();
    }

    fn own_reply(&self, boot: Boot) -> Reply {
        Reply {
            boot,
            standing: Standing { established: self.stamp(), pending: self.stored.pending.clone() },
            last: self.stored.log.last(),
            commit: self.commit,
            admissions: self.admissions.clone(),
            leases_end: self.now + Timings::waited(self.leases.left(self.now)),
        }
    }

    fn take_promise(&mut self, node: NodeId, reply: Reply) {
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.gone.remove(&node);
            candidate.promises.insert(node, reply);
        }
    }

    /// The promises that count: no log of any of them admits another boot after theirs (R28).
    fn unsuperseded(&self) -> BTreeSet<NodeId> {
        let Role::Candidate(candidate) = &self.role else { return BTreeSet::new() };
        let counts = |(&node, reply): (&NodeId, &Reply)| {
            let mut tables = candidate.promises.values().map(|other| &other.admissions);
            let superseded = tables.any(|table| table.supersedes(node, reply.boot))
                || self.admissions.supersedes(node, reply.boot);
            (!superseded || planted(Fault::SupersededPromise)).then_some(node)
        };
        candidate.promises.iter().filter_map(counts).collect()
    }

    fn have_all_promised(&self) -> bool {
        self.unsuperseded().len() == self.config.members.count()
    }

    /// If the promises elect, takes the best log: the one with the highest (established epoch, last
    /// index), never that of the last entry's epoch (R9).
    fn count_promises(&mut self) {
        let counted = self.unsuperseded();
        let Role::Candidate(candidate) = &self.role else { return };
        // One that was replaced does not lead, even if the others would do (R28).
        if !matches!(candidate.phase, Phase::Gathering) || !counted.contains(&self.config.me) {
            return;
        }
        let epoch = candidate.epoch;
        let set = || {
            let alive = |node: &&NodeId| !candidate.gone.contains(node);
            counted
                .iter()
                .filter(alive)
                .filter_map(|node| Some((*node, candidate.promises.get(node)?)))
        };
        let standings = set().map(|(node, reply)| (node, reply.standing.clone())).collect();
        if !elects(&self.config.members, epoch, &standings) {
            return;
        }
        let rank = |node: NodeId, reply: &Reply| {
            (reply.standing.established, reply.last, node == self.config.me)
        };
        let Some((best, _)) = set().max_by_key(|&(node, reply)| rank(node, reply)) else { return };
        let elected = Elected {
            commit: set().map(|(_, reply)| reply.commit).max().unwrap_or_default(),
            leases_end: set().map(|(_, reply)| reply.leases_end).max().unwrap_or(self.now),
        };
        if best == self.config.me {
            let last = self.stored.log.last();
            self.adopt(epoch, Base::Keep(last), Vec::new());
            self.enter(Phase::Adopting { elected });
        } else if self.peers.get(&best).is_some_and(|peer| peer.hello.is_some()) {
            let staging = Box::new(Staging::new(epoch, best, Index(0)));
            let outline = self.stored.log.outline();
            self.send(best, Message::Fetch { epoch, from: Position::Outline(outline) });
            self.enter(Phase::Fetching { staging, elected });
        } else {
            self.without(best);
        }
    }

    /// Makes progress: the election may take a while longer (R8).
    fn enter(&mut self, phase: Phase) {
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.phase = phase;
        }
        self.extend_retry();
    }

    /// Goes on without a server whose log was to be fetched: any other set that elects will do (R10).
    fn without(&mut self, node: NodeId) {
        self.break_off_copy();
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.gone.insert(node);
            candidate.phase = Phase::Gathering;
            self.count_promises();
        }
    }

    /// The best log is here: stores it as that of the new epoch, in one record (R10).
    pub(super) fn adopt_fetched(&mut self, base: Base, entries: Vec<Arc<Entry>>) {
        let Role::Candidate(candidate) = &self.role else { return };
        let Phase::Fetching { elected, .. } = &candidate.phase else { return };
        let (epoch, elected) = (candidate.epoch, elected.clone());
        self.adopt(epoch, base, entries);
        self.enter(Phase::Adopting { elected });
    }

    /// The log was fetched from `node`, whose link has ended.
    pub(super) fn abandon_candidate_source(&mut self, node: NodeId) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        if candidate.staging().is_some_and(|staging| staging.source == node) {
            self.without(node);
        }
    }

    /// The election makes progress: it may take a while longer.
    pub(super) fn extend_retry(&mut self) {
        let wait = self.retry_wait();
        self.timers.set(Timer::Retry, self.now + wait);
    }

    /// Makes the log that of `epoch`, in one record.
    pub(super) fn adopt(&mut self, epoch: Epoch, base: Base, entries: Vec<Arc<Entry>>) {
        let first = match &base {
            Base::Keep(last) => {
                assert!(*last >= self.commit, "nothing committed is taken back");
                self.admissions.truncate(*last);
                self.marks.durable = self.marks.durable.min(*last);
                last.next()
            }
            Base::Snapshot(snapshot) => {
                assert!(snapshot.index >= self.commit, "nothing committed is taken back");
                self.admissions = snapshot.admissions.clone();
                self.marks.durable = Index(0);
                snapshot.index.next()
            }
        };
        for (offset, entry) in entries.iter().enumerate() {
            self.admissions.apply(Index(first.0 + offset as u64), entry);
        }
        let installed = match &base {
            Base::Snapshot(snapshot) => Some(Arc::clone(snapshot)),
            Base::Keep(_) => None,
        };
        self.store(Record::Adopt(Adopt { epoch, base, entries }));
        // The log is whole, and no snapshot is needed any more.
        self.copies.aside.clear();
        if let Some(snapshot) = installed {
            let index = snapshot.index;
            self.outputs.push_back(Output::Installed(snapshot));
            self.committed(index);
        }
    }
}
