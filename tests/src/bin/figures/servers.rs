//! Three `rollcall serve` processes on free ports that link to one another directly.
//!
//! Owns the processes, from their start to what is done to them. Dropping it ends them all; they also
//! end when this program is gone without a chance to end them.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rollcall_tests::{
    http::{Response, exchange},
    roaming::{Place, ask_once},
    server::{bare_command, new_directory, send_signal},
};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep},
};

use crate::Result;

/// Which run it is, and where its logs go.
#[derive(Debug)]
pub(crate) struct Runner {
    /// From 0 on.
    pub(crate) run: usize,
    logs: Option<PathBuf>,
    notes: Mutex<String>,
}

/// The servers 1, 2 and 3.
#[derive(Debug)]
pub(crate) struct Servers<'a> {
    /// When the first of them was started.
    pub(crate) began: Instant,
    runner: &'a Runner,
    members: Vec<Member>,
    _directory: TempDir,
}

#[derive(Debug)]
struct Member {
    place: Place,
    child: Child,
    /// Its end would end the server, and waiting for the child would close it there.
    _stdin: Option<ChildStdin>,
}

impl Runner {
    pub(crate) fn new(run: usize, logs: Option<PathBuf>) -> Self {
        Self { run, logs, notes: Mutex::default() }
    }

    /// Starts three servers and waits for nothing.
    pub(crate) fn begin(&self) -> Result<Servers<'_>> {
        if let Some(logs) = &self.logs {
            fs::create_dir_all(logs)?;
        }
        let directory = new_directory();
        // All are held before any is let go, so that none comes twice.
        let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut places = Vec::new();
        for (id, listener) in (1..).zip(held) {
            places.push(Place { id, address: listener?.local_addr()? });
        }
        let began = Instant::now();
        self.note("the servers are started");
        let mut members = Vec::new();
        for place in &places {
            let mut command = Command::from(bare_command(directory.path()));
            command.args(["serve", "--in-memory", "--exit-with-stdin"]);
            command.args(["--id", &place.id.to_string(), "--listen", &place.address.to_string()]);
            for other in places.iter().filter(|other| other.id != place.id) {
                let member = format!("{}=ws://{}/peer", other.id, other.address);
                command.args(["--member", &member]);
            }
            let log = match &self.logs {
                Some(logs) => {
                    command.args(["--log", "debug"]);
                    File::create(logs.join(format!("server-{}.log", place.id)))?.into()
                }
                None => Stdio::null(),
            };
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
            let mut child = command.spawn()?;
            members.push(Member { place: *place, _stdin: child.stdin.take(), child });
        }
        Ok(Servers { began, runner: self, members, _directory: directory })
    }

    /// Starts three servers, and waits until all of them are ready.
    pub(crate) async fn start(&self) -> Result<Servers<'_>> {
        let mut servers = self.begin()?;
        while !servers.are_ready().await? {
            sleep(POLL).await;
        }
        self.note("the servers are ready");
        Ok(servers)
    }

    /// How long to wait beside what a figure waits for anyhow: another part of a heartbeat in each
    /// run, so that what happens falls into all phases of it alike.
    pub(crate) fn phase(&self) -> Duration {
        HEARTBEAT.mul_f64((self.run as f64 * GOLDEN_RATIO).fract())
    }

    /// Says in the log of the client what happened, where logs are kept.
    pub(crate) fn note(&self, what: &str) {
        let Some(logs) = &self.logs else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (since.as_secs() % 86_400, since.subsec_micros());
        let [hour, minute, second] = [seconds / 3_600, seconds / 60 % 60, seconds % 60];
        let mut notes = self.notes.lock().expect("no holder of the notes panics");
        notes.push_str(&format!("{hour:02}:{minute:02}:{second:02}.{micros:06}Z {what}\n"));
        let written = File::create(logs.join("client.log"));
        if let Err(fault) = written.and_then(|mut file| file.write_all(notes.as_bytes())) {
            eprintln!("figures: {}: {fault}", logs.display());
        }
    }
}

impl Servers<'_> {
    /// Where clients find them.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.members.iter().map(|member| member.place).collect()
    }

    /// The same, one server first.
    pub(crate) fn places_from(&self, first: u64) -> Vec<Place> {
        let mut places = self.places();
        places.sort_by_key(|place| (place.id != first, place.id));
        places
    }

    /// The server that leads.
    pub(crate) async fn leader(&self) -> Result<u64> {
        loop {
            for member in &self.members {
                let status = ask_once(member.place, "GetStatus", &json!({})).await;
                let status = status.ok_or("a server does not say how it is")?;
                if status["payload"]["role"] == "leader" {
                    return Ok(member.place.id);
                }
            }
            sleep(POLL).await;
        }
    }

    /// The servers that do not lead.
    pub(crate) async fn followers(&self) -> Result<Vec<u64>> {
        let leader = self.leader().await?;
        Ok(self.members.iter().map(|member| member.place.id).filter(|id| *id != leader).collect())
    }

    /// Ends a server without a chance to say goodbye, and waits until its process is gone.
    pub(crate) async fn kill(&mut self, id: u64) -> Result {
        self.runner.note(&format!("server {id} is killed"));
        let killed = self.member(id)?.child.kill().await;
        self.runner.note("it is gone");
        Ok(killed?)
    }

    /// Stops a server where it is (SIGSTOP), and waits until none of its threads runs.
    pub(crate) async fn stop(&mut self, id: u64) -> Result {
        let pid = self.signal(id, Signal::STOP)?;
        while !is_stopped(pid)? {
            sleep(MOMENT).await;
        }
        self.runner.note("it has stopped");
        Ok(())
    }

    /// Asks a server to end (SIGTERM), and waits until its process is gone.
    pub(crate) async fn terminate(&mut self, id: u64) -> Result {
        self.signal(id, Signal::TERM)?;
        self.member(id)?.child.wait().await?;
        self.runner.note("it is gone");
        Ok(())
    }

    /// Says in the log of the client what happened.
    pub(crate) fn note(&self, what: &str) {
        self.runner.note(what);
    }

    /// Sends a signal to a server; its process id.
    fn signal(&mut self, id: u64, signal: Signal) -> Result<u32> {
        self.runner.note(&format!("server {id} gets signal {}", signal.as_raw()));
        let pid = self.member(id)?.child.id().ok_or("a server has ended by itself")?;
        send_signal(pid, signal);
        Ok(pid)
    }

    fn member(&mut self, id: u64) -> Result<&mut Member> {
        let found = self.members.iter_mut().find(|member| member.place.id == id);
        Ok(found.ok_or_else(|| format!("there is no server {id}"))?)
    }

    async fn are_ready(&mut self) -> Result<bool> {
        for Member { place, child, .. } in &mut self.members {
            if let Some(status) = child.try_wait()? {
                // Somebody else may have taken its port meanwhile.
                return Err(format!("server {} has ended by itself ({status})", place.id).into());
            }
            if !is_ready(place.address).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a server says so at /readyz.
async fn is_ready(address: SocketAddr) -> bool {
    if tokio::net::TcpStream::connect(address).await.is_err() {
        return false;
    }
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    Response::parse(&exchange(address, request.as_bytes()).await).status == 200
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has just ended does not run either.
        let stat = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
        if stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}

const MOMENT: Duration = Duration::from_millis(1);
const POLL: Duration = Duration::from_millis(5);
/// That of the servers.
const HEARTBEAT: Duration = Duration::from_millis(25);
/// Its multiples fall evenly into the unit interval.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
