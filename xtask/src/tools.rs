//! What the other commands need beside Rust: each function makes one thing be there, installing it
//! where it can, or fails with what a person has to do.
//!
//! It installs into the toolchain, the system's packages or `target/tools`, nowhere else.

use std::path::{Path, PathBuf};

use crate::process::{Result, Task, on_path};
use crate::workspace::Workspace;

const WASM: &str = "wasm32-unknown-unknown";

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// The version of TypeScript that checks the browser client's types. It is the last one written in
/// JavaScript, so it runs wherever Node.js does, and what it takes later ones take.
const TYPESCRIPT: &str = "5.9.3";

/// How many megabytes are free on the file system of `folder`, where `df` can tell.
pub(crate) fn free_megabytes(folder: &Path) -> Option<u64> {
    let folder = folder.ancestors().find(|folder| folder.is_dir())?;
    let table = Task::words("df -Pm .").output(folder).ok()?;
    table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// Makes the compiler know the target of browsers.
pub(crate) fn wasm_target(workspace: &Workspace) -> Result {
    let root = &workspace.root;
    let has_target = || {
        Task::words("rustc --print target-libdir --target")
            .arg(WASM)
            .output(root)
            .is_ok_and(|folder| Path::new(folder.trim()).is_dir())
    };
    if has_target() {
        return Ok(());
    }
    if !on_path("rustup") {
        return Err(format!(
            "the Rust compiler lacks the target {WASM}, and there is no rustup to add it with; \
             install it the way Rust was installed, or Rust from https://rustup.rs"
        )
        .into());
    }
    Task::words("rustup target add").arg(WASM).run(root)?;
    if has_target() {
        Ok(())
    } else {
        Err(format!("rustup added {WASM}, but to another toolchain than `rustc` is").into())
    }
}

/// Makes Chromium and its WebDriver be on the `PATH`.
pub(crate) fn chromium(workspace: &Workspace) -> Result {
    let programs = ["chromium", "chromedriver"];
    on_path_or_installed(workspace, "the browser tests", &programs, "chromium chromium-driver")
}

/// Makes what spoils disks for servers under test be on the `PATH`.
pub(crate) fn strace(workspace: &Workspace) -> Result {
    let programs = ["strace", "unshare", "mount"];
    on_path_or_installed(workspace, "the durability test", &programs, "strace util-linux mount")
}

/// Makes Node.js and npm be on the `PATH`.
pub(crate) fn node(workspace: &Workspace) -> Result {
    // Where Node.js did not come from Debian, Debian's npm would bring a second one.
    let packages = if on_path("node") { "npm" } else { "nodejs npm" };
    on_path_or_installed(workspace, "the check of the types", &["node", "npm"], packages)
}

/// Makes programs be on the `PATH`, by Debian's packages where they are not; `who` needs them.
fn on_path_or_installed(
    workspace: &Workspace,
    who: &str,
    programs: &[&str],
    packages: &str,
) -> Result {
    let root = &workspace.root;
    let are_there = || programs.iter().all(|program| on_path(program));
    if are_there() {
        return Ok(());
    }
    let by_hand = format!("{who} needs `{}` on the PATH", programs.join("` and `"));
    if !on_path("apt-get") {
        return Err(format!("{by_hand}; there is no apt-get here, so install them by hand").into());
    }
    let install = format!("apt-get install --yes --no-install-recommends {packages}");
    let Some(prefix) = root_prefix(root) else {
        return Err(format!(
            "{by_hand}; neither root nor `sudo -n` works here, so run: \
             sudo apt-get update && sudo {install}"
        )
        .into());
    };
    Task::words(&format!("{prefix} apt-get update")).run(root)?;
    Task::words(&format!("{prefix} env DEBIAN_FRONTEND=noninteractive {install}")).run(root)?;
    if are_there() {
        Ok(())
    } else {
        Err(format!("{by_hand}; apt-get installed its packages without bringing them").into())
    }
}

/// What to put before a command for it to run as root; none where that needs a password.
pub(crate) fn root_prefix(dir: &Path) -> Option<&'static str> {
    let is_root = Task::words("id -u").output(dir).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return Some("env");
    }
    Task::words("sudo -n true").succeeds(dir).then_some("sudo -n")
}

/// Makes cargo-deny be there, of the version we want.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result {
    if find_cargo_deny(workspace).is_some() {
        return Ok(());
    }
    let tools = workspace.root.join("target/tools");
    Task::words("cargo install cargo-deny --locked --version")
        .arg(CARGO_DENY)
        .arg("--root")
        .arg(tools.display().to_string())
        // Kept until it succeeds, so that an interrupted build goes on where it was.
        .arg("--target-dir")
        .arg(tools.join("build").display().to_string())
        .run(&workspace.root)?;
    std::fs::remove_dir_all(tools.join("build"))?;
    Ok(())
}

/// Runs cargo-deny, which must be there, on `deny.toml`. Advisories change daily and need the
/// network; they are no part of the tests.
pub(crate) fn check_dependencies(workspace: &Workspace) -> Result {
    let program = find_cargo_deny(workspace).ok_or("cargo-deny is not installed")?;
    Task::new(program.display().to_string())
        .args("--locked --workspace check --hide-inclusion-graph licenses bans sources".split(' '))
        .run(&workspace.root)
}

/// The cargo-deny of the right version: our own, else the one on the `PATH`.
fn find_cargo_deny(workspace: &Workspace) -> Option<PathBuf> {
    let own = workspace.root.join("target/tools/bin/cargo-deny");
    [own, PathBuf::from("cargo-deny")].into_iter().find(|program| {
        let task = Task::new(program.display().to_string()).arg("--version");
        task.succeeds(&workspace.root)
            && task.output(&workspace.root).is_ok_and(|version| version.contains(CARGO_DENY))
    })
}

/// Makes the TypeScript compiler be there, of the version we want, from the npm registry this
/// machine is set up with.
pub(crate) fn typescript(workspace: &Workspace) -> Result {
    if has_typescript(workspace) {
        return Ok(());
    }
    Task::words("npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund")
        .arg("--prefix")
        .arg(typescript_folder(workspace).display().to_string())
        .arg(format!("typescript@{TYPESCRIPT}"))
        .run(&workspace.root)?;
    if has_typescript(workspace) {
        Ok(())
    } else {
        Err(format!("npm brought no TypeScript {TYPESCRIPT} that Node.js runs").into())
    }
}

/// The script of the TypeScript compiler, for Node.js.
pub(crate) fn tsc(workspace: &Workspace) -> PathBuf {
    typescript_folder(workspace).join("node_modules/typescript/bin/tsc")
}

fn typescript_folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/tools/typescript")
}

fn has_typescript(workspace: &Workspace) -> bool {
    let script = tsc(workspace);
    let version = Task::new("node").arg(script.display().to_string()).arg("--version");
    // Looked at first, so that Node.js does not print that it is missing.
    script.is_file()
        && version.output(&workspace.root).is_ok_and(|text| text.trim().ends_with(TYPESCRIPT))
}
