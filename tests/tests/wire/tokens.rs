//! A server that asks for tokens: what it answers before a good `Hello`, and when it closes.

use rollcall_tests::{
    random_client_id,
    server::Server,
    wire::{Client, failed},
};
use serde_json::json;

const TOKENS: &str = "[tokens]\n\"open-sesame\" = { sub = \"ann\" }\n";

#[tokio::test]
async fn a_good_token_opens_the_session() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({ "token": "open-sesame" })).await;
    assert_eq!(welcome["client"], client.id());
    client.register("ann", 1).await;
    assert!(client.is_online("ann").await);
}

#[tokio::test]
async fn a_bad_or_missing_token_is_answered_and_the_link_closed() {
    let server = Server::with_tokens(TOKENS, &[]);
    let bad = [
        json!({}),
        json!({ "token": "" }),
        json!({ "token": "open-sesam" }),
        json!({ "token": "open-sesame " }),
        json!({ "token": "ann" }),
    ];
    for payload in bad {
        let mut client = Client::new(&server).await;
        let error = client.refused("Hello", payload, "unauthenticated").await;
        assert_eq!(error["retry"], false);
        client.expect_close(4100).await;
    }
}

#[tokio::test]
async fn requests_before_hello_are_refused_and_not_applied() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut client = Client::new(&server).await;
    let connect = json!({ "username": "ann", "ip": "192.0.2.1", "port": 1 });
    let requests = [
        ("ConnectUser", connect),
        ("DisconnectUser", json!({ "username": "ann" })),
        ("GetUserAddress", json!({ "usernames": ["ann"] })),
        ("GetSequenceNumber", json!({})),
        ("Subscribe", json!({ "all": true })),
        ("Unsubscribe", json!({ "subscription": 1 })),
    ];
    for (kind, payload) in requests {
        client.refused(kind, payload, "unauthenticated").await;
    }
    // The link is still good for a proper beginning, and nothing of the above has happened.
    client.call("Hello", json!({ "token": "open-sesame" })).await;
    assert!(!client.is_online("ann").await);
    let numbers = client.call("GetSequenceNumber", json!({})).await;
    assert_eq!(numbers["first"], 1);
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again_after_hello() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut client = Client::new(&server).await;
    let reply = client.request_as(1, "GetSequenceNumber", json!({})).await;
    failed("unauthenticated", &reply);
    client.call_as(2, "Hello", json!({ "token": "open-sesame" })).await;
    let numbers = client.call_as(1, "GetSequenceNumber", json!({})).await;
    assert_eq!(numbers["first"], 1);
}

#[tokio::test]
async fn a_link_stays_with_the_principal_of_its_first_good_hello() {
    let table =
        format!("{TOKENS}\"open-barley\" = {{ sub = \"bob\" }}\n\"again\" = {{ sub = \"ann\" }}\n");
    let server = Server::with_tokens(&table, &[]);
    let mut client = Client::new(&server).await;
    client.call("Hello", json!({ "token": "open-sesame" })).await;
    client.register("ann", 1).await;
    let error = client.refused("Hello", json!({ "token": "open-barley" }), "forbidden").await;
    assert_eq!(error["retry"], false);
    // Refused and nothing else: the link is still open, and still ann's.
    client.unregister("ann").await;
    // Another token of the same principal is as good: tokens are renewed.
    client.call("Hello", json!({ "token": "again" })).await;
    client.register("ann", 2).await;
}

#[tokio::test]
async fn status_and_ping_need_no_token() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
    let status = client.call("GetStatus", json!({})).await;
    assert_eq!(status["node"], 1);
}

#[tokio::test]
async fn a_link_without_a_good_hello_is_closed_at_the_deadline() {
    let server = Server::with_tokens(TOKENS, &["--first-message-ms", "300"]);
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
    client.refused("GetSequenceNumber", json!({}), "unauthenticated").await;
    client.expect_close(4100).await;
}

#[tokio::test]
async fn a_refused_hello_of_a_stranger_touches_no_session() {
    let server = Server::with_tokens(TOKENS, &["--session-grace-ms", "100"]);
    let mut watcher = Client::new(&server).await;
    watcher.call("Hello", json!({ "token": "open-sesame" })).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let id = random_client_id();
    let mut owner = Client::with_id(&server, &id).await;
    owner.call("Hello", json!({ "token": "open-sesame" })).await;
    owner.register("ann", 1).await;
    watcher.expect_push("UserConnected").await;
    // Somebody who knows the client id but has no token cannot keep its session alive.
    let mut stranger = Client::with_id(&server, &id).await;
    stranger.call_as(100, "Ping", json!({})).await;
    drop(owner);
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["reason"], "expired");
    stranger.call_as(101, "Ping", json!({})).await;
}
