//! `cargo xtask web`: compiles the browser client to WebAssembly, writes its JavaScript side, and
//! weighs both.
//!
//! The entry files written by hand are in `client-wasm/js`; the npm package is `npm`'s, and what makes
//! wasm-bindgen's output small is `glue`'s.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::{Bindgen, EncodeInto};

use crate::glue::{self, Names};
use crate::process::{Result, Task};
use crate::silence::silence;
use crate::squeeze::squeeze;
use crate::tools;
use crate::workspace::Workspace;

/// What a page loads, wasm and JavaScript together, may weigh gzipped, in bytes.
const GZIP_LIMIT: usize = 70_000;

/// What the console weighs in all, its own files and the browser client, gzipped, in bytes.
const CONSOLE_GZIP_LIMIT: usize = 120_000;

/// The files a page loads.
const LOADED: [&str; 3] = ["rollcall.js", "rollcall_bindings.js", "rollcall_bg.wasm"];

/// Names and contents of a folder's files.
pub(crate) type Files = BTreeMap<&'static str, Vec<u8>>;

/// Reads the files of a folder, all of which are to be among `names`.
pub(crate) fn read_all(folder: &Path, names: &[&'static str]) -> Result<Files> {
    let mut files = Files::new();
    for name in names {
        files.insert(name, fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))?);
    }
    let listed = fs::read_dir(folder)?.count();
    if listed != names.len() {
        return Err(format!("{} has {listed} files; {names:?} lacks some", folder.display()).into());
    }
    Ok(files)
}

pub(crate) fn run(workspace: &Workspace) -> Result {
    let files = build(workspace)?;
    write_folder(&workspace.client(), &files)?;
    let client = weigh(&files)?;
    weigh_console(&workspace.root.join("web"), client)?;
    eprintln!("wrote the browser client to {}", workspace.client().display());
    Ok(())
}

/// Builds the browser client and returns what is to be served under `/client/`.
pub(crate) fn build(workspace: &Workspace) -> Result<Files> {
    tools::wasm_target(workspace)?;
    let module = compile(workspace)?;
    let bindings = Bindings::generate(&module)?;
    let by_hand = |name| fs::read(workspace.root.join("client-wasm/js").join(name));
    Ok(Files::from([
        ("rollcall.js", entry(by_hand("rollcall.js")?)?),
        ("order.js", by_hand("order.js")?),
        ("order.d.ts", by_hand("order.d.ts")?),
        ("rollcall_bindings.js", bindings.javascript.into_bytes()),
        ("rollcall_bg.wasm", bindings.wasm),
        ("rollcall.d.ts", public_types(&bindings.types)?.into_bytes()),
    ]))
}

/// An entry file without comments and indentation, but for its first line: Deno reads there where the
/// types are.
fn entry(file: Vec<u8>) -> Result<Vec<u8>> {
    let text = String::from_utf8(file)?;
    let (first, rest) = text.split_once('\n').ok_or("an entry file has one line only")?;
    Ok(format!("{first}\n{}", glue::strip(rest)?).into_bytes())
}

/// Compiles `client-wasm` and returns the module's path.
fn compile(workspace: &Workspace) -> Result<PathBuf> {
    // Only the crate type that browsers get: beside an `rlib`, cargo links without LTO, and the
    // module is twice as large.
    let mut task = Task::words(
        "cargo rustc --locked --package rollcall-client-wasm --lib --crate-type cdylib \
         --target wasm32-unknown-unknown --profile wasm",
    );
    let flags = path_flags();
    if !flags.is_empty() {
        let list = serde_json::to_string(&flags)?; // a TOML array as well
        task = task.arg("--config").arg(format!("target.wasm32-unknown-unknown.rustflags={list}"));
    }
    task.run(&workspace.root)?;
    Ok(workspace.target.join("wasm32-unknown-unknown/wasm/rollcall_client_wasm.wasm"))
}

/// Compiler flags that keep this machine's folders out of panic messages: smaller, and the same
/// module wherever it is built.
fn path_flags() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let Some(sources) = home.map(|home| home.join("registry/src")) else {
        return Vec::new();
    };
    let Ok(registries) = fs::read_dir(sources) else {
        return Vec::new();
    };
    let mut flags: Vec<String> = registries
        .flatten()
        .map(|registry| format!("--remap-path-prefix={}=crates", registry.path().display()))
        .collect();
    flags.sort();
    flags
}

