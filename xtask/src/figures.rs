//! `cargo xtask figures` and `cargo xtask disk`: build the server as users get it, and have a program
//! measure it.
//!
//! What is measured, and how, is that program's: `tests/src/bin/figures` or `tests/src/bin/disk`.

use std::process::ExitCode;

use crate::dev;
use crate::process::{Result, Task};
use crate::workspace::Workspace;

/// Runs the program of this name.
pub(crate) fn run(workspace: &Workspace, name: &str, args: &[&str]) -> Result<ExitCode> {
    let asks = ["--help", "-h", "--list"];
    if !args.iter().any(|arg| asks.contains(arg)) {
        dev::build_release(workspace)?;
    }
    program(workspace, name, args).status(&workspace.root)
}

/// The measuring program; built with optimizations too, as it shares the machine with the servers.
fn program(workspace: &Workspace, name: &str, args: &[&str]) -> Task {
    Task::words("cargo run --locked --quiet --release --package rollcall-tests --bin")
        .args([name, "--"].iter().chain(args).copied())
        .env("ROLLCALL_BIN", workspace.binary("release").display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_build_is_what_is_measured() {
        let workspace = Workspace { root: "root".into(), target: "t".into(), tests: Vec::new() };
        let line = program(&workspace, "figures", &["--runs", "1"]).to_string();
        assert!(line.starts_with("ROLLCALL_BIN=t/release/rollcall cargo run"), "{line}");
        assert!(line.ends_with("--bin figures -- --runs 1"), "{line}");
    }
}
