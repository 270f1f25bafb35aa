//! Retries: the same (origin, id) is applied once and gets the first outcome, within a window of 64.

use rollcall_tests::{
    random_client_id,
    server::Server,
    wire::{Client, failed, succeeded},
};
use serde_json::{Value, json};

fn connect(username: &str, port: u16) -> Value {
    json!({ "username": username, "ip": "192.0.2.1", "port": port })
}

async fn next_number(server: &Server) -> u64 {
    let mut client = Client::new(server).await;
    let numbers = client.call("GetSequenceNumber", json!({})).await;
    numbers["first"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_retry_on_the_same_link_gets_the_first_outcome() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let kinds = [
        ("GetSequenceNumber", json!({ "count": 3 })),
        ("ConnectUser", connect("ann", 1)),
        ("DisconnectUser", json!({ "username": "ann" })),
    ];
    for (id, (kind, payload)) in (10..).zip(kinds) {
        let first = client.request_as(id, kind, payload.clone()).await;
        succeeded(kind, &first);
        for _ in 0..3 {
            assert_eq!(client.request_as(id, kind, payload.clone()).await, first);
        }
    }
    assert_eq!(next_number(&server).await, 4);
    assert!(!client.is_online("ann").await);
}

#[tokio::test]
async fn copies_sent_at_once_are_applied_once() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for _ in 0..20 {
        client.submit_as(1, "GetSequenceNumber", json!({ "count": 2 })).await;
    }
    for _ in 0..20 {
        let reply = client.reply(1).await;
        assert_eq!(reply["payload"], json!({ "first": 1, "count": 2 }), "{reply}");
    }
    assert_eq!(next_number(&server).await, 3);
}

#[tokio::test]
async fn a_retry_on_another_link_gets_the_first_outcome() {
    let server = Server::start();
    let id = random_client_id();
    let mut first = Client::with_id(&server, &id).await;
    let mut second = Client::with_id(&server, &id).await;
    let numbers = first.call_as(1, "GetSequenceNumber", json!({ "count": 5 })).await;
    let connected = first.call_as(2, "ConnectUser", connect("ann", 1)).await;
    assert_eq!(second.call_as(1, "GetSequenceNumber", json!({ "count": 5 })).await, numbers);
    assert_eq!(second.call_as(2, "ConnectUser", connect("ann", 1)).await, connected);
    drop((first, second));
    let mut third = Client::with_id(&server, &id).await;
    assert_eq!(third.call_as(1, "GetSequenceNumber", json!({ "count": 5 })).await, numbers);
    assert_eq!(next_number(&server).await, 6);
}

#[tokio::test]
async fn copies_on_two_links_at_once_are_applied_once() {
    let server = Server::start();
    let id = random_client_id();
    let mut first = Client::with_id(&server, &id).await;
    let mut second = Client::with_id(&server, &id).await;
    for request in 1..=30 {
        first.submit_as(request, "GetSequenceNumber", json!({})).await;
        second.submit_as(request, "GetSequenceNumber", json!({})).await;
        let replies = (first.reply(request).await, second.reply(request).await);
        assert_eq!(replies.0["payload"], json!({ "first": request, "count": 1 }));
        assert_eq!(replies.0, replies.1);
    }
}

#[tokio::test]
async fn the_first_outcome_stands_whatever_happened_since() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let connected = client.call_as(1, "ConnectUser", connect("ann", 1)).await;
    client.call_as(2, "DisconnectUser", json!({ "username": "ann" })).await;
    // A late copy of the first request must not bring the user back.
    assert_eq!(client.call_as(1, "ConnectUser", connect("ann", 1)).await, connected);
    assert!(!client.is_online("ann").await);
    // Nor does it matter what a copy says.
    assert_eq!(client.call_as(1, "ConnectUser", connect("bob", 2)).await, connected);
    assert!(!client.is_online("bob").await);
}

#[tokio::test]
async fn refusals_are_outcomes_too() {
    let server = Server::start();
    let mut holder = Client::new(&server).await;
    let mut client = Client::new(&server).await;
    holder.register("ann", 1).await;
    let name = json!({ "username": "ann" });
    let taken = client.request_as(1, "ConnectUser", connect("ann", 2)).await;
    failed("username_taken", &taken);
    let not_owner = client.request_as(2, "DisconnectUser", name.clone()).await;
    failed("not_owner", &not_owner);
    let not_found = client.request_as(3, "DisconnectUser", json!({ "username": "bob" })).await;
    failed("not_found", &not_found);
    holder.unregister("ann").await;
    holder.register("bob", 1).await;
    assert_eq!(client.request_as(1, "ConnectUser", connect("ann", 2)).await, taken);
    assert_eq!(client.request_as(2, "DisconnectUser", name).await, not_owner);
    let retry = client.request_as(3, "DisconnectUser", json!({ "username": "bob" })).await;
    assert_eq!(retry, not_found);
    // A new request is a new question.
    client.call_as(4, "ConnectUser", connect("ann", 2)).await;
}

