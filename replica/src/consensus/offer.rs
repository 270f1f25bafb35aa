//! Snapshots that other servers are copying from this one, and what of the log is kept for them and
//! for those that are merely behind (R11).
//!
//! Owns which snapshot a server is offered: the one it was being sent before, as long as that is of
//! use, so that a link that breaks does not cost what has come. The copying itself is in `transfer`.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rollcall_shared::id::NodeId;

use super::ids::Index;
use super::log::{Log, Snapshot};
use super::message::Part;
use super::{Consensus, Role};
use crate::directory::snapshot::Cursor;
use crate::fault::{Fault, planted};

/// The most entries kept for servers that are behind; one that is further behind gets the snapshot.
/// As many come, at most, before a server whose link ended in the middle of a copy is given up.
const MAX_KEPT: u64 = 65_536;
/// The most entries kept after a snapshot that a server is copying: far more than come meanwhile,
/// else it would have to begin again for ever (decision 0006).
const MAX_KEPT_FOR_COPY: u64 = 1 << 20;

/// The snapshot that each server is being sent, or was when its link or the epoch ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers(BTreeMap<NodeId, Offer>);

#[derive(Clone, Debug)]
struct Offer {
    snapshot: Arc<Snapshot>,
    /// The entries after it are kept until a snapshot beyond this entry is taken; none while the link
    /// lasts on which it is copied. Nothing is kept for one that is over: it is offered as long as
    /// those entries happen to be there.
    until: Option<Index>,
}

impl Offers {
    /// See [`Consensus::digest`].
    pub(super) fn digest<H: Hasher>(&self, hasher: &mut H) {
        for (node, offer) in &self.0 {
            (node, offer.snapshot.index, offer.until).hash(hasher);
        }
    }

    /// `node` needs none any more.
    pub(super) fn end(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// The link to `node` has ended; the log ends at `last`. It may come back and go on, but it is not
    /// waited for for ever.
    pub(super) fn link_ended(&mut self, node: NodeId, last: Index) {
        if let Some(offer) = self.0.get_mut(&node) {
            let until = Index(last.0.saturating_add(MAX_KEPT));
            offer.until.get_or_insert(until);
        }
    }

    /// The epoch in which they were asked for is over: who still needs one asks again.
    pub(super) fn epoch_ended(&mut self) {
        self.0.values_mut().for_each(|offer| offer.until = Some(Index(0)));
    }

    /// Forgets those after which entries are missing: nobody could go on from there.
    pub(super) fn forget_useless(&mut self, log: &Log) {
        self.0.retain(|_, offer| log.first() <= offer.snapshot.index.next());
    }

    /// The first entry that is kept for one of them when those up to `index` become a snapshot.
    fn first_needed(&self, index: Index) -> Option<Index> {
        let waited_for = |offer: &&Offer| offer.until.is_none_or(|until| index <= until);
        let needed = self.0.values().filter(waited_for);
        needed.map(|offer| kept(index, offer.snapshot.index.next(), MAX_KEPT_FOR_COPY)).min()
    }

    #[cfg(test)]
    pub(super) fn to(&self, node: NodeId) -> Option<Index> {
        self.0.get(&node).map(|offer| offer.snapshot.index)
    }
}

impl Consensus {
    /// The piece of a snapshot that `node` asks for, or the first piece of the one it is to copy.
    ///
    /// All that decides whether this server has that snapshot is its index: a snapshot is of committed
    /// entries, so what any two servers have as that of one index is one state, whoever took it.
    pub(super) fn snapshot_part(
        &mut self,
        node: NodeId,
        at: Option<(Index, Cursor)>,
    ) -> Option<Part> {
        let newest = self.stored.log.snapshot();
        self.peers.get(&node)?;
        let before = self.copies.offers.0.get(&node).map(|offer| &offer.snapshot);
        let mut held = before.into_iter().chain(newest);
        let asked = at.and_then(|(index, cursor)| {
            Some((held.clone().find(|snapshot| snapshot.index == index)?, cursor))
        });
        let (snapshot, cursor) = match asked {
            Some(asked) => asked,
            None => (held.next()?, Cursor::start()),
        };
        let snapshot = Arc::clone(snapshot);
        let other = newest.filter(|_| planted(Fault::PieceOfNewest));
        let directory = &other.unwrap_or(&snapshot).directory;
        let part = Part::Snapshot {
            index: snapshot.index,
            epoch: snapshot.epoch,
            cluster: snapshot.cluster,
            admissions: snapshot.admissions.clone(),
            piece: directory.piece(&cursor, self.config.piece_bytes),
        };
        self.copies.offers.0.insert(node, Offer { snapshot, until: None });
        Some(part)
    }

    /// The first entry to keep when those up to `index` have become a snapshot: what linked servers
    /// have not received yet stays, and what follows the snapshots that servers are copying, within
    /// bounds (R11).
    pub(super) fn first_needed(&self, index: Index) -> Index {
        let followers = match &self.role {
            Role::Leader(leader) => leader.first_unreceived(),
            Role::Follower(_) | Role::Proposer(_) | Role::Candidate(_) => None,
        };
        let followers = followers.map(|next| kept(index, next, MAX_KEPT));
        let needed = self.copies.offers.first_needed(index).into_iter().chain(followers);
        needed.min().map_or_else(|| index.next(), |first| first.min(index.next()))
    }
}

/// The first entry kept for one who needs those from `next` on, and gets `most` at most.
fn kept(index: Index, next: Index, most: u64) -> Index {
    next.max(Index(index.0.saturating_sub(most)))
}
