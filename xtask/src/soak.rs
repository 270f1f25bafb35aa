//! `cargo xtask soak` and `cargo xtask herd`: two tests in their long form, with many clients and release
//! builds.
//!
//! What is done and what must hold is the tests' own: `tests/tests/end_to_end/together.rs` and
//! `tests/tests/clients/herd.rs`. Their short forms are part of `cargo xtask test`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::dev;
use crate::process::{Result, Task};
use crate::workspace::Workspace;
use crate::{tools, web};

const SOAK: Long = Long {
    help: "\
Has native clients and two pages call and watch a cluster of three while one of its servers after the
other is killed, stopped, restarted or cut off. No call may fail, nothing be done twice, no change be
lost, and in the end everybody has to see what is there.

  cargo xtask soak [--seconds N] [--clients N] [--seed N]

  --seconds N  how long servers are hurt (180); each of them in every way at least once
  --clients N  how many native clients call and watch (500), a fifth of them everybody
  --seed N     in which order servers are hurt, and for how long (the time of day)

Servers and clients are release builds on this machine, the pages are in two Chromiums. At the end comes
a table of how long calls took, by what happened meanwhile, in milliseconds.
",
    test: ["end_to_end", "together::"],
    has_pages: true,
    options: &[
        ("--seconds", "ROLLCALL_SOAK_SECONDS", Some(180)),
        ("--clients", "ROLLCALL_SOAK_CLIENTS", Some(500)),
        ("--seed", "ROLLCALL_SEED", None),
    ],
};

const HERD: Long = Long {
    help: "\
Kills one of three servers that many native clients are linked to, starts it again, and watches them
come back. They may not come all at once, and all have to hear of what happens meanwhile.

  cargo xtask herd [--clients N]

  --clients N  how many (5000), as far as `ulimit -n` has room: each takes three sockets

Servers and clients are release builds on this machine. At the end comes a table of how long the other
servers' answers to somebody else took, before and meanwhile, in milliseconds.
",
    test: ["clients", "herd::"],
    has_pages: false,
    options: &[("--clients", "ROLLCALL_HERD", Some(5000))],
};

/// A test that has a long form.
struct Long {
    help: &'static str,
    /// The target and the filter.
    test: [&'static str; 2],
    has_pages: bool,
    /// What may be asked for, which the test is told by which variable, and what is so otherwise:
    /// without a number, the time of day.
    options: &'static [(&'static str, &'static str, Option<u64>)],
}

/// Runs `cargo xtask soak`.
pub(crate) fn soak(workspace: &Workspace, args: &[&str]) -> Result<ExitCode> {
    SOAK.run(workspace, args)
}

/// Runs `cargo xtask herd`.
pub(crate) fn herd(workspace: &Workspace, args: &[&str]) -> Result<ExitCode> {
    HERD.run(workspace, args)
}

impl Long {
    fn run(&self, workspace: &Workspace, args: &[&str]) -> Result<ExitCode> {
        let help = self.help;
        if args.iter().any(|arg| ["--help", "-h"].contains(arg)) {
            write!(std::io::stdout(), "{help}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let task = match self.task(workspace, args, now.as_secs()) {
            Ok(task) => task,
            Err(why) => {
                eprint!("xtask: {why}\n\n{help}");
                return Ok(ExitCode::from(2));
            }
        };
        if self.has_pages {
            tools::chromium(workspace)?;
        }
        web::run(workspace)?;
        dev::build_release(workspace)?;
        eprintln!("$ {task}");
        task.status(&workspace.root)
    }

    /// The test alone; built with optimizations too, as it shares the machine with the servers.
    fn task(
        &self,
        workspace: &Workspace,
        args: &[&str],
        now: u64,
    ) -> std::result::Result<Task, String> {
        let mut numbers: Vec<u64> =
            self.options.iter().map(|(_, _, otherwise)| otherwise.unwrap_or(now)).collect();
        for pair in args.chunks(2) {
            let known = self.options.iter().position(|(name, ..)| *name == pair[0]);
            let at = known.ok_or_else(|| format!("unknown option: {}", pair[0]))?;
            let value = pair.get(1).ok_or_else(|| format!("{} needs a number", pair[0]))?;
            numbers[at] =
                value.parse().map_err(|_| format!("{}: {value} is no number", pair[0]))?;
        }
        let [target, filter] = self.test;
        let task = Task::words("cargo test --locked --release --package rollcall-tests --test")
            .args([target, "--", "--nocapture", filter])
            .env("ROLLCALL_BIN", workspace.binary("release").display().to_string());
        let told = self.options.iter().zip(numbers);
        Ok(told
            .fold(task, |task, ((_, variable, _), number)| task.env(variable, number.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(long: &Long, args: &[&str]) -> std::result::Result<String, String> {
        let workspace = Workspace { root: "root".into(), target: "t".into(), tests: Vec::new() };
        long.task(&workspace, args, 1).map(|task| task.to_string())
    }

    #[test]
    fn options_are_numbers() {
        let told = line(&SOAK, &["--clients", "9", "--seed", "8"]).expect("they are");
        let all = "ROLLCALL_SOAK_SECONDS=180 ROLLCALL_SOAK_CLIENTS=9 ROLLCALL_SEED=8 ";
        assert!(told.contains(all), "{told}");
        assert!(line(&SOAK, &[]).expect("none is needed").contains("ROLLCALL_SEED=1 "));
        for bad in [&["--seed"][..], &["--seed", "x"], &["--seeds", "1"]] {
            assert!(line(&SOAK, bad).is_err(), "{bad:?}");
        }
        assert!(line(&HERD, &["--seed", "1"]).is_err(), "it leaves nothing to chance");
    }

    #[test]
    fn the_release_build_is_what_is_tested() {
        let line = line(&HERD, &[]).expect("there is nothing to say");
        assert!(line.starts_with("ROLLCALL_BIN=t/release/rollcall "), "{line}");
        assert!(line.contains("ROLLCALL_HERD=5000 cargo test --locked --release"), "{line}");
        assert!(line.ends_with("--test clients -- --nocapture herd::"), "{line}");
    }
}
