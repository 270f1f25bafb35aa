//! `rollcall dev`: a local cluster, one child process per server.
//!
//! Owns starting, naming and ending the children; each is an ordinary `rollcall serve`. A child
//! ends when its standard input does, so that none outlives this process, however that ends.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::{ArgMatches, Args};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rollcall_server::config;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::args::{GlobalArgs, Storage, Tunables};
use super::failure::Failure;
use super::signals::Signals;
use super::{output, settings, values};

/// Run a local cluster to try things with
///
/// Starts a cluster on this machine, each server a process of its own on the next port from
/// --base-port. Prints for each its id, process id and URL, then `ready` when all of them answer,
/// and on standard error where the web console is. A server that ends is not started again, so that you can kill one and
/// watch what happens; where none is left, this ends too, with status 1. Ctrl-C ends them all. Each
/// keeps its state in a folder of its own below --data-dir; without it and --in-memory, below a new
/// one among the system's temporary files, which is removed at the end.
/// Tuning flags are passed on to every server.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dev {
    /// How many servers; with an even number the half with the leader goes on when they part
    #[arg(long, value_name = "COUNT", default_value_t = 3,
          value_parser = values::cluster_size)]
    size: u16,
    /// Port of the first server; the others take the next ones; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = config::BASE_PORT,
          value_parser = values::base_port)]
    base_port: u16,
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
        let mut config = config::Config::default();
        self.tunables.clone().apply(&mut config);
        config.validate().map_err(|fault| Failure::Usage(fault.to_string()))?;

        let ports = self.ports()?;
        let place = Place::choose(&self.storage)?;
        let mut signals = Signals::listen()?;
        let mut cluster = Vec::new();
        for (id, _) in (1..).zip(&ports) {
            match Server::spawn(id, &ports, &place, &passed) {
                Ok(server) => cluster.push(server),
                Err(error) => {
                    end(cluster, &mut signals).await?;
                    return Err(Failure::Refused(format!("server {id} does not start: {error}")));
                }
            }
        }
        match introduce(&mut cluster, &mut signals).await {
            Ok(true) => {}
            Ok(false) => return end(cluster, &mut signals).await,
            Err(failure) => {
                end(cluster, &mut signals).await?;
                return Err(failure);
            }
        }
        watch_over(cluster, &mut signals).await
    }

    /// The port of each server.
    fn ports(&self) -> Result<Vec<u16>, Failure> {
        let Self { base_port: base, size, .. } = *self;
        if base == 0 {
            return free_ports(size)
                .map_err(|error| Failure::Refused(format!("no port is free: {error}")));
        }
        if base.checked_add(size - 1).is_none() {
            let fault = format!("--base-port {base} leaves no port for server {size}");
            return Err(Failure::Usage(fault));
        }
        Ok((0..size).map(|offset| base + offset).collect())
    }
}

/// Ports in a row that nobody listens on. They are below those that the system gives out by itself,
/// so that no other program gets one by chance before a server does.
fn free_ports(count: u16) -> std::io::Result<Vec<u16>> {
    let mut fault = None;
    for _ in 0..TRIES {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let first = FREE_PORTS.start + u16::from_le_bytes(random) % FREE_PORTS.len() as u16;
        let ports = first..first + count;
        let bind = |port| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port));
        match ports.clone().map(bind).collect::<std::io::Result<Vec<_>>>() {
            Ok(_) => return Ok(ports.collect()),
            Err(error) => fault = Some(error),
        }
    }
    Err(fault.unwrap_or_else(|| std::io::Error::other("none was tried")))
}

/// Prints what each server says when it listens, in order; false if a signal came first.
async fn introduce(cluster: &mut [Server], signals: &mut Signals) -> Result<bool, Failure> {
    for server in cluster {
        let line = tokio::select! {
            line = server.lines.next_line() => line,
            () = signals.next() => return Ok(false),
        };
        let Ok(Some(line)) = line else {
            // It has ended, or is about to.
            let status = server.end(FIRST_LINE_GRACE).await;
            return match status {
                Some(status) if status.success() => Ok(false),
                status => Err(server.failed(status)),
            };
        };
        output::line(&line)?;
        server.line = line;
    }
    Ok(true)
}

/// Where the servers keep their state.
enum Place {
    Memory,
    /// In a folder for each below this one.
    Folder(PathBuf),
    /// The same, and all of it is removed at the end.
    Temporary(PathBuf),
}

impl Place {
    fn choose(storage: &Storage) -> Result<Self, Failure> {
        if let Some(folder) = &storage.data_dir {
            return Ok(Self::Folder(folder.clone()));
        }
        if storage.in_memory {
            return Ok(Self::Memory);
        }
        let mut random = [0; 4];
        let failed = |error: &dyn std::fmt::Display| {
            Failure::Refused(format!("no temporary folder can be made: {error}"))
        };
        getrandom::fill(&mut random).map_err(|error| failed(&error))?;
        let name = format!("rollcall-dev-{:08x}", u32::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        // It is new, and nobody else may look into it.
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).create(&path).map_err(|error| failed(&error))?;
        output::aside(format_args!("data: {} (removed at the end)", path.display()));
        Ok(Self::Temporary(path))
    }

