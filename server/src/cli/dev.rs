//! `rollcall dev`: a local cluster, one child process per server.
//!
//! Owns starting, naming and ending the children; each is an ordinary `rollcall serve`. A child
//! ends when its standard input does, so that none outlives this process, however that ends.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::{ArgMatches, Args};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rollcall_server::config;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::args::{GlobalArgs, Storage, Tunables};
use super::failure::Failure;
use super::signals::Signals;
use super::{output, serve, settings, values};

/// Run a local cluster to try things with
///
/// Starts a cluster on this machine, each server a process of its own on the next port from
/// --base-port. Prints for each its id, process id and URL, then `ready`, and on standard error
/// where the web console is. A server that ends is not started again, so that you can kill one and
/// watch what happens; where none is left, this ends too, with status 1. Ctrl-C ends them all.
/// Tuning flags are passed on to every server.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dev {
    /// How many servers (more than 1: not yet, this version runs one)
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = values::whole(1..=99))]
    size: u64,
    /// Port of the first server; the others take the next ones; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = config::BASE_PORT,
          value_parser = values::base_port)]
    base_port: u16,
    // In memory is where `dev` keeps its state unless told otherwise.
    #[command(flatten)]
    storage: Storage,
    #[command(flatten)]
    tunables: Tunables,
}

/// What `dev` was told that its servers are to be told as well.
pub(super) fn passed_flags(matches: &ArgMatches) -> Vec<OsString> {
    let mut keys = settings::keys_of::<Tunables>();
    keys.extend(settings::keys_of::<GlobalArgs>().into_iter().filter(|key| key != "config"));
    settings::flags(matches, &keys)
}

impl Dev {
    pub(super) async fn run(self, passed: Vec<OsString>) -> Result<(), Failure> {
        if self.size > 1 {
            return Err(Failure::Usage(
                "--size above 1 is not there yet: this version runs one server".to_owned(),
            ));
        }
        serve::require_memory(&self.storage, true)?;
        let mut config = config::Config::default();
        self.tunables.clone().apply(&mut config);
        config.validate().map_err(|fault| Failure::Usage(fault.to_string()))?;

        let mut signals = Signals::listen()?;
        let mut cluster = Vec::new();
        for id in 1..=self.size {
            match self.start(id, &passed, &mut signals).await {
                Ok(Some(server)) => {
                    output::line(&server.line)?;
                    cluster.push(server);
                }
                Ok(None) => return end(cluster, &mut signals).await,
                Err(failure) => {
                    end(cluster, &mut signals).await?;
                    return Err(failure);
                }
            }
        }
        output::line("ready")?;
        if let Some(console) = cluster.first().and_then(Server::console) {
            eprintln!("console: {console} (Ctrl-C ends the cluster)");
        }
        watch_over(cluster, &mut signals).await
    }

    /// Starts a server and waits for its line; nothing if a signal came first.
    async fn start(
        &self,
        id: u64,
        passed: &[OsString],
        signals: &mut Signals,
    ) -> Result<Option<Server>, Failure> {
        let offset = u16::try_from(id - 1).unwrap_or(u16::MAX);
        let port = match self.base_port {
            0 => 0,
            base => base.checked_add(offset).ok_or_else(|| {
                Failure::Usage(format!("--base-port {base} leaves no port for server {id}"))
            })?,
        };
        let mut child = spawn(id, port, passed)
            .map_err(|error| Failure::Refused(format!("server {id} does not start: {error}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = signals.next() => Ok(None),
        };
        let mut server = Server { id, line: String::new(), child, stdin };
        match line {
            Ok(Some(line)) => Ok(Some(Server { line, ..server })),
            _ => match server.child.try_wait() {
                Ok(None) => {
                    // Alive without a line: it was a signal, or it is about to end.
                    let status = server.end(FIRST_LINE_GRACE).await;
                    if status.is_some_and(|status| !status.success()) {
                        return Err(server.failed(status));
                    }
                    Ok(None)
                }
                ended => Err(server.failed(ended.ok().flatten())),
            },
        }
    }
}

struct Server {
    id: u64,
    /// What it said when it listened: `server 1 pid 4242 ws://127.0.0.1:7101/ws`.
    line: String,
    child: Child,
    /// Its end is the server's.
    stdin: Option<ChildStdin>,
}

impl Server {
    fn console(&self) -> Option<String> {
        let url = self.line.split_whitespace().last()?;
        let host = url.strip_prefix("ws://")?.strip_suffix("/ws")?;
        Some(format!("http://{host}/"))
    }

    /// Asks the server to end, and ends it after `patience`.
    async fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.stdin = None;
        if let Ok(status) = tokio::time::timeout(patience, self.child.wait()).await {
            return status.ok();
        }
        eprintln!("server {} does not end: killed", self.id);
        // An error here means that it has ended by now.
        let _ = self.child.start_kill();
        self.child.wait().await.ok()
    }

    fn failed(&self, status: Option<ExitStatus>) -> Failure {
        let shown = status.map_or_else(|| "?".to_owned(), |status| status.to_string());
        let text = format!(
            "server {} did not start ({shown}); see above. Ports count from --base-port",
            self.id
        );
        match status.and_then(|status| status.code()) {
            Some(2) => Failure::Usage(text),
            _ => Failure::Refused(text),
        }
    }
}

fn spawn(id: u64, port: u16, passed: &[OsString]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", "--in-memory", "--exit-with-stdin"])
        .args([format!("--id={id}"), format!("--listen=127.0.0.1:{port}")])
        .args(passed)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // The flags say it all; a variable meant for another server must not add to them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    // The terminal sends Ctrl-C to its whole group; this process passes it on in good order.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Says when a server has ended, until a signal ends all of them or none is left.
async fn watch_over(mut cluster: Vec<Server>, signals: &mut Signals) -> Result<(), Failure> {
    while !cluster.is_empty() {
        let (gone, status) = {
            let mut ends: FuturesUnordered<_> = cluster
                .iter_mut()
                .map(|server| async { (server.id, server.child.wait().await) })
                .collect();
            tokio::select! {
                Some(ended) = ends.next() => ended,
                () = signals.next() => {
                    drop(ends);
                    return end(cluster, signals).await;
                }
            }
        };
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        eprintln!("server {gone} has ended ({status}); it is not started again");
        cluster.retain(|server| server.id != gone);
    }
    Err(Failure::Refused("no server is left".to_owned()))
}

/// Ends all servers, those that do not hear by force; a further signal is force at once.
async fn end(mut cluster: Vec<Server>, signals: &mut Signals) -> Result<(), Failure> {
    let mut ends: FuturesUnordered<_> =
        cluster.iter_mut().map(|server| server.end(END_GRACE)).collect();
    let all = async { while ends.next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        // The rest are killed when they are dropped.
        () = signals.next() => {}
    }
    Ok(())
}

/// How long a server may take to say goodbye to its clients.
const END_GRACE: Duration = Duration::from_secs(10);
/// How long one may take that has not begun.
const FIRST_LINE_GRACE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
EXAMPLES
  A server on ports from 7101, its console at http://127.0.0.1:7101/:
    rollcall dev

  On other ports, with registrations that expire a second after their client is gone:
    rollcall dev --base-port 7201 --session-grace-ms 1000";
