//! What makes the server fast in bulk: one batch to the owner of the state per wake-up, one write
//! per socket. Counted by the server's own metrics, with room for a busy machine.

use std::time::{Duration, Instant};

use rollcall_tests::{
    http,
    raw::{FINAL, RawLink, TEXT, encode_frame},
    server::Server,
    wire::Client,
};
use serde_json::json;

/// How many batches the owner of the state handled, and how many writes to sockets there were.
async fn work(server: &Server) -> (u64, u64) {
    let text = http::get(server, "/metrics").await.text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    (value("rollcall_node_batch_size_count"), value("rollcall_socket_writes_total"))
}

/// The work since `before`, once there were `writes` writes: a client may hear of a write before it
/// is counted.
async fn work_since(server: &Server, before: (u64, u64), writes: u64) -> (u64, u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = work(server).await;
        let since = (now.0 - before.0, now.1 - before.1);
        if since.1 >= writes {
            return since;
        }
        assert!(Instant::now() < deadline, "no more than {since:?} were counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends 50 requests at once and waits for their answers.
async fn burst(link: &mut RawLink, request: impl Fn(u64) -> serde_json::Value) {
    let frames: Vec<u8> = (1..=REQUESTS)
        .flat_map(|id| encode_frame(FINAL | TEXT, request(id).to_string().as_bytes()))
        .collect();
    link.send(&frames).await;
    for _ in 0..REQUESTS {
        let reply = link.text().await.expect("an answer to each request");
        assert!(!reply.contains("\"Error\""), "{reply}");
    }
}

#[tokio::test]
async fn requests_that_arrive_together_are_one_batch_and_leave_together() {
    let server = Server::start();
    let mut link = RawLink::upgrade(&server).await;
    let before = work(&server).await;
    burst(&mut link, |id| json!({"type": "GetSequenceNumber", "id": id})).await;
    let (batches, writes) = work_since(&server, before, 1).await;
    assert!((1..=FEW).contains(&batches), "{REQUESTS} requests in {batches} batches");
    assert!(writes <= FEW, "{REQUESTS} answers in {writes} writes");
}

#[tokio::test]
async fn changes_of_one_batch_leave_a_subscriber_s_socket_together() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    let subscription =
        watcher.call("Subscribe", json!({"all": true})).await["subscription"].clone();
    let mut link = RawLink::upgrade(&server).await;
    let before = work(&server).await;
    burst(&mut link, |id| {
        let payload = json!({"username": format!("user-{id}"), "ip": "10.0.0.1", "port": id});
        json!({"type": "ConnectUser", "id": id, "payload": payload})
    })
    .await;
    for _ in 0..REQUESTS {
        watcher.push_of(&subscription).await;
    }
    // Answers to one socket, pushes to the other.
    let (_, writes) = work_since(&server, before, 2).await;
    assert!(writes <= 2 * FEW, "{REQUESTS} changes in {writes} writes");
}

const REQUESTS: u64 = 50;
/// Far fewer than one each; more than one because a busy machine may cut the burst.
const FEW: u64 = 10;
