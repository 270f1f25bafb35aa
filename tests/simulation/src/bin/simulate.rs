//! Runs many seeds, or one with its whole trace.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rollcall_simulation::{Failure, Plan, Report, Sim};

const HELP: &str = "\
Simulates clusters from seeds and checks the replication protocol after every step.

  simulate --seeds N [--from S] [--members M]   N seeds from S on, on all cores
  simulate --seed S [--members M] [--trace]     one seed, with all that happens
";

struct Options {
    from: u64,
    seeds: u64,
    members: Option<u32>,
    trace: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&args) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if options.trace { trace(&options) } else { hunt(&options) }
}

fn parse(args: &[String]) -> Option<Options> {
    let mut options = Options { from: 0, seeds: 1, members: None, trace: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--trace" {
            options.trace = true;
            continue;
        }
        let value: u64 = args.next()?.parse().ok()?;
        match arg.as_str() {
            "--seeds" => options.seeds = value,
            "--from" | "--seed" => options.from = value,
            "--members" => {
                options.members = Some(u32::try_from(value).ok().filter(|n| (1..=7).contains(n))?);
            }
            _ => return None,
        }
    }
    Some(options)
}

fn trace(options: &Options) -> ExitCode {
    let mut sim = Sim::new(Plan::new(options.from, options.members), true);
    let end = sim.run();
    for line in sim.log() {
        println!("{line}");
    }
    match end {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => fail(options.from, options.members, &failure),
    }
}

fn fail(seed: u64, members: Option<u32>, failure: &Failure) -> ExitCode {
    let members = members.map_or(String::new(), |members| format!(" --members {members}"));
    let Failure { property, what, at, steps } = failure;
    println!("seed {seed}: after {steps} steps, at {at} µs: {property}: {what}");
    println!("replay: cargo xtask simulate --seed {seed}{members} --trace");
    ExitCode::FAILURE
}

/// Runs the seeds on two threads.
fn hunt(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let (next, steps, done) = (AtomicU64::new(options.from), AtomicU64::new(0), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    let end = options.from + options.seeds;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    match run(seed, options.members) {
                        Ok(report) => {
                            steps.fetch_add(report.steps, Ordering::Relaxed);
                        }
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            fail(seed, options.members, &failure);
                        }
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(1_000) {
                        eprintln!("{done} of {} seeds, {:.0?}", options.seeds, begun.elapsed());
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (steps, done) = (steps.into_inner() as f64, done.into_inner() as f64);
    println!(
        "{done} seeds, {steps} steps in {seconds:.1} s: {:.0} steps/s, {:.0} seeds/h",
        steps / seconds,
        done / seconds * 3_600.0
    );
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one seed. A panic of the core is a failure like any other.
fn run(seed: u64, members: Option<u32>) -> Result<Report, Failure> {
    let run = || Sim::new(Plan::new(seed, members), false).run();
    std::panic::catch_unwind(run).unwrap_or_else(|_| {
        let what = "the core panicked; see above".to_owned();
        Err(Failure { property: "no panic".to_owned(), what, at: 0, steps: 0 })
    })
}
