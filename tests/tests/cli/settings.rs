//! Flags over environment over file over defaults, and errors that name file and key.

use std::path::Path;

use rollcall_tests::{
    command::{Running, run_with},
    server::{new_directory, parse_ready_line},
    wire::Client,
};
use serde_json::json;

/// Starts a server with these settings and returns what it says in its `Welcome`.
async fn welcome(arguments: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
    let mut server = Running::start_with(&arguments, environment);
    let line = server.line().await;
    let (_, port) = parse_ready_line(&line).unwrap_or_else(|| panic!("it said {line}"));
    let mut client = Client::dial(([127, 0, 0, 1], port).into(), None).await;
    client.call("Hello", json!({})).await
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("the temporary folder is writable");
    path.display().to_string()
}

#[tokio::test]
async fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let directory = new_directory();
    let text = "id = 1\nin_memory = true\nsession_grace_ms = 1111\nheartbeat_ms = 1112\n\
                first_message_ms = 1113\n";
    let file = write(directory.path(), "rollcall.toml", text);
    let grace = "ROLLCALL_SESSION_GRACE_MS";
    let heartbeat = "ROLLCALL_HEARTBEAT_MS";

    let said = welcome(&["--id", "1", "--in-memory"], &[]).await;
    assert_eq!((&said["session_grace_ms"], &said["heartbeat_ms"]), (&json!(10_000), &json!(5_000)));

    let said = welcome(&["--config", &file], &[]).await;
    assert_eq!((&said["session_grace_ms"], &said["heartbeat_ms"]), (&json!(1111), &json!(1112)));

    let said = welcome(&["--config", &file], &[(grace, "2222")]).await;
    assert_eq!((&said["session_grace_ms"], &said["heartbeat_ms"]), (&json!(2222), &json!(1112)));

    let flags = ["--config", &file, "--session-grace-ms", "3333"];
    let said = welcome(&flags, &[(grace, "2222"), (heartbeat, "2223")]).await;
    assert_eq!((&said["session_grace_ms"], &said["heartbeat_ms"]), (&json!(3333), &json!(2223)));
}

#[tokio::test]
async fn a_server_can_be_set_up_by_its_environment_alone() {
    let environment =
        [("ROLLCALL_ID", "1"), ("ROLLCALL_IN_MEMORY", "true"), ("ROLLCALL_HEARTBEAT_MS", "4321")];
    let said = welcome(&[], &environment).await;
    assert_eq!(said["heartbeat_ms"], 4321);
    let directory = new_directory();
    let file = write(directory.path(), "rollcall.toml", "id = 1\nin_memory = true\n");
    let said = welcome(&[], &[("ROLLCALL_CONFIG", &file)]).await;
    assert_eq!(said["node"], 1);
}

#[tokio::test]
async fn a_wrong_file_is_an_error_that_names_file_key_and_what_would_be_right() {
    let directory = new_directory();
    let cases = [
        ("sesion_grace_ms = 5", "sesion_grace_ms", "session_grace_ms"),
        ("session_grace_ms = \"long\"", "session_grace_ms", "number"),
        ("session_grace_ms = -1", "session_grace_ms", "0"),
        ("session_grace_ms = 1.5", "session_grace_ms", "number"),
        ("listen = 7101", "listen", "127.0.0.1:7101"),
        ("in_memory = \"perhaps\"", "in_memory", "true"),
        ("log_format = \"xml\"", "log_format", "json"),
        ("members = [\"2=nowhere\"]", "members", "ws://"),
        ("[tokens]\na = \"b\"", "tokens", ""),
        ("id = ", "", ""),
    ];
    for (index, (text, key, right)) in cases.into_iter().enumerate() {
        let name = format!("wrong-{index}.toml");
        let file = write(directory.path(), &name, &format!("{text}\n"));
        let arguments = ["serve", "--id", "1", "--in-memory", "--config", &file];
        let finished = run_with(&arguments, &[], directory.path()).await;
        assert_eq!(finished.code, Some(2), "{text}: {}", finished.stderr);
        for part in [name.as_str(), key, right] {
            assert!(finished.stderr.contains(part), "no {part:?}: {}", finished.stderr);
        }
    }
}

#[tokio::test]
async fn a_missing_file_is_an_error_that_names_it() {
    let directory = new_directory();
    for arguments in [
        ["serve", "--in-memory", "--config", "nowhere.toml"],
        ["serve", "--in-memory", "--tokens", "nowhere.toml"],
    ] {
        let finished = run_with(&arguments, &[], directory.path()).await;
        assert!(matches!(finished.code, Some(1 | 2)), "{:?}", finished.code);
        assert!(finished.stderr.contains("nowhere.toml"), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_wrong_variable_is_an_error_that_names_it() {
    let directory = new_directory();
    for (name, value) in [
        ("ROLLCALL_SESSION_GRACE_MS", "soon"),
        ("ROLLCALL_LISTEN", "everywhere"),
        ("ROLLCALL_IN_MEMORY", "perhaps"),
    ] {
        let arguments = ["serve", "--id", "1"];
        let finished = run_with(&arguments, &[(name, value)], directory.path()).await;
        assert_eq!(finished.code, Some(2), "{name}: {}", finished.stderr);
        assert!(finished.stderr.contains(name), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_wrong_table_of_tokens_stops_the_server_and_shows_no_token() {
    let directory = new_directory();
    for text in
        ["[tokens]\n\"hush-hush\" = 7\n", "[tokens]\n\"hush-hush\" = \"a b\"\n", "[tokens\n"]
    {
        let file = write(directory.path(), "tokens.toml", text);
        let arguments = ["serve", "--in-memory", "--listen", "127.0.0.1:0", "--tokens", &file];
        let finished = run_with(&arguments, &[], directory.path()).await;
        assert!(matches!(finished.code, Some(1 | 2)), "{:?}: {}", finished.code, finished.stderr);
        assert!(finished.stderr.contains("tokens.toml"), "{}", finished.stderr);
        assert!(!finished.stderr.contains("hush-hush"), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn client_commands_take_their_settings_from_the_environment_too() {
    let server = rollcall_tests::server::Server::with_tokens("[tokens]\n\"t\" = \"ann\"\n", &[]);
    let directory = new_directory();
    let url = server.url();
    let environment = [("ROLLCALL_SERVER", url.as_str()), ("ROLLCALL_TOKEN", "t")];
    let finished = run_with(&["sequence", "--json"], &environment, directory.path()).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout.trim(), r#"{"first":1,"count":1}"#);
    let finished = run_with(&["sequence"], &environment[..1], directory.path()).await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("unauthenticated"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_json_log_is_one_object_a_line() {
    let arguments =
        ["serve", "--id", "1", "--in-memory", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let mut server = Running::start(&arguments);
    server.line().await;
    server.interrupt();
    let finished = server.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.is_empty(), "it logs nothing of its start and end");
    for line in finished.stderr.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(entry.is_object(), "{line}");
    }
}
