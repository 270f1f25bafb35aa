//! `cargo xtask dev`: builds the browser client and the server, then becomes `rollcall dev`.
//!
//! The cluster itself, where its console is and its end on Ctrl-C are the binary's.

use std::process::ExitCode;

use crate::process::{Result, Task};
use crate::web;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace, args: &[&str]) -> Result<ExitCode> {
    let first = !workspace.binary("release").is_file();
    let hint = if first { " (the first time takes some minutes)" } else { "" };
    eprintln!("[1/3] building the browser client{hint}");
    web::run(workspace)?;
    eprintln!("[2/3] building the server{hint}");
    build_release(workspace)?;
    eprintln!("[3/3] starting the cluster");
    become_program(&cluster(workspace, args), workspace)
}

/// Builds the `rollcall` binary as users get it.
pub(crate) fn build_release(workspace: &Workspace) -> Result {
    Task::words("cargo build --locked --release --package rollcall-server --bin rollcall")
        .run(&workspace.root)
}

fn cluster(workspace: &Workspace, args: &[&str]) -> Task {
    let binary = workspace.binary("release").display().to_string();
    let task = Task::new(binary).arg("dev");
    // The state is in memory unless the user asks for a place.
    let placed = ["--in-memory", "--data-dir"];
    let chosen = args.iter().any(|arg| placed.iter().any(|flag| is_flag(arg, flag)));
    let task = if chosen { task } else { task.arg("--in-memory") };
    task.args(args.iter().copied())
}

fn is_flag(arg: &str, flag: &str) -> bool {
    arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// Replaces this process, so that the terminal's Ctrl-C and the exit status are the program's own.
#[cfg(unix)]
fn become_program(task: &Task, workspace: &Workspace) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = task.command(&workspace.root).exec();
    Err(format!("could not start ({error}): {task}").into())
}

#[cfg(not(unix))]
fn become_program(task: &Task, workspace: &Workspace) -> Result<ExitCode> {
    task.run(&workspace.root).map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> String {
        let workspace = Workspace { root: "root".into(), target: "t".into(), tests: Vec::new() };
        cluster(&workspace, args).to_string()
    }

    #[test]
    fn state_is_in_memory_unless_placed() {
        assert!(line(&[]).ends_with("rollcall dev --in-memory"));
        assert!(line(&["--size", "1"]).ends_with("dev --in-memory --size 1"));
        assert!(line(&["--data-dir", "d"]).ends_with("dev --data-dir d"));
        assert!(line(&["--data-dir=d"]).ends_with("dev --data-dir=d"));
        assert!(line(&["--in-memory"]).ends_with("dev --in-memory"));
    }
}
