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
    Task::new(binary).arg("dev").args(args.iter().copied())
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

    #[test]
    fn all_flags_are_passed_on() {
        let workspace = Workspace { root: "root".into(), target: "t".into(), tests: Vec::new() };
        let line = |args: &[&str]| cluster(&workspace, args).to_string();
        assert!(line(&[]).ends_with("rollcall dev"));
        assert!(line(&["--size", "1", "--data-dir=d"]).ends_with("dev --size 1 --data-dir=d"));
    }
}
