//! `rollcall serve`: one server, until it is asked to end.
//!
//! Owns the command's flags, its line on standard output and its signals; the server itself is the
//! library's.

use std::io::Read as _;
use std::net::SocketAddr;

use clap::Args;
use rollcall_server::config::{self, Config};
use rollcall_server::{Server, StartError};
use rollcall_shared::id::NodeId;
use rollcall_storage::{OpenError, Refused};
use tokio::sync::oneshot;

use super::args::{Storage, Tunables, default_data_dir};
use super::failure::Failure;
use super::signals::Signals;
use super::{output, values};

/// Run one server
///
/// Runs one server of a cluster in the foreground. Clients, the web console, the browser client and
/// the endpoints for operators (/metrics, /healthz, /readyz) share its one port. Once it listens it
/// prints one line with its id, process id and URL to standard output; its log goes to standard
/// error. Ctrl-C or SIGTERM ends it after it has handed over what it leads and its clients were told
/// to move; a second signal ends it at once.
///
/// What it must not forget it keeps in a folder, --data-dir, which survives the loss of power of all
/// servers at once: nothing is acknowledged before it is on disk. The folder belongs to one server;
/// it is made where there is none. With --in-memory a server forgets when it ends.
///
/// The servers of a cluster are given with --member, the same ones to each of them, 7 at most. They
/// go on as long as more than half of them see each other: 3 servers bear the loss of any one, 5 of
/// any two. With an even number, exactly half go on if the leader of before is among them, and the
/// other half answers no_quorum. So of two servers the leader goes on alone, and the other one never
/// does: it cannot tell whether the leader is dead or only cut off.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Number of this server within its cluster, from 1
    #[arg(long, value_name = "ID", default_value_t = NodeId(1), value_parser = values::node_id)]
    id: NodeId,
    /// IP address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value_t = config::LISTEN,
          value_parser = values::listen)]
    listen: SocketAddr,
    /// Another server of the cluster and its URL, such as 2=ws://127.0.0.1:7102/peer; may be
    /// repeated
    #[arg(long = "member", value_name = "ID=URL", value_parser = values::member)]
    members: Vec<(NodeId, String)>,
    /// WebSocket URL by which clients reach this server [default: made from --listen]
    #[arg(long, value_name = "URL", value_parser = config::websocket_url)]
    advertise: Option<String>,
    #[command(flatten)]
    storage: Storage,
    #[command(flatten)]
    tunables: Tunables,
    /// End when standard input does: for a parent process that may vanish
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let exit_with_stdin = self.exit_with_stdin;
        let config = self.config()?;
        let (id, members) = (config.id, config.members.len() + 1);
        let mut signals = Signals::listen()?;
        let server = Server::bind(config).await.map_err(|error| start_failure(id, &error))?;
        tracing::info!(%id, address = %server.local_addr(), url = server.url(), "listening");
        if let Some(rule) = tie_rule(members) {
            tracing::info!("{rule}");
        }
        output::line(format_args!("server {id} pid {} {}", std::process::id(), server.url()))?;

        let (stop, stopped) = oneshot::channel::<()>();
        let run = server.run(async move {
            // An error means that the sender is gone, which is an end as well.
            let _ = stopped.await;
        });
        let mut run = std::pin::pin!(run);
        let mut stdin = exit_with_stdin.then(end_of_stdin);
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                ended = &mut run => {
                    ended.map_err(|error| Failure::Refused(format!("server {id}: {error}")))?;
                    tracing::info!(%id, "ended");
                    return Ok(());
                }
                () = signals.next() => {
                    if stop.take().is_none() {
                        return Err(Failure::Refused("ended at once by a second signal".to_owned()));
                    }
                    tracing::info!("asked to end; a second signal ends at once");
                }
                () = wait(&mut stdin) => {
                    stdin = None;
                    if stop.take().is_some() {
                        tracing::info!("standard input has ended, and so does the server");
                    }
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn storage(&self) -> &Storage {
        &self.storage
    }

    fn config(self) -> Result<Config, Failure> {
        let mut config = Config::new(self.id, self.listen);
        let Storage { in_memory, data_dir } = self.storage;
        config.data_dir =
            (!in_memory).then(|| data_dir.unwrap_or_else(|| default_data_dir(self.id)));
        config.members = self.members;
        config.advertise = self.advertise;
        self.tunables.apply(&mut config);
        config.validate().map_err(|fault| Failure::Usage(fault.to_string()))?;
        Ok(config)
    }
}

/// What an even number of servers means, for the one who runs them.
fn tie_rule(members: usize) -> Option<String> {
    match members {
        2 => Some(
            "2 servers: the leader goes on alone where the other one is lost or cut off; without \
             the leader the other one answers no_quorum. 3 servers bear the loss of any one"
                .to_owned(),
        ),
        even if even.is_multiple_of(2) => Some(format!(
            "{even} servers, an even number: of two equal halves the one with the current leader \
             goes on and the other answers no_quorum; {} servers bear the loss of as many",
            even - 1
        )),
        _ => None,
    }
}

/// A setting that cannot be used is told from a machine that does not play along.
fn start_failure(id: NodeId, error: &StartError) -> Failure {
    let text = format!("server {id}: {error}");
    match error {
        StartError::Config(_)
        | StartError::Members(_)
        | StartError::Tokens(_)
        | StartError::OtherMembers(..)
        | StartError::RestoredElsewhere(..)
        | StartError::Storage(_, OpenError::Refused(Refused::WrongServer { .. })) => {
            Failure::Usage(text)
        }
        StartError::Listen(..)
        | StartError::Randomness(_)
        | StartError::Folder(_)
        | StartError::NobodyToCopyFrom(_)
        | StartError::Storage(..) => Failure::Refused(text),
    }
}

/// Resolves when standard input ends. A thread of its own reads: it would block the runtime's.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 64];
        // An error ends it as well: then nobody can say anything there any more.
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        // The receiver is gone when the server has ended.
        let _ = sender.send(());
    });
    receiver
}

async fn wait(end: &mut Option<oneshot::Receiver<()>>) {
    match end {
        Some(end) => {
            let _ = end.await;
        }
        None => std::future::pending().await,
    }
}

const EXAMPLES: &str = "\
EXAMPLES
  A server on the default port that keeps its state in ./rollcall-data/1:
    rollcall serve

  One that forgets everything when it stops:
    rollcall serve --in-memory

  One of three on this machine; the others say the same of each other:
    rollcall serve --id 1 --listen 127.0.0.1:7101 \\
      --member 2=ws://127.0.0.1:7102/peer --member 3=ws://127.0.0.1:7103/peer

  One for other machines, with its settings in a file and its log for a collector:
    rollcall serve --id 1 --listen 0.0.0.0:7101 --data-dir /var/lib/rollcall \\
      --advertise ws://rollcall.example:7101/ws --config rollcall.toml --log-format json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_servers_is_told_what_that_means() {
        for odd in [1, 3, 5, 7] {
            assert_eq!(tie_rule(odd), None);
        }
        assert!(tie_rule(2).unwrap().contains("the leader goes on alone"));
        let six = tie_rule(6).unwrap();
        assert!(
            six.contains("the one with the current leader") && six.contains("5 servers"),
            "{six}"
        );
    }
}
