//! Explores the models by name and says how many states each has.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rollcall_checker::walk::walk;
use rollcall_checker::{Bounds, Cluster, bounds};
use stateright::{Checker, Model};

const HELP: &str = "\
Explores every run of the consensus core within bounds.

  cargo xtask check NAME…     these models
  cargo xtask check short     those that `cargo xtask test` explores, in a minute
  cargo xtask check all       all; the largest take hours and gigabytes

  --walks N   takes N random walks through each instead, of 120 steps at most
";

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() || names.iter().any(|name| name == "--help") {
        say(help());
        return ExitCode::SUCCESS;
    }
    let (mut models, mut walks) = (Vec::new(), None);
    let mut names = names.iter();
    while let Some(name) = names.next() {
        match name.as_str() {
            "--walks" => match names.next().and_then(|number| number.parse().ok()) {
                Some(number) => walks = Some(number),
                None => {
                    eprintln!("check: --walks takes a number");
                    return ExitCode::from(2);
                }
            },
            "all" => models.extend(bounds::ALL),
            "short" => models.extend(bounds::ALL.into_iter().filter(|bounds| bounds.short)),
            name => match Bounds::named(name) {
                Some(bounds) => models.push(bounds),
                None => {
                    eprintln!("check: no model is called {name:?}\n\n{}", help());
                    return ExitCode::from(2);
                }
            },
        }
    }
    let look = |bounds: &Bounds| walks.map_or_else(|| explore(bounds), |n| wander(bounds, n));
    let sound = models.iter().filter(|bounds| !look(bounds)).count() == 0;
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn help() -> String {
    let mut help = HELP.to_owned();
    for bounds in bounds::ALL {
        let short = if bounds.short { ", short" } else { "" };
        help += &format!("\n  {:<18} {}{short}", bounds.name, bounds.words());
    }
    help
}

/// Writes a line for whoever reads; when nobody does any more, all is said.
fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Whether all is well on random walks.
fn wander(bounds: &Bounds, walks: u64) -> bool {
    let begun = Instant::now();
    let model = Cluster::new(*bounds);
    let Some(first) = model.init_states().pop() else { return false };
    let (next, sound) = (AtomicU64::new(0), AtomicBool::new(true));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= walks {
                        return;
                    }
                    if let Some(what) = walk(&model, &first, number, 120) {
                        sound.store(false, Ordering::Relaxed);
                        say(format_args!("{}, walk {number}: {what}", bounds.name));
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    say(format_args!("{:<18} {walks:>11} walks, {seconds:>6.1} s", bounds.name));
    sound.into_inner()
}

/// Whether all is well.
fn explore(bounds: &Bounds) -> bool {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = Cluster::new(*bounds).checker().threads(threads).spawn_dfs().join();
    let seconds = begun.elapsed().as_secs_f64();
    say(format_args!(
        "{:<18} {:>11} states, depth {:>3}, {seconds:>6.1} s",
        bounds.name,
        checker.unique_state_count(),
        checker.max_depth(),
    ));
    for (property, path) in checker.discoveries() {
        if property == "safe" {
            say(format_args!("{path:?}"));
        }
    }
    let missing = ["the last epoch is led", "all writes are committed later"];
    let missing = missing.iter().filter(|name| checker.discovery(name).is_none());
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        say(format_args!("  never reached: {missing:?}"));
    }
    checker.discovery("safe").is_none() && missing.is_empty()
}
