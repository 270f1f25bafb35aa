//! Servers that are stopped (SIGSTOP) and wake up: processes that know nothing of the time they lost.

use rollcall_tests::{
    cluster::Cluster,
    random_client_id,
    wire::{Client, eventually},
    witness::Witness,
};
use serde_json::{Value, json};

use crate::asking::{
    LASTING, Said, ask, expect_no_answers, fall_silent, hear, insist, port, port_of,
};

#[tokio::test]
async fn one_of_three_that_is_left_alone_answers_nothing() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    // The one that is left has led once, and followed once.
    for left in [leader, cluster.others(leader)[0]] {
        let stopped = cluster.others(left);
        for id in &stopped {
            cluster.stop(*id).await;
        }
        fall_silent(&cluster, &[left]).await;
        expect_no_answers(&cluster, &[left]).await;
        for id in &stopped {
            cluster.cont(*id);
        }
        witness.goes_on(&[1, 2, 3]).await;
    }
    let counts = witness.finish(&[1, 2, 3]).await;
    assert!(counts.refused > 0, "no reader noticed: {counts:?}");
}

#[tokio::test]
async fn a_write_that_found_no_quorum_was_not_applied() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let stopped = cluster.others(leader);
    for id in &stopped {
        cluster.stop(*id).await;
    }
    // At first the leader does not know that it is alone, and cannot tell what will become of it.
    let mut outcomes = Vec::new();
    eventually("the server refuses writes", async || {
        let name = format!("user-{}", outcomes.len());
        let payload = json!({ "username": name, "ip": "192.0.2.1", "port": 1 });
        outcomes.push(ask(cluster.server(leader), "ConnectUser", payload).await);
        let refused = outcomes.iter().filter(|said| **said == Said::NoQuorum).count();
        if refused >= 3 { Ok(()) } else { Err(format!("{outcomes:?}")) }
    })
    .await;
    for id in &stopped {
        cluster.cont(*id);
    }
    for (number, outcome) in outcomes.iter().enumerate() {
        let found = port_of(cluster.server(leader), &format!("user-{number}")).await;
        match outcome {
            Said::NoQuorum => assert_eq!(found, None, "user-{number} was refused, and is there"),
            Said::Answer(_) => panic!("user-{number} was acknowledged by one of three"),
            Said::Unknown | Said::Closed => {}
        }
    }
}

#[tokio::test]
async fn a_leader_that_wakes_up_answers_nothing_stale() {
    let mut cluster = Cluster::with(3, LASTING).await;
    let mut witness = Witness::start(cluster.places()).await;
    let owner = random_client_id();
    for round in 0..3 {
        let leader = cluster.leader().await;
        let mut reader = Client::anonymous(cluster.server(leader)).await;
        reader.call("Ping", json!({})).await;
        let mut counter = Client::new(cluster.server(leader)).await;
        counter.call("GetSequenceNumber", json!({})).await;

        cluster.stop(leader).await;
        let others = cluster.running();
        let next = cluster.leader().await;
        assert_ne!(next, leader);
        let current = 1000 + round;
        let payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": current });
        insist(&cluster, &others, &owner, 2 * round + 1, "ConnectUser", payload).await;
        let taken =
            insist(&cluster, &others, &owner, 2 * round + 2, "GetSequenceNumber", json!({})).await;

        // These lie in its sockets when it wakes, still sure that it leads.
        let mut lookups = Vec::new();
        for _ in 0..20 {
            lookups.push(reader.submit("GetUserAddress", ann()).await);
        }
        let number = counter.submit("GetSequenceNumber", json!({})).await;
        cluster.cont(leader);
        for lookup in lookups {
            expect_current(&mut reader, lookup, current).await;
        }
        // And these arrive while it finds out.
        eventually("it answers again", async || {
            let lookup = reader.submit("GetUserAddress", ann()).await;
            let answered = expect_current(&mut reader, lookup, current).await;
            if answered { Ok(()) } else { Err("no_quorum".to_owned()) }
        })
        .await;
        if let Said::Answer(answer) = hear(&mut counter, number, "GetSequenceNumber").await {
            assert!(answer["first"].as_u64() > taken["first"].as_u64(), "{answer} after {taken}");
        }
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_follower_that_wakes_up_answers_nothing_stale() {
    let mut cluster = Cluster::with(3, LASTING).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    let mut reader = Client::anonymous(cluster.server(follower)).await;
    let owner = random_client_id();
    for current in 1..=3 {
        // It knows what was there before, and holds a lease.
        let before = (current > 1).then(|| current - 1);
        assert_eq!(port_of(cluster.server(follower), "ann").await, before);
        cluster.stop(follower).await;
        let payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": current });
        let others = cluster.running();
        insist(&cluster, &others, &owner, current, "ConnectUser", payload).await;
        let mut lookups = Vec::new();
        for _ in 0..20 {
            lookups.push(reader.submit("GetUserAddress", ann()).await);
        }
        cluster.cont(follower);
        for lookup in lookups {
            expect_current(&mut reader, lookup, current).await;
        }
    }
}

fn ann() -> Value {
    json!({ "usernames": ["ann"] })
}

/// Waits for what comes of a lookup of `ann`: her port as it is now, or nothing; says which.
async fn expect_current(reader: &mut Client, lookup: u64, current: u64) -> bool {
    match hear(reader, lookup, "GetUserAddress").await {
        Said::Answer(answer) => {
            assert_eq!(port(&answer), Some(current), "stale: {answer}");
            true
        }
        said => {
            assert_eq!(said, Said::NoQuorum);
            false
        }
    }
}
