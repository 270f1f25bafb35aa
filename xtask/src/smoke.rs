//! The test of `cargo xtask dev` itself: started as a user does it, asked for its pages over HTTP,
//! ended by Ctrl-C.
//!
//! What the pages and messages say in detail is tested elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::dev;
use crate::process::{Result, Task};
use crate::workspace::Workspace;

/// From the start to `ready`, with everything built.
const START_LIMIT: Duration = Duration::from_secs(120);
/// From Ctrl-C to the end.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// For one HTTP answer.
const HTTP_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run(workspace: &Workspace) -> Result {
    // First, so that the limits above are about starting, not about compiling.
    dev::build_release(workspace)?;
    let mut cluster = Cluster::start(workspace)?;
    let servers = cluster.wait_until_ready()?;
    let ports: Vec<u16> = servers.iter().filter_map(|line| port_of(line)).collect();
    if ports.len() != 3 {
        return Err(format!("`rollcall dev` said `ready` after {servers:?}, not 3 servers").into());
    }
    for &port in &ports {
        check_pages(port)?;
    }
    cluster.interrupt(workspace)?;
    let status = cluster.wait_for_end()?;
    if status.code() != Some(0) {
        return Err(format!("Ctrl-C ended `cargo xtask dev` with {status}, not 0").into());
    }
    if cluster.is_alive(workspace) {
        return Err("Ctrl-C ended `cargo xtask dev`, but some of its processes live on".into());
    }
    for port in ports {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Err(format!("port {port} is still served after Ctrl-C").into());
        }
    }
    Ok(())
}

/// The port in `server 1 pid 4242 ws://127.0.0.1:7101/ws`.
fn port_of(line: &str) -> Option<u16> {
    line.rsplit_once(':')?.1.strip_suffix("/ws")?.parse().ok()
}

fn check_pages(port: u16) -> Result {
    let expect = |path: &str, mime: &str, start: &[u8], part: &str| -> Result {
        let page = Page::fetch(port, path)?;
        if page.status != 200 {
            return Err(format!("GET {path}: status {}, not 200", page.status).into());
        }
        if !page.head.contains(mime) {
            return Err(format!("GET {path}: no `{mime}` in its head:\n{}", page.head).into());
        }
        let text = String::from_utf8_lossy(&page.body);
        if !page.body.starts_with(start) || !text.contains(part) {
            return Err(format!("GET {path}: the body is not what it should be").into());
        }
        Ok(())
    };
    expect("/", "content-type: text/html", b"", "<html")?;
    expect("/client/rollcall.js", "content-type: text/javascript", b"", "Rollcall")?;
    expect("/client/rollcall_bindings.js", "content-type: text/javascript", b"", "Rollcall")?;
    expect("/client/rollcall_bg.wasm", "content-type: application/wasm", b"\0asm", "")?;
    expect("/readyz", "", b"", "")
}

/// An HTTP answer; the head is in lower case.
struct Page {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Page {
    fn fetch(port: u16, path: &str) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, HTTP_LIMIT)?;
        stream.set_read_timeout(Some(HTTP_LIMIT))?;
        // HTTP/1.0: the answer ends with the connection and comes in no chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| format!("GET {path}: {error}"))?;
        Self::parse(&answer).ok_or_else(|| format!("GET {path}: no HTTP answer").into())
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
        let status = head.strip_prefix("http/1.")?.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body: answer[end + 4..].to_vec() })
    }
}

/// `cargo xtask dev` in a process group of its own, as a shell starts it; killed when dropped.
struct Cluster {
    child: Child,
    lines: Receiver<String>,
    gone: bool,
}

impl Cluster {
    /// On free ports, so that a cluster of the user's own does not get in the way.
    fn start(workspace: &Workspace) -> Result<Self> {
        let task = Task::words("cargo xtask dev --base-port 0");
        eprintln!("$ {task}");
        let mut command = task.command(&workspace.root);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        own_group(&mut command);
        let mut child = command.spawn()?;
        let lines = child.stdout.take().map(read_lines).ok_or("standard output is piped")?;
        Ok(Self { child, lines, gone: false })
    }

    /// Reads its output up to `ready` and returns the lines that name a server.
    fn wait_until_ready(&self) -> Result<Vec<String>> {
        let deadline = Instant::now() + START_LIMIT;
        let mut servers = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|error| {
                format!("`cargo xtask dev` did not say `ready` ({error}); it said: {servers:?}")
            })?;
            eprintln!("  {line}");
            if line == "ready" {
                return Ok(servers);
            }
            if line.starts_with("server ") {
                servers.push(line);
            }
        }
    }

    /// What a terminal does on Ctrl-C: the signal goes to every process of the group.
    fn interrupt(&self, workspace: &Workspace) -> Result {
        self.signal("INT").run(&workspace.root)
    }

    fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("still running {STOP_LIMIT:?} after Ctrl-C").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether any process of the group is left.
    fn is_alive(&mut self, workspace: &Workspace) -> bool {
        self.gone = !self.signal("0").succeeds(&workspace.root);
        !self.gone
    }

    /// The shell's `kill` is there wherever a shell is; a program of that name is not.
    fn signal(&self, name: &str) -> Task {
        Task::words("sh -c").arg(format!("kill -s {name} -- -{}", self.child.id()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.signal("KILL").succeeds(".".as_ref());
            let _ = self.child.wait();
        }
    }
}

/// Hands on the lines of a pipe until it closes.
fn read_lines(pipe: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(std::result::Result::ok) {
            // Nobody listens after `ready`; the pipe is drained all the same.
            let _ = sender.send(line);
        }
    });
    receiver
}

#[cfg(unix)]
fn own_group(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut std::process::Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_its_port() {
        assert_eq!(port_of("server 1 pid 4242 ws://127.0.0.1:7101/ws"), Some(7101));
        assert_eq!(port_of("ready"), None);
    }

    #[test]
    fn an_answer_is_status_head_and_body() {
        let page = Page::parse(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>\r\n\r\n")
            .expect("a whole answer");
        assert_eq!(page.status, 200);
        assert!(page.head.contains("content-type: text/html"));
        assert_eq!(page.body, b"<html>\r\n\r\n");
        assert!(Page::parse(b"HTTP/1.0 200 OK\r\n").is_none());
        assert!(Page::parse(b"SSH-2.0\r\n\r\n").is_none());
    }
}
