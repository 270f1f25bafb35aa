//! How registrations end with their session: the grace period, what keeps a session alive, half-open links.

use std::time::{Duration, Instant};

use rollcall_tests::{
    random_client_id,
    raw::{CLOSE, FINAL, PING, PONG, RawLink},
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// A client that sees all changes.
async fn watcher(server: &Server) -> Client {
    let mut client = Client::new(server).await;
    client.call("Subscribe", json!({ "all": true })).await;
    client
}

/// Registers a user with a session of its own and drops its only link, so that its expiry marks
/// that the grace period has passed for whatever was dropped before.
async fn drop_marker(server: &Server, watcher: &mut Client, username: &str) {
    let mut client = Client::new(server).await;
    client.register(username, 1).await;
    drop(client);
    let push = watcher.expect_push("UserConnected").await;
    assert_eq!(push["username"], username);
}

#[tokio::test]
async fn registrations_outlive_the_last_link_by_the_grace_period() {
    let server = Server::with(&["--session-grace-ms", "400"]);
    let mut watcher = watcher(&server).await;
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    watcher.expect_push("UserConnected").await;
    let dropped = Instant::now();
    drop(client);
    assert!(watcher.is_online("ann").await, "gone with its link");
    let push = watcher.expect_push("UserDisconnected").await;
    let waited = dropped.elapsed();
    assert!(waited >= Duration::from_millis(390), "expired after {waited:?}");
    assert!(waited <= Duration::from_millis(3_400), "expired only after {waited:?}");
    assert_eq!(push["username"], "ann");
    assert_eq!(push["device"], "default");
    assert_eq!(push["reason"], "expired");
    assert_eq!(push["online"], false);
    assert!(!watcher.is_online("ann").await);
}

#[tokio::test]
async fn closing_the_link_with_whatever_code_does_not_disconnect() {
    let server = Server::with(&["--session-grace-ms", "300"]);
    let mut watcher = watcher(&server).await;
    for (port, code) in (1..).zip([1000, 1001, 3000, 4000, 4100]) {
        let mut client = Client::new(&server).await;
        let username = format!("user-{code}");
        client.register(&username, port).await;
        watcher.expect_push("UserConnected").await;
        client.leave(code).await;
        assert!(watcher.is_online(&username).await, "closing with {code} ended it at once");
        let push = watcher.expect_push("UserDisconnected").await;
        assert_eq!((&push["username"], &push["reason"]), (&json!(username), &json!("expired")));
    }
}

#[tokio::test]
async fn disconnecting_ends_a_registration_at_once() {
    let server = Server::start();
    let mut watcher = watcher(&server).await;
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    let ended = client.unregister("ann").await;
    watcher.expect_push("UserConnected").await;
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["reason"], "left");
    assert_eq!(revision(&push), ended);
}

#[tokio::test]
async fn coming_back_in_time_keeps_everything() {
    let server = Server::with(&["--session-grace-ms", "1000"]);
    let mut watcher = watcher(&server).await;
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let welcome = client.call("Hello", json!({})).await;
    client.register("ann", 1).await;
    watcher.expect_push("UserConnected").await;
    drop(client);
    drop_marker(&server, &mut watcher, "marker").await;
    let mut client = Client::with_id(&server, &id).await;
    let again = client.call_as(9, "Hello", json!({ "session": welcome["session"] })).await;
    assert_eq!(again["resumed"], true);
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["username"], "marker", "{push}");
    assert!(watcher.is_online("ann").await);
}

#[tokio::test]
async fn any_link_of_the_client_keeps_its_session_alive() {
    let server = Server::with(&["--session-grace-ms", "1000"]);
    let mut watcher = watcher(&server).await;
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    client.register("ann", 1).await;
    watcher.expect_push("UserConnected").await;
    // A second link that never writes and never says hello is a link nevertheless.
    let mut second = Client::with_id(&server, &id).await;
    second.call_as(50, "GetUserAddress", json!({ "usernames": ["ann"] })).await;
    drop(client);
    drop_marker(&server, &mut watcher, "marker").await;
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["username"], "marker", "{push}");
    assert!(second.is_online("ann").await);
    drop(second);
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["username"], "ann");
}

#[tokio::test]
async fn a_client_that_is_late_begins_a_new_session() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut watcher = watcher(&server).await;
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let first = client.call("Hello", json!({})).await;
    client.register("ann", 1).await;
    drop(client);
    watcher.expect_push("UserConnected").await;
    watcher.expect_push("UserDisconnected").await;
    let mut client = Client::with_id(&server, &id).await;
    let again = client.call_as(9, "Hello", json!({ "session": first["session"] })).await;
    assert_eq!(again["resumed"], false);
    assert_ne!(again["session"], first["session"]);
    assert_eq!(again["cluster"], first["cluster"]);
    assert!(!client.is_online("ann").await);
    client.register("ann", 1).await;
    watcher.expect_push("UserConnected").await;
}

