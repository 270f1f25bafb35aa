//! Copying a log from another server, part by part: from the best server before leading (R10), from
//! the leader before following (R11).
//!
//! The one who copies asks for each part, so neither side holds more than one part in flight, and
//! the one who sends keeps nothing but the snapshot it sends from (`offer`). What has come waits until
//! it is whole: the log changes in one record. What has come of a snapshot outlives its copy: the next
//! one goes on where that one stopped, if it is of the same snapshot.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::admissions::Admissions;
use super::ids::{ClusterId, Epoch, Index};
use super::journal::Base;
use super::log::{Entry, Log, MAX_INDEX, Op, Snapshot};
use super::message::{Message, Part, Position};
use super::offer::Offers;
use super::peer::Violation;
use super::{Consensus, Role};
use crate::directory::snapshot::{Builder, Piece};
use crate::fault::{Fault, planted};

/// The most entries in a part: about 400 KiB where each carries all the metadata it may.
pub(super) const PART_ENTRIES: usize = 256;

/// What is copied from one server to another, here and from here.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// The leader's log that is being copied (R11), whether or not the leader is suspected meanwhile.
    pub(super) copying: Option<Box<Staging>>,
    /// What has come of a snapshot on a copy that was broken off.
    pub(super) aside: Aside,
    /// The snapshots that others copy from here.
    pub(super) offers: Offers,
}

impl Copies {
    /// See [`Consensus::digest`].
    pub(super) fn digest<H: Hasher>(&self, hasher: &mut H) {
        self.copying.as_deref().map(Staging::digest).hash(hasher);
        self.aside.digest().hash(hasher);
        self.offers.digest(hasher);
    }
}

/// A log that is being copied.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    epoch: Epoch,
    /// From whom.
    pub(super) source: NodeId,
    /// The last entry that is needed at least.
    init: Index,
    /// What it goes on from, once known.
    base: Option<Base>,
    /// The entries after that.
    entries: Vec<Arc<Entry>>,
    /// The snapshot that is coming, or has come and is the base.
    incoming: Option<Incoming>,
    /// The entry to come next, once the base is known.
    next: Index,
}

/// A snapshot of which some pieces have come, or all.
#[derive(Clone, Debug)]
struct Incoming {
    name: Name,
    builder: Builder,
}

/// What every piece says of its snapshot.
///
/// Two snapshots of one name are one state, and in one order of items, whoever took them and whenever:
/// a server takes one of what it has applied, so of committed entries only ([`Consensus::compact`]), or
/// has it from one who did. Up to one index those are the same on all servers of a cluster's life, what
/// they do depends on nothing else, and so do the admissions of that prefix. So a cursor means the same
/// in both, and pieces of both are pieces of one state. How large they are is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    index: Index,
    epoch: Epoch,
    cluster: ClusterId,
    admissions: Admissions,
}

/// What has come of a snapshot on copies that were broken off: of the last one, and none where it
/// cannot be needed any more. It is in memory only.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    half: Option<Incoming>,
    /// How often one was gone on with, since the start.
    taken_up: u64,
}

impl Aside {
    /// See [`Consensus::digest`].
    pub(super) fn digest(&self) -> impl Hash {
        self.half.as_ref().map(Incoming::digest)
    }

    /// Keeps what has come, in place of what there was; nothing new leaves that as it is.
    fn put(&mut self, copied: Option<Incoming>) {
        if copied.is_some() {
            self.half = copied;
        }
    }

    /// What has come of the snapshot of that name. A half of another one is of no use: its source
    /// offers the one it was sending as long as it can.
    fn take_up(&mut self, name: &Name) -> Option<Builder> {
        let half = self.half.take()?;
        let same = half.name == *name || planted(Fault::HalfOfAnother);
        self.taken_up += u64::from(same);
        same.then_some(half.builder)
    }

    /// All up to `commit` is committed: an older snapshot is never taken.
    pub(super) fn committed(&mut self, commit: Index) {
        self.half.take_if(|half| half.name.index < commit);
    }

    /// Nothing is copied any more, or nothing that began before.
    pub(super) fn clear(&mut self) {
        self.half = None;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> Option<Index> {
        self.half.as_ref().map(|half| half.name.index)
    }
}

impl Incoming {
    fn digest(&self) -> impl Hash {
        // What there is of the snapshot follows from its name and how far it goes.
        (self.name.clone(), self.builder.next().clone())
    }
}

/// What follows from a part.
enum Progress {
    /// More is needed, from there on.
    Ask(Position),
    /// The log is whole.
    Whole(Base, Vec<Arc<Entry>>),
}

impl Staging {
    /// Nothing yet of `source`'s log, which is needed up to `init` at least.
    pub(super) fn new(epoch: Epoch, source: NodeId, init: Index) -> Self {
        let (base, entries, incoming) = Default::default();
        Self { epoch, source, init, base, entries, incoming, next: Index(0) }
    }

