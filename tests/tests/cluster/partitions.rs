//! Networks that are cut: which part goes on, what the other says, and that it finds back.

use rollcall_tests::{
    cluster::Cluster,
    wire::{Client, eventually},
    witness::Witness,
};
use serde_json::json;

use crate::asking::{expect_no_answers, fall_silent, look_up};

/// The leader with one more, and the other two.
async fn halves(cluster: &Cluster) -> (Vec<u64>, Vec<u64>) {
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    (vec![leader, others[0]], others[1..].to_vec())
}

#[tokio::test]
async fn of_four_the_half_with_the_leader_goes_on() {
    let cluster = Cluster::start(4).await;
    let mut witness = Witness::start(cluster.places()).await;
    let (ours, theirs) = halves(&cluster).await;
    cluster.cut(&ours, &theirs);
    witness.goes_on(&ours).await;
    // A write was acknowledged since: whatever the others could answer now could be stale.
    for id in &theirs {
        let said = look_up(cluster.server(*id), "nobody").await;
        assert!(said.is_silence(), "server {id} is cut off, and says {said:?}");
    }
    fall_silent(&cluster, &theirs).await;
    expect_no_answers(&cluster, &theirs).await;
    witness.goes_on(&ours).await;
    cluster.heal();
    witness.goes_on(&[1, 2, 3, 4]).await;
    witness.finish(&[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn of_four_the_half_of_a_later_leader_goes_on_too() {
    let mut cluster = Cluster::start(4).await;
    let mut witness = Witness::start(cluster.places()).await;
    let first = cluster.leader().await;
    cluster.kill9(first);
    witness.goes_on(&cluster.running()).await;
    cluster.restart(first).await;
    cluster.is_admitted(first).await;
    let (ours, theirs) = halves(&cluster).await;
    cluster.cut(&ours, &theirs);
    witness.goes_on(&ours).await;
    fall_silent(&cluster, &theirs).await;
    expect_no_answers(&cluster, &theirs).await;
    cluster.heal();
    witness.goes_on(&[1, 2, 3, 4]).await;
    witness.finish(&[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn of_four_nobody_goes_on_when_the_leader_of_its_half_dies() {
    let mut cluster = Cluster::start(4).await;
    let mut witness = Witness::start(cluster.places()).await;
    let (ours, theirs) = halves(&cluster).await;
    cluster.cut(&ours, &theirs);
    witness.goes_on(&ours).await;
    // What was acknowledged meanwhile, only the leader and its friend have.
    let leader = cluster.leader_among(&ours).await;
    cluster.kill9(leader);
    let left = cluster.running();
    fall_silent(&cluster, &left).await;
    expect_no_answers(&cluster, &left).await;
    cluster.heal();
    witness.goes_on(&left).await;
    cluster.restart(leader).await;
    cluster.is_admitted(leader).await;
    witness.goes_on(&[1, 2, 3, 4]).await;
    witness.finish(&[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn each_server_in_turn_is_cut_off() {
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    for id in [3, 2, 1] {
        cluster.isolate(id);
        witness.goes_on(&cluster.others(id)).await;
        let said = look_up(cluster.server(id), "nobody").await;
        assert!(said.is_silence(), "server {id} is cut off, and says {said:?}");
        cluster.heal();
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_link_between_two_followers_is_not_needed() {
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    let followers = cluster.others(leader);
    cluster.cut(&followers[..1], &followers[1..]);
    witness.goes_on(&[1, 2, 3]).await;
    cluster.heal();
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_leader_that_is_not_heard_or_hears_nothing_is_replaced() {
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    for deaf in [true, false] {
        let leader = cluster.leader().await;
        let followers = cluster.others(leader);
        for follower in &followers {
            match deaf {
                true => cluster.cut_one_way(*follower, leader),
                false => cluster.cut_one_way(leader, *follower),
            }
        }
        witness.goes_on(&followers).await;
        assert_ne!(cluster.leader_among(&followers).await, leader);
        let said = look_up(cluster.server(leader), "nobody").await;
        assert!(said.is_silence(), "server {leader} was replaced, and says {said:?}");
        cluster.heal();
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_follower_that_is_cut_off_one_way_holds_nobody_up() {
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    for deaf in [true, false] {
        let leader = cluster.leader().await;
        let followers = cluster.others(leader);
        match deaf {
            true => cluster.cut_one_way(leader, followers[0]),
            false => cluster.cut_one_way(followers[0], leader),
        }
        witness.goes_on(&[leader, followers[1]]).await;
        cluster.heal();
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn the_leader_dies_while_another_server_is_cut_off() {
    let mut cluster = Cluster::start(5).await;
    let mut witness = Witness::start(cluster.places()).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let others = cluster.others(leader);
        // It may answer lookups for a moment, and does not hear who leads next: so nobody may write
        // in that moment.
        let cut_off = others[0];
        cluster.isolate(cut_off);
        cluster.kill9(leader);
        witness.goes_on(&others[1..]).await;
        cluster.heal();
        cluster.restart(leader).await;
        cluster.is_admitted(leader).await;
        witness.goes_on(&[1, 2, 3, 4, 5]).await;
    }
    witness.finish(&[1, 2, 3, 4, 5]).await;
}

#[tokio::test]
async fn a_server_that_is_cut_off_sends_its_clients_away() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for cut_off in [cluster.others(leader)[0], leader] {
        cluster.wait_ready().await;
        let server = cluster.server(cut_off);
        let mut member = Client::new(server).await;
        let welcome = member.call("Hello", json!({})).await;
        member.register("ann", 1).await;
        let mut watcher = Client::anonymous(server).await;
        watcher.call("Subscribe", json!({ "all": true })).await;
        let mut operator = Client::anonymous(server).await;
        operator.call("GetStatus", json!({})).await;

        cluster.isolate(cut_off);
        member.expect_close(4002).await;
        watcher.expect_close(4002).await;
        // Who has nothing to lose may stay, and is told what is known.
        let status = operator.call("GetStatus", json!({})).await;
        assert_eq!((&status["leader"], &status["readable"]), (&json!(null), &json!(false)));
        operator.call("Ping", json!({})).await;

        // Elsewhere, the client goes on as if nothing had been.
        let other = cluster.leader_among(&cluster.others(cut_off)).await;
        let mut again = Client::with_id(cluster.server(other), member.id()).await;
        again.skip_ids_to(member.last_id());
        let resumed = again.call("Hello", json!({ "session": welcome["session"] })).await;
        assert_eq!(resumed["resumed"], true, "{resumed}");
        assert!(again.is_online("ann").await);
        again.unregister("ann").await;
        cluster.heal();
    }
}

/// Much is on its way when the connection dies without a word: neither side can even say goodbye on
/// it, and a new one must take its place all the same.
#[tokio::test]
async fn a_link_that_takes_nothing_any_more_is_replaced() {
    const WRITERS: usize = 24;
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let other = cluster.others(leader)[0];
    let meta = json!({ "fill": "x".repeat(1000) });
    let mut writers = Vec::new();
    for at in 0..WRITERS {
        let mut writer = Client::new(cluster.server(leader)).await;
        writer.register(&format!("writer-{at}"), 1).await;
        writers.push(writer);
    }
    cluster.stall(leader, other);
    for round in 0..4_u16 {
        for (at, writer) in writers.iter_mut().enumerate() {
            for port in 1..=60 {
                let payload = json!({ "username": format!("writer-{at}"), "ip": "::1",
                    "port": 100 * round + port, "meta": meta });
                writer.submit("ConnectUser", payload).await;
            }
        }
        for writer in &mut writers {
            writer.reply(writer.last_id()).await;
        }
    }
    eventually("the two are linked again, and level", async || {
        let status = cluster.status(leader).await.ok_or("no status")?;
        let members = status["members"].as_array().ok_or("no members")?;
        let member = members.iter().find(|member| member["node"] == other).ok_or("no member")?;
        let level = member["state"] == "up" && member["lag"] == 0;
        if level { Ok(()) } else { Err(format!("{status}\n{}", cluster.log(leader))) }
    })
    .await;
}