/// What wasm-bindgen makes of a module.
struct Bindings {
    wasm: Vec<u8>,
    javascript: String,
    types: String,
}

impl Bindings {
    /// Runs wasm-bindgen and makes less of what it wrote.
    fn generate(module: &Path) -> Result<Self> {
        let mut bindgen = Bindgen::new();
        let describe = |error| format!("wasm-bindgen: {error:#}");
        bindgen
            .input_bytes("rollcall", silence(&fs::read(module)?)?)
            .web(true)
            .map_err(describe)?
            .typescript(true)
            // Only then the bindings find the module beside them.
            .omit_default_module_path(false)
            // Whatever runs the module has it; without this, code comes for what lacks it.
            .encode_into(EncodeInto::Always)
            .remove_name_section(true)
            .remove_producers_section(true);
        let mut output = bindgen.generate_output().map_err(describe)?;
        let inline = output.snippets().values().any(|list| !list.is_empty());
        if inline || !output.local_modules().is_empty() {
            // They would need to be served, packaged and weighed too.
            return Err("client-wasm brings inline JavaScript; put it into client-wasm/js".into());
        }
        let types = output.ts().ok_or("wasm-bindgen wrote no types")?.to_owned();
        finds_its_module(output.js())?;
        let mut names = Names::avoiding(output.js());
        let javascript = glue::strip(output.js())?;
        let wasm = output.wasm_mut();
        for import in wasm.imports.iter_mut() {
            import.name = names.shorten(&import.name)?;
        }
        // Some are for a mode of wasm-bindgen's that is off.
        let exports: Vec<_> = wasm.exports.iter().map(|export| export.id()).collect();
        for id in exports {
            let export = wasm.exports.get_mut(id);
            match names.shorten(&export.name) {
                Ok(short) => export.name = short,
                Err(_) => wasm.exports.delete(id),
            }
        }
        let wasm = squeeze(&wasm.emit_wasm())?;
        Ok(Self { wasm, javascript: names.apply(&javascript), types })
    }
}

/// Fails unless the bindings load the module that lies beside them where nobody says which: without
/// that, wasm-bindgen leaves the path out, and bundlers do not see that there is a file to take.
fn finds_its_module(javascript: &str) -> Result {
    let path = "new URL('rollcall_bg.wasm', import.meta.url)";
    if javascript.contains(path) {
        return Ok(());
    }
    Err(format!("the bindings do not load the module beside them: no `{path}` in them").into())
}

/// The types a user sees: those of the bindings without the functions that load the module, which
/// the entry files do.
fn public_types(generated: &str) -> Result<String> {
    let (types, _loading) = generated
        .split_once("export type InitInput =")
        .ok_or("wasm-bindgen's types do not end in those of loading as they used to")?;
    let class = "export class Rollcall {";
    if !types.contains(class) {
        return Err(format!("client-wasm exports no class Rollcall: `{class}` is missing").into());
    }
    Ok(format!("{}\n", types.trim_end()))
}

/// Makes `folder` hold exactly `files`; one that is right already keeps its time, so that nothing
/// is rebuilt for it.
pub(crate) fn write_folder(folder: &Path, files: &Files) -> Result {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let wanted = entry.file_name().to_str().is_some_and(|name| files.contains_key(name));
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if !wanted {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, content) in files {
        let path = folder.join(name);
        if fs::read(&path).ok().as_ref() != Some(content) {
            fs::write(path, content)?;
        }
    }
    Ok(())
}

/// Prints what the files weigh gzipped, returns it, and fails where a page would load too much.
fn weigh(files: &Files) -> Result<usize> {
    let mut sum = (0, 0);
    eprintln!("{:<24}{:>10}{:>10}", "browser client, bytes", "raw", "gzip");
    for name in LOADED {
        let content = files.get(name).ok_or_else(|| format!("{name} was not built"))?;
        let packed = gzip_size(content)?;
        eprintln!("  {name:<22}{:>10}{packed:>10}", content.len());
        sum = (sum.0 + content.len(), sum.1 + packed);
    }
    eprintln!("  {:<22}{:>10}{:>10}  (limit {GZIP_LIMIT})", "together", sum.0, sum.1);
    if let Some(order) = files.get("order.js") {
        let packed = gzip_size(order)?;
        eprintln!("  {:<22}{:>10}{packed:>10}  (by itself)", "order.js", order.len());
    }
    if sum.1 > GZIP_LIMIT {
        return Err(format!("the browser client is {} bytes too large", sum.1 - GZIP_LIMIT).into());
    }
    Ok(sum.1)
}

