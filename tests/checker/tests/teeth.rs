//! The checker has teeth: planted faults of the consensus are found by exploring a small model whole,
//! by random walks through a larger one, or by a run written down.
//!
//! `cargo xtask test 'teeth of checker'` prints how each was found. Faults of leases, sessions and
//! snapshots are the simulator's to find.

// What was found, and after how much, is for a person to read.
#![allow(clippy::print_stdout)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rollcall_checker::walk::walk;
use rollcall_checker::{Bounds, Cluster, script};
use rollcall_replica::fault::Fault::{self, *};
use stateright::{Checker, HasDiscoveries, Model};

/// Faults that a model shows when it is explored whole.
const EXPLORED: [(Fault, &str); 14] = [
    (ElectWithoutQuorum, "pair"),
    (OldEpochsObeyed, "three"),
    (TieByBelief, "pair"),
    (PromisesForgotten, "pair-crash"),
    (TieByKnown, "pair"),
    (TieByEstablished, "pair"),
    (HighestPromiseOnly, "pair"),
    (ReceiptOutlivesLink, "pair"),
    (PromiseBeforeDurable, "pair-crash"),
    (ReplyBeforeCommit, "pair-crash"),
    (PushBeforeCommit, "pair-crash"),
    (LogByLastEntry, "pair"),
    (RestartResumesEpoch, "pair-crash"),
    (BlankVotes, "pair-disk"),
];

/// Faults that random walks show, and how many must be enough.
const WALKED: [(Fault, &str, u64); 2] =
    [(AdmitCountsItself, "four-disk", 400_000), (AckBeforeDurable, "three-crash", 200_000)];

fn model(fault: Fault, name: &str) -> Cluster {
    Cluster { bounds: Bounds::named(name).expect("there is such a model"), fault: Some(fault) }
}

/// After how many states the exploring finds something, and what.
fn explore(fault: Fault, name: &str) -> Option<(usize, String)> {
    let checker = model(fault, name).checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let end = checker.discovery("safe")?.into_states().pop()?;
    Some((checker.unique_state_count(), end.violation?))
}

/// After how many walks something is found, and what.
fn wander(fault: Fault, name: &str, walks: u64) -> Option<(u64, String)> {
    let model = model(fault, name);
    let first = model.init_states().pop()?;
    let (next, found) = (AtomicU64::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while found.lock().expect("no panic holds it").is_none() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= walks {
                        return;
                    }
                    if let Some(what) = walk(&model, &first, number, STEPS) {
                        *found.lock().expect("no panic holds it") = Some((number + 1, what));
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panic held it")
}

const STEPS: usize = 60;

/// Runs `check` without the messages of panics, which are findings here.
fn quietly<T>(check: impl FnOnce() -> T) -> T {
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(check));
    let _ = std::panic::take_hook();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn planted_faults_are_found() {
    let mut missed = Vec::new();
    let mut report = |fault: Fault, name: &str, found: Option<String>| match found {
        Some(found) => println!("{fault:?}: {name}, {found}"),
        None => missed.push(fault),
    };
    quietly(|| {
        for (fault, name) in EXPLORED {
            let found = explore(fault, name);
            report(fault, name, found.map(|(states, what)| format!("{states} states: {what:.60}")));
        }
        for (fault, name, walks) in WALKED {
            let found = wander(fault, name, walks);
            report(fault, name, found.map(|(walks, what)| format!("{walks} walks: {what:.60}")));
        }
    });
    let mut model = Cluster::new(script::bounds_of_a_replaced_server());
    model.fault = Some(SupersededPromise);
    let run = script::promise_of_a_replaced_server(&model);
    report(SupersededPromise, "a run written down", run.violation().map(str::to_owned));
    assert!(missed.is_empty(), "the checks are too weak for {missed:?}");
}
