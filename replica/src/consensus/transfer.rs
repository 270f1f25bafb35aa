//! Copying a log from another server, part by part: from the best server before leading (R10), from
//! the leader before following (R11).
//!
//! The one who copies asks for each part, so neither side holds more than one part in flight, and
//! the one who sends keeps nothing but the snapshot it sends from. What has come is put aside until
//! it is whole: the log changes in one record.

use std::hash::Hash;
use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::admissions::Admissions;
use super::ids::{ClusterId, Epoch, Index};
use super::journal::Base;
use super::log::{Entry, Log, MAX_INDEX, Op, Snapshot};
use super::message::{Message, Part, Position};
use super::peer::Violation;
use super::{Consensus, Role};
use crate::directory::snapshot::{Builder, Cursor};

/// The most entries in a part: about 400 KiB where each carries all the metadata it may.
pub(super) const PART_ENTRIES: usize = 256;
/// About how many bytes a piece of a snapshot has.
const PIECE_BYTES: usize = 128 * 1024;

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
    /// The snapshot that is coming.
    incoming: Option<Incoming>,
    /// The entry to come next, once the base is known.
    next: Index,
}

/// A snapshot of which some pieces have come.
#[derive(Clone, Debug)]
struct Incoming {
    index: Index,
    epoch: Epoch,
    cluster: ClusterId,
    admissions: Admissions,
    builder: Builder,
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
        let incoming = self.incoming.as_ref().map(|incoming| (incoming.index, incoming.epoch));
        (self.epoch, self.source, self.init, base, self.entries.clone(), incoming, self.next)
    }

    fn take(&mut self, part: Part, log: &Log, commit: Index) -> Result<Progress, Violation> {
        match part {
            Part::Entries { first, entries, last } => {
                self.take_entries(first, entries, last, log, commit)
            }
            Part::Snapshot { index, epoch, cluster, admissions, piece } => {
                if index < commit || index.0 == 0 || index.0 > MAX_INDEX || epoch > self.epoch {
                    return Err(Violation::Log);
                }
                if self.incoming.as_ref().is_none_or(|incoming| incoming.index != index) {
                    let builder = Builder::default();
                    (self.base, self.entries) = (None, Vec::new());
                    self.incoming = Some(Incoming { index, epoch, cluster, admissions, builder });
                }
                let Some(incoming) = &mut self.incoming else { return Err(Violation::Log) };
                let next = piece.next.clone();
                incoming.builder.push(piece).map_err(|_| Violation::Log)?;
                if let Some(at) = next {
                    return Ok(Progress::Ask(Position::Snapshot(index, at)));
                }
                let Some(incoming) = self.incoming.take() else { return Err(Violation::Log) };
                let Incoming { index, epoch, cluster, admissions, builder } = incoming;
                let directory = builder.finish().map_err(|_| Violation::Log)?;
                if directory.applied() > index {
                    return Err(Violation::Log);
                }
                if log.cluster().is_some_and(|ours| ours != cluster) {
                    return Err(Violation::Cluster);
                }
                let snapshot = Snapshot { index, epoch, cluster, admissions, directory };
                self.base = Some(Base::Snapshot(Arc::new(snapshot)));
                self.next = index.next();
                Ok(Progress::Ask(Position::Entry(self.next)))
            }
        }
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

    /// A piece of the snapshot that `node` is fetching, or the first piece of the newest one.
    fn snapshot_part(&mut self, node: NodeId, at: Option<(Index, Cursor)>) -> Option<Part> {
        let newest = self.stored.log.snapshot().cloned();
        let peer = self.peers.get_mut(&node)?;
        let (snapshot, cursor) = match (peer.transfer.clone(), at) {
            (Some(snapshot), Some((index, cursor))) if snapshot.index == index => {
                (snapshot, cursor)
            }
            _ => (newest?, Cursor::start()),
        };
        peer.transfer = Some(Arc::clone(&snapshot));
        Some(Part::Snapshot {
            index: snapshot.index,
            epoch: snapshot.epoch,
            cluster: snapshot.cluster,
            admissions: snapshot.admissions.clone(),
            piece: snapshot.directory.piece(&cursor, PIECE_BYTES),
        })
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
            Role::Follower(_) | Role::Proposer(_) => self.copying.as_deref_mut(),
            Role::Leader(_) => None,
        };
        // An answer to a question of an earlier role or epoch is of no use any more.
        let Some(staging) = staging.filter(|s| s.source == node && s.epoch == epoch) else {
            return Ok(());
        };
        if obliged > epoch {
            return Ok(());
        }
        let progress = staging.take(part, &self.stored.log, commit)?;
        match progress {
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
                    self.copying = None;
                    self.adopt(epoch, base, entries);
                }
            }
        }
        Ok(())
    }

    /// The link to a server from which a log was copied has ended.
    pub(super) fn abandon_source(&mut self, node: NodeId) {
        self.copying.take_if(|copying| copying.source == node);
        self.abandon_candidate_source(node);
    }

    /// What is copied here or by others belongs to an epoch that is over. Whoever still needs it asks
    /// again.
    pub(super) fn end_copies(&mut self) {
        self.copying = None;
        for peer in self.peers.values_mut() {
            peer.transfer = None;
        }
    }

    /// The first entry to keep when those up to `index` have become a snapshot: what linked servers
    /// have not received yet stays, within a bound (R11).
    pub(super) fn first_needed(&self, index: Index) -> Index {
        let held = |next: Index, most: u64| next.max(Index(index.0.saturating_sub(most)));
        let transfers = self.peers.values().filter_map(|peer| peer.transfer.as_ref());
        let transfers = transfers.map(|snapshot| held(snapshot.index.next(), MAX_KEPT_FOR_COPY));
        let followers = match &self.role {
            Role::Leader(leader) => leader.first_unreceived(),
            Role::Follower(_) | Role::Proposer(_) | Role::Candidate(_) => None,
        };
        let followers = followers.map(|next| held(next, MAX_KEPT));
        transfers.chain(followers).min().map_or_else(|| index.next(), |n| n.min(index.next()))
    }
}

/// The most entries kept for servers that are behind; one that is further behind gets the snapshot.
const MAX_KEPT: u64 = 65_536;
/// The most entries kept after a snapshot that a server is copying: far more than come meanwhile,
/// else it would have to begin again for ever (decision 0006).
const MAX_KEPT_FOR_COPY: u64 = 1 << 20;

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