/// Prints what the console's files weigh, alone and with the client, and fails where it is too much.
fn weigh_console(folder: &Path, client: usize) -> Result {
    let (mut raw, mut packed) = (0, 0);
    for entry in fs::read_dir(folder)? {
        // One file each, as the server sends them.
        let content = fs::read(entry?.path())?;
        raw += content.len();
        packed += gzip_size(&content)?;
    }
    let together = client + packed;
    eprintln!("  {:<22}{raw:>10}{packed:>10}", "web console");
    eprintln!("  {:<22}{:>10}{together:>10}  (limit {CONSOLE_GZIP_LIMIT})", "with the client", "");
    if together > CONSOLE_GZIP_LIMIT {
        let over = together - CONSOLE_GZIP_LIMIT;
        return Err(format!("the web console with its client is {over} bytes too large").into());
    }
    Ok(())
}

fn gzip_size(content: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_end_before_those_of_loading() {
        let generated = "/* lint */\nexport class Rollcall {\n}\n\nexport type InitInput = X;\nexport \
                         default function __wbg_init(): void;\n";
        let types = public_types(generated).expect("has both");
        assert_eq!(types, "/* lint */\nexport class Rollcall {\n}\n");
        assert!(public_types("export class Rollcall {").is_err());
        assert!(public_types("export type InitInput = X").is_err());
    }

    #[test]
    fn an_entry_file_keeps_its_first_line() {
        let file = "// @types\n// comment\n\nf(() => {\n  g();\n});\n";
        let entry = entry(file.into()).expect("it is plain");
        assert_eq!(String::from_utf8_lossy(&entry), "// @types\nf(() => {\ng();\n});\n");
    }

    #[test]
    fn bindings_without_the_path_of_their_module_are_refused() {
        let with = "module_or_path = new URL('rollcall_bg.wasm', import.meta.url);";
        finds_its_module(with).expect("they name the file");
        assert!(finds_its_module("module_or_path = fetch(module_or_path);").is_err());
    }

    #[test]
    fn a_written_folder_holds_the_files_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("xtask-web-{}", std::process::id()));
        fs::create_dir_all(folder.join("stale")).expect("temporary folder is writable");
        fs::write(folder.join("stale.js"), "old").expect("temporary folder is writable");
        let files = Files::from([("a.js", b"one".to_vec()), ("b.js", b"two".to_vec())]);
        write_folder(&folder, &files).expect("temporary folder is writable");
        let time = |name: &str| {
            fs::metadata(folder.join(name)).and_then(|data| data.modified()).expect("was written")
        };
        let before = time("a.js");
        write_folder(&folder, &files).expect("temporary folder is writable");
        assert_eq!(time("a.js"), before, "an unchanged file was written again");
        let mut names: Vec<_> = fs::read_dir(&folder)
            .expect("folder exists")
            .map(|entry| entry.expect("folder is readable").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a.js", "b.js"]);
        fs::remove_dir_all(&folder).expect("ours to remove");
    }

    #[test]
    fn too_much_is_refused() {
        let noise: Vec<u8> = (0..200_000_u32)
            .scan(1_u32, |state, _| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some((*state >> 24) as u8)
            })
            .collect();
        let mut files = Files::from(LOADED.map(|name| (name, b"small".to_vec())));
        let light = weigh(&files).expect("three small files are light");
        let folder = std::env::temp_dir().join(format!("xtask-weigh-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("temporary folder is writable");
        fs::write(folder.join("app.js"), &noise[..100_000]).expect("temporary folder is writable");
        weigh_console(&folder, light).expect("100,000 bytes and three small files are light");
        assert!(weigh_console(&folder, light + 30_000).is_err());
        fs::remove_dir_all(&folder).expect("ours to remove");
        files.insert("rollcall_bg.wasm", noise);
        assert!(weigh(&files).is_err());
        files.remove("rollcall_bg.wasm");
        assert!(weigh(&files).is_err(), "a missing file must not count as light");
    }
}
