//! The step `packaged` of `cargo xtask test`: an application that has the npm package installed, in
//! `target/packaged`, and what a bundler makes of it, in `target/packaged/dist`.
//!
//! Its programs are in `client-wasm/packaged`. They are run by the tests `npm` and `end_to_end`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Result, Task};
use crate::web::{self, Files};
use crate::workspace::Workspace;
use crate::{npm, runtimes};

/// The application's files.
const SOURCES: [&str; 5] = ["index.html", "main.js", "runtime.js", "work.js", "worker.js"];

pub(crate) fn run(workspace: &Workspace) -> Result {
    packs(workspace)?;
    let project = workspace.root.join("target/packaged");
    let mut files = sources(&workspace.root.join("client-wasm/packaged"))?;
    files.insert("runtimes.json", runtimes(workspace)?.to_string().into_bytes());
    web::write_folder(&project, &files)?;
    npm::install(workspace, &project)?;
    bundle(workspace, &project)
}

/// Fails unless npm packs exactly what the package's folder holds.
fn packs(workspace: &Workspace) -> Result {
    let folder = npm::folder(workspace);
    let said = Task::words("npm pack --dry-run --json --ignore-scripts").output(&folder)?;
    let mut packed = packed(&said)?;
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if packed.remove(&name).is_none() {
            return Err(format!("npm leaves {name} out of the package").into());
        }
    }
    match packed.into_keys().next() {
        None => Ok(()),
        Some(name) => Err(format!("npm packs {name}, which is not in the package's folder").into()),
    }
}

/// Names and sizes of the files that npm says it would pack; prints them.
fn packed(said: &str) -> Result<BTreeMap<String, u64>> {
    let said: Value = serde_json::from_str(said)?;
    let package = &said[0];
    let list = package["files"].as_array().ok_or("npm lists no files")?;
    eprintln!("npm package, bytes");
    let mut files = BTreeMap::new();
    for file in list {
        let name = file["path"].as_str().ok_or("npm names no file")?.to_owned();
        let size = file["size"].as_u64().ok_or("npm gives no size")?;
        eprintln!("  {name:<22}{size:>10}");
        files.insert(name, size);
    }
    eprintln!("  {:<22}{:>10}  (packed {})", "together", package["unpackedSize"], package["size"]);
    Ok(files)
}

fn sources(folder: &Path) -> Result<Files> {
    let mut files = web::read_all(folder, &SOURCES)?;
    files.insert("package.json", MANIFEST.as_bytes().to_vec());
    Ok(files)
}

/// How the program `runtime.js` is started, by the names of what runs it.
fn runtimes(workspace: &Workspace) -> Result<Value> {
    let mut commands = serde_json::Map::new();
    for runtime in runtimes::ALL {
        let mut command = vec![runtime.program(workspace)?.display().to_string()];
        command.extend(runtime.args.iter().map(ToString::to_string));
        command.push("runtime.js".to_owned());
        commands.insert(runtime.name.to_owned(), json!(command));
    }
    Ok(commands.into())
}

/// Builds the application as it stands: there is no configuration and no plugin.
fn bundle(workspace: &Workspace, project: &Path) -> Result {
    Task::new(runtimes::NODE.program(workspace)?.display().to_string())
        .arg(runtimes::vite(workspace).display().to_string())
        .arg("build")
        .run(project)?;
    let module = fs::read(project.join("node_modules/rollcall-client/rollcall_bg.wasm"))?;
    let mut found = 0;
    for entry in fs::read_dir(project.join("dist/assets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            if fs::read(&path)? != module {
                return Err(format!("{} is not the package's module", path.display()).into());
            }
            found += 1;
        }
    }
    // The page and the worker share it.
    if found == 1 { Ok(()) } else { Err(format!("the bundle has {found} modules, not 1").into()) }
}

/// The application's: an ES module, as the package is.
const MANIFEST: &str = r#"{ "private": true, "type": "module" }"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_part_of_the_application() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client-wasm/packaged");
        let files = sources(&folder).expect("the files are there");
        assert_eq!(files.len(), SOURCES.len() + 1);
    }

    #[test]
    fn what_npm_packs_is_read() {
        let said = r#"[{"size": 2, "unpackedSize": 3, "files": [{"path": "a.js", "size": 3}]}]"#;
        let files = packed(said).expect("it is what npm says");
        assert_eq!(files, BTreeMap::from([("a.js".to_owned(), 3)]));
        assert!(packed("[]").is_err());
    }
}
