//! The project's rules as tests: file headers and sizes, words that must not stay, what may depend
//! on what, purity, the console's content security, links. Each rule is one test.
//!
//! It reads text only; what the compiler and clippy can check is left to them.

mod console;
mod project;
mod shell;

use project::{File, dependencies, manifest, project_files, root};

/// Lines a source file may have.
const LINES_LIMIT: usize = 600;

/// Which of our crates each of our crates may depend on.
const EDGES: [(&str, &[&str]); 10] = [
    ("shared", &[]),
    ("replica", &["rollcall-shared"]),
    ("client", &["rollcall-shared"]),
    ("client-wasm", &["rollcall-shared"]),
    ("storage", &["rollcall-shared", "rollcall-replica"]),
    ("server", &["rollcall-shared", "rollcall-replica", "rollcall-storage", "rollcall-client"]),
    (
        "tests",
        &[
            "rollcall-shared",
            "rollcall-replica",
            "rollcall-client",
            "rollcall-client-wasm",
            "rollcall-server",
        ],
    ),
    ("tests/simulation", &["rollcall-shared", "rollcall-replica", "rollcall-storage"]),
    ("tests/checker", &["rollcall-shared", "rollcall-replica"]),
    ("xtask", &[]),
];

#[test]
fn rust_files_open_with_their_purpose() {
    check("must open with a `//!` header: what it owns, and what it does not", |file| {
        let opens = file.text.lines().next().is_some_and(|line| line.starts_with("//! "));
        if file.is("rs") && !opens { vec![1] } else { vec![] }
    });
}

#[test]
fn source_files_stay_short() {
    check("has more than 600 lines: split it by concept", |file| {
        let source = ["rs", "js", "css", "html"].iter().any(|extension| file.is(extension));
        let lines = file.text.lines().count();
        if source && lines > LINES_LIMIT { vec![lines] } else { vec![] }
    });
}

#[test]
fn no_unfinished_work_is_left() {
    // Put together here, so that this file does not contain them.
    let calls = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    let markers =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|word| word.concat());
    let ignored = ["#[", "ignore"].concat();
    check("holds a marker of unfinished work or a test that never runs", |file| {
        if ["lock", "md"].iter().any(|extension| file.is(extension)) {
            return vec![];
        }
        file.lines_where(|line| {
            calls.iter().any(|call| line.contains(call.as_str()))
                || line.contains(&ignored)
                || words(line).any(|word| markers.iter().any(|marker| marker == word))
        })
    });
}

#[test]
fn the_pure_crates_do_no_io_and_read_no_clock() {
    let banned = [
        "tokio",
        "std::fs",
        "std::thread",
        "std::env",
        "std::process",
        "Instant::now",
        "SystemTime",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::net::*",
        "use std::net;",
        "thread_rng",
        "getrandom",
        "println!",
    ];
    check("is in a pure crate: no I/O, thread, clock or chance there", |file| {
        if !(file.is("rs") && file.within(&["shared/src", "replica/src", "storage/src"])) {
            return vec![];
        }
        file.lines_where(|line| {
            let code = line.split("//").next().unwrap_or_default();
            banned.iter().any(|name| code.contains(name))
        })
    });
}

#[test]
fn our_crates_depend_one_way() {
    for (folder, allowed) in EDGES {
        let found = dependencies(folder);
        for name in found.iter().filter(|name| name.starts_with("rollcall-")) {
            assert!(
                allowed.contains(&name.as_str()),
                "{folder}/Cargo.toml depends on {name}; it may depend on {allowed:?} only"
            );
        }
    }
    let root = manifest("");
    let members = root.get("workspace").and_then(|section| section.get("members"));
    let members = members.expect("the root manifest lists its members");
    let known = EDGES.iter().filter(|(folder, _)| members.contains(&format!("\"{folder}\"")));
    assert_eq!(known.count(), EDGES.len(), "a member is missing from {members}");
    assert_eq!(
        members.matches('"').count(),
        2 * EDGES.len(),
        "this test lacks a member of {members}"
    );
}

#[test]
fn the_pure_crates_pull_in_no_runtime() {
    let banned = ["tokio", "rand", "getrandom", "mio", "async-std", "smol", "tokio-tungstenite"];
    for folder in ["shared", "replica", "storage"] {
        for name in dependencies(folder) {
            assert!(!banned.contains(&name.as_str()), "{folder}/Cargo.toml depends on {name}");
        }
    }
}

