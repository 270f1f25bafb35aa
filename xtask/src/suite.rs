//! Runs one integration test: asks cargo for its executable and starts that.
//!
//! `cargo test --test NAME` would do the same, but settles on the features of that test's package
//! alone and so compiles most dependencies a second time.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Result, Task};
use crate::tools;
use crate::workspace::Workspace;

/// Arguments of `cargo build` and `cargo test` that name all we build and test; xtask is apart, as
/// it keeps the features that `cargo xtask` built it with.
pub(crate) const EVERYTHING: &str =
    "--locked --workspace --exclude xtask --lib --bins --examples --tests";

/// Runs the integration tests called `name`, of whichever packages have one.
pub(crate) fn run(workspace: &Workspace, name: &str) -> Result {
    let messages = Task::words("cargo test --no-run --message-format json-render-diagnostics")
        .args(EVERYTHING.split(' '))
        .output(&workspace.root)?;
    let found = executables(&messages, name)?;
    if found.is_empty() {
        return Err(format!("cargo built no integration test called {name}").into());
    }
    // Where there is no way to be root, the system may let its users do it, or the test says so.
    let root = needs_root(name).then(|| tools::root_prefix(&workspace.root)).flatten();
    for test in found {
        test.task(workspace, root).run(&test.folder)?;
    }
    Ok(())
}

/// Whether a test mounts file systems and traces processes.
pub(crate) fn needs_root(name: &str) -> bool {
    name == "durability"
}

/// The executable of an integration test, and the folder of its package.
#[derive(Debug, PartialEq)]
struct Executable {
    file: String,
    folder: PathBuf,
}

impl Executable {
    /// With what cargo would set and where it would start it; `root` is a command that runs another
    /// one as root.
    fn task(&self, workspace: &Workspace, root: Option<&str>) -> Task {
        let folder = self.folder.display().to_string();
        let binary = workspace.binary("debug").display().to_string();
        match root {
            // It may pass no variables on.
            Some(root) => Task::words(root)
                .arg("env")
                .arg(format!("CARGO_MANIFEST_DIR={folder}"))
                .arg(format!("ROLLCALL_BIN={binary}"))
                .args(std::env::var("ROLLCALL_HUNT").map(|hunt| format!("ROLLCALL_HUNT={hunt}")))
                .arg(&self.file),
            None => {
                Task::new(&self.file).env("CARGO_MANIFEST_DIR", folder).env("ROLLCALL_BIN", binary)
            }
        }
    }
}

fn executables(messages: &str, name: &str) -> Result<Vec<Executable>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)?;
        let target = &message["target"];
        let kinds = target["kind"].as_array().map_or(&[][..], Vec::as_slice);
        if target["name"] != name || !kinds.iter().any(|kind| kind == "test") {
            continue;
        }
        let file = message["executable"].as_str();
        let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
        if let (Some(file), Some(folder)) = (file, folder) {
            found.push(Executable { file: file.to_owned(), folder: folder.to_owned() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_those_of_the_named_test() {
        let line = |name: &str, kind: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": "/w/tests/Cargo.toml",
                "target": {"name": name, "kind": [kind]},
                "executable": format!("/t/{kind}-{name}"),
            })
            .to_string()
        };
        let messages = [
            line("wire", "lib"),
            line("wire", "test"),
            line("tidy", "test"),
            r#"{"reason": "build-finished", "success": true}"#.to_owned(),
        ]
        .join("\n");
        let found = executables(&messages, "wire").expect("lines are JSON");
        assert_eq!(
            found,
            [Executable { file: "/t/test-wire".to_owned(), folder: "/w/tests".into() }]
        );
        assert!(executables("not JSON", "wire").is_err());
    }
}
