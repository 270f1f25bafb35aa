//! One command to run: how it is built, run, and printed so that a person can run it again.
//!
//! It knows no command in particular.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A command line with its environment.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// What is run; [`fmt::Display`] shows its last path component only for cargo.
    program: String,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Task {
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// A command given as words without spaces in them.
    pub(crate) fn words(line: &str) -> Self {
        let mut words = line.split_whitespace();
        Self::new(words.next().unwrap_or_default()).args(words)
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// The command, to be run in `dir`.
    pub(crate) fn command(&self, dir: &Path) -> Command {
        // The cargo that runs us, so that the toolchain stays the same.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let program = if self.program == "cargo" { &cargo } else { &self.program };
        let mut command = Command::new(program);
        command.args(&self.args).current_dir(dir);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end, its output going where ours goes. Where that is no terminal the error has
    /// the last lines of it: whoever reads a log may have its end only.
    pub(crate) fn run(&self, dir: &Path) -> Result {
        eprintln!("$ {self}");
        let mut command = self.command(dir);
        let (status, last) = if io::stderr().is_terminal() {
            (command.status(), String::new())
        } else {
            watched(&mut command).map_or_else(|e| (Err(e), String::new()), |(s, l)| (Ok(s), l))
        };
        let status = status.map_err(|error| self.not_started(&error))?;
        if status.success() {
            return Ok(());
        }
        let last = if last.is_empty() { last } else { format!("\n{last}") };
        Err(format!("failed ({status}): {self}{last}").into())
    }

    /// Runs it to its end, its output going where ours goes; how it ended.
    pub(crate) fn status(&self, dir: &Path) -> Result<ExitCode> {
        let status = self.command(dir).status().map_err(|error| self.not_started(&error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    /// Runs it to its end and returns what it wrote to standard output.
    pub(crate) fn output(&self, dir: &Path) -> Result<String> {
        let output = self
            .command(dir)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.not_started(&error))?;
        if !output.status.success() {
            return Err(format!("failed ({}): {self}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Whether it starts and succeeds, without a word.
    pub(crate) fn succeeds(&self, dir: &Path) -> bool {
        self.command(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        format!("could not start ({error}): {self}")
    }
}

/// What is repeated of a command that failed: the first panics, then the last lines.
#[derive(Default)]
struct Kept {
    panics: Vec<String>,
    /// How many more lines belong to the last panic.
    belong: usize,
    last: VecDeque<String>,
}

impl Kept {
    fn take(&mut self, line: String) {
        if self.last.len() == LAST_LINES
            && let Some(line) = self.last.pop_front()
        {
            // What is among the last lines still need not be said twice.
            if line.contains(" panicked at ") {
                self.belong = PANIC_LINES;
            }
            if self.belong > 0 && self.panics.len() < LAST_LINES {
                self.belong -= 1;
                self.panics.push(line);
            }
        }
        self.last.push_back(line);
    }

    fn text(&self) -> String {
        self.panics.iter().chain(&self.last).map(String::as_str).collect()
    }
}

/// Runs a command to its end; what it writes goes where ours goes. Returns what is to be repeated of it.
fn watched(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let kept = Arc::<Mutex<Kept>>::default();
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    let (done, all_read) = mpsc::channel();
    for pipe in pipes.into_iter().flatten() {
        let (kept, done) = (Arc::clone(&kept), done.clone());
        std::thread::spawn(move || {
            pass_on(pipe, &kept);
            // Whoever waited may have given up.
            let _ = done.send(());
        });
    }
    let status = child.wait()?;
    for _ in 0..2 {
        // What the command started and left behind may hold its pipes: it is not waited for.
        let _ = all_read.recv_timeout(REST);
    }
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((status, kept.text()))
}

/// Writes what comes through a pipe to standard error, and keeps what may be repeated.
fn pass_on(pipe: impl Read, kept: &Mutex<Kept>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        // Nobody may be there to read it, which is no reason to stop.
        let _ = io::stderr().write_all(&line);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take(String::from_utf8_lossy(&line).into_owned());
        line.clear();
    }
}

/// How many lines of a command that failed are repeated; as many again may be of panics before them.
const LAST_LINES: usize = 60;
/// How many lines of a panic are repeated.
const PANIC_LINES: usize = 8;
/// How long what a command wrote may take to arrive after its end.
const REST: Duration = Duration::from_secs(5);

/// As one would type it in the workspace's folder.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// The word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether a program of that name is on the `PATH`.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| {
        folder.join(program).is_file() || folder.join(format!("{program}.exe")).is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_prints_as_a_shell_reads_it() {
        let task = Task::words("cargo doc --workspace").env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(task.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --workspace");
        assert_eq!(Task::new("echo").arg("it's").arg("").to_string(), r"echo 'it'\''s' ''");
    }

    #[test]
    fn a_failing_command_names_itself() {
        let error = Task::words("false --again").run(Path::new(".")).expect_err("false fails");
        assert!(error.to_string().contains("false --again"), "{error}");
        let error = Task::new("no-such-program").run(Path::new(".")).expect_err("cannot start");
        assert!(error.to_string().starts_with("could not start"), "{error}");
    }

    #[test]
    fn the_last_lines_of_a_command_are_kept() {
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 3";
        let (status, last) =
            watched(Command::new("sh").args(["-c", script])).expect("sh can be started");
        assert_eq!(status.code(), Some(3));
        assert_eq!(last.lines().count(), LAST_LINES);
        assert!(last.starts_with("line 40\n") && last.ends_with("line 99\n"), "{last}");
    }

    #[test]
    fn panics_are_kept_however_much_follows() {
        let mut kept = Kept::default();
        let followed = (0..100).map(|line| format!("line {line}\n"));
        let lines = ["running 2 tests\n", "thread 'a' panicked at src/a.rs:1:1:\n", "it is 2\n"];
        lines.map(str::to_owned).into_iter().chain(followed).for_each(|line| kept.take(line));
        let text = kept.text();
        assert!(
            text.starts_with("thread 'a' panicked at src/a.rs:1:1:\nit is 2\nline 0\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), PANIC_LINES + LAST_LINES);
    }

    #[test]
    fn output_is_what_was_written() {
        let task = Task::words("echo one two");
        assert_eq!(task.output(Path::new(".")).expect("echo works"), "one two\n");
        assert!(task.succeeds(Path::new(".")));
        assert!(!Task::new("false").succeeds(Path::new(".")));
    }
}
