//! One command to run: how it is built, run, and printed so that a person can run it again.
//!
//! It knows no command in particular.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

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

    /// Runs it to its end, its output going where ours goes.
    pub(crate) fn run(&self, dir: &Path) -> Result {
        eprintln!("$ {self}");
        let status = self.command(dir).status().map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(format!("failed ({status}): {self}").into()) }
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
        assert!(error.to_string().ends_with("false --again"), "{error}");
        let error = Task::new("no-such-program").run(Path::new(".")).expect_err("cannot start");
        assert!(error.to_string().starts_with("could not start"), "{error}");
    }

    #[test]
    fn output_is_what_was_written() {
        let task = Task::words("echo one two");
        assert_eq!(task.output(Path::new(".")).expect("echo works"), "one two\n");
        assert!(task.succeeds(Path::new(".")));
        assert!(!Task::new("false").succeeds(Path::new(".")));
    }
}
