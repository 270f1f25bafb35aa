//! The `rollcall` command as a user runs it: arguments in; exit status, standard output and error out.
//!
//! Knows no subcommand; servers for it to talk to come from [`crate::server`].

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    PATIENCE,
    server::{bare_command, new_directory, send_signal},
};

/// What a command that has ended left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command that is still running. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it runs, if that is nobody else's.
    _directory: Option<TempDir>,
}

/// Runs a command in an empty folder of its own until it ends.
pub async fn run(arguments: &[&str]) -> Finished {
    run_with(arguments, &[], new_directory().path()).await
}

/// Runs a command with further environment variables in a given folder until it ends.
pub async fn run_with(
    arguments: &[&str],
    environment: &[(&str, &str)],
    directory: &Path,
) -> Finished {
    let mut command = Command::from(bare_command(directory));
    command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the rollcall binary starts");
    let Ok(output) = timeout(PATIENCE, child.wait_with_output()).await else {
        panic!("rollcall {arguments:?} did not end");
    };
    let output = output.expect("the command can be waited for");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("it prints UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("it prints UTF-8"),
    }
}

impl Running {
    /// Starts a command in an empty folder of its own.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts a command with further environment variables.
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = new_directory();
        let running = Self::start_in(directory.path(), arguments, environment);
        Self { _directory: Some(directory), ..running }
    }

    /// Starts a command in a given folder.
    pub fn start_in(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::from(bare_command(directory));
        command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the rollcall binary starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines, _directory: None }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Waits for its next line on standard output.
    pub async fn line(&mut self) -> String {
        let Ok(line) = timeout(PATIENCE, self.lines.next_line()).await else {
            panic!("no line came; standard error: {}", self.errors_so_far().await);
        };
        match line.expect("it prints UTF-8") {
            Some(line) => line,
            None => panic!("it ended; standard error: {}", self.errors_so_far().await),
        }
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        send_signal(self.pid(), Signal::INT);
    }

    /// Waits until it has ended and returns what it had left to say.
    pub async fn finished(mut self) -> Finished {
        let mut stdout = String::new();
        while let Ok(Ok(Some(line))) = timeout(PATIENCE, self.lines.next_line()).await {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let stderr = self.errors_so_far().await;
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("it did not end; standard error: {stderr}");
        };
        let code = status.expect("it can be waited for").code();
        Finished { code, stdout, stderr }
    }

    /// Reads standard error until it ends or pauses.
    async fn errors_so_far(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(stderr) = &mut self.child.stderr {
            let mut chunk = [0; 4096];
            while let Ok(Ok(count)) = timeout(Duration::from_secs(2), stderr.read(&mut chunk)).await
            {
                if count == 0 {
                    break;
                }
                text.extend(&chunk[..count]);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
