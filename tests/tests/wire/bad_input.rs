//! What an attacker would send: nothing of it costs memory, ends the server, or is felt by others.

use rollcall_tests::{
    raw::RawLink,
    server::Server,
    wire::{Client, failed},
};
use serde_json::{Value, json};

#[tokio::test]
async fn deep_nesting_is_refused_without_harm() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for depth in [200, 20_000, 120_000] {
        client.send_text("[".repeat(depth)).await;
        assert_eq!(client.error_without_id().await["code"], "malformed");
        client.send_text("{\"a\":".repeat(depth / 5)).await;
        assert_eq!(client.error_without_id().await["code"], "malformed");
    }
    client.call("Ping", json!({})).await;
}

#[tokio::test]
async fn deep_nesting_in_a_field_nobody_knows_is_ignored_or_refused() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    for depth in [100, 60_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        client.send_text(format!(r#"{{"type":"Ping","id":1,"x":{open}{close}}}"#)).await;
        let answer = client.next().await;
        let known = answer["type"] == "Pong" || answer["payload"]["code"] == "malformed";
        assert!(known, "{answer}");
    }
    client.call("Ping", json!({})).await;
}

#[tokio::test]
async fn meta_can_not_be_so_deep_that_others_choke_on_it() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    // 170 levels fit into 1024 bytes, and are more than common parsers take.
    let meta = format!("{}{{}}{}", r#"{"a":"#.repeat(169), "}".repeat(169));
    let message = format!(
        r#"{{"type":"ConnectUser","id":1,"payload":{{"username":"ann","ip":"::1","port":1,"meta":{meta}}}}}"#
    );
    assert!(meta.len() <= 1024);
    client.send_text(message).await;
    let reply = client.reply(1).await;
    if reply["type"] == "Error" {
        assert_eq!(failed("invalid_argument", &reply)["field"], "meta");
    }
    client.skip_ids_to(1);
    // The watcher's parser is a common one: it reads whatever the server pushes.
    client.register("bob", 1).await;
    while watcher.expect_push("UserConnected").await["username"] != "bob" {}
}

#[tokio::test]
async fn huge_numbers_are_faults_of_their_field() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let huge = ["1e308", "1e400", "-1e400", "123456789012345678901234567890", "0.1e-400"];
    for (id, number) in (1..).zip(huge) {
        let message = format!(
            r#"{{"type":"ConnectUser","id":{id},"payload":{{"username":"ann","ip":"::1","port":{number}}}}}"#
        );
        client.send_text(message).await;
        let error = failed("invalid_argument", &client.reply(id).await);
        assert_eq!(error["field"], "port", "{number} was answered {error}");
    }
    client.skip_ids_to(10);
    assert!(!client.is_online("ann").await);
}

#[tokio::test]
async fn user_input_in_errors_is_bounded_and_escaped() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let long = "\u{1b}[31m\n\"".repeat(10_000);
    let cases = [
        json!({ "type": long, "id": 1 }),
        json!({ "type": "ConnectUser", "id": 2, "payload": {"username": long, "ip": "::1", "port": 1} }),
        json!({ "type": "ConnectUser", "id": 3, "payload": {"username": "a", "ip": long, "port": 1} }),
        json!({ "type": "Ping", "id": 4, "origin": long }),
        json!({ "type": "GetUserAddress", "id": 5, "payload": {"usernames": [long]} }),
    ];
    for message in cases {
        client.send_text(message.to_string()).await;
        let reply = client.reply(message["id"].as_u64().expect("a number")).await;
        assert_eq!(reply["type"], "Error");
        let size = reply.to_string().len();
        assert!(size < 2048, "an error of {size} bytes");
    }
}

#[tokio::test]
async fn repeated_fields_and_ids_get_some_answer() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let texts = [
        r#"{"type":"Ping","type":"Ping","id":1}"#,
        r#"{"type":"Ping","id":1,"id":2}"#,
        r#"{"type":"GetSequenceNumber","id":3,"payload":{"count":1,"count":2}}"#,
        r#"{"type":"GetSequenceNumber","id":4,"payload":{},"payload":{"count":0}}"#,
    ];
    for text in texts {
        client.send_text(text).await;
        client.next().await;
    }
    client.skip_ids_to(10);
    client.call("Ping", json!({})).await;
}

/// A deterministic mixture of everything that is wrong in some way.
fn garbage(round: u64) -> String {
    let big = "x".repeat(30_000);
    let port: [Value; 4] = [json!(0), json!(65536), json!("1"), json!(null)];
    match round % 8 {
        0 => "{\"type\":\"Ping\",".repeat(1000),
        1 => "[".repeat(100_000),
        2 => json!({ "type": big, "id": round + 1 }).to_string(),
        3 => json!({ "type": "ConnectUser", "id": round + 1, "payload": {
            "username": format!("user-{round}"), "ip": "::1", "port": port[round as usize / 8 % 4],
        }})
        .to_string(),
        4 => json!({ "type": "ConnectUser", "id": round + 1, "payload": {
            "username": format!("user-{round}"), "ip": "::1", "port": 1, "meta": {"k": big},
        }})
        .to_string(),
        5 => json!({ "type": "Welcome", "id": round + 1 }).to_string(),
        6 => json!({ "type": "GetUserAddress", "id": round + 1, "payload": {
            "usernames": vec!["user"; 1001],
        }})
        .to_string(),
        _ => json!({ "type": "Unsubscribe", "id": round + 1, "payload": {"subscription": round} })
            .to_string(),
    }
}

/// Sends garbage on one link and checks that every piece is answered with an error.
async fn barrage(server: &Server, rounds: u64) {
    let mut client = Client::new(server).await;
    for round in 0..rounds {
        client.send_text(garbage(round)).await;
        let answer = client.next().await;
        assert_eq!(answer["type"], "Error", "{answer}");
    }
}

#[tokio::test]
async fn a_barrage_of_bad_input_costs_no_memory_and_nobody_notices() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    let all = watcher.call("Subscribe", json!({ "all": true })).await["subscription"].take();
    let mut actor = Client::new(&server).await;
    // Once to let the server reach its usual size.
    barrage(&server, 400).await;
    let before = server.resident_kib();
    for _ in 0..4 {
        tokio::join!(barrage(&server, 400), barrage(&server, 400));
        for _ in 0..20 {
            let mut link = RawLink::upgrade(&server).await;
            link.send(b"\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF garbage").await;
            link.close_code().await;
            let mut link = RawLink::connect(&server).await;
            link.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
            drop(link);
        }
        let seen = watcher.pushes_until_marker(&all, &mut actor).await;
        assert!(seen.is_empty(), "{seen:?}");
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more after the barrage");
    assert!(watcher.unread().next().is_none());
}
