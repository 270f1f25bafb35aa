//! etcd as the system has it, and how many puts a second it takes.

use std::{io::ErrorKind, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use rollcall_tests::http::{Response, exchange};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Result,
    http2::Http2,
    load::{IN_FLIGHT, LINKS},
    server::free_ports,
};

/// A single etcd with its data in a folder. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Etcd {
    address: SocketAddr,
    child: Child,
}

impl Etcd {
    /// Starts it with default settings; none where it is not installed.
    pub(crate) async fn start(folder: &Path) -> Result<Option<Self>> {
        let addresses = free_ports(2)?;
        let [clients, peers] = [0, 1].map(|which| format!("http://{}", addresses[which]));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder).args(["--log-level", "error"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.kill_on_drop(true).spawn() {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        let mut etcd = Self { address: addresses[0], child };
        etcd.is_ready().await?;
        Ok(Some(etcd))
    }

    async fn is_ready(&mut self) -> Result {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("etcd has ended ({status})").into());
            }
            if TcpStream::connect(self.address).await.is_ok() {
                let request = "GET /health HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n";
                let answer = exchange(self.address, request.as_bytes()).await;
                if Response::parse(&answer).status == 200 {
                    return Ok(());
                }
            }
            sleep(POLL).await;
        }
    }

    /// Puts values for so long on as many connections, with as many calls under way on each, as
    /// Rollcall is asked with; how many a second were answered.
    pub(crate) async fn puts(&self, time: Duration) -> Result<f64> {
        let begun = Instant::now();
        let mut connections = JoinSet::new();
        for connection in 0..LINKS {
            let (address, end) = (self.address, begun + time);
            connections.spawn(async move {
                put(address, connection, end).await.map_err(|fault| fault.to_string())
            });
        }
        let mut count = 0;
        while let Some(ended) = connections.join_next().await {
            count += ended??;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Puts until then, and says how many puts were answered.
async fn put(address: SocketAddr, connection: u32, end: Instant) -> Result<usize> {
    let mut link = Http2::open(address, "/etcdserverpb.KV/Put").await?;
    let (mut sent, mut count, mut free) = (0, 0, IN_FLIGHT);
    while Instant::now() < end {
        for slot in sent..sent + free {
            let key = format!("figure-{connection}-{}", slot % IN_FLIGHT);
            link.feed(&message(&key, "sixteen bytes 16"));
        }
        sent += free;
        link.flush().await?;
        free = link.returned().await?;
        count += free;
    }
    Ok(count)
}

/// An `etcdserverpb.PutRequest`: the key is its field 1, the value its field 2.
fn message(key: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, text) in [(0x0A, key), (0x12, value)] {
        bytes.push(tag);
        bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 128).expect("short"));
        bytes.extend(text.as_bytes());
    }
    bytes
}

const POLL: Duration = Duration::from_millis(20);
