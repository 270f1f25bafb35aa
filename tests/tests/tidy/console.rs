//! The web console is the first example of how to use the browser client: it reaches the cluster by
//! that client's public interface only. And what that client itself is built on.

use crate::project::{File, dependencies, project_files};

/// What reaches a server past the client, or past its public interface.
const PAST_THE_CLIENT: [&str; 8] = [
    "new WebSocket(",
    "WebSocketStream",
    "fetch(",
    "XMLHttpRequest",
    "EventSource",
    "sendBeacon",
    "rollcall_bindings",
    "rollcall_bg",
];

fn modules() -> Vec<File> {
    let files: Vec<_> =
        project_files().into_iter().filter(|file| file.is("js") && file.within(&["web"])).collect();
    assert!(files.len() > 5, "only {} modules in web", files.len());
    files
}

/// The places with what they have at fault.
fn places<'a>(files: &'a [File], bad: impl Fn(&'a str) -> Option<&'a str>) -> Vec<String> {
    let mut places = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(found) = bad(line) {
                places.push(format!("{}:{number} {found}", file.path.display()));
            }
        }
    }
    places
}

#[test]
fn the_console_reaches_servers_through_the_public_client_only() {
    let files = modules();
    let past = places(&files, |line| PAST_THE_CLIENT.into_iter().find(|it| line.contains(it)));
    assert!(past.is_empty(), "not by the public client: {past:#?}");
}

#[test]
fn the_console_imports_its_own_modules_and_the_client() {
    let files = modules();
    let own: Vec<String> = files
        .iter()
        .filter_map(|file| Some(format!("./{}", file.path.file_name()?.to_str()?)))
        .collect();
    let known = |from: &&str| *from == CLIENT || own.iter().any(|module| module == from);
    let foreign = places(&files, |line| imported(line).filter(|from| !known(from)));
    assert!(foreign.is_empty(), "imports from elsewhere: {foreign:#?}");
    let uses = places(&files, |line| imported(line).filter(|from| *from == CLIENT));
    assert_eq!(uses.len(), 1, "the client is loaded in one place: {uses:?}");
}

#[test]
fn the_browser_client_is_built_on_what_was_agreed() {
    let found = dependencies("client-wasm");
    for name in ["wasm-bindgen", "web-sys", "gloo-net"] {
        assert!(found.contains(&name.to_owned()), "client-wasm does not depend on {name}");
    }
}

/// Where a line of JavaScript imports from, by a statement or a call; types in comments are no
/// imports.
fn imported(line: &str) -> Option<&str> {
    let code = line.trim_start();
    if ["//", "*", "/*"].iter().any(|comment| code.starts_with(comment)) {
        return None;
    }
    let rest = match code.split_once("import(") {
        Some((_, rest)) => rest,
        None => code.split_once(" from ").filter(|_| code.starts_with(['i', 'e', '}']))?.1,
    };
    rest.strip_prefix('"')?.split('"').next()
}

#[test]
fn imports_are_found() {
    assert_eq!(imported("import { a } from \"./b.js\";"), Some("./b.js"));
    assert_eq!(imported("} from \"./b.js\";"), Some("./b.js"));
    assert_eq!(
        imported("  await import(\"https://x.example/y.js\");"),
        Some("https://x.example/y.js")
    );
    assert_eq!(imported("// taken from \"./b.js\""), None);
    assert_eq!(imported("/** @type {import(\"./store.js\").Entry[]} */"), None);
    assert_eq!(imported("say(`gone from \"there\"`);"), None);
}

/// The public client as every server serves it beside the console.
const CLIENT: &str = "./client/rollcall.js";
