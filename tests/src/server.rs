//! One `rollcall serve` as a child process: start, find its port, stop it politely or not.
//!
//! Speaks no protocol; see [`crate::wire`] and [`crate::http`] for that. What the server logs is
//! kept and printed when the test that owns it fails.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{PATIENCE, wire::eventually};

/// A running server that keeps everything in memory unless said otherwise; its id is 1 unless said
/// otherwise.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where its line comes when it listens.
    said: mpsc::Receiver<String>,
    plan: Plan,
    log: Log,
}

/// How it is started, each time.
#[derive(Debug)]
struct Plan {
    place: Place,
    keeps: Keeps,
    flags: Vec<String>,
    /// A command that runs it, such as `strace`: it has to become the server itself.
    wrapper: Vec<String>,
    directory: TempDir,
}

/// Where a server keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeps {
    Memory,
    /// In a folder of its own, for as long as the [`Server`] lives.
    OnDisk,
    /// In this folder.
    In(PathBuf),
}

/// Which server of a cluster it is, and where it listens.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: u64,
    ip: Ipv4Addr,
    /// 0 before a free one was found.
    port: u16,
}

impl Place {
    /// Server 1 on a free port of 127.0.0.1.
    const FREE: Self = Self { id: 1, ip: Ipv4Addr::LOCALHOST, port: 0 };
}

impl Server {
    /// Starts a server with default settings on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further flags of `rollcall serve`.
    pub fn with(flags: &[&str]) -> Self {
        Self::launch(Place::FREE, new_directory(), flags)
    }

    /// Starts a server that does not take a silent client for dead: those of [`crate::wire`] answer
    /// its pings only while a test awaits something of them, and a browser may be slow to start.
    pub fn patient() -> Self {
        Self::with(PATIENT)
    }

    /// Starts a server with another id than 1.
    pub fn numbered(id: u64) -> Self {
        Self::launch(Place { id, ..Place::FREE }, new_directory(), &[])
    }

    /// Starts a server with further flags that finds again what it knew when it is restarted.
    pub fn on_disk(flags: &[&str]) -> Self {
        Self::keeping(Keeps::OnDisk, flags)
    }

    /// Starts a server with further flags that keeps its state there.
    pub fn keeping(keeps: Keeps, flags: &[&str]) -> Self {
        let flags = [PATIENT, flags].concat();
        let plan = Plan { keeps, ..Plan::new(Place::FREE, new_directory(), owned(&flags)) };
        Self::launch_plan(plan)
    }

    /// Starts a server that listens on all interfaces.
    pub fn on_all_interfaces(flags: &[&str]) -> Self {
        let place = Place { ip: Ipv4Addr::UNSPECIFIED, ..Place::FREE };
        Self::launch(place, new_directory(), flags)
    }

    /// Starts a server that clients are told to reach under another URL, which is also what it
    /// prints: so its port is chosen here.
    pub fn advertised(url: &str, flags: &[&str]) -> Self {
        let place = Place { port: free_port(), ..Place::FREE };
        Self::launch(place, new_directory(), &[&["--advertise", url], flags].concat())
    }

    /// The same as a server of a cluster; [`Self::listens`] waits until it is there.
    pub fn begin_advertised(id: u64, url: &str, flags: Vec<String>) -> Self {
        let place = Place { id, port: free_port(), ..Place::FREE };
        let flags = owned(&["--advertise", url]).into_iter().chain(flags).collect();
        Self::spawn(Plan::new(place, new_directory(), flags))
    }

    /// Starts a server that asks for a token; `table` is the file for `--tokens`.
    pub fn with_tokens(table: &str, flags: &[&str]) -> Self {
        let directory = new_directory();
        let path = directory.path().join("tokens.toml");
        std::fs::write(&path, table).expect("the temporary folder is writable");
        let path = path.display().to_string();
        Self::launch(Place::FREE, directory, &[&["--tokens", &path], flags].concat())
    }

    /// Starts a server of a cluster on a free port; [`Self::listens`] waits until it has one.
    pub fn begin(id: u64, flags: Vec<String>) -> Self {
        Self::begin_keeping(id, Keeps::Memory, flags)
    }

    /// The same with a place for its state.
    pub fn begin_keeping(id: u64, keeps: Keeps, flags: Vec<String>) -> Self {
        let place = Place { id, ..Place::FREE };
        Self::spawn(Plan { keeps, ..Plan::new(place, new_directory(), flags) })
    }

    fn launch(place: Place, directory: TempDir, flags: &[&str]) -> Self {
        Self::launch_plan(Plan::new(place, directory, owned(flags)))
    }

    fn launch_plan(plan: Plan) -> Self {
        let mut server = Self::spawn(plan);
        let line = server.said.recv_timeout(PATIENCE).ok();
        server.is_listening(line);
        server
    }

