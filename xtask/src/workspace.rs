//! Where things are: the workspace's folders and its test targets, as cargo tells them.
//!
//! It builds nothing.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Result, Task};
use crate::search;

#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo puts what it builds: `target`, unless `CARGO_TARGET_DIR` says otherwise.
    pub target: PathBuf,
    /// Names of the integration tests of all packages, sorted; without xtask's and those that search.
    pub tests: Vec<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or("xtask lies in the workspace's folder")?
            .to_owned();
        let json =
            Task::words("cargo metadata --locked --no-deps --format-version 1").output(&root)?;
        let metadata: Value = serde_json::from_str(&json)?;
        let target = metadata["target_directory"].as_str().ok_or("no target_directory")?.into();
        Ok(Self { root, target, tests: integration_tests(&metadata) })
    }

    /// The folder of the browser client; the server's build script looks there, so it is the same
    /// with every `CARGO_TARGET_DIR`.
    pub(crate) fn client(&self) -> PathBuf {
        self.root.join("target/web/client")
    }

    /// The `rollcall` binary of a profile's folder (`debug`, `release`).
    pub(crate) fn binary(&self, profile: &str) -> PathBuf {
        let name = format!("rollcall{}", std::env::consts::EXE_SUFFIX);
        self.target.join(profile).join(name)
    }
}

fn integration_tests(metadata: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = list(&metadata["packages"])
        .iter()
        .filter(|package| package["name"] != "xtask" && !searches(package))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a package's tests are searches: they are steps of their own.
fn searches(package: &Value) -> bool {
    search::PACKAGES.iter().any(|name| package["name"] == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_those_of_kind_test() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "targets": [
                {"name": "wire", "kind": ["test"]},
                {"name": "a", "kind": ["lib"]},
            ]},
            {"name": "b", "targets": [
                {"name": "wire", "kind": ["test"]},
                {"name": "cli", "kind": ["test"]},
            ]},
            {"name": "rollcall-checker", "targets": [{"name": "teeth", "kind": ["test"]}]},
            {"name": "xtask", "targets": [{"name": "own", "kind": ["test"]}]},
        ]});
        assert_eq!(integration_tests(&metadata), ["cli", "wire"]);
    }
}
