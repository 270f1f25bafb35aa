//! `cargo xtask npm`: writes the browser client as the npm package `rollcall-client`.
//!
//! It publishes nothing and needs no npm.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Result;
use crate::web::{self, Files};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result {
    let mut files = web::build(workspace)?;
    add(workspace, &mut files, "node.js", "client-wasm/js/node.js")?;
    add(workspace, &mut files, "README.md", "client-wasm/README.md")?;
    add(workspace, &mut files, "LICENSE-MIT", "LICENSE-MIT")?;
    add(workspace, &mut files, "LICENSE-APACHE", "LICENSE-APACHE")?;
    files.insert("package.json", manifest().into_bytes());
    let folder = folder(workspace);
    web::write_folder(&folder, &files)?;
    eprintln!("wrote the npm package to {}", folder.display());
    Ok(())
}

/// Where the package is written; as the contract says, the same with every `CARGO_TARGET_DIR`.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/npm/rollcall-client")
}

/// Copies the package to where npm would install it in `project`, so that it is found by its
/// `exports`.
pub(crate) fn install(workspace: &Workspace, project: &Path) -> Result {
    let installed = project.join("node_modules/rollcall-client");
    fs::create_dir_all(&installed)?;
    for entry in fs::read_dir(folder(workspace))? {
        let entry = entry?;
        fs::copy(entry.path(), installed.join(entry.file_name()))?;
    }
    Ok(())
}

fn add(workspace: &Workspace, files: &mut Files, name: &'static str, source: &str) -> Result {
    let content = fs::read(workspace.root.join(source)).map_err(|e| format!("{source}: {e}"))?;
    files.insert(name, content);
    Ok(())
}

/// `package.json`. It is text because order matters in `exports`: the first condition that holds
/// wins. The entries have side effects (they start the module), so bundlers must not skip them.
fn manifest() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"{{
  "name": "rollcall-client",
  "version": "{version}",
  "description": "Browser client of Rollcall: who is online, where to reach them, one global order",
  "license": "MIT OR Apache-2.0",
  "keywords": ["presence", "directory", "sequence", "websocket", "wasm"],
  "type": "module",
  "exports": {{
    ".": {{
      "types": "./rollcall.d.ts",
      "browser": "./rollcall.js",
      "node": "./node.js",
      "default": "./rollcall.js"
    }},
    "./order.js": {{
      "types": "./order.d.ts",
      "default": "./order.js"
    }},
    "./package.json": "./package.json"
  }},
  "types": "./rollcall.d.ts",
  "sideEffects": ["./node.js", "./rollcall.js"],
  "engines": {{ "node": ">=22" }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_json_with_its_conditions_in_order() {
        let text = manifest();
        let json: serde_json::Value = serde_json::from_str(&text).expect("package.json is JSON");
        assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
        let place = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("no {needle}"));
        assert!(place("\"types\": \"./") < place("\"browser\": \"./"));
        assert!(place("\"browser\": \"./") < place("\"node\": \"./"));
        assert!(place("\"node\": \"./") < place("\"default\": \"./"));
        let side_effects = json["sideEffects"].as_array().expect("a list");
        assert!(side_effects.contains(&json["exports"]["."]["node"]));
        assert!(side_effects.contains(&json["exports"]["."]["default"]));
    }
}
