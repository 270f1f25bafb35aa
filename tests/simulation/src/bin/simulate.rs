//! Runs many seeds, or one with its whole trace.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rollcall_simulation::{Counts, Failure, Kind, Plan, Report, Sim};

const HELP: &str = "\
Simulates clusters from seeds and checks the replication protocol after every step.

  simulate --seeds N [--from S] [--members M]   N seeds from S on, on all cores
  simulate --seed S [--members M] [--trace]     one seed, with all that happens

  --plan K    only runs of one kind: general, sessions, first-start, snapshots, hand-over,
              lost-disks, liveness, leases
  --twice     each seed two times: equal seeds must give equal runs
";

#[derive(Clone, Copy)]
struct Options {
    from: u64,
    seeds: u64,
    members: Option<u32>,
    kind: Option<Kind>,
    trace: bool,
    twice: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&args) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if options.trace { trace(options) } else { hunt(options) }
}

fn parse(args: &[String]) -> Option<Options> {
    let (kind, members) = (None, None);
    let mut options = Options { from: 0, seeds: 1, members, kind, trace: false, twice: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--trace" => options.trace = true,
            "--twice" => options.twice = true,
            "--seeds" => options.seeds = args.next()?.parse().ok()?,
            "--from" | "--seed" => options.from = args.next()?.parse().ok()?,
            "--plan" => {
                let name = args.next()?;
                let (_, kind) = Kind::ALL.into_iter().find(|(known, _)| known == name)?;
                options.kind = Some(kind);
            }
            "--members" => {
                let members = args.next()?.parse().ok();
                options.members = Some(members.filter(|n| (1..=7).contains(n))?);
            }
            _ => return None,
        }
    }
    Some(options)
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        match self.kind {
            Some(kind) => Plan::directed(kind, seed, self.members),
            None => Plan::new(seed, self.members),
        }
    }

    /// What shows one run again.
    fn replay(&self, seed: u64) -> String {
        let members = self.members.map_or(String::new(), |members| format!(" --members {members}"));
        let name = Kind::ALL.iter().find(|(_, kind)| Some(*kind) == self.kind);
        let plan = name.map_or(String::new(), |(name, _)| format!(" --plan {name}"));
        format!("cargo xtask simulate --seed {seed}{members}{plan} --trace")
    }
}

fn trace(options: Options) -> ExitCode {
    let mut sim = Sim::new(options.plan(options.from), true);
    let end = sim.run();
    for line in sim.log() {
        println!("{line}");
    }
    match end {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => fail(options, options.from, &failure),
    }
}

fn fail(options: Options, seed: u64, failure: &Failure) -> ExitCode {
    let Failure { property, what, at, steps } = failure;
    println!("seed {seed}: after {steps} steps, at {at} µs: {property}: {what}");
    println!("replay: {}", options.replay(seed));
    ExitCode::FAILURE
}

/// What all runs together were.
#[derive(Default)]
struct Total {
    steps: AtomicU64,
    done: AtomicU64,
    failed: AtomicBool,
    counts: Mutex<Counts>,
}

impl Total {
    fn add(&self, report: &Report) {
        self.steps.fetch_add(report.steps, Ordering::Relaxed);
        self.counts.lock().expect("no panic holds it").merge(&report.counts);
    }
}

/// Runs the seeds on all cores.
fn hunt(options: Options) -> ExitCode {
    let begun = Instant::now();
    let (next, total) = (AtomicU64::new(options.from), Total::default());
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
                    match run(options, seed) {
                        Ok(report) => total.add(&report),
                        Err(failure) => {
                            total.failed.store(true, Ordering::Relaxed);
                            fail(options, seed, &failure);
                        }
                    }
                    let done = total.done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(1_000) {
                        eprintln!("{done} of {} seeds, {:.0?}", options.seeds, begun.elapsed());
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (steps, done) = (total.steps.into_inner() as f64, total.done.into_inner() as f64);
    println!(
        "{done} seeds, {steps} steps in {seconds:.1} s: {:.0} steps/s, {:.0} seeds/h",
        steps / seconds,
        done / seconds * 3_600.0
    );
    println!("{}", total.counts.into_inner().expect("no panic held it"));
    if total.failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one seed, or runs it twice. A panic of the core is a failure like any other.
fn run(options: Options, seed: u64) -> Result<Report, Failure> {
    let run = || Sim::new(options.plan(seed), false).run();
    let run = || std::panic::catch_unwind(run).unwrap_or_else(|_| Err(panicked()));
    let first = run()?;
    if options.twice {
        let second = run()?;
        if second != first {
            let what = format!("{first:?}, then {second:?}");
            let (property, steps) = ("equal seeds are equal runs".to_owned(), first.steps);
            return Err(Failure { property, what, at: 0, steps });
        }
    }
    Ok(first)
}

fn panicked() -> Failure {
    let what = "the core panicked; see above".to_owned();
    Failure { property: "no panic".to_owned(), what, at: 0, steps: 0 }
}
