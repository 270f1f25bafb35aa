//! The step `types` of `cargo xtask test`: strict TypeScript compiles programs that use the npm
//! package as an application does, and refuses the mistakes it has to refuse.
//!
//! The programs are in `client-wasm/types`; the package is `npm`'s and the compiler `tools`'.

use std::fs;
use std::path::Path;

use crate::process::{Result, Task};
use crate::web::{self, Files};
use crate::workspace::Workspace;
use crate::{npm, tools};

/// The programs and their settings.
const SOURCES: [&str; 4] = ["exact.ts", "refused.ts", "surface.ts", "tsconfig.json"];

/// The ways in which applications find a package and what is around it: Node.js with nothing but
/// the language, and a bundler with all of the browser.
const WAYS: [&[&str]; 2] = [
    &["--module", "nodenext", "--moduleResolution", "nodenext"],
    &["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"],
];

pub(crate) fn run(workspace: &Workspace) -> Result {
    let project = workspace.root.join("target/types");
    lay_out(workspace, &project)?;
    let compiler = tools::tsc(workspace).display().to_string();
    for way in WAYS {
        Task::new("node")
            .args([compiler.as_str(), "--project", ".", "--pretty", "false"])
            .args(way.iter().copied())
            .run(&project)
            .map_err(|error| format!("{error}\n   the programs are in client-wasm/types"))?;
    }
    import(&project)
}

/// Runs a program of Node.js that imports the package by its name and calls it.
fn import(project: &Path) -> Result {
    let said = Task::words("node --input-type=module --eval").arg(IMPORT).output(project)?;
    match said.trim() {
        "function invalid_argument servers" => Ok(()),
        said => Err(format!("the package under Node.js: a refused call says {said:?}").into()),
    }
}

/// Makes `project` an application that has the package installed.
fn lay_out(workspace: &Workspace, project: &Path) -> Result {
    web::write_folder(project, &sources(&workspace.root.join("client-wasm/types"))?)?;
    let readme = fs::read_to_string(npm::folder(workspace).join("README.md"))?;
    fs::write(project.join("readme.ts"), example(&readme)?)?;
    npm::install(workspace, project)
}

/// The first example of the package's README, as TypeScript.
fn example(readme: &str) -> Result<String> {
    let code = readme.split_once("```js\n").and_then(|(_, rest)| rest.split_once("```"));
    let (code, _) = code.ok_or("the package's README has no example in JavaScript")?;
    Ok(format!(
        "declare const console: {{ log(...values: unknown[]): void }};\n{code}export {{}};\n"
    ))
}

fn sources(folder: &Path) -> Result<Files> {
    let mut files = web::read_all(folder, &SOURCES)?;
    files.insert("package.json", MANIFEST.as_bytes().to_vec());
    Ok(files)
}

/// No server is needed for a call without any; what refuses it is the WebAssembly module.
const IMPORT: &str = "import { Rollcall } from 'rollcall-client'; \
    const refused = await Rollcall.connect({ servers: [] }).catch((error) => error); \
    console.log(typeof Rollcall.connect, refused.code, refused.field);";

/// The application's: an ES module, as the package is.
const MANIFEST: &str = r#"{ "private": true, "type": "module" }"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_compiled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client-wasm/types");
        let files = sources(&folder).expect("the programs are there");
        let text = |name: &str| String::from_utf8(files[name].clone()).expect("it is text");
        let settings: serde_json::Value =
            serde_json::from_str(&text("tsconfig.json")).expect("the settings are JSON");
        assert_eq!(settings["files"], serde_json::json!(["surface.ts", "refused.ts", "readme.ts"]));
        assert!(text("surface.ts").contains("from \"rollcall-client\""));
        assert!(text("refused.ts").matches("@ts-expect-error").count() > 40);
        for rule in ["strict", "exactOptionalPropertyTypes", "noUncheckedIndexedAccess"] {
            assert_eq!(settings["compilerOptions"][rule], true, "{rule}");
        }
        assert_eq!(settings["compilerOptions"]["skipLibCheck"], false);
    }

    #[test]
    fn the_example_is_the_first_code() {
        let code = example("# a\n```js\nimport x;\n```\n```js\ny\n```\n").expect("it has one");
        assert!(code.contains("import x;\n") && !code.contains('y'), "{code}");
        assert!(example("# a\n").is_err());
    }
}