    /// See [`Consensus::digest`].
    pub(super) fn digest(&self) -> impl Hash {
        let base = self.base.as_ref().map(|base| match base {
            Base::Keep(last) => (false, *last),
            Base::Snapshot(snapshot) => (true, snapshot.index),
        });
        let incoming = self.incoming.as_ref().map(Incoming::digest);
        (self.epoch, self.source, self.init, base, self.entries.clone(), incoming, self.next)
    }

    /// Takes in a part. Where that fails, nothing of what has come is of use: a builder may have taken
    /// in half of a piece, and who sent one thing that cannot be may have sent others.
    fn take(
        &mut self,
        part: Part,
        log: &Log,
        commit: Index,
        aside: &mut Aside,
    ) -> Result<Progress, Violation> {
        match part {
            Part::Entries { first, entries, last } => {
                self.take_entries(first, entries, last, log, commit)
            }
            Part::Snapshot { index, epoch, cluster, admissions, piece } => {
                if index < commit || index.0 == 0 || index.0 > MAX_INDEX || epoch > self.epoch {
                    return Err(Violation::Log);
                }
                let name = Name { index, epoch, cluster, admissions };
                self.take_piece(name, piece, log, aside)
            }
        }
    }

    fn take_piece(
        &mut self,
        name: Name,
        piece: Piece,
        log: &Log,
        aside: &mut Aside,
    ) -> Result<Progress, Violation> {
        let index = name.index;
        match &mut self.incoming {
            Some(incoming) if incoming.name == name => {
                incoming.builder.push(piece).map_err(|_| Violation::Log)?;
            }
            incoming => {
                (self.base, self.entries) = (None, Vec::new());
                let builder = match aside.take_up(&name) {
                    // The first piece of it came long ago.
                    Some(builder) => builder,
                    None => {
                        let mut builder = Builder::default();
                        builder.push(piece).map_err(|_| Violation::Log)?;
                        builder
                    }
                };
                *incoming = Some(Incoming { name, builder });
            }
        }
        let Some(Incoming { name, builder }) = &self.incoming else { return Err(Violation::Log) };
        if !builder.is_whole() {
            return Ok(Progress::Ask(Position::Snapshot(index, builder.next().clone())));
        }
        // It stays besides: the link may yet break before the entries after it have come.
        let directory = builder.clone().finish().map_err(|_| Violation::Log)?;
        if directory.applied() > index {
            return Err(Violation::Log);
        }
        let Name { index, epoch, cluster, admissions } = name.clone();
        if log.cluster().is_some_and(|ours| ours != cluster) {
            return Err(Violation::Cluster);
        }
        let snapshot = Snapshot { index, epoch, cluster, admissions, directory };
        self.base = Some(Base::Snapshot(Arc::new(snapshot)));
        self.next = index.next();
        Ok(Progress::Ask(Position::Entry(self.next)))
    }

    fn take_entries(
        &mut self,
        first: Index,
        entries: Vec<Arc<Entry>>,
        last: Index,
        log: &Log,
        commit: Index,
    ) -> Result<Progress, Violation> {
        if self.base.is_none() {
            let keep = first.previous();
            let held = first.0 > 0 && keep <= log.last() && keep.next() >= log.first();
            if !held || keep < commit {
                return Err(Violation::Log);
            }
            self.base = Some(Base::Keep(keep));
            self.next = first;
        }
        if first != self.next || !follows_from(first, &entries, self.epoch) {
            return Err(Violation::Log);
        }
        let none = entries.is_empty();
        self.next = Index(self.next.0.saturating_add(entries.len() as u64));
        self.entries.extend(entries);
        if self.next > last.max(self.init) {
            let Some(base) = self.base.take() else { return Err(Violation::Log) };
            return Ok(Progress::Whole(base, std::mem::take(&mut self.entries)));
        }
        // One who has less than it says would be asked for ever.
        if none { Err(Violation::Log) } else { Ok(Progress::Ask(Position::Entry(self.next))) }
    }
}

impl Consensus {
    /// How often this server went on with a snapshot of which an earlier copy had brought a part.
    #[must_use]
    pub const fn copies_gone_on_with(&self) -> u64 {
        self.copies.aside.taken_up
    }

