//! `Hello` and `Welcome`, resuming, status, and what links of one session share.

use rollcall_tests::{random_client_id, server::Server, wire::Client};
use serde_json::{Value, json};

#[tokio::test]
async fn welcome_says_everything_a_client_needs() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    assert_eq!(welcome["node"], 1);
    assert_eq!(welcome["client"], client.id());
    assert_eq!(welcome["version"], 1);
    assert!(!welcome["cluster"].is_null(), "{welcome}");
    assert!(!welcome["session"].is_null(), "{welcome}");
    assert_eq!(welcome["resumed"], false);
    assert!(welcome["next_id"].as_u64().is_some_and(|id| id >= 1), "{welcome}");
    let local = client.local_address();
    assert_eq!(welcome["observed"], json!({ "ip": "127.0.0.1", "port": local.port() }));
    assert_eq!(welcome["leader"], 1);
    assert_eq!(welcome["members"], json!([{ "node": 1, "url": server.url() }]));
    assert_eq!(welcome["limits"]["window"], 64);
    assert_eq!(welcome["session_grace_ms"], 10_000);
    assert_eq!(welcome["heartbeat_ms"], 5_000);
}

#[tokio::test]
async fn welcome_states_what_was_configured() {
    let url = "wss://rollcall.example.org/ws";
    let server = Server::advertised(url, &["--session-grace-ms", "4321", "--heartbeat-ms", "1234"]);
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    assert_eq!(welcome["session_grace_ms"], 4321);
    assert_eq!(welcome["heartbeat_ms"], 1234);
    assert_eq!(welcome["members"], json!([{ "node": 1, "url": url }]));
}

#[tokio::test]
async fn status_describes_the_server_and_the_cluster() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    let written = client.register("ann", 1).await;
    let status = client.call("GetStatus", json!({})).await;
    assert_eq!(status["node"], 1);
    assert_eq!(status["cluster"], welcome["cluster"]);
    assert_eq!(status["role"], "leader");
    assert_eq!(status["leader"], 1);
    assert!(status["epoch"].is_u64(), "{status}");
    assert_eq!(status["revision"], written);
    let members = status["members"].as_array().expect("a list");
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["node"], 1);
    assert_eq!(members[0]["url"], server.url());
    assert!(members[0]["state"].is_string(), "{status}");
}

#[tokio::test]
async fn a_server_is_what_its_id_says() {
    let server = Server::numbered(7);
    // The client holds every message against the origin `server/7`.
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    assert_eq!((&welcome["node"], &welcome["leader"]), (&json!(7), &json!(7)));
    assert_eq!(welcome["members"], json!([{ "node": 7, "url": server.url() }]));
    let status = client.call("GetStatus", json!({})).await;
    assert_eq!((&status["node"], &status["leader"]), (&json!(7), &json!(7)));
    assert_eq!((&status["role"], &status["members"][0]["node"]), (&json!("leader"), &json!(7)));
    client.call("Subscribe", json!({ "all": true })).await;
    client.register("ann", 1).await;
    client.expect_push("UserConnected").await;
}

#[tokio::test]
async fn hello_is_optional_and_may_be_repeated() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    let first = client.call("Hello", json!({})).await;
    let second = client.call("Hello", json!({ "session": first["session"] })).await;
    assert_eq!(first["session"], second["session"]);
    assert_eq!(second["resumed"], true);
    assert!(client.is_online("ann").await);
}

#[tokio::test]
async fn a_session_is_resumed_by_its_name() {
    let server = Server::start();
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let first = client.call("Hello", json!({ "versions": [1] })).await;
    let written = client.register("ann", 1).await;
    drop(client);
    let mut client = Client::with_id(&server, &id).await;
    client.skip_ids_to(100);
    let again = client.call("Hello", json!({ "session": first["session"] })).await;
    assert_eq!(again["resumed"], true);
    assert_eq!(again["session"], first["session"]);
    assert_eq!(again["cluster"], first["cluster"]);
    assert_eq!(again["client"], first["client"]);
    // Registering again what stands changes nothing.
    assert_eq!(client.register("ann", 1).await, written);
}

#[tokio::test]
async fn without_its_name_a_session_is_not_resumed_but_stands() {
    let server = Server::start();
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let first = client.call("Hello", json!({})).await;
    let written = client.register("ann", 1).await;
    drop(client);
    let mut client = Client::with_id(&server, &id).await;
    client.skip_ids_to(100);
    let again = client.call("Hello", json!({})).await;
    assert_eq!(again["resumed"], false);
    assert_eq!(client.register("ann", 1).await, written);
    // Nor is it by the name of another one.
    let mut other = Client::new(&server).await;
    let welcome = other.call("Hello", json!({ "session": first["session"] })).await;
    assert_eq!(welcome["resumed"], false);
}

#[tokio::test]
async fn a_restarted_server_is_another_cluster_and_resumes_nothing() {
    let mut server = Server::start();
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let first = client.call("Hello", json!({})).await;
    client.register("ann", 1).await;
    server.restart();
    assert_eq!(client.close_code().await, None);
    let mut client = Client::with_id(&server, &id).await;
    let again = client.call("Hello", json!({ "session": first["session"] })).await;
    assert_ne!(again["cluster"], first["cluster"]);
    assert_eq!(again["resumed"], false);
    assert!(!client.is_online("ann").await);
    let numbers = client.call("GetSequenceNumber", json!({})).await;
    assert_eq!(numbers["first"], 1);
}

#[tokio::test]
async fn links_of_one_client_share_its_registrations() {
    let server = Server::start();
    let id = random_client_id();
    let mut first = Client::with_id(&server, &id).await;
    let mut second = Client::with_id(&server, &id).await;
    first.register("ann", 1).await;
    let moved = json!({ "username": "ann", "ip": "192.0.2.1", "port": 2 });
    second.call_as(2, "ConnectUser", moved).await;
    first.call_as(3, "DisconnectUser", json!({ "username": "ann" })).await;
    assert!(!second.is_online("ann").await);
}

#[tokio::test]
async fn a_session_number_is_as_opaque_as_it_came() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    // It survives a round trip through any JSON reader, browsers included.
    let session: Value = serde_json::from_str(&welcome["session"].to_string()).expect("JSON");
    assert!(session.as_u64().is_none_or(|number| number < 1 << 53), "{session}");
    assert!(welcome["next_id"].as_u64().is_some_and(|number| number < 1 << 53), "{welcome}");
    let written = client.register("ann", 1).await;
    assert!(written < 1 << 53, "{written}");
}
