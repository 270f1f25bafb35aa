//! Runs many seeds, or one with its whole trace.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rollcall_simulation::{Counts, Failure, Kind, Plan, Report, Sim};

const HELP: &str = "\
Simulates clusters from seeds and checks the replication protocol after every step.

  cargo xtask simulate --seeds N [--from S]   N seeds from S (0) on, on all cores; how it went
  cargo xtask simulate --seed S [--trace]     one seed; --trace prints all that happens in it

  --members M   only clusters of M servers, 1 to 7
  --plan K      only runs of one kind: general, sessions, first-start, snapshots, hand-over,
                lost-disks, liveness, leases
  --twice       each seed two times: equal seeds must give equal runs

Of 4,000 seeds or more, all that is counted must happen somewhere.

100,000 seeds take about six minutes on two cores. A seed that fails prints the command that shows it.
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
    if args.is_empty() || args.iter().any(|arg| arg == "--help") {
        say(HELP.trim_end());
        return ExitCode::SUCCESS;
    }
    match parse(&args) {
        Ok(options) if options.trace => trace(options),
        Ok(options) => hunt(options),
        Err(fault) => {
            eprintln!("simulate: {fault}\n\n{}", HELP.trim_end());
            ExitCode::from(2)
        }
    }
}

/// Writes a line for whoever reads; when nobody does any more, all is said.
fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let (kind, members) = (None, None);
    let mut options = Options { from: 0, seeds: 1, members, kind, trace: false, twice: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--trace" => options.trace = true,
            "--twice" => options.twice = true,
            "--seeds" => options.seeds = number(arg, args.next())?,
            "--from" | "--seed" => options.from = number(arg, args.next())?,
            "--plan" => {
                let name = args.next().map_or("", String::as_str);
                let kind = Kind::ALL.into_iter().find(|(known, _)| *known == name);
                let (_, kind) = kind.ok_or_else(|| format!("there is no plan {name:?}"))?;
                options.kind = Some(kind);
            }
            "--members" => {
                let members = number(arg, args.next())?;
                let members = u32::try_from(members).ok().filter(|n| (1..=7).contains(n));
                options.members = Some(members.ok_or("--members is 1 to 7")?);
            }
            _ => return Err(format!("there is no option {arg}")),
        }
    }
    Ok(options)
}

fn number(option: &str, value: Option<&String>) -> Result<u64, String> {
    let number = value.and_then(|value| value.parse().ok());
    number.ok_or_else(|| format!("{option} takes a number"))
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        match self.kind {
            Some(kind) => Plan::directed(kind, seed, self.members),
            None => Plan::new(seed, self.members),
        }
    }

    /// Whether there are so many runs, of all kinds, that all should happen in them.
    const fn is_varied(&self) -> bool {
        self.seeds >= 4_000 && self.kind.is_none() && self.members.is_none()
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
        say(line);
    }
    match end {
        Ok(report) => {
            say(format_args!("{report:?}"));
            ExitCode::SUCCESS
        }
        Err(failure) => fail(options, options.from, &failure),
    }
}

fn fail(options: Options, seed: u64, failure: &Failure) -> ExitCode {
    let Failure { property, what, at, steps } = failure;
    say(format_args!("seed {seed}: after {steps} steps, at {at} µs: {property}: {what}"));
    say(format_args!("replay: {}", options.replay(seed)));
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
    say(format_args!(
        "{done} seeds, {steps} steps in {seconds:.1} s: {:.0} steps/s, {:.0} seeds/h",
        steps / seconds,
        done / seconds * 3_600.0
    ));
    let counts = total.counts.into_inner().expect("no panic held it");
    say(&counts);
    // Of so many runs of all kinds none must be without something that should happen.
    let missing = if options.is_varied() { counts.missing() } else { Vec::new() };
    if !missing.is_empty() {
        say(format_args!("never happened: {}", missing.join(", ")));
    }
    let failed = total.failed.into_inner() || !missing.is_empty();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
