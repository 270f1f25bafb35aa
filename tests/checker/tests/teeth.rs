//! The checker has teeth: planted faults of the consensus are found, some by exploring a small model
//! whole, some by random walks through a larger one.
//!
//! Only with the feature `faults`: `cargo xtask test teeth`. Faults of leases, sessions and
//! snapshots are the simulator's to find.

#![cfg(feature = "faults")]

use std::sync::atomic::{AtomicU64, Ordering};

use rollcall_checker::walk::walk;
use rollcall_checker::{Bounds, Cluster};
use rollcall_replica::fault::Fault;
use stateright::Model;

fn find(fault: Fault, name: &str) -> Option<(u64, String)> {
    let bounds = Bounds::named(name).expect("is a model");
    let model = Cluster { bounds, fault: Some(fault) };
    let first = model.init_states().remove(0);
    let found = std::sync::Mutex::new(None);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while found.lock().expect("not poisoned").is_none() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= std::env::var("WALKS").map_or(300_000, |w| w.parse().unwrap()) {
                        return;
                    }
                    if let Some(what) = walk(&model, &first, number, 60) {
                        *found.lock().expect("not poisoned") = Some((number, what));
                    }
                }
            });
        }
    });
    found.into_inner().expect("not poisoned")
}

#[test]
fn planted_faults_are_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let models = std::env::var("MODELS").unwrap();
    let only = std::env::var("FAULTS").unwrap_or_default();
    for fault in
        Fault::ALL.into_iter().filter(|f| only.is_empty() || only.contains(&format!("{f:?}")))
    {
        for name in models.split(',') {
            let begun = std::time::Instant::now();
            match find(fault, name) {
                Some((number, what)) => {
                    println!("{fault:?}: {name}, walk {number}, {:?}: {what}", begun.elapsed());
                    break;
                }
                None => println!("{fault:?}: {name} nothing in {:?}", begun.elapsed()),
            }
        }
    }
    let _ = std::panic::take_hook();
}
