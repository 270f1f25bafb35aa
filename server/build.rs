//! Embeds the web console (`web/`), the browser client (`target/web/client/`) and its examples into the binary:
//! writes `assets.rs` with one `Asset` per file, its MIME type, ETag and gzip form, to `OUT_DIR`.
//!
//! It does not build the browser client: `cargo xtask web` does. Where that has not run, the server
//! still builds, warns, and says at run time that it has no client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The file without which there is no browser client.
const CLIENT_ENTRY: &str = "client/rollcall.js";

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let console = root.join("web");
    let client = root.join("target/web/client");
    let examples = root.join("client-wasm/examples");
    // Cargo watches only what exists; an empty folder is enough to notice the client's arrival. On
    // a read-only checkout this fails, and all that is lost is that.
    let _ = fs::create_dir_all(&client);
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", console.display());
    println!("cargo:rerun-if-changed={}", client.display());
    println!("cargo:rerun-if-changed={}", examples.display());

    let mut files = BTreeMap::new();
    collect(&console, "", &mut files)?;
    collect(&client, "client/", &mut files)?;
    collect(&examples, "examples/", &mut files)?;
    let client_missing = !files.contains_key(CLIENT_ENTRY);
    if client_missing {
        println!("cargo:warning=building without the browser client; run `cargo xtask web` first");
    }

    let out = PathBuf::from(variable("OUT_DIR"));
    let mut code = format!("const BUILT_WITHOUT_CLIENT: bool = {client_missing};\n");
    code.push_str("static ASSETS: &[Asset] = &[\n");
    for (index, (path, file)) in files.iter().enumerate() {
        let body = fs::read(file)?;
        code.push_str(&embed(&out, index, path, &body)?);
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// Adds every file below `folder`, keyed by its URL path; hidden files are left out.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            io::Error::other(format!("{}: name is not UTF-8", entry.path().display()))
        })?;
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else {
            files.insert(format!("{prefix}{name}"), entry.path());
        }
    }
    Ok(())
}

/// Copies one file's bytes to `out` and returns the `Asset` literal that includes them.
///
/// The copy is what is included, so that the ETag fits even when the source changes meanwhile.
fn embed(out: &Path, index: usize, path: &str, body: &[u8]) -> io::Result<String> {
    let plain = out.join(format!("{index}.asset"));
    fs::write(&plain, body)?;
    let compressed = gzip(body)?;
    let gzip = if compressed.len() < body.len() {
        let file = out.join(format!("{index}.asset.gz"));
        fs::write(&file, &compressed)?;
        format!("Some(include_bytes!({file:?}))")
    } else {
        "None".to_owned()
    };
    let etag = format!("\"{:016x}\"", fnv1a(body));
    let mime = mime(path);
    Ok(format!(
        "    Asset {{ path: {path:?}, mime: {mime:?}, etag: {etag:?}, \
         body: include_bytes!({plain:?}), gzip: {gzip} }},\n"
    ))
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body)?;
    encoder.finish()
}

/// FNV-1a, 64 bits: tells versions of our own files apart, guards against nobody.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        // `.d.ts` among them: browsers show it, editors do not look at the type.
        "ts" | "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
