//! The command line of `rollcall`: which commands there are, and what runs for each.
//!
//! One file per command; flags that several share are in [`args`], where their values come from
//! besides the command line in [`settings`], exit statuses in [`failure`].

pub(crate) mod args;
mod backup;
mod bench;
mod client;
mod connect;
mod dev;
pub(crate) mod escape;
pub(crate) mod failure;
mod lookup;
mod output;
mod readmit;
mod restore;
mod sequence;
mod serve;
pub(crate) mod settings;
mod signals;
mod status;
mod values;
mod watch;

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use args::GlobalArgs;
use failure::Failure;

/// Tells who is online and where to reach them, pushes every change to whoever asked, and hands out
/// one global order of numbers: with strong consistency, over plain WebSocket.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "rollcall",
    version,
    about = "Who is online, where to reach them, and one global order, over WebSocket",
    arg_required_else_help = true,
    after_help = HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Connect(connect::Connect),
    Lookup(lookup::Lookup),
    Sequence(sequence::Sequence),
    Watch(watch::Watch),
    Status(status::Status),
    Bench(bench::Bench),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Readmit(readmit::Readmit),
}

impl Command {
    /// Whether the command runs servers; the others only talk to them.
    const fn runs_servers(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Dev(_))
    }
}

/// Does what the command line says.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let settings::Invocation { cli, matches } =
        settings::parse(arguments, |name| std::env::var_os(name))?;
    let default = if cli.command.runs_servers() { "info" } else { "warn" };
    let filter = cli.global.log.as_deref().unwrap_or(default);
    crate::logging::start(filter, cli.global.log_format);
    match cli.command {
        Command::Serve(serve) => current_thread()?.block_on(serve.run()),
        Command::Dev(dev) => {
            let passed = dev::passed_flags(&matches);
            current_thread()?.block_on(dev.run(passed))
        }
        Command::Connect(connect) => current_thread()?.block_on(connect.run()),
        Command::Lookup(lookup) => current_thread()?.block_on(lookup.run()),
        Command::Sequence(sequence) => current_thread()?.block_on(sequence.run()),
        Command::Watch(watch) => current_thread()?.block_on(watch.run()),
        Command::Status(status) => current_thread()?.block_on(status.run()),
        Command::Bench(bench) => all_cores()?.block_on(bench.run()),
        Command::Backup(backup) => current_thread()?.block_on(backup.run()),
        Command::Restore(restore) => restore.run(),
        Command::Readmit(readmit) => readmit.run(),
    }
}

/// For what waits more than it works, and for a server, which starts threads of its own.
fn current_thread() -> Result<Runtime, Failure> {
    build(&mut tokio::runtime::Builder::new_current_thread())
}

/// For what makes load.
fn all_cores() -> Result<Runtime, Failure> {
    build(&mut tokio::runtime::Builder::new_multi_thread())
}

fn build(builder: &mut tokio::runtime::Builder) -> Result<Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::Refused(format!("the runtime does not start: {error}")))
}

const HELP: &str = "\
EXAMPLES
  A cluster to try things with, and its console in the browser:
    rollcall dev

  In other terminals: be online, ask, and see changes as they come:
    rollcall connect ann 203.0.113.7 4711
    rollcall lookup ann bob
    rollcall watch

SETTINGS
  Each flag also has an environment variable, ROLLCALL_ and the flag's name (--data-dir:
  ROLLCALL_DATA_DIR), and a key in the file named by --config. Flags win over the environment, the
  environment over the file, the file over defaults.

EXIT STATUS
  0 done; 1 the cluster said no; 2 the command line or a setting is wrong; 3 no server could be
  reached.

'rollcall help COMMAND' says more about each.";
