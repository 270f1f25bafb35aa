//! `rollcall bench`: each workload runs against a real server, says what came of it, and fails where
//! requests do.
//!
//! How much it measures is nobody's business here: the machine may be busy.

use rollcall_tests::{command::run, server::Server};
use serde_json::Value;

/// Measures a workload for a second on few links.
async fn bench(server: &Server, workload: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let url = server.url();
    let small = ["--connections", "4", "--in-flight", "4", "--users", "50", "--seconds", "1"];
    let patient = ["--server", &url, "--timeout", "20s"];
    let arguments = [&["bench", "--workload", workload][..], &small, &patient, more].concat();
    let finished = run(&arguments).await;
    (finished.code, finished.stdout, finished.stderr)
}

async fn check(workload: &str) {
    let server = Server::start();
    let (code, stdout, stderr) = bench(&server, workload, &["--json"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let report: Value = serde_json::from_str(&stdout).expect("the report is JSON");
    assert_eq!(report["workload"], workload, "{report}");
    assert_eq!(report["connections"], 4, "{report}");
    assert!(report["done"].as_u64().is_some_and(|done| done > 0), "{report}");
    assert_eq!(report["errors"], serde_json::json!({}), "{report}");
    let latency = |name: &str| report["latency_us"][name].as_u64().expect("whole microseconds");
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{report}");
}

#[tokio::test]
async fn a_mix_of_requests_is_answered() {
    check("mixed").await;
}

#[tokio::test]
async fn changes_of_one_reach_all() {
    check("fanout").await;
}

#[tokio::test]
async fn people_get_words() {
    let server = Server::start();
    let (code, stdout, stderr) = bench(&server, "sequence", &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    for word in ["sequence", "4 links", "throughput", "p99"] {
        assert!(stdout.contains(word), "no {word} in\n{stdout}");
    }
}

#[tokio::test]
async fn requests_that_fail_are_counted_and_the_status_says_so() {
    // No room for the users that are to be looked up.
    let server = Server::with(&["--max-registrations", "3"]);
    let (code, stdout, stderr) = bench(&server, "lookup", &["--json"]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("overloaded"), "{stderr}");
}
