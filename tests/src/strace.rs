//! `strace` on a server under test: a disk that fails or is slow, and a record of what the process
//! asks of the system.
//!
//! Owns the `strace` processes and how to call them; what the system calls of a server mean is the
//! tests' business. Needs the right to trace (root, or a system that lets a user trace its own).

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::Signal;

use crate::{PATIENCE, server::send_signal};

/// What a running process is told by the system, instead of the truth, while this lives.
#[derive(Debug)]
pub struct Injection {
    strace: Child,
}

impl Injection {
    /// From the return of this on, these system calls of all threads of the process go wrong as the
    /// rest says: `begin(pid, "fdatasync,fsync", "error=EIO")`, `begin(pid, "pwrite64",
    /// "delay_enter=1000000")` (microseconds).
    pub fn begin(pid: u32, calls: &str, wrong: &str) -> Self {
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--output", "/dev/null", "--attach", &pid.to_string()])
            .args(["--trace", calls, "--inject", &format!("{calls}:{wrong}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("strace does not start, is it installed? {error}"));
        let said = lines_of(strace.stderr.take().expect("standard error is piped"));
        let first = said.recv_timeout(PATIENCE).unwrap_or_default();
        if !first.contains("attached") {
            let _ = strace.kill();
            let _ = strace.wait();
            panic!("strace may not trace process {pid} (are we root?): {first}");
        }
        Self { strace }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Asked, it lets the process go in good order. It has ended by itself if the process has.
        send_signal(self.strace.id(), Signal::TERM);
        let _ = self.strace.wait();
    }
}

/// A command that runs a server and writes these system calls of it to `file`, each line with its
/// thread, the seconds since 1970, what files and sockets it is about and how long it took; for
/// [`crate::server::Server::wrap`]. The server is the child all the same: strace hides behind it.
pub fn recording(file: &Path, calls: &str, more: &[&str]) -> Vec<String> {
    let file = file.display().to_string();
    let fixed = ["strace", "--daemonize", "--follow-forks", "--seccomp-bpf", "--decode-fds=all"];
    let record = ["--absolute-timestamps=format:unix,precision:us", "--output", &file];
    let which = ["--syscall-times=us", "--string-limit", "48", "--trace", calls];
    let all = [&fixed[..], &record, &which, more].concat();
    all.iter().map(ToString::to_string).collect()
}

/// A command that runs a server for which these system calls go wrong from its start on.
pub fn injecting(calls: &str, wrong: &str) -> Vec<String> {
    let inject = format!("{calls}:{wrong}");
    ["strace", "--daemonize", "--follow-forks", "--seccomp-bpf", "--output", "/dev/null"]
        .into_iter()
        .chain(["--trace", calls, "--inject", &inject])
        .map(ToOwned::to_owned)
        .collect()
}

fn lines_of(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Only the first one is waited for.
            let _ = sender.send(line);
        }
    });
    receiver
}
