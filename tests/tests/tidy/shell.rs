//! That the server decides nothing of the protocol: it takes from the replica what feeds it, what
//! carries its messages and records, and what clients and operators are told, and it looks into no
//! message, no record and no log.

use crate::project::{File, project_files};

/// What of the replica the server may name. A message is a [`Frame`] that it passes on, a record is
/// one that it stores: what is in them has no name here.
const MAY_NAME: [&str; 50] = [
    // The state machine, what goes in and what comes out.
    "Replica",
    "Config",
    "Input",
    "Output",
    "LinkId",
    "Refused",
    "Relayed",
    "NoSession",
    "StopReason",
    "CloseReason",
    // What it must be told at its start.
    "Config::APPLY_AT_ONCE",
    "Config::PATIENCE",
    "Config::SNAPSHOT_EVERY",
    "Members",
    "InvalidMembers",
    "MAX_MEMBERS",
    "Timings",
    "Genesis",
    "Bounds",
    // Numbers that are passed on and compared.
    "Boot",
    "ClusterId",
    "ProcessId",
    "PeerLink",
    "ReadId",
    "Lsn",
    // What is carried and stored, unseen.
    "Frame",
    "wire",
    "Record",
    "Stored",
    "Directory",
    "Index",
    // Who may link.
    "handshake",
    "Doorkeeper",
    "Introduction",
    "Linked",
    "Refusal",
    "SUBPROTOCOL",
    // Requests of clients and their outcomes.
    "Principal",
    "Write",
    "Written",
    "Applied",
    "RoleKind",
    // What clients are shown.
    "Users",
    "User",
    "Registration",
    "Change",
    "Event",
    "History",
    "Kept",
    "history",
];

#[test]
fn the_server_names_nothing_of_the_protocol() {
    let mut named = 0;
    for file in server_files() {
        for name in names(&file.text) {
            named += 1;
            assert!(
                MAY_NAME.contains(&name.as_str()),
                "{} names {name} of the replica: a decision that needs it belongs there",
                file.path.display()
            );
        }
    }
    assert!(named > 50, "only {named} names were found: does this test still read them?");
}

#[test]
fn only_the_node_drives_the_replica() {
    let drives = ["replica.handle(", ".handle_timeout(", ".poll_output("];
    let mut found = Vec::new();
    for file in server_files() {
        // Tests in the same file stand behind the code.
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        if drives.iter().any(|call| code.contains(call)) {
            found.push(file.path.display().to_string());
        }
    }
    assert_eq!(found, ["server/src/node.rs"]);
}

#[test]
fn nobody_looks_into_a_frame_or_a_record() {
    for file in server_files() {
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for look in ["frame.message", "frame.number", " Frame {", "Record::"] {
            let path = file.path.display();
            assert!(!code.contains(look), "{path} looks into what it carries: {look}");
        }
    }
}

/// A lease that the machine slept through is over (R20 of docs/replication.md).
#[test]
fn what_drives_the_replica_reads_a_clock_that_counts_suspended_time() {
    let files = server_files();
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == std::path::Path::new(path));
        file.unwrap_or_else(|| panic!("{path} is missing")).text.as_str()
    };
    assert!(text("server/src/clock.rs").contains("ClockId::Boottime"));
    for path in ["server/src/node.rs", "server/src/context.rs", "server/src/peers.rs"] {
        assert!(text(path).contains("clock::now()"), "{path} reads no clock");
        for other in ["Instant::now", "SystemTime"] {
            assert!(!text(path).contains(other), "{path} reads another clock: {other}");
        }
    }
}

/// The code of the server without its tests in files of their own.
fn server_files() -> Vec<File> {
    let is_code = |file: &File| {
        file.is("rs") && file.within(&["server/src"]) && !file.path.ends_with("tests.rs")
    };
    let files: Vec<_> = project_files().into_iter().filter(is_code).collect();
    assert!(files.len() > 30, "only {} files of the server were found", files.len());
    files
}

/// The last part of every path into the replica that a text has, those in braces too.
fn names(text: &str) -> Vec<String> {
    const ROOT: &str = "rollcall_replica::";
    let code: String = text.split("#[cfg(test)]").next().unwrap_or_default().into();
    let mut names = Vec::new();
    for (at, _) in code.match_indices(ROOT) {
        let rest = &code[at + ROOT.len()..];
        let mut depth = 0_usize;
        let end = rest.find(|c: char| {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                _ => {}
            }
            let inside = c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '}');
            depth == 0 && !inside || depth > 0 && !(inside || matches!(c, ',' | ' ' | '\n'))
        });
        leaves(&rest[..end.unwrap_or(rest.len())], &mut names);
    }
    names
}

/// The leaves of `a::{B, c::{D, E}}`: B, D, E.
fn leaves(tree: &str, names: &mut Vec<String>) {
    let Some((_, inner)) = tree.split_once('{') else {
        let path = tree.trim().trim_end_matches([':', '}', '{']);
        let parts: Vec<&str> = path.split("::").collect();
        // `Config::PATIENCE` is a part of a type, not of a module.
        let leaf = match parts.as_slice() {
            [.., owner, constant] if owner.starts_with(char::is_uppercase) => {
                format!("{owner}::{constant}")
            }
            [.., last] => (*last).to_owned(),
            [] => return,
        };
        if !leaf.is_empty() {
            names.push(leaf.split(" as ").next().unwrap_or_default().to_owned());
        }
        return;
    };
    let mut depth = 0_usize;
    let parts = inner.trim_end_matches(['}', ':']).split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    for part in parts.filter(|part| !part.trim().is_empty()) {
        leaves(part, names);
    }
}

#[test]
fn names_are_found_wherever_they_stand() {
    let text = "use rollcall_replica::consensus::{Role, log::{Log, Entry}};\n\
                fn f(x: rollcall_replica::wire::Frame) -> rollcall_replica::Config::MOST {}\n\
                #[cfg(test)]\nuse rollcall_replica::Hidden;";
    assert_eq!(names(text), ["Role", "Log", "Entry", "Frame", "Config::MOST"]);
}