    fn spawn(plan: Plan) -> Self {
        let mut log = Log::default();
        let (child, said) = spawn(&plan, &mut log);
        Self { child, said, plan, log }
    }

    /// Kills the server and starts it again on the same port with the same flags.
    pub fn restart(&mut self) {
        self.begin_again();
        let line = self.said.recv_timeout(PATIENCE).ok();
        self.is_listening(line);
    }

    /// The same without waiting until it listens; [`Self::listens`] does.
    pub fn begin_again(&mut self) {
        self.kill9();
        self.log.begin_anew();
        (self.child, self.said) = spawn(&self.plan, &mut self.log);
    }

    /// Lets this command run it from its next start on; an empty one lets it run by itself again.
    pub fn wrap(&mut self, wrapper: Vec<String>) {
        self.plan.wrapper = wrapper;
    }

    /// Starts it again, which must fail before it listens; with which status, and what it says.
    pub async fn refuses_to_start(&mut self) -> (Option<i32>, String) {
        self.begin_again();
        let status = self.exited().await;
        self.log.finish();
        let said = self.said.try_recv();
        assert!(said.is_err(), "it said {said:?} and then ended:\n{}", self.last_log());
        (status.code(), self.last_log())
    }

    /// Starts it again, as far as it goes: whether it listens. If not, it has ended with this status
    /// and said this.
    pub async fn starts_or_refuses(&mut self) -> Result<(), (Option<i32>, String)> {
        self.begin_again();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(line) = self.said.try_recv() {
                self.is_listening(Some(line));
                return Ok(());
            }
            if !self.is_running() {
                let status = self.exited().await;
                self.log.finish();
                return Err((status.code(), self.last_log()));
            }
            assert!(Instant::now() < deadline, "the server neither listens nor ends");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The folder of its state.
    pub fn data_dir(&self) -> PathBuf {
        self.plan.data_dir().expect("this server keeps its state in a folder")
    }

    /// Waits until it listens, while other tasks go on.
    pub async fn listens(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let line = loop {
            match self.said.try_recv() {
                Ok(line) => break Some(line),
                Err(mpsc::TryRecvError::Empty) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(_) => break None,
            }
        };
        self.is_listening(line);
    }

    /// Takes in the line it printed: where no port was asked for, this is the one it found.
    fn is_listening(&mut self, line: Option<String>) {
        let said = line.as_deref().unwrap_or_default();
        let own = said.starts_with(&format!("server {} pid {} ", self.id(), self.pid()));
        let port = match self.plan.place.port {
            0 => parse_line_of(self.id(), said).map(|(_, port)| port),
            port => Some(port),
        };
        let (true, Some(port)) = (own, port) else {
            // Its log is printed when it is dropped.
            panic!("the server said {line:?} instead of where it listens");
        };
        self.plan.place.port = port;
    }

    /// Its number within its cluster.
    pub fn id(&self) -> u64 {
        self.plan.place.id
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.plan.place.port)
    }

    /// Where browsers go to, without a slash at the end.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.place.port)
    }

    /// The socket address it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.plan.place.port).into()
    }

    /// The process id it was started with.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process without a chance to say goodbye, and waits until it is gone.
    pub fn kill9(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        send_signal(self.child.id(), Signal::TERM);
    }

    /// Stops the process where it is (SIGSTOP), and waits until none of its threads runs.
    pub async fn stop(&self) {
        send_signal(self.child.id(), Signal::STOP);
        eventually("the process stops", async || match is_stopped(self.child.id()) {
            true => Ok(()),
            false => Err(format!("process {} runs", self.child.id())),
        })
        .await;
    }

    /// Lets a stopped process go on (SIGCONT).
    pub fn resume(&self) {
        send_signal(self.child.id(), Signal::CONT);
    }

    /// Waits until the process has ended.
    pub async fn exited(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours to wait for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours to wait for").is_none()
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number in kB")
    }

    /// The last lines it wrote to standard error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// What it wrote to standard error since its last start, all of it if it has ended.
    pub fn last_log(&self) -> String {
        let log = self.log.text();
        log.rsplit(ANEW).next().unwrap_or_default().to_owned()
    }

    /// Waits until a server that has a reason to end has done so with status 1; what it said.
    pub async fn gives_up(&mut self) -> String {
        let status = self.exited().await;
        self.log.finish();
        let log = self.last_log();
        assert_eq!(status.code(), Some(1), "{log}");
        log
    }
}

impl Plan {
    fn new(place: Place, directory: TempDir, flags: Vec<String>) -> Self {
        Self { place, keeps: Keeps::Memory, flags, wrapper: Vec::new(), directory }
    }

