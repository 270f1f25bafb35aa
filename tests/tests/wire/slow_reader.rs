//! A client that reads too slowly is closed with 4000; nobody else waits for it or loses anything.

use rollcall_tests::{
    http::Metrics,
    raw::{CLOSE, PING, RawLink, TEXT},
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// Each change is pushed this many times to the slow link, so that few changes make many bytes.
const SUBSCRIPTIONS: usize = 64;
/// Times about 1.2 KiB times [`SUBSCRIPTIONS`]: more than the kernel's buffers and the queue take.
const CHANGES: u16 = 400;

fn change(port: u16) -> Value {
    let meta = json!({ "k": "x".repeat(1000) });
    json!({ "username": "ann", "ip": "192.0.2.1", "port": port, "meta": meta })
}

/// A link with many subscriptions to everything that reads nothing more.
async fn sluggish(server: &Server) -> Client {
    let mut client = Client::with_small_buffer(server).await;
    client.register("slow", 1).await;
    for _ in 0..SUBSCRIPTIONS {
        client.call("Subscribe", json!({ "usernames": ["ann"] })).await;
    }
    client
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_others_notice_nothing() {
    let server = Server::start();
    let mut slow = sluggish(&server).await;
    let mut writer = Client::new(&server).await;
    let mut reader = Client::new(&server).await;
    reader.call("Subscribe", json!({ "all": true })).await;
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..CHANGES {
            seen.push(revision(&reader.push().await["payload"]));
        }
        seen
    });
    let before = server.resident_kib();
    let mut written = Vec::new();
    for port in 1..=CHANGES {
        written.push(revision(&writer.call("ConnectUser", change(port)).await));
    }
    assert_eq!(reading.await.expect("the other reader is fine"), written);
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 12 * 1024, "the server keeps {grown} KiB for a link that does not read");
    // Nothing was made up or skipped in what it got before it was given up.
    let mut next = vec![0; SUBSCRIPTIONS];
    slow.expect_close(4000).await;
    let pushes: Vec<_> = slow.unread().collect();
    assert!(pushes.len() < SUBSCRIPTIONS * usize::from(CHANGES), "it got everything");
    for push in pushes {
        let number = push["payload"]["subscription"].as_u64().expect("a number") as usize;
        assert_eq!(revision(&push["payload"]), written[next[number - 1]], "a gap");
        next[number - 1] += 1;
    }
    // Operators see it.
    let metrics = Metrics::of(&server).await;
    assert_eq!(metrics.value("rollcall_links_closed_total{code=\"4000\"}"), 1.0);
    assert!(metrics.value("rollcall_queue_drops_total") > 0.0);
    // Its session is as alive as after any other loss of a link.
    assert!(writer.is_online("slow").await);
}

#[tokio::test]
async fn a_link_that_never_reads_again_is_dropped_all_the_same() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let slow = sluggish(&server).await;
    let mut writer = Client::new(&server).await;
    writer.call("Subscribe", json!({ "usernames": ["slow"] })).await;
    for port in 1..=CHANGES {
        writer.call("ConnectUser", change(port)).await;
    }
    // The session ends although the client never reads to the end of its link.
    let push = writer.expect_push("UserDisconnected").await;
    assert_eq!((&push["username"], &push["reason"]), (&json!("slow"), &json!("expired")));
    drop(slow);
}

#[tokio::test]
async fn asking_without_reading_is_bounded_too() {
    let server = Server::start();
    let mut other = Client::new(&server).await;
    other.register("ann", 1).await;
    let mut link = RawLink::upgrade(&server).await;
    let before = server.resident_kib();
    // Far more requests than any queue holds, from a client that does not read the answers. It
    // runs until the server stops reading too, or gives up on it.
    let asking = async {
        for id in 1..=200_000_u64 {
            link.send_text(&json!({ "type": "GetStatus", "id": id }).to_string()).await;
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), asking).await;
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 12 * 1024, "the server keeps {grown} KiB for a link that does not read");
    assert!(other.is_online("ann").await);
    // Now it reads: every answer that comes is whole, then nothing more or a close that says why.
    let mut answers = 0;
    let reading = async {
        while let Some(frame) = link.frame().await {
            match frame.opcode {
                TEXT => answers += 1,
                PING => {}
                CLOSE => return frame.payload.first_chunk::<2>().copied().map(u16::from_be_bytes),
                opcode => panic!("a frame with opcode {opcode}"),
            }
        }
        None
    };
    let code = tokio::time::timeout(std::time::Duration::from_secs(2), reading).await;
    assert!(matches!(code, Err(_) | Ok(None | Some(4000))), "closed with {code:?}");
    assert!(answers > 0);
}
