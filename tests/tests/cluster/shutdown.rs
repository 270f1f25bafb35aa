//! Servers that are asked to end (SIGTERM): their clients are told, nothing is lost, the others go on.

use rollcall_tests::{cluster::Cluster, wire::Client, witness::Witness};
use serde_json::json;

#[tokio::test]
async fn a_server_that_is_asked_to_end_takes_nothing_with_it() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    for id in [leader, cluster.others(leader)[0]] {
        let mut member = Client::new(cluster.server(id)).await;
        let welcome = member.call("Hello", json!({})).await;
        let name = format!("user-{id}");
        let written = member.register(&name, 1).await;
        let mut watcher = Client::anonymous(cluster.server(id)).await;
        watcher.call("Subscribe", json!({ "prefix": "user-" })).await;

        cluster.terminate(id);
        for client in [&mut member, &mut watcher] {
            client.expect_push("GoingAway").await;
            client.expect_close(1001).await;
        }
        assert!(cluster.exited(id).await.success(), "server {id}");
        let others = cluster.running();
        witness.goes_on(&others).await;

        let next = cluster.leader().await;
        let mut again = Client::with_id(cluster.server(next), member.id()).await;
        again.skip_ids_to(member.last_id());
        let resumed = again.call("Hello", json!({ "session": welcome["session"] })).await;
        assert_eq!(resumed["resumed"], true, "{resumed}");
        let answer = again.lookup(&[&name]).await;
        assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");

        cluster.restart(id).await;
        cluster.is_admitted(id).await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn all_servers_end_when_all_are_asked_to() {
    let mut cluster = Cluster::start(3).await;
    let mut clients = Vec::new();
    for id in cluster.running() {
        let mut client = Client::new(cluster.server(id)).await;
        client.register(&format!("user-{id}"), 1).await;
        clients.push(client);
    }
    for id in cluster.running() {
        cluster.terminate(id);
    }
    for client in &mut clients {
        client.expect_push("GoingAway").await;
        client.expect_close(1001).await;
    }
    for id in [1, 2, 3] {
        assert!(cluster.exited(id).await.success(), "server {id}");
    }
}

#[tokio::test]
async fn a_server_that_has_nobody_left_ends_too() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for id in cluster.others(leader) {
        cluster.kill9(id);
    }
    cluster.terminate(leader);
    assert!(cluster.exited(leader).await.success());
}
