//! Which sets of servers may elect and which may commit (R2, R13.1, R25).
//!
//! Owns the arithmetic alone: who is in a set, and which answers are superseded (R28), is decided
//! before.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_shared::id::NodeId;

use super::config::Members;
use super::ids::Epoch;
use crate::fault::{Fault, planted};

/// What a server says of its elections: the part of a promise that the quorum test reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The newest epoch whose initial log it has adopted.
    pub established: Epoch,
    /// All epochs it promised since.
    pub pending: BTreeSet<Epoch>,
}

/// Whether the servers of `set` can elect `epoch` (R2): a majority can; of two halves the one with
/// the leader of the newest established epoch, if no epoch promised since may have been won
/// elsewhere.
#[must_use]
pub fn elects(members: &Members, epoch: Epoch, set: &BTreeMap<NodeId, Standing>) -> bool {
    if planted(Fault::ElectWithoutQuorum) {
        return true;
    }
    if 2 * set.len() != members.count() {
        return 2 * set.len() > members.count();
    }
    let established = || set.values().map(|standing| standing.established);
    let Some(newest) = established().max() else {
        return false;
    };
    if planted(Fault::TieByEstablished) {
        return set.contains_key(&members.leader(newest));
    }
    if planted(Fault::TieByBelief) {
        return established().min().is_some_and(|oldest| set.contains_key(&members.leader(oldest)));
    }
    if planted(Fault::TieByKnown) {
        let promised = set.values().flat_map(|standing| &standing.pending).copied();
        let known = promised.filter(|promised| *promised < epoch).max().unwrap_or(newest);
        return set.contains_key(&members.leader(known.max(newest)));
    }
    // An epoch that was promised but not seen as established is harmless only if its candidate is
    // here: by promising `epoch` it reports a higher established one, or can never establish it.
    let between = |&&promised: &&Epoch| newest < promised && promised < epoch;
    let open = set.values().flat_map(|standing| &standing.pending).filter(between);
    set.contains_key(&members.leader(newest))
        && open.map(|&epoch| members.leader(epoch)).all(|candidate| set.contains_key(&candidate))
}

/// Whether `count` voters commit (R13.1): more than half, or exactly half with the leader.
#[must_use]
pub const fn commits(members: &Members, count: usize, with_leader: bool) -> bool {
    2 * count > members.count() || (2 * count == members.count() && with_leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(n: u32) -> Members {
        Members::new((1..=n).map(NodeId)).unwrap()
    }

    fn set(standings: &[(u32, u64, &[u64])]) -> BTreeMap<NodeId, Standing> {
        let standing = |established, pending: &[u64]| Standing {
            established: Epoch(established),
            pending: pending.iter().copied().map(Epoch).collect(),
        };
        standings.iter().map(|&(id, est, pend)| (NodeId(id), standing(est, pend))).collect()
    }

    #[test]
    fn every_majority_elects_and_no_minority() {
        for n in 1..=7_u32 {
            for count in 0..=n {
                let ids: Vec<_> = (1..=count).map(|id| (id, 0, &[][..])).collect();
                if 2 * count != n {
                    assert_eq!(elects(&members(n), Epoch(9), &set(&ids)), 2 * count > n);
                }
            }
        }
    }

    #[test]
    fn of_two_halves_the_one_with_the_leader_of_the_newest_epoch() {
        let four = members(4);
        assert!(elects(&four, Epoch(1), &set(&[(4, 0, &[]), (1, 0, &[])])));
        assert!(!elects(&four, Epoch(1), &set(&[(3, 0, &[]), (2, 0, &[])])));
        // Epoch 1 is led by 3: who knows of it no longer follows 4.
        assert!(elects(&four, Epoch(5), &set(&[(3, 1, &[]), (2, 0, &[])])));
        assert!(!elects(&four, Epoch(4), &set(&[(4, 0, &[]), (2, 1, &[])])));
    }

    #[test]
    fn a_promise_to_someone_elsewhere_forbids_the_tie() {
        let four = members(4);
        assert!(!elects(&four, Epoch(4), &set(&[(4, 0, &[1, 4]), (1, 0, &[4])])));
        assert!(elects(&four, Epoch(4), &set(&[(4, 0, &[1, 4]), (3, 0, &[4])])));
        // One at or below the newest established epoch says nothing.
        assert!(elects(&four, Epoch(8), &set(&[(4, 4, &[8]), (1, 0, &[1, 4, 8])])));
    }

    #[test]
    fn two_servers_need_the_leader() {
        let two = members(2);
        assert!(elects(&two, Epoch(2), &set(&[(2, 0, &[2])])));
        assert!(!elects(&two, Epoch(1), &set(&[(1, 0, &[1])])));
    }

    #[test]
    fn half_commits_with_the_leader_only() {
        assert!(commits(&members(4), 2, true));
        assert!(!commits(&members(4), 2, false));
        assert!(commits(&members(3), 2, false));
        assert!(!commits(&members(3), 1, true));
        assert!(commits(&members(1), 1, true));
    }
}
