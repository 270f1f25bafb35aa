//! Invariant 1: committed logs of any two epochs are prefixes of one another. Part of invariant 11:
//! no server applies what is not committed in this sense.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::Replica;
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::log::Entry;

use super::Truth;

/// Compares what `node` has committed with what is known to be, and adds what is new.
pub(super) fn check(
    truth: &mut Truth,
    node: u32,
    replica: &Replica,
    log: &BTreeMap<Index, Arc<Entry>>,
) -> Result<(), String> {
    let consensus = replica.consensus();
    let commit = consensus.commit();
    // What was compared once does not change without a new process; the tail is compared again.
    let from = Index(truth.last().0.min(commit.0).saturating_sub(RECHECKED)).next();
    let mut index = from;
    while index <= commit {
        let Some(entry) = log.get(&index) else {
            // It came in a snapshot: `applied_state` compares what is left of it.
            if index > truth.last() {
                return Err(format!(
                    "server {node} committed entry {index}, which it does not have"
                ));
            }
            index = index.next();
            continue;
        };
        match truth.entry(index) {
            None => truth.push(entry, consensus.epoch()),
            Some(known) if Arc::ptr_eq(known, entry) || known == entry => {}
            Some(known) => {
                return Err(format!(
                    "server {node} committed {entry:?} as entry {index}, another server {known:?}"
                ));
            }
        }
        index = index.next();
    }
    Ok(())
}

/// How many committed entries at the end are compared at every step.
const RECHECKED: u64 = 3;