#[tokio::test]
async fn an_outcome_is_repeated_after_the_session_ended() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let numbers = client.call_as(1, "GetSequenceNumber", json!({})).await;
    let connected = client.call_as(2, "ConnectUser", connect("ann", 1)).await;
    drop(client);
    watcher.expect_push("UserConnected").await;
    watcher.expect_push("UserDisconnected").await;
    let mut client = Client::with_id(&server, &id).await;
    assert_eq!(client.call_as(1, "GetSequenceNumber", json!({})).await, numbers);
    assert_eq!(client.call_as(2, "ConnectUser", connect("ann", 1)).await, connected);
    assert!(!client.is_online("ann").await);
    // Only `Hello` tells that the session is another one.
    let welcome = client.call_as(3, "Hello", json!({})).await;
    assert_eq!(welcome["resumed"], false);
    assert_eq!(client.call_as(1, "GetSequenceNumber", json!({})).await, numbers);
    client.call_as(4, "ConnectUser", connect("ann", 1)).await;
    assert!(client.is_online("ann").await);
}

#[tokio::test]
async fn an_applied_id_with_another_type_is_an_invalid_argument() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.call_as(1, "GetSequenceNumber", json!({})).await;
    let reply = client.request_as(1, "ConnectUser", connect("ann", 1)).await;
    failed("invalid_argument", &reply);
    let reply = client.request_as(1, "DisconnectUser", json!({ "username": "ann" })).await;
    failed("invalid_argument", &reply);
    assert!(!client.is_online("ann").await);
    // The first outcome is still known.
    let numbers = client.call_as(1, "GetSequenceNumber", json!({})).await;
    assert_eq!(numbers["first"], 1);
}

#[tokio::test]
async fn the_last_64_writes_are_remembered_and_older_ones_are_stale() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for id in 1..=64 {
        client.call_as(id * 10, "GetSequenceNumber", json!({})).await;
    }
    let oldest = client.call_as(10, "GetSequenceNumber", json!({})).await;
    assert_eq!(oldest["first"], 1);
    client.call_as(650, "GetSequenceNumber", json!({})).await;
    let reply = client.request_as(10, "GetSequenceNumber", json!({})).await;
    failed("stale_request", &reply);
    // One that was never sent, older than all that is remembered, may have been forgotten.
    let reply = client.request_as(5, "ConnectUser", connect("ann", 1)).await;
    failed("stale_request", &reply);
    assert!(!client.is_online("ann").await);
    let second = client.call_as(20, "GetSequenceNumber", json!({})).await;
    assert_eq!(second["first"], 2);
    assert_eq!(next_number(&server).await, 66);
}

#[tokio::test]
async fn reads_do_not_use_up_the_window() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let numbers = client.call_as(1, "GetSequenceNumber", json!({})).await;
    for id in 2..=100 {
        client.call_as(id, "GetUserAddress", json!({ "usernames": ["ann"] })).await;
    }
    for _ in 0..100 {
        client.request_as(101, "ConnectUser", json!({})).await;
    }
    assert_eq!(client.call_as(1, "GetSequenceNumber", json!({})).await, numbers);
}

#[tokio::test]
async fn writes_within_the_window_may_arrive_out_of_order() {
    let server = Server::start();
    let id = random_client_id();
    let mut slow = Client::with_id(&server, &id).await;
    let mut fast = Client::with_id(&server, &id).await;
    fast.call_as(60, "ConnectUser", connect("ann", 1)).await;
    slow.call_as(30, "ConnectUser", connect("bob", 2)).await;
    assert!(fast.is_online("ann").await && fast.is_online("bob").await);
}

#[tokio::test]
async fn sessions_do_not_share_their_ids() {
    let server = Server::start();
    let mut first = Client::new(&server).await;
    let mut second = Client::new(&server).await;
    let mut third = Client::anonymous(&server).await;
    let mut fourth = Client::anonymous(&server).await;
    for (number, client) in (1..).zip([&mut first, &mut second, &mut third, &mut fourth]) {
        let numbers = client.call_as(1, "GetSequenceNumber", json!({})).await;
        assert_eq!(numbers["first"], number);
    }
}

#[tokio::test]
async fn next_id_is_above_every_applied_id() {
    let server = Server::start();
    let id = random_client_id();
    let mut client = Client::with_id(&server, &id).await;
    let next_id = |welcome: Value| welcome["next_id"].as_u64().expect("a number");
    assert!(next_id(client.call_as(1, "Hello", json!({})).await) >= 1);
    client.call_as(5_000_000_000_000, "GetSequenceNumber", json!({})).await;
    client.call_as(4_999_999_999_999, "GetSequenceNumber", json!({})).await;
    drop(client);
    // A page that was reloaded knows its client id, and nothing else.
    let mut client = Client::with_id(&server, &id).await;
    let next = next_id(client.call_as(1, "Hello", json!({})).await);
    assert!(next > 5_000_000_000_000, "{next}");
    let numbers = client.call_as(next, "GetSequenceNumber", json!({})).await;
    assert_eq!(numbers["first"], 3);
}
