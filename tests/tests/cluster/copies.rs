//! Servers so far behind that they copy a snapshot, and links that break meanwhile.

use rollcall_tests::{cluster::Cluster, server::Server, wire::Client};
use serde_json::json;

/// How many entries come to be before servers keep a snapshot in their place, and more.
const SNAPSHOT_AFTER: usize = 34_000;
/// So many registrations have some megabytes: many pieces of a snapshot.
const REGISTRATIONS: usize = 4_000;

/// One of a few clients that write at once, each with so many requests under way. Its registrations stay
/// for as long as it does.
async fn fill(server: &Server, part: usize, parts: usize) -> Client {
    const UNDER_WAY: usize = 200;
    let mut client = Client::new(server).await;
    let about = "x".repeat(900);
    let numbers: Vec<_> = (part..SNAPSHOT_AFTER).step_by(parts).collect();
    for numbers in numbers.chunks(UNDER_WAY) {
        let mut last = 0;
        for number in numbers {
            last = if *number < REGISTRATIONS {
                let (username, meta) = (format!("user-{number}"), json!({ "about": about }));
                let address = json!({
                    "username": username, "ip": "192.0.2.1", "port": 1, "meta": meta
                });
                client.submit("ConnectUser", address).await
            } else {
                client.submit("GetSequenceNumber", json!({})).await
            };
        }
        for id in last + 1 - numbers.len() as u64..=last {
            let reply = client.reply(id).await;
            assert_ne!(reply["type"], "Error", "{reply}");
        }
    }
    client
}

/// R11: what has come of the snapshot when the link breaks comes once only.
#[tokio::test]
async fn a_link_that_breaks_in_a_copy_does_not_cost_what_has_come() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let late = cluster.others(leader)[0];
    cluster.kill9(late);
    let server = cluster.server(leader);
    let _clients = tokio::join!(fill(server, 0, 3), fill(server, 1, 3), fill(server, 2, 3));

    let before = cluster.carried(leader, late);
    cluster.restart(late).await;
    cluster.is_admitted(late).await;
    let whole = cluster.carried(leader, late) - before;
    assert!(whole > REGISTRATIONS as u64 * 900, "a copy takes {whole} bytes");

    cluster.kill9(late);
    let before = cluster.carried(leader, late);
    cluster.stall_after(leader, late, whole / 2);
    cluster.restart(late).await;
    cluster.is_admitted(late).await;
    let both = cluster.carried(leader, late) - before;
    assert!(both > whole / 2, "it ended before the link broke, after {both} of {whole} bytes");
    assert!(both < whole + whole / 4, "{both} bytes came in two parts, and {whole} in one");
    assert_eq!(cluster.leader().await, leader, "nothing else happened");
}