    fn of(&self, id: u64) -> Option<PathBuf> {
        match self {
            Self::Memory => None,
            Self::Folder(path) | Self::Temporary(path) => Some(path.join(id.to_string())),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            output::aside(format_args!("{} cannot be removed: {error}", path.display()));
        }
    }
}

struct Server {
    id: u64,
    /// What it said when it listened: `server 1 pid 4242 ws://127.0.0.1:7101/ws`.
    line: String,
    port: u16,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its end is the server's.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Starts a server of the cluster whose servers 1, 2, … have these ports.
    fn spawn(id: u64, ports: &[u16], place: &Place, passed: &[OsString]) -> std::io::Result<Self> {
        let (port, mut child) = spawn(id, ports, place, passed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.expect("standard output is piped");
        let lines = BufReader::new(stdout).lines();
        Ok(Self { id, line: String::new(), port, child, lines, stdin })
    }

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
        output::aside(format_args!("server {} does not end: killed", self.id));
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

/// Starts the process of a server; its port too.
fn spawn(
    id: u64,
    ports: &[u16],
    place: &Place,
    passed: &[OsString],
) -> std::io::Result<(u16, Child)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--exit-with-stdin"]).arg(format!("--id={id}"));
    match place.of(id) {
        Some(folder) => command.arg("--data-dir").arg(folder),
        None => command.arg("--in-memory"),
    };
    let mut own = 0;
    for (server, &port) in (1..).zip(ports) {
        if server == id {
            own = port;
            command.arg(format!("--listen=127.0.0.1:{port}"));
        } else {
            command.arg(format!("--member={server}=ws://127.0.0.1:{port}/peer"));
        }
    }
    command.args(passed).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    // The flags say it all; a variable meant for another server must not add to them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    // The terminal sends Ctrl-C to its whole group; this process passes it on in good order.
    #[cfg(unix)]
    command.process_group(0);
    Ok((own, command.spawn()?))
}

/// Says when all servers answer, and when one has ended, until a signal ends all of them or none is
/// left.
async fn watch_over(mut cluster: Vec<Server>, signals: &mut Signals) -> Result<(), Failure> {
    let (mut announced, mut warned) = (false, false);
    let late = tokio::time::Instant::now() + READY;
    while !cluster.is_empty() {
        let ports: Vec<u16> = cluster.iter().map(|server| server.port).collect();
        let gone = {
            let mut ends: FuturesUnordered<_> = cluster
                .iter_mut()
                .map(|server| async { (server.id, server.child.wait().await) })
                .collect();
            tokio::select! {
                Some(ended) = ends.next() => Some(ended),
                () = all_answer(&ports), if !announced => {
                    announced = true;
                    output::line("ready")?;
                    None
                }
                () = tokio::time::sleep_until(late), if !announced && !warned => {
                    warned = true;
                    output::aside(format_args!("the servers find no leader among them; see their log above"));
                    None
                }
                () = signals.next() => {
                    drop(ends);
                    return end(cluster, signals).await;
                }
            }
        };
        if let Some((gone, status)) = gone {
            let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
            output::aside(format_args!(
                "server {gone} has ended ({status}); it is not started again"
            ));
            cluster.retain(|server| server.id != gone);
        } else if announced && let Some(console) = cluster.first().and_then(Server::console) {
            output::aside(format_args!("console: {console} (Ctrl-C ends the cluster)"));
        }
    }
    Err(Failure::Refused("no server is left".to_owned()))
}

/// Waits until the servers on these ports answer lookups.
async fn all_answer(ports: &[u16]) {
    for &port in ports {
        while !matches!(answers(port).await, Ok(true)) {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// What `/readyz` says; it takes its time where no leader is heard.
async fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut status = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
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
/// How long the servers may take to find each other before that is said.
const READY: Duration = Duration::from_secs(10);
/// How long to wait before a server is asked again whether it is ready.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// How long one may take that has not begun.
const FIRST_LINE_GRACE: Duration = Duration::from_secs(2);

/// Where free ports are looked for.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many rows of ports are tried.
const TRIES: usize = 100;

const EXAMPLES: &str = "\
EXAMPLES
  Three servers on ports 7101 to 7103, their console at http://127.0.0.1:7101/:
    rollcall dev

  A single one:
    rollcall dev --size 1

  Three that find their state again the next time:
    rollcall dev --data-dir rollcall-data

  On other ports, with registrations that expire a second after their client is gone:
    rollcall dev --base-port 7201 --session-grace-ms 1000";
