//! Invariant 1: committed logs of any two epochs are prefixes of one another. Part of invariant 11:
//! no server applies what is not committed in this sense.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::Replica;
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::log::Entry;

use super::Truth;

/// Compares what `node` has committed since `before` with what is known to be, and adds what is new.
pub(super) fn check(
    truth: &mut Truth,
    node: u32,
    (replica, before): (&Replica, Index),
    log: &BTreeMap<Index, Arc<Entry>>,
) -> Result<(), String> {
    let consensus = replica.consensus();
    let (commit, epoch) = (consensus.commit(), consensus.stored().established);
    // What was compared once does not change without a new process; the tail is compared again.
    let from = Index(truth.last().0.min(before.0).saturating_sub(RECHECKED)).next();
    let mut index = from;
    while index <= commit {
        // What is not held any more is in a snapshot: its own, or one of a server that had committed
        // it before. `applied_state` compares the latter.
        let held = consensus.entry(index);
        match (truth.entry(index), held) {
            (None, _) => match held.or_else(|| log.get(&index)) {
                Some(entry) => truth.push(&Arc::clone(entry), epoch),
                None => {
                    return Err(format!(
                        "server {node} committed entry {index}, which it does not have"
                    ));
                }
            },
            (Some(known), Some(entry)) if !Arc::ptr_eq(known, entry) && known != entry => {
                return Err(format!(
                    "server {node} committed {entry:?} as entry {index}, another server {known:?}"
                ));
            }
            _ => {}
        }
        index = index.next();
    }
    Ok(())
}

/// How many committed entries at the end are compared at every step.
const RECHECKED: u64 = 3;
