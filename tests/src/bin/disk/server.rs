//! `rollcall serve` processes on free ports: in memory, or with their state in a folder.
//!
//! Owns the processes from their start to their end. Dropping one ends it; it also ends when this
//! program is gone without a chance to end it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rollcall_tests::{
    http::{Response, exchange},
    roaming::{Place, ask_once},
    server::bare_command,
};
use serde_json::json;
use tokio::{
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::sleep,
};

use crate::Result;

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) place: Place,
    child: Child,
    log: PathBuf,
    /// Its end would end the server, and waiting for the child would close it there.
    _stdin: Option<ChildStdin>,
}

/// Where a server keeps its state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keeps<'a> {
    Memory,
    In(&'a Path),
}

impl Server {
    /// Starts a server that is alone, with further flags, and waits for nothing. Its log goes to
    /// `scratch`.
    pub(crate) fn begin(keeps: Keeps<'_>, scratch: &Path, flags: &[&str]) -> Result<Self> {
        let place = free_places(1)?[0];
        Self::spawn(place, &[], keeps, scratch, flags)
    }

    /// The same, and waits until it is ready.
    pub(crate) async fn start(keeps: Keeps<'_>, scratch: &Path, flags: &[&str]) -> Result<Self> {
        let mut server = Self::begin(keeps, scratch, flags)?;
        server.is_ready().await?;
        Ok(server)
    }

    fn spawn(
        place: Place,
        others: &[Place],
        keeps: Keeps<'_>,
        scratch: &Path,
        flags: &[&str],
    ) -> Result<Self> {
        let log = scratch.join(format!("server-{}.log", place.address.port()));
        let mut command = Command::from(bare_command(scratch));
        command.args(["serve", "--exit-with-stdin", "--log", "warn"]);
        command.args(["--id", &place.id.to_string(), "--listen", &place.address.to_string()]);
        match keeps {
            Keeps::Memory => command.arg("--in-memory"),
            Keeps::In(folder) => command.arg("--data-dir").arg(folder),
        };
        for other in others {
            command.args(["--member", &format!("{}=ws://{}/peer", other.id, other.address)]);
        }
        command.args(flags).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn()?;
        Ok(Self { place, _stdin: child.stdin.take(), child, log })
    }

    /// Waits until it says that it is ready.
    async fn is_ready(&mut self) -> Result {
        let address = self.place.address;
        loop {
            self.runs()?;
            if TcpStream::connect(address).await.is_ok() {
                let head = format!("Host: {address}\r\nConnection: close\r\n\r\n");
                let request = format!("GET /readyz HTTP/1.1\r\n{head}");
                if Response::parse(&exchange(address, request.as_bytes()).await).status == 200 {
                    return Ok(());
                }
            }
            sleep(POLL).await;
        }
    }

    /// Says why, if it does not run any more.
    pub(crate) fn runs(&mut self) -> Result {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                Err(format!("server {} has ended ({status}): {log}", self.place.id).into())
            }
        }
    }

    /// Where clients connect to.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.place.address)
    }

    /// Ends it without a chance to say goodbye, and waits until its process is gone.
    pub(crate) async fn kill(mut self) -> Result {
        Ok(self.child.kill().await?)
    }
}

/// Starts three servers that are one cluster, each in memory or with a folder below `scratch`, and
/// waits until all are ready.
pub(crate) async fn start_three(on_disk: bool, scratch: &Path) -> Result<Vec<Server>> {
    let places = free_places(3)?;
    let mut servers = Vec::new();
    for place in &places {
        let others: Vec<_> = places.iter().filter(|other| *other != place).copied().collect();
        let folder = scratch.join(place.id.to_string());
        let keeps = if on_disk { Keeps::In(&folder) } else { Keeps::Memory };
        servers.push(Server::spawn(*place, &others, keeps, scratch, &[])?);
    }
    for server in &mut servers {
        server.is_ready().await?;
    }
    Ok(servers)
}

/// The one that leads.
pub(crate) async fn leader(servers: &[Server]) -> Result<&Server> {
    loop {
        for server in servers {
            let status = ask_once(server.place, "GetStatus", &json!({})).await;
            let status = status.ok_or("a server does not say how it is")?;
            if status["payload"]["role"] == "leader" {
                return Ok(server);
            }
        }
        sleep(POLL).await;
    }
}

/// Places for servers from 1 on, on ports that were free just now.
fn free_places(count: u64) -> Result<Vec<Place>> {
    let ports = free_ports(usize::try_from(count)?)?;
    Ok((1..).zip(ports).map(|(id, address)| Place { id, address }).collect())
}

/// Addresses that were free just now.
pub(crate) fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    // All are held before any is let go, so that none comes twice.
    let held: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    Ok(held?.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?)
}

const POLL: Duration = Duration::from_millis(5);
