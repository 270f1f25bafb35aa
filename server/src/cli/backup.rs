//! `rollcall backup`: the state of a running cluster as a file.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rollcall_server::data;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::args::ClientArgs;
use super::failure::Failure;
use super::output;
use super::output::counted;

/// Save the state of a running cluster to a file
///
/// Asks the first server of --server that answers for all there is: users, sessions with what they
/// are remembered for, and the sequence, as they are at one moment, with everything in it that was
/// acknowledged before. The cluster goes on meanwhile. As a backup holds the ids by which clients are
/// known, a server gives it to the user who runs it, on its own machine: run this there, as that user,
/// with its address on the loopback interface. A file of that name is replaced when the new one is whole
/// and on disk.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Backup {
    /// Where to put it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Taken {
    file: String,
    cluster: String,
    revision: u64,
    users: usize,
    next_number: u64,
    bytes: u64,
}

impl Backup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { file, client } = self;
        let deadline = Instant::now() + client.timeout_ms.0;
        let mut why = None;
        for server in &client.servers {
            let answer = match timeout_at(deadline, ask(server)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(Fault::Key(fault))) => return Err(Failure::Refused(fault)),
                Ok(Err(Fault::Unreachable(fault))) => {
                    why.get_or_insert(Failure::Unreachable(format!("{server}: {fault}")));
                    continue;
                }
                Err(_) => break,
            };
            match answer.status() {
                StatusCode::OK => return save(answer, &file, &client).await,
                StatusCode::SERVICE_UNAVAILABLE => {
                    let fault = format!("{server} hears no leader (no_quorum)");
                    why = Some(Failure::Refused(fault));
                }
                status => {
                    let said = answer.into_body().collect().await;
                    let said = said.map(|body| body.to_bytes()).unwrap_or_default();
                    let said = String::from_utf8_lossy(&said).trim().to_owned();
                    return Err(Failure::Refused(format!("{server} says {status}: {said}")));
                }
            }
        }
        Err(why.unwrap_or_else(|| Failure::Unreachable("no server answered in time".to_owned())))
    }
}

/// Why a server gave nothing.
enum Fault {
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// Its key cannot be read here.
    Key(String),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Unreachable(error.into())
    }
}

/// Asks a server, and once more with the key from where it says; its answer begins to come.
async fn ask(server: &str) -> Result<Response<Incoming>, Fault> {
    let answer = ask_with(server, None).await?;
    let Some(file) = answer.headers().get("rollcall-key-file") else { return Ok(answer) };
    let file = Path::new(OsStr::from_bytes(file.as_bytes()));
    let key = std::fs::read_to_string(file).map_err(|why| {
        let file = file.display();
        Fault::Key(format!(
            "{server} gives backups to the user who runs it, on its machine: {file}: {why}"
        ))
    })?;
    ask_with(server, Some(&key)).await
}

async fn ask_with(server: &str, key: Option<&str>) -> Result<Response<Incoming>, Fault> {
    let uri: Uri = server.parse()?;
    let authority = uri.authority().ok_or("it names no host")?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::get("/backup").header(HOST, authority.as_str());
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {}", key.trim()));
    }
    Ok(sender.send_request(request.body(Empty::<Bytes>::new())?).await?)
}

/// Writes what comes beside the file, looks whether it is whole, and only then gives it its name.
async fn save(answer: Response<Incoming>, file: &Path, client: &ClientArgs) -> Result<(), Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        Failure::Refused(format!("{}: {what}; nothing was saved", file.display()))
    };
    let mut unfinished = data::Unfinished::create(file).map_err(|why| failed(&why))?;
    let mut body = answer.into_body();
    loop {
        // The whole may take its time, a part may not.
        let frame = timeout(client.timeout_ms.0, body.frame()).await;
        let frame = frame.map_err(|_| failed(&"the server says no more"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|why| failed(&format_args!("the server broke off: {why}")))?;
        if let Ok(part) = frame.into_data() {
            unfinished.write_all(&part).map_err(|why| failed(&why))?;
        }
    }
    let taken = unfinished.finish().map_err(|why| failed(&why))?;
    if client.json {
        return output::json(&Taken {
            file: file.display().to_string(),
            cluster: format!("{:016x}", taken.head.cluster.0),
            revision: taken.head.revision.0,
            users: taken.users,
            next_number: taken.head.next_number,
            bytes: taken.bytes,
        });
    }
    output::line(format_args!(
        "{}: {} at revision {}, next number {}, {} bytes",
        file.display(),
        counted(taken.users, "user"),
        taken.head.revision,
        taken.head.next_number,
        taken.bytes
    ))
}

const EXAMPLES: &str = "\
EXAMPLES
  On the machine of a server:
    rollcall backup rollcall-2026-11-25.backup

  Where it does not listen on a port of `rollcall dev`:
    rollcall backup today.backup --server ws://127.0.0.1:7201/ws

  Bring it back: see rollcall help restore";
