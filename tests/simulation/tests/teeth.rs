//! The simulator has teeth: every planted fault is found within a stated number of seeds, by a
//! property that does not hold or by an assertion of the core.
//!
//! `cargo xtask test 'teeth of simulation'` prints how many seeds each took.

// What was found, and after how much, is for a person to read.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall_replica::fault::Fault::{self, *};
use rollcall_replica::fault::plant;
use rollcall_simulation::Kind::{self, *};
use rollcall_simulation::{Count, Counts, Plan, Sim};

/// The kind of run that shows each fault, and how many seeds must be enough.
const FAULTS: [(Fault, Kind, u64); 29] = [
    (CommitWithoutQuorum, Sessions, 1_000),
    (ElectWithoutQuorum, General, 100),
    (ReadsByBelief, Sessions, 200),
    (OldEpochsObeyed, Leases, 1_000),
    (TieByBelief, HandOver, 500),
    (PromisesForgotten, General, 100),
    (TieByKnown, HandOver, 1_500),
    (TieByEstablished, HandOver, 500),
    (HighestPromiseOnly, HandOver, 3_000),
    (ReceiptOutlivesLink, General, 200),
    (CommitOfOtherEpoch, HandOver, 300),
    (ExpirySharesRevision, Sessions, 100),
    (AckBeforeDurable, HandOver, 6_000),
    (PromiseBeforeDurable, HandOver, 500),
    (ReplyBeforeCommit, General, 20),
    (PushBeforeCommit, General, 20),
    (LeaseFromReceipt, Leases, 600),
    (RestartResumesEpoch, General, 50),
    (DedupeLostInSnapshot, General, 100),
    (ExpiryOfAttached, Sessions, 300),
    (NumberAtArrival, General, 20),
    (BlankVotes, General, 200),
    (GrantBeyondLease, Leases, 2_000),
    (NoWaitForOldLeases, Sessions, 200),
    (NoWaitForLeaseHolders, Sessions, 50),
    (LeaseOutlivesPromise, HandOver, 500),
    (ShownWithoutTail, General, 50),
    (HalfOfAnother, Snapshots, 2_000),
    (PieceOfNewest, Snapshots, 2_000),
];

/// Those that the checker finds sooner: `tests/checker/tests/teeth.rs` holds it to them.
const BY_THE_CHECKER: [Fault; 3] = [LogByLastEntry, AdmitCountsItself, SupersededPromise];

/// After how many seeds a fault is found, and by what.
fn find(fault: Fault, kind: Kind, seeds: u64) -> Option<(u64, String)> {
    plant(Some(fault));
    let found = (0..seeds).find_map(|seed| {
        match catch_unwind(|| Sim::new(Plan::directed(kind, seed, None), false).run()) {
            Ok(Ok(_)) => None,
            Ok(Err(failure)) => Some((seed + 1, failure.property)),
            Err(_) => Some((seed + 1, "an assertion of the core".to_owned())),
        }
    });
    plant(None);
    found
}

#[test]
fn every_planted_fault_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(fault, kind, seeds)) =
                    FAULTS.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let by = find(fault, kind, seeds);
                    found.lock().expect("no panic holds it").insert(fault, (kind, by));
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let found = found.into_inner().expect("no panic held it");
    for (fault, (kind, by)) in &found {
        match by {
            Some((seeds, by)) => println!("{fault:?}: {seeds} seeds of {kind:?}, by {by}"),
            None => println!("{fault:?}: NOT FOUND among {kind:?}"),
        }
    }
    assert!(found.values().all(|(_, by)| by.is_some()), "a check is too weak");
}

#[test]
fn no_fault_is_left_out() {
    let known = FAULTS.iter().map(|(fault, ..)| *fault).chain(BY_THE_CHECKER);
    let mut known: Vec<_> = known.collect();
    known.sort();
    let mut all = Fault::ALL.to_vec();
    all.sort();
    assert_eq!(known, all);
}

#[test]
fn without_a_fault_nothing_is_found() {
    let mut counts = Counts::default();
    for (name, kind) in Kind::ALL {
        for seed in 0..40 {
            match Sim::new(Plan::directed(kind, seed, None), false).run() {
                Ok(report) => counts.merge(&report.counts),
                Err(failure) => panic!("{name} {seed}: {failure:?}"),
            }
        }
    }
    println!("{counts}");
    for count in OF_DISKS {
        assert!(counts.of(count) > 0, "{count:?} never happens");
    }
}

/// What happens to disks, even in so few runs.
const OF_DISKS: [Count; 11] = [
    Count::LostDisk,
    Count::FailedDisk,
    Count::FullDisk,
    Count::FailedOperation,
    Count::BrokenOpening,
    Count::Roll,
    Count::SnapshotWritten,
    Count::TornTail,
    Count::DamageFound,
    Count::DamageHarmless,
    Count::TailLost,
];
