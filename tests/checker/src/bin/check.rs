//! Explores the models by name and says how many states each has.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Instant;

use rollcall_checker::{Bounds, Cluster, bounds};
use stateright::{Checker, Model};

const HELP: &str = "\
Explores every run of the consensus core within bounds.

  check [NAME…]   these models, or all: ";

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    // One flag, which is no model's name, ends up at the help.
    let models = if names.is_empty() {
        Some(bounds::ALL.to_vec())
    } else {
        names.iter().map(|name| Bounds::named(name)).collect()
    };
    let Some(models) = models else {
        eprintln!("{HELP}{}", bounds::ALL.map(|bounds| bounds.name).join(" "));
        return ExitCode::from(2);
    };
    let sound = models.into_iter().filter(|bounds| !explore(bounds)).count() == 0;
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all is well.
fn explore(bounds: &Bounds) -> bool {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = Cluster::new(*bounds).checker().threads(threads).spawn_dfs().join();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:<18} {:>11} states, depth {:>3}, {:>6.1} s",
        bounds.name,
        checker.unique_state_count(),
        checker.max_depth(),
        seconds
    );
    for (property, path) in checker.discoveries() {
        if property == "safe" {
            println!("{path:?}");
        }
    }
    let missing = ["the last epoch is led", "all writes are committed later"];
    let missing = missing.iter().filter(|name| checker.discovery(name).is_none());
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        println!("  never reached: {missing:?}");
    }
    checker.discovery("safe").is_none() && missing.is_empty()
}
