//! Clusters of other sizes than three and four: what two cannot do, and what more can.

use rollcall_tests::{
    cluster::Cluster,
    wire::{Client, eventually},
    witness::Witness,
};

use crate::asking::{expect_no_answers, fall_silent};

#[tokio::test]
async fn one_server_is_a_cluster_of_its_own() {
    let mut cluster = Cluster::start(1).await;
    let mut witness = Witness::start(cluster.places()).await;
    assert_eq!(cluster.leader().await, 1);
    cluster.stop(1).await;
    cluster.cont(1);
    witness.goes_on(&[1]).await;
    witness.finish(&[1]).await;
}

#[tokio::test]
async fn of_two_the_leader_goes_on_alone() {
    let mut cluster = Cluster::start(2).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    cluster.kill9(follower);
    witness.goes_on(&[leader]).await;
    cluster.restart(follower).await;
    cluster.is_admitted(follower).await;
    witness.goes_on(&[1, 2]).await;
    witness.finish(&[1, 2]).await;
}

#[tokio::test]
async fn of_two_the_follower_never_goes_on_alone() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    let mut client = Client::new(cluster.server(leader)).await;
    client.register("ann", 1).await;
    cluster.kill9(leader);
    fall_silent(&cluster, &[follower]).await;
    expect_no_answers(&cluster, &[follower]).await;

    // Nor does it help that the leader comes back: it may have acknowledged what it then forgot.
    cluster.restart(leader).await;
    eventually("they are linked", async || {
        let status = cluster.status(follower).await.expect("it runs");
        let members = status["members"].as_array().expect("a list");
        let up = members.iter().any(|it| it["node"] == leader && it["state"] == "up");
        if up { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    expect_no_answers(&cluster, &[leader, follower]).await;
}

#[tokio::test]
async fn five_bear_the_loss_of_two() {
    let mut cluster = Cluster::start(5).await;
    let mut witness = Witness::start(cluster.places()).await;
    let first = cluster.leader().await;
    cluster.kill9(first);
    witness.goes_on(&cluster.running()).await;
    let second = cluster.leader().await;
    cluster.kill9(second);
    witness.goes_on(&cluster.running()).await;
    for id in [first, second] {
        cluster.restart(id).await;
        cluster.is_admitted(id).await;
    }
    witness.goes_on(&[1, 2, 3, 4, 5]).await;
    witness.finish(&[1, 2, 3, 4, 5]).await;
}

#[tokio::test]
async fn seven_bear_the_loss_of_three() {
    let mut cluster = Cluster::start(7).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    for id in [leader, others[0], others[3]] {
        cluster.kill9(id);
    }
    let left = cluster.running();
    witness.goes_on(&left).await;
    witness.finish(&left).await;
}
