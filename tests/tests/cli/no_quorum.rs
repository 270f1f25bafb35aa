//! Commands against a server that reaches none of the others: what it answers by itself, and how
//! the rest ends.

use rollcall_tests::command::run;
use rollcall_tests::server::Server;
use serde_json::Value;

/// One of three servers; the others are not there.
fn alone() -> Server {
    let member = |id: u32| format!("{id}=ws://127.0.0.1:{id}/peer");
    Server::with(&["--member", &member(2), "--member", &member(3)])
}

#[tokio::test]
async fn the_status_is_told_without_a_leader() {
    let server = alone();
    let url = server.url();
    let status = run(&["status", "--server", &url]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    for said in ["blank", "leader", "unknown", "down"] {
        assert!(status.stdout.contains(said), "no {said:?} in {}", status.stdout);
    }
    let status = run(&["status", "--server", &url, "--json"]).await;
    let status: Value = serde_json::from_str(&status.stdout).expect("one JSON object");
    assert_eq!(status["leader"], Value::Null, "{status}");
    assert_eq!(status["readable"], false, "{status}");
    let states: Vec<_> = status["members"].as_array().expect("a list").iter().collect();
    assert_eq!(states.len(), 3, "{status}");
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&"up".into(), &"down".into()));
}

#[tokio::test]
async fn what_needs_a_leader_ends_with_no_quorum() {
    let server = alone();
    let url = server.url();
    let commands: [&[&str]; 4] =
        [&["lookup", "ann"], &["sequence"], &["watch"], &["connect", "ann", "::1", "1"]];
    for command in commands {
        let finished = run(&[command, &["--server", &url, "--timeout", "2s"]].concat()).await;
        assert_eq!(finished.code, Some(1), "{command:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("no_quorum"), "{command:?}: {}", finished.stderr);
    }
}