    /// Answers with the next part of this server's log, to the leader or candidate that is obeyed,
    /// or as the leader to anyone.
    pub(super) fn handle_fetch(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        from: Position,
    ) -> Result<(), Violation> {
        let leads = matches!(&self.role, Role::Leader(leader) if leader.epoch == epoch);
        let promised = self.stored.promised;
        if !leads && (promised != epoch || self.config.members.leader(epoch) != node) {
            self.send(node, Message::Nack { epoch, promised });
            return Ok(());
        }
        let part = match from {
            Position::Outline(outline) => {
                if !outline.is_valid() {
                    return Err(Violation::Log);
                }
                match self.stored.log.outline().common(&outline) {
                    Some(common) => self.entries_part(common.next()),
                    None => self.snapshot_part(node, None),
                }
            }
            Position::Entry(first) => {
                let log = &self.stored.log;
                if first > log.last().next() {
                    return Err(Violation::Log);
                }
                if first < log.first() {
                    self.snapshot_part(node, None)
                } else {
                    self.entries_part(first)
                }
            }
            Position::Snapshot(index, cursor) => self.snapshot_part(node, Some((index, cursor))),
        };
        if let Some(part) = part {
            self.send(node, Message::Part { epoch, part });
        }
        Ok(())
    }

    fn entries_part(&mut self, first: Index) -> Option<Part> {
        let log = &self.stored.log;
        let entries = log.entries(first, PART_ENTRIES).cloned().collect();
        let last = match &self.role {
            Role::Leader(leader) => leader.init,
            _ => log.last(),
        };
        Some(Part::Entries { first, entries, last })
    }

    pub(super) fn handle_part(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        part: Part,
    ) -> Result<(), Violation> {
        let (commit, obliged) = (self.commit, self.obliged());
        let staging = match &mut self.role {
            Role::Candidate(candidate) => candidate.staging(),
            Role::Follower(_) | Role::Proposer(_) => self.copies.copying.as_deref_mut(),
            Role::Leader(_) => None,
        };
        // An answer to a question of an earlier role or epoch is of no use any more.
        let Some(staging) = staging.filter(|s| s.source == node && s.epoch == epoch) else {
            return Ok(());
        };
        if obliged > epoch {
            return Ok(());
        }
        let progress = staging.take(part, &self.stored.log, commit, &mut self.copies.aside);
        if progress.is_err() {
            staging.incoming = None;
        }
        match progress? {
            Progress::Ask(from) => {
                if matches!(self.role, Role::Candidate(_)) {
                    self.extend_retry();
                }
                self.send(node, Message::Fetch { epoch, from });
            }
            Progress::Whole(base, entries) => {
                if matches!(self.role, Role::Candidate(_)) {
                    self.adopt_fetched(base, entries);
                } else {
                    self.copies.copying = None;
                    self.adopt(epoch, base, entries);
                }
            }
        }
        Ok(())
    }

    /// The link to a server from which a log was copied has ended.
    pub(super) fn abandon_source(&mut self, node: NodeId) {
        if self.copies.copying.as_ref().is_some_and(|copying| copying.source == node) {
            self.break_off_copy();
        }
        self.abandon_candidate_source(node);
    }

    /// What is copied here or by others belongs to an epoch that is over. Whoever still needs it asks
    /// again.
    pub(super) fn end_copies(&mut self) {
        self.break_off_copy();
        self.copies.offers.epoch_ended();
    }

    /// The copy that is under way, if any, comes to no end: what has come of a snapshot is put aside,
    /// for the next one. To be called before the role changes, which may hold the copy.
    pub(super) fn break_off_copy(&mut self) {
        let copying = self.copies.copying.take();
        let copied = copying.and_then(|mut copying| copying.incoming.take());
        self.copies.aside.put(copied);
        if let Role::Candidate(candidate) = &mut self.role
            && let Some(staging) = candidate.staging()
        {
            self.copies.aside.put(staging.incoming.take());
        }
    }
}

/// Whether `entries` can stand in a log of `epoch` from `first` on: INIT is the first entry, and no
/// other.
pub(super) fn follows_from(first: Index, entries: &[Arc<Entry>], epoch: Epoch) -> bool {
    let mut index = first;
    entries.iter().all(|entry| {
        let is_init = matches!(entry.op, Op::Init(_));
        let fits = is_init == (index == Index(1)) && entry.epoch <= epoch;
        index = index.next();
        fits
    })
}