#[test]
fn both_halves_of_wasm_bindgen_have_one_version() {
    let version = |folder: &str, section: &str, name: &str| {
        let value = manifest(folder).get(section).and_then(|section| section.get(name)).cloned();
        value.unwrap_or_else(|| panic!("{folder}/Cargo.toml: [{section}] lacks {name}"))
    };
    let library = version("", "workspace.dependencies", "wasm-bindgen");
    let tool = version("xtask", "dependencies", "wasm-bindgen-cli-support");
    assert_eq!(library, tool, "wasm-bindgen and wasm-bindgen-cli-support must be equal");
    assert!(library.starts_with("\"="), "wasm-bindgen = {library} must be exact (`=`)");
}

#[test]
fn the_console_has_nothing_inline() {
    check("breaks the content security policy: scripts and styles go into files", |file| {
        if !(file.is("html") && file.within(&["web", "client-wasm/examples"])) {
            return vec![];
        }
        let mut lines = file.lines_where(|line| {
            let line = line.to_ascii_lowercase();
            let script = line.contains("<script") && !line.contains(" src=");
            script || line.contains("<style") || line.contains("javascript:") || attribute(&line)
        });
        // A script that has a source has no body either.
        let text = file.text.to_ascii_lowercase();
        for (start, _) in text.match_indices("<script") {
            let body =
                text[start..].split_once('>').and_then(|(_, rest)| rest.split("</script").next());
            if body.is_some_and(|body| !body.trim().is_empty()) {
                lines.push(text[..start].lines().count().max(1));
            }
        }
        lines
    });
}

/// Whether a line of HTML in lower case has a `style` or an event handler attribute.
fn attribute(line: &str) -> bool {
    line.split([' ', '\t']).filter_map(|word| word.split_once('=')).any(|(name, _)| {
        let handler = name.strip_prefix("on").is_some_and(|event| {
            !event.is_empty() && event.bytes().all(|byte| byte.is_ascii_lowercase())
        });
        name == "style" || handler
    })
}

#[test]
fn the_console_evaluates_no_text() {
    let banned =
        ["eval(", "new Function(", "document.write(", "setAttribute(\"style\"", "innerHTML"];
    check("runs or renders text as code; build elements instead", |file| {
        if !(file.is("js") && file.within(&["web", "client-wasm/examples"])) {
            return vec![];
        }
        file.lines_where(|line| {
            let code = line.trim_start();
            !code.starts_with("//") && banned.iter().any(|name| code.contains(name))
        })
    });
}

#[test]
fn files_name_no_machine_and_no_mirror() {
    // Each as two halves, so that this file does not contain them.
    let folders = [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"], ["/tm", "p/"]]
        .map(|halves| halves.concat());
    let hosts = ["registry.", "index.", "mirror", "artifactory", "nexus", "static.crates"];
    check("names a folder of one machine or a package registry's host", |file| {
        file.lines_where(|line| {
            let at_start = |folder: &String| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}$~".contains(c))
                })
            };
            let names_host = line.split("://").skip(1).any(|rest| {
                let host = rest.split(['/', '"', '\'', ' ', ')']).next().unwrap_or_default();
                hosts.iter().any(|banned| host.starts_with(banned))
            });
            folders.iter().any(at_start) || names_host
        })
    });
}

#[test]
fn links_in_documents_lead_somewhere() {
    check("links to a file that does not exist", |file| {
        if !file.is("md") {
            return vec![];
        }
        let folder = file.path.parent().expect("found below the workspace");
        let mut fenced = false;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(file.text.lines()) {
            fenced ^= line.trim_start().starts_with("```");
            let broken = |target: &&str| !root().join(folder).join(target).exists();
            if !fenced && link_targets(line).iter().any(broken) {
                lines.push(number);
            }
        }
        lines
    });
}

/// The relative files a line of Markdown links to.
fn link_targets(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

/// Fails with every place a rule finds fault with; the rule returns line numbers.
#[track_caller]
fn check(fault: &str, rule: impl Fn(&File) -> Vec<usize>) {
    let files = project_files();
    assert!(files.len() > 20, "only {} files found in {}", files.len(), root().display());
    let mut places = Vec::new();
    for file in &files {
        for line in rule(file) {
            places.push(format!("  {}:{line} {fault}", file.path.display()));
        }
    }
    assert!(places.is_empty(), "\n{}\n", places.join("\n"));
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn the_rules_find_what_they_look_for() {
    assert!(attribute("<p onclick=\"x()\">") && attribute("<p style=\"x\">"));
    assert!(!attribute("<p class=\"on\" data-style=\"x\" data-once=\"y\">"));
    assert_eq!(link_targets("[a](b.md#c) [d](https://e.f) [g](#h)"), ["b.md"]);
    assert!(dependencies("xtask").contains(&"flate2".to_owned()));
    assert!(dependencies("replica").contains(&"rollcall-shared".to_owned()));
    assert!(dependencies("replica").contains(&"proptest".to_owned()));
}
