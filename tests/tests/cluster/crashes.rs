//! Servers that are killed, the leader or another, and come back with nothing.

use std::collections::VecDeque;

use futures::future::join_all;
use rollcall_tests::{
    cluster::Cluster,
    random_client_id,
    roaming::refusal,
    wire::{Client, succeeded},
    witness::Witness,
};
use serde_json::{Value, json};

use crate::asking::{LASTING, Said, hear, insist, port};

#[tokio::test]
async fn a_leader_is_killed_and_comes_back_blank() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let first = cluster.leader().await;

    cluster.kill9(first);
    let others = cluster.running();
    witness.goes_on(&others).await;
    let second = cluster.leader().await;
    assert_ne!(second, first);

    cluster.restart(first).await;
    cluster.is_admitted(first).await;
    witness.goes_on(&[1, 2, 3]).await;

    // It is worth as much as any other: with it, the cluster bears the loss of the next leader.
    let second = cluster.leader().await;
    cluster.kill9(second);
    witness.goes_on(&cluster.running()).await;
    witness.finish(&cluster.running()).await;
}

#[tokio::test]
async fn a_follower_is_killed_and_comes_back_blank() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    for follower in cluster.others(leader) {
        cluster.kill9(follower);
        witness.goes_on(&cluster.running()).await;
        cluster.restart(follower).await;
        cluster.is_admitted(follower).await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn what_was_registered_before_is_known_to_a_server_that_came_back() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    let mut client = Client::new(cluster.server(leader)).await;
    client.register("ann", 1).await;
    cluster.kill9(follower);
    let written = client.register("ann", 2).await;
    cluster.restart(follower).await;
    cluster.is_admitted(follower).await;
    let mut reader = Client::new(cluster.server(follower)).await;
    let answer = reader.lookup(&["ann"]).await;
    assert_eq!(port(&answer), Some(2), "{answer}");
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written);
}

#[tokio::test]
async fn servers_that_come_back_learn_much_at_once() {
    const USERS: usize = 2000;
    const WRITES: usize = 36_000;
    let mut cluster = Cluster::with(3, LASTING).await;
    let mut witness = Witness::start(cluster.places()).await;
    let owner = random_client_id();
    let count = json!({ "count": 7 });
    let taken = insist(&cluster, &[1, 2, 3], &owner, 1, "GetSequenceNumber", count.clone()).await;
    let mut holder = Client::new(cluster.server(1)).await;
    let name = |number: usize| format!("user-{number}");
    let meta = json!({ "about": "x".repeat(900) });
    write_all(
        &mut holder,
        "ConnectUser",
        USERS,
        |number| json!({ "username": name(number), "ip": "::1", "port": 1, "meta": meta }),
    )
    .await;
    // More than any server keeps one by one.
    let mut counters = Vec::new();
    for id in [1, 2, 3] {
        counters.push(Client::new(cluster.server(id)).await);
    }
    join_all(
        counters
            .iter_mut()
            .map(|counter| write_all(counter, "GetSequenceNumber", WRITES / 3, |_| json!({}))),
    )
    .await;
    // It is some megabytes by now, and the others have to go on while they tell it. In the end,
    // nobody is left who was there when it happened.
    for id in [3, 2, 1] {
        cluster.kill9(id);
        cluster.restart(id).await;
        cluster.is_admitted(id).await;
        witness.goes_on(&[1, 2, 3]).await;
        let mut reader = Client::new(cluster.server(id)).await;
        for number in (0..USERS).step_by(97) {
            let answer = reader.lookup(&[&name(number)]).await;
            assert_eq!(answer["users"][0]["addresses"][0]["meta"], meta, "{number}: {answer}");
        }
    }
    let again = insist(&cluster, &[1, 2, 3], &owner, 1, "GetSequenceNumber", count).await;
    assert_eq!(again, taken);
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_retry_gets_the_first_number_after_the_leader_died() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let id = random_client_id();
    let count = json!({ "count": 3 });

    let follower = cluster.others(leader)[0];
    let mut client = Client::with_id(cluster.server(follower), &id).await;
    let answered = client.call_as(1, "GetSequenceNumber", count.clone()).await;
    // This one may be applied, or lost with the leader: nobody can tell.
    client.submit_as(2, "GetSequenceNumber", count.clone()).await;
    cluster.kill9(leader);

    let others = cluster.running();
    let retry = async |request| {
        insist(&cluster, &others, &id, request, "GetSequenceNumber", count.clone()).await
    };
    assert_eq!(retry(1).await, answered);
    let second = retry(2).await;
    assert!(second["first"].as_u64() > answered["first"].as_u64(), "{second} after {answered}");
    if let Said::Answer(early) = hear(&mut client, 2, "GetSequenceNumber").await {
        assert_eq!(early, second);
    }
    assert_eq!(retry(2).await, second);
    assert_eq!(retry(1).await, answered);
    // Another request is another one.
    assert!(retry(3).await["first"].as_u64() > second["first"].as_u64());
}

#[tokio::test]
async fn the_leader_is_killed_again_and_again() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    for _ in 0..4 {
        let leader = cluster.leader().await;
        cluster.kill9(leader);
        witness.goes_on(&cluster.running()).await;
        cluster.restart(leader).await;
        cluster.is_admitted(leader).await;
    }
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

/// Carries out so many writes, as many at a time as a client may have under way.
async fn write_all(
    client: &mut Client,
    kind: &str,
    count: usize,
    payload: impl Fn(usize) -> Value,
) {
    let mut sent = VecDeque::new();
    for number in 0..count {
        sent.push_back((client.submit(kind, payload(number)).await, number));
        if sent.len() == 64 {
            settle(client, kind, &mut sent, &payload).await;
        }
    }
    while !sent.is_empty() {
        settle(client, kind, &mut sent, &payload).await;
    }
}

/// Waits until the oldest write has its outcome; a busy machine may change leaders meanwhile.
async fn settle(
    client: &mut Client,
    kind: &str,
    sent: &mut VecDeque<(u64, usize)>,
    payload: &impl Fn(usize) -> Value,
) {
    let Some((id, number)) = sent.pop_front() else { return };
    let mut reply = client.reply(id).await;
    while let Some(trouble) = refusal(&reply) {
        eprintln!("{kind} {id}: {trouble:?}");
        reply = client.request_as(id, kind, payload(number)).await;
    }
    succeeded(kind, &reply);
}
