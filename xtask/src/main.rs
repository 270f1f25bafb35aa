//! `cargo xtask`: builds, runs and tests Rollcall with nothing but Rust installed.
//!
//! Here is the command line only; each command lives in the module of its name.

mod dev;
mod figures;
mod glue;
mod npm;
mod packaged;
mod process;
mod runtimes;
mod search;
mod silence;
mod smoke;
mod soak;
mod squeeze;
mod suite;
mod test;
mod tools;
mod types;
mod web;
mod workspace;

use std::io::Write as _;
use std::process::ExitCode;

use process::Result;
use workspace::Workspace;

const HELP: &str = "\
Builds, runs and tests Rollcall.

  cargo xtask dev [ARGS…]     build everything, run a local cluster with the web console;
                              ARGS go to `rollcall dev`, for example --base-port 7201
  cargo xtask test [FILTER]   all checks and tests; with FILTER only the steps whose name
                              contains it, and what these need
  cargo xtask simulate ARGS…  run simulated clusters from seeds and check the replication protocol
                              after every step, for example --seeds 100000; --help tells more
  cargo xtask check NAME…     explore models of small clusters whole; --help names them
  cargo xtask soak            clients of a cluster whose servers are hurt one after the other, for
                              minutes; --help tells more
  cargo xtask herd            thousands of clients come back to a server that died; --help tells more
  cargo xtask figures NAME…   measure how long a cluster does not serve when a server is killed,
                              stopped or shut down; --help tells more
  cargo xtask disk NAME…      measure what it costs to keep the state on disk; --help tells more
  cargo xtask web             build the browser client to target/web/client
  cargo xtask npm             write the npm package to target/npm/rollcall-client
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    match args {
        ["dev", rest @ ..] => dev::run(&Workspace::load()?, rest),
        ["test"] => test::run(&Workspace::load()?, ""),
        ["test", filter] if !filter.starts_with('-') => test::run(&Workspace::load()?, filter),
        ["simulate", rest @ ..] => search::simulate(&Workspace::load()?, rest),
        ["check", rest @ ..] => search::check(&Workspace::load()?, rest),
        [name @ ("figures" | "disk"), rest @ ..] => figures::run(&Workspace::load()?, name, rest),
        ["soak", rest @ ..] => soak::soak(&Workspace::load()?, rest),
        ["herd", rest @ ..] => soak::herd(&Workspace::load()?, rest),
        ["web"] => web::run(&Workspace::load()?).map(|()| ExitCode::SUCCESS),
        ["npm"] => npm::run(&Workspace::load()?).map(|()| ExitCode::SUCCESS),
        [] | ["help" | "--help" | "-h", ..] => {
            write!(std::io::stdout(), "{HELP}")?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("xtask: unknown command: {}\n\n{HELP}", args.join(" "));
            Ok(ExitCode::from(2))
        }
    }
}
