//! Servers that are killed or asked to end at any moment, one, two or all, and find again what they
//! knew.

use std::time::Instant;

use rollcall_tests::{
    cluster::Cluster,
    roaming::Place,
    server::Server,
    witness::{Counts, Witness},
};
use tokio::time::sleep;

use crate::{draw, draw_ms, rounds};

#[tokio::test]
async fn a_server_of_its_own_is_killed_again_and_again() {
    let mut server = Server::on_disk(&[]);
    let place = Place { id: 1, address: server.address() };
    let mut witness = Witness::start(vec![place]).await;
    for round in 0..rounds(50) {
        sleep(draw_ms(0..60)).await;
        if draw(4) == 0 {
            // Once more while it reads what there is, or begins a new file.
            server.begin_again();
            sleep(draw_ms(0..30)).await;
        }
        server.begin_again();
        server.listens().await;
        if round % 5 == 4 {
            witness.goes_on(&[1]).await;
        }
    }
    report("one server killed", witness.finish(&[1]).await);
}

#[tokio::test]
async fn servers_of_three_are_killed_at_any_moment() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    for round in 0..rounds(50) {
        let leader = cluster.status(1).await.and_then(|status| status["leader"].as_u64());
        let victim = leader.filter(|_| draw(2) == 0).unwrap_or_else(|| 1 + draw(3) as u64);
        sleep(draw_ms(0..150)).await;
        cluster.kill9(victim);
        // Sometimes before the others notice, sometimes after they have gone on.
        sleep(draw_ms(0..400)).await;
        cluster.restart(victim).await;
        if round % 5 == 4 {
            witness.goes_on(&[1, 2, 3]).await;
        }
    }
    report("servers of three killed", witness.finish(&[1, 2, 3]).await);
}

#[tokio::test]
async fn all_servers_are_killed_at_once_and_go_on_where_they_were() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let life = cluster.status(1).await.expect("it runs")["cluster"].clone();
    let mut witness = Witness::start(cluster.places()).await;
    let began = Instant::now();
    let rounds = rounds(50);
    for _ in 0..rounds {
        sleep(draw_ms(0..100)).await;
        for id in [3, 1, 2] {
            cluster.kill9(id);
        }
        cluster.restart_all(&[1, 2, 3]).await;
        cluster.wait_ready().await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    eprintln!("{:?} from one end to the next", began.elapsed() / rounds as u32);
    let after = cluster.status(1).await.expect("it runs");
    assert_eq!(after["cluster"], life, "no new life has begun");
    report("all killed at once", witness.finish(&[1, 2, 3]).await);
}

#[tokio::test]
async fn each_server_in_turn_is_asked_to_end_and_hands_over() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    witness.forget_gaps();
    for _ in 0..rounds(2) {
        for id in [1, 2, 3] {
            cluster.terminate(id);
            let status = cluster.exited(id).await;
            assert!(status.success(), "server {id}: {status}");
            witness.goes_on(&cluster.running()).await;
            cluster.restart(id).await;
            // Its vote counts at once: no disk was lost.
            cluster.wait_ready_of(id).await;
            witness.goes_on(&[1, 2, 3]).await;
        }
    }
    report("each in turn asked to end", witness.finish(&[1, 2, 3]).await);
}

#[tokio::test]
async fn two_of_three_are_killed_and_their_return_is_enough() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    witness.forget_gaps();
    for round in 0..rounds(6) {
        let leader = cluster.leader().await;
        let others = cluster.others(leader);
        let pair = match round % 3 {
            0 => [leader, others[0]],
            1 => [others[1], leader],
            _ => [others[0], others[1]],
        };
        for id in pair {
            cluster.kill9(id);
        }
        sleep(draw_ms(0..600)).await;
        // One of them is enough; the other one comes later.
        cluster.restart(pair[0]).await;
        witness.goes_on(&cluster.running()).await;
        cluster.restart(pair[1]).await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    report("two of three killed", witness.finish(&[1, 2, 3]).await);
}

fn report(what: &str, counts: Counts) {
    eprintln!("{what}: {counts:?}");
    assert!(counts.writes > 0 && counts.numbers > 0 && counts.reads > 0, "{counts:?}");
}