#[tokio::test]
async fn one_expiry_ends_all_registrations_each_at_its_own_revision() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut watcher = watcher(&server).await;
    let mut client = Client::new(&server).await;
    let mut other = Client::new(&server).await;
    for device in ["one", "two"] {
        let payload = json!({ "username": "ann", "device": device, "ip": "192.0.2.1", "port": 1 });
        client.call("ConnectUser", payload).await;
    }
    client.register("bob", 1).await;
    client.register("carl", 1).await;
    let payload = json!({ "username": "carl", "device": "other", "ip": "::1", "port": 1 });
    let mut last = revision(&other.call("ConnectUser", payload).await);
    for _ in 0..5 {
        watcher.expect_push("UserConnected").await;
    }
    drop(client);
    let mut online_after = Vec::new();
    for _ in 0..4 {
        let push = watcher.expect_push("UserDisconnected").await;
        assert_eq!(push["reason"], "expired");
        assert!(revision(&push) > last, "{push} after {last}");
        last = revision(&push);
        online_after.push((push["username"].clone(), push["online"].clone()));
    }
    // Of two devices, the first to end leaves the user online; the other session's device stays.
    let ann: Vec<_> = online_after.iter().filter(|(name, _)| name == "ann").collect();
    assert_eq!((&ann[0].1, &ann[1].1), (&json!(true), &json!(false)));
    assert!(online_after.contains(&(json!("bob"), json!(false))));
    assert!(online_after.contains(&(json!("carl"), json!(true))));
    let answer = watcher.lookup(&["ann", "bob", "carl"]).await;
    assert_eq!(revision(&answer), last);
    assert_eq!(answer["users"][0]["addresses"][0]["device"], "other");
}

#[tokio::test]
async fn a_client_without_origin_expires_like_any_other() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut watcher = watcher(&server).await;
    let mut client = Client::anonymous(&server).await;
    client.register("ann", 1).await;
    drop(client);
    watcher.expect_push("UserConnected").await;
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["reason"], "expired");
}

#[tokio::test]
async fn a_link_that_answers_no_ping_is_gone() {
    let server = Server::with(&["--session-grace-ms", "100", "--heartbeat-ms", "200"]);
    let mut watcher = watcher(&server).await;
    let mut dead = RawLink::upgrade(&server).await;
    dead.send_text(&connect_text("dead")).await;
    let reply: Value = serde_json::from_str(&dead.text().await.expect("a reply")).expect("JSON");
    assert_eq!(reply["type"], "Connected");
    let began = Instant::now();
    watcher.expect_push("UserConnected").await;
    let push = watcher.expect_push("UserDisconnected").await;
    let took = began.elapsed();
    assert_eq!((&push["username"], &push["reason"]), (&json!("dead"), &json!("expired")));
    // Three heartbeats of silence and the grace, both counted from after its last byte.
    assert!(took >= Duration::from_millis(690), "gone after {took:?}");
    let mut pings = 0;
    let mut code = None;
    while let Some(frame) = dead.frame().await {
        match frame.opcode {
            PING => pings += 1,
            CLOSE => code = frame.payload.first_chunk::<2>().copied().map(u16::from_be_bytes),
            other => panic!("a frame with opcode {other}"),
        }
    }
    // One ping a heartbeat: no fourth fits into the three after its last byte.
    assert!((2..=3).contains(&pings), "{pings} pings");
    assert_eq!(code, Some(4003), "how the link was closed");
}

#[tokio::test]
async fn a_link_that_answers_pings_lives_however_quiet_it_is() {
    let server = Server::with(&["--session-grace-ms", "100", "--heartbeat-ms", "200"]);
    let mut watcher = watcher(&server).await;
    let mut quiet = RawLink::upgrade(&server).await;
    quiet.send_text(&connect_text("quiet")).await;
    quiet.text().await.expect("a reply");
    let mut dead = RawLink::upgrade(&server).await;
    dead.send_text(&connect_text("dead")).await;
    dead.text().await.expect("a reply");
    let answering = tokio::spawn(async move {
        while let Some(frame) = quiet.frame().await {
            assert_eq!(frame.opcode, PING);
            quiet.send_frame(FINAL | PONG, &frame.payload).await;
        }
    });
    let push = loop {
        let push = watcher.push().await;
        if push["type"] == "UserDisconnected" {
            break push;
        }
    };
    assert_eq!(push["payload"]["username"], "dead");
    assert!(watcher.is_online("quiet").await);
    assert!(!answering.is_finished());
    answering.abort();
}

fn connect_text(username: &str) -> String {
    let payload = json!({ "username": username, "ip": "192.0.2.1", "port": 1 });
    json!({ "type": "ConnectUser", "id": 1, "payload": payload }).to_string()
}