    fn data_dir(&self) -> Option<PathBuf> {
        match &self.keeps {
            Keeps::Memory => None,
            Keeps::OnDisk => Some(self.directory.path().join("data")),
            Keeps::In(folder) => Some(folder.clone()),
        }
    }
}

fn owned(flags: &[&str]) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        self.log.finish();
        let log = self.log.text();
        if thread::panicking() {
            let Place { id, port, .. } = self.plan.place;
            eprintln!("--- log of server {id} on port {port} ---\n{log}---");
        } else {
            // A thread of the server that died need not have been noticed by the test.
            assert!(!log.contains("panicked at"), "the server has a bug:\n{log}");
        }
    }
}

/// The `rollcall` binary under test: `ROLLCALL_BIN`, or the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROLLCALL_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .expect("a test executable lies in a folder");
    let path = folder.join("rollcall");
    assert!(
        path.is_file(),
        "{} is missing: build it with `cargo build -p rollcall-server`, or set ROLLCALL_BIN",
        path.display()
    );
    path
}

/// The binary with an environment that says nothing about Rollcall, in a folder of its own.
pub fn bare_command(directory: &Path) -> Command {
    wrapped_command(directory, &[])
}

/// The same, run by another command.
fn wrapped_command(directory: &Path, wrapper: &[String]) -> Command {
    let mut command = match wrapper {
        [] => Command::new(binary()),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary());
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    command.current_dir(directory);
    command
}

/// Sends a signal to a process that the test started.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id is positive");
    // It may have ended in between, which is what a signal is for.
    let _ = kill_process(pid, signal);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    free.local_addr().expect("it is bound").port()
}

/// Whether a process with this id exists and is more than a corpse.
pub fn process_is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Whether every thread of the process is stopped.
fn is_stopped(pid: u32) -> bool {
    let stopped = |thread: std::fs::DirEntry| {
        // A thread that has just ended does not run either.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('T'))
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    threads.filter_map(Result::ok).all(stopped)
}

/// A folder that vanishes with the test.
pub fn new_directory() -> TempDir {
    TempDir::with_prefix("rollcall-test-").expect("the temporary folder is writable")
}

/// Reads `server 1 pid 4242 ws://127.0.0.1:7101/ws` into process id and port.
pub fn parse_ready_line(line: &str) -> Option<(u32, u16)> {
    parse_line_of(1, line)
}

/// The same of the server with this id.
pub fn parse_line_of(id: u64, line: &str) -> Option<(u32, u16)> {
    let rest = line.strip_prefix(&format!("server {id} pid "))?;
    let (pid, url) = rest.split_once(' ')?;
    let port = url.strip_prefix("ws://127.0.0.1:")?.strip_suffix("/ws")?;
    Some((pid.parse().ok()?, port.parse().ok()?))
}

/// Starts a process; the lines it prints can be received.
fn spawn(plan: &Plan, log: &mut Log) -> (Child, mpsc::Receiver<String>) {
    let Place { id, ip, port } = plan.place;
    let mut command = wrapped_command(plan.directory.path(), &plan.wrapper);
    command.args(["serve", "--id", &id.to_string()]);
    match plan.data_dir() {
        Some(folder) => command.arg("--data-dir").arg(folder),
        None => command.arg("--in-memory"),
    };
    let mut child = command
        .args(["--listen", &format!("{ip}:{port}")])
        .args(&plan.flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the rollcall binary starts");
    log.follow(child.stderr.take().expect("standard error is piped"));
    let lines = follow_lines(child.stdout.take().expect("standard output is piped"));
    (child, lines)
}

/// Reads a pipe to its end, so that the writer never blocks, and passes the lines on.
fn follow_lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens any more once the first line was read.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The end of what a process wrote, at most [`LOG_LINES_MAX`] lines.
#[derive(Debug, Default)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Log {
    fn follow(&mut self, pipe: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        self.readers.push(thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("no holder of the log panics");
                if lines.len() == LOG_LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        }));
    }

    /// Waits for the last line of a process that has ended.
    fn finish(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("no reader panics");
        }
    }

    /// What follows is of another process.
    fn begin_anew(&mut self) {
        self.finish();
        let mut lines = self.lines.lock().expect("no holder of the log panics");
        lines.push_back(ANEW.trim_end().to_owned());
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().expect("no holder of the log panics");
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

const LOG_LINES_MAX: usize = 400;
/// Stands in a log where a server was started again.
const ANEW: &str = "--- started again ---\n";
/// Clients are not taken for dead that answer no ping for a while: see [`Server::patient`].
pub(crate) const PATIENT: &[&str] = &["--heartbeat-ms", "120000", "--first-message-ms", "120000"];
