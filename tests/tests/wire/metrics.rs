//! What `/metrics` counts: the figures after a known history are the right ones.
//!
//! That the text is Prometheus' is tested in `http`; drops for slow readers in `slow_reader`.

use rollcall_tests::{
    http::Metrics,
    server::Server,
    wire::{Client, eventually, revision},
};
use serde_json::json;

async fn check(server: &Server, expected: &[(&str, f64)]) {
    let metrics = Metrics::of(server).await;
    for (sample, value) in expected {
        let sample = format!("rollcall_{sample}");
        assert_eq!(metrics.value(&sample), *value, "{sample} in\n{metrics:?}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_type_and_outcome_and_timed() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    client.register("bob", 2).await;
    let bad = json!({ "username": "carl", "ip": "localhost", "port": 1 });
    client.refused("ConnectUser", bad, "invalid_argument").await;
    client.refused("DisconnectUser", json!({ "username": "carl" }), "not_found").await;
    client.lookup(&["ann"]).await;
    client.call("GetSequenceNumber", json!({})).await;
    client.refused("Fly", json!({}), "unknown_type").await;
    client.send_text("nonsense").await;
    client.error_without_id().await;
    let expected = [
        ("requests_total{type=\"ConnectUser\",outcome=\"ok\"}", 2.0),
        ("requests_total{type=\"ConnectUser\",outcome=\"invalid_argument\"}", 1.0),
        ("requests_total{type=\"DisconnectUser\",outcome=\"not_found\"}", 1.0),
        ("requests_total{type=\"DisconnectUser\",outcome=\"ok\"}", 0.0),
        ("requests_total{type=\"GetUserAddress\",outcome=\"ok\"}", 1.0),
        ("requests_total{type=\"GetSequenceNumber\",outcome=\"ok\"}", 1.0),
        ("requests_total{type=\"unknown\",outcome=\"unknown_type\"}", 1.0),
        ("requests_total{type=\"unknown\",outcome=\"malformed\"}", 1.0),
        ("request_duration_seconds_count{type=\"ConnectUser\"}", 3.0),
        ("request_duration_seconds_count{type=\"GetUserAddress\"}", 1.0),
        ("request_duration_seconds_bucket{le=\"+Inf\",type=\"ConnectUser\"}", 3.0),
    ];
    check(&server, &expected).await;
}

#[tokio::test]
async fn the_directory_and_its_audience_are_measured() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    let mut actor = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    watcher.call("Subscribe", json!({ "prefix": "a" })).await;
    actor.register("ann", 1).await;
    let phone = json!({ "username": "ann", "device": "phone", "ip": "::1", "port": 1 });
    actor.call("ConnectUser", phone).await;
    let newest = actor.register("bob", 1).await;
    // Who only listens has no session. Two subscriptions hear of ann's devices, one of bob.
    for _ in 0..5 {
        watcher.push().await;
    }
    let expected = [
        ("connections", 2.0),
        ("connections_opened_total", 2.0),
        ("subscriptions", 2.0),
        ("sessions", 1.0),
        ("events_pushed_total", 5.0),
        ("directory_users", 2.0),
        ("directory_registrations", 3.0),
        ("directory_revision", newest as f64),
        ("queue_drops_total", 0.0),
    ];
    check(&server, &expected).await;
    let newest = revision(&actor.call("DisconnectUser", json!({ "username": "bob" })).await);
    check(&server, &[("directory_users", 1.0), ("directory_revision", newest as f64)]).await;
}

#[tokio::test]
async fn a_link_that_ends_is_not_counted_any_more() {
    let server = Server::start();
    let mut stays = Client::new(&server).await;
    let mut leaves = Client::new(&server).await;
    stays.call("Ping", json!({})).await;
    leaves.call("Subscribe", json!({ "all": true })).await;
    leaves.leave(1000).await;
    eventually("one link is left", async || {
        let metrics = Metrics::of(&server).await;
        let left =
            ["connections", "subscriptions"].map(|name| metrics.value(&format!("rollcall_{name}")));
        if left == [1.0, 0.0] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    check(&server, &[("connections_opened_total", 2.0)]).await;
}
