//! `cargo xtask disk`: what it costs to keep the state on disk, measured on real processes.
//!
//! Owns the command line and the course of a measurement. It reports and never judges: that a machine
//! is slow is no failure.

mod bench;
mod etcd;
mod figure;
mod http2;
mod link;
mod load;
mod million;
mod place;
mod report;
mod server;
mod speed;
mod sync;
mod upkeep;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use rollcall_tests::measuring::{interrupted, say};
use tokio::time::timeout;

use figure::{FIGURES, Figure};
use place::Bed;
use report::Report;

/// What may go wrong in a run.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Measures what it costs to keep the state on disk.

  cargo xtask disk [--runs N] [NAME…]   all figures, or those whose name contains one of NAME

  --runs N     how often each is measured (5)
  --dir DIR    where data goes: a folder on the disk to be measured, in which a new one is made and
               removed at the end (where cargo puts what it builds); 1 GB has to be free
  --list       names the figures and says exactly what each measures

Servers are `rollcall serve` of the release build, on free ports of 127.0.0.1. Those whose figures are
compared run at the same time and are measured in turn, in another order in each run; a ratio is that
of the two figures of one run, and its median is taken over the runs. The aims are those for an idle
machine; a figure that misses its aim is shown as it is, and is no failure. All figures take about
ten minutes. Whatever else uses the machine or its disk is measured as well. `chrt --rr 1 cargo xtask
disk`, once all is built, goes before others (as root) as far as processors go: the disk stays shared,
and of threads with that priority a short task no longer goes before a long one.
";

/// How long a run may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(600);

struct Options {
    runs: usize,
    dir: Option<PathBuf>,
    figures: Vec<&'static Figure>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flags: &[&str]| args.iter().any(|arg| flags.contains(&arg.as_str()));
    if has(&["--help", "-h"]) {
        say(HELP.trim_end());
        return ExitCode::SUCCESS;
    }
    if has(&["--list"]) {
        FIGURES.iter().for_each(|figure| say(figure.description()));
        return ExitCode::SUCCESS;
    }
    let options = match parse(&args) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("disk: {fault}\n\n{}", HELP.trim_end());
            return ExitCode::from(2);
        }
    };
    let bed = match Bed::make(options.dir.clone()) {
        Ok(bed) => bed,
        Err(fault) => {
            eprintln!("disk: {fault}");
            return ExitCode::FAILURE;
        }
    };
    // What was started and made ends with what is dropped here.
    tokio::select! {
        code = measure(options, &bed) => code,
        () = interrupted() => ExitCode::from(130),
    }
}

async fn measure(options: Options, bed: &Bed) -> ExitCode {
    let mut failed = false;
    let mut report = Report::begin(options.runs, bed.to_string());
    for figure in options.figures {
        report.figure(figure);
        for run in 0..options.runs {
            let outcome = match timeout(PATIENCE, figure.run(bed, run)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("nothing came for {PATIENCE:?}").into()),
            };
            if let Err(fault) = &outcome {
                failed = true;
                eprintln!("  {} run {}: {fault}", figure.name, run + 1);
            }
            report.take(outcome.ok());
        }
        say(report.last());
    }
    say(report.end());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse(args: &[String]) -> std::result::Result<Options, String> {
    let (mut runs, mut dir, mut names) = (5, None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => {
                let number = args.next().and_then(|number| number.parse().ok());
                runs = number.filter(|runs| *runs > 0).ok_or("--runs takes a number from 1 on")?;
            }
            "--dir" => dir = Some(args.next().ok_or("--dir takes a folder")?.into()),
            flag if flag.starts_with('-') => return Err(format!("there is no option {flag}")),
            name if FIGURES.iter().any(|figure| figure.name.contains(name)) => names.push(name),
            name => {
                let known: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
                return Err(format!("no figure is named {name}; there are {}", known.join(", ")));
            }
        }
    }
    let wanted =
        |figure: &&Figure| names.is_empty() || names.iter().any(|name| figure.name.contains(name));
    Ok(Options { runs, dir, figures: FIGURES.iter().filter(wanted).collect() })
}
