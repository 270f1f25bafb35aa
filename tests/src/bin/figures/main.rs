//! `cargo xtask figures`: how long a cluster of three does not serve its clients when something
//! happens to it, measured on real processes, as a client sees it over WebSocket.
//!
//! Owns the command line and the course of a measurement. It reports and never judges: that a machine
//! is slow is no failure.

mod client;
mod damage;
mod figure;
mod product;
mod report;
mod servers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use rollcall_tests::measuring::{interrupted, say};
use tokio::time::timeout;

use figure::{FIGURES, Figure};
use report::Report;
use servers::Runner;

/// What may go wrong in a run.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Measures how long a cluster of three does not serve its clients when something happens to it.

  cargo xtask figures [--runs N] [NAME…]   all figures, or those whose name contains one of NAME

  --runs N     how often each is measured (10); every run has a fresh cluster
  --logs DIR   keeps what servers and client logged, in DIR/FIGURE/RUN; servers log more then
  --list       names the figures and says exactly what each measures

Servers are `rollcall serve --in-memory` of the release build, on free ports of 127.0.0.1. All times
are in milliseconds. The aims are those for an idle machine; a figure that misses its aim is shown
as it is, and is no failure. All figures take about three minutes. Where others use the machine too,
what they do is measured as well; `chrt --rr 1 cargo xtask figures`, once all is built, goes before
them (as root).

The client of most figures is linked to all servers. It sends a request to one of them; when that
link closes, when that server says that it goes away or refuses, or when 50 ms have passed without an
answer, it sends the very same request (origin, id) to the next one, and takes whichever answer comes
first. The figures named `client-…` measure the client library as it is instead.
";

/// How long a run may take before it counts as failed: then the cluster does not come back at all.
const PATIENCE: Duration = Duration::from_secs(30);

struct Options {
    runs: usize,
    logs: Option<PathBuf>,
    figures: Vec<&'static Figure>,
}

#[tokio::main(flavor = "current_thread")]
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
            eprintln!("figures: {fault}\n\n{}", HELP.trim_end());
            return ExitCode::from(2);
        }
    };
    // What was started ends with what is dropped here.
    tokio::select! {
        code = measure(options) => code,
        () = interrupted() => ExitCode::from(130),
    }
}

async fn measure(options: Options) -> ExitCode {
    let mut failed = false;
    let mut report = Report::begin(options.runs);
    for figure in options.figures {
        report.figure(figure);
        for run in 0..options.runs {
            let logs = options.logs.as_ref().map(|dir| dir.join(figure.name).join(run.to_string()));
            let outcome = match timeout(PATIENCE, figure.run(Runner::new(run, logs))).await {
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
    let (mut runs, mut logs, mut names) = (10, None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => {
                let number = args.next().and_then(|number| number.parse().ok());
                runs = number.filter(|runs| *runs > 0).ok_or("--runs takes a number from 1 on")?;
            }
            "--logs" => logs = Some(args.next().ok_or("--logs takes a folder")?.into()),
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
    Ok(Options { runs, logs, figures: FIGURES.iter().filter(wanted).collect() })
}
