//! Sequence numbers: from 1, never twice, without gaps, growing in real time.

use std::collections::BTreeSet;

use rollcall_tests::{server::Server, wire::Client};
use serde_json::json;

async fn take(client: &mut Client, count: u64) -> u64 {
    let numbers = client.call("GetSequenceNumber", json!({ "count": count })).await;
    assert_eq!(numbers["count"], count);
    numbers["first"].as_u64().expect("a number")
}

#[tokio::test]
async fn they_start_at_one_and_leave_no_gap() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    assert_eq!(
        client.call("GetSequenceNumber", json!({})).await,
        json!({ "first": 1, "count": 1 })
    );
    assert_eq!(take(&mut client, 10).await, 2);
    assert_eq!(take(&mut client, 1).await, 12);
    // Nobody else's requests take one.
    client.register("ann", 1).await;
    client.refused("GetSequenceNumber", json!({ "count": 0 }), "invalid_argument").await;
    assert_eq!(take(&mut client, 1).await, 13);
}

#[tokio::test]
async fn they_are_one_order_for_all_clients() {
    let server = Server::start();
    let mut first = Client::new(&server).await;
    let mut second = Client::anonymous(&server).await;
    for round in 0..50 {
        assert_eq!(take(&mut first, 1).await, 3 * round + 1);
        assert_eq!(take(&mut second, 2).await, 3 * round + 2);
    }
}

#[tokio::test]
async fn concurrent_clients_share_them_without_overlap_or_gap() {
    let server = Server::start();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::new(&server).await;
        clients.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for round in 0..20 {
                let mut ids = Vec::new();
                for _ in 0..10 {
                    let count = round % 3 + 1;
                    ids.push((
                        client.submit("GetSequenceNumber", json!({ "count": count })).await,
                        count,
                    ));
                }
                for (id, count) in ids {
                    let first = client.reply(id).await["payload"]["first"].as_u64();
                    taken.push((first.expect("a number"), count));
                }
            }
            taken
        }));
    }
    let mut all = BTreeSet::new();
    for client in clients {
        let taken = client.await.expect("the client is done");
        // In the order the writes were sent: each number is larger than the one before.
        assert!(taken.is_sorted_by(|a, b| a.0 + a.1 <= b.0), "{taken:?}");
        for (first, count) in taken {
            for number in first..first + count {
                assert!(all.insert(number), "{number} was handed out twice");
            }
        }
    }
    assert_eq!(all.first(), Some(&1));
    assert_eq!(all.last(), Some(&(all.len() as u64)));
}
