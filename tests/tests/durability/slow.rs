//! Disks that take their time: service goes on, what is acknowledged has waited for the disks that
//! count, and a disk that hangs is a disk that has failed.

use std::time::{Duration, Instant};

use rollcall_tests::{
    cluster::Cluster,
    http::Metrics,
    roaming::{Place, refusal},
    server::Server,
    strace::Injection,
    wire::{Client, eventually},
    witness::Witness,
};
use serde_json::json;

use crate::{LASTING, assert_says, rounds};

#[tokio::test]
async fn a_slow_disk_is_no_reason_to_stop() {
    let cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    for round in 0..rounds(6) {
        let leader = cluster.leader().await;
        let victim = if round % 2 == 0 { cluster.others(leader)[0] } else { leader };
        let delay_ms = [50, 120, 300][(round / 2) % 3];
        let wrong = format!("delay_enter={}", delay_ms * 1000);
        witness.forget_gaps();
        let before = Metrics::of(cluster.server(victim)).await.value(SYNCS);
        let injection = Injection::begin(cluster.server(victim).pid(), "fdatasync", &wrong);
        for _ in 0..3 {
            witness.goes_on(&[1, 2, 3]).await;
        }
        // Whoever looks for the reason finds it.
        eventually("the time is counted", async || {
            let spent = Metrics::of(cluster.server(victim)).await.value(SYNCS) - before;
            if spent * 1000.0 >= f64::from(delay_ms) { Ok(()) } else { Err(spent.to_string()) }
        })
        .await;
        drop(injection);
        let gap = witness.counts().longest_gap;
        eprintln!("server {victim} where {leader} leads, {delay_ms} ms a sync: {gap:.0?} at most");
    }
    witness.finish(&[1, 2, 3]).await;
}

/// Two of three are left, so that every write waits for both disks.
#[tokio::test]
async fn the_slowest_disk_that_counts_sets_the_pace() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    cluster.kill9(2);
    witness.goes_on(&[1, 3]).await;
    for victim in [1, 3] {
        witness.forget_gaps();
        let pid = cluster.server(victim).pid();
        let injection = Injection::begin(pid, "fdatasync", "delay_enter=150000");
        for _ in 0..2 {
            witness.goes_on(&[1, 3]).await;
        }
        drop(injection);
        let gap = witness.counts().longest_gap;
        eprintln!("150 ms a sync at server {victim} of two: {gap:.0?} at most");
        assert!(gap >= Duration::from_millis(150), "{gap:?}");
    }
    cluster.restart(2).await;
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn what_is_acknowledged_has_waited_for_the_disks_that_count() {
    const DELAY: Duration = Duration::from_millis(700);
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    let leader = cluster.leader().await;
    let [one, other] = cluster.others(leader)[..] else { panic!("there are three") };
    cluster.kill9(other);
    let mut client = Client::new(cluster.server(leader)).await;
    client.register("ann", 1).await;
    for (port, victim) in [(2, one), (3, leader)] {
        // It returns late, so that nobody knows any earlier.
        let wrong = format!("delay_exit={}", DELAY.as_micros());
        let injection = Injection::begin(cluster.server(victim).pid(), "fdatasync", &wrong);
        let began = Instant::now();
        client.register("ann", port).await;
        let took = began.elapsed();
        drop(injection);
        assert!(
            took >= DELAY,
            "{took:?}, where server {leader} leads and {victim} takes {DELAY:?}"
        );
    }
    // With all three there is a majority without the slowest, be that the leader itself.
    cluster.restart(other).await;
    cluster.wait_ready_of(other).await;
    client.register("ann", 4).await;
    let wrong = format!("delay_exit={}", 10 * DELAY.as_micros());
    let injection = Injection::begin(cluster.server(leader).pid(), "fdatasync", &wrong);
    let began = Instant::now();
    client.register("ann", 5).await;
    let took = began.elapsed();
    drop(injection);
    assert!(took < 10 * DELAY, "{took:?}");
}

#[tokio::test]
async fn a_disk_that_hangs_ends_the_server_and_the_others_go_on() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    let leader = cluster.leader().await;
    let injection = hang(cluster.server(leader));
    let began = Instant::now();
    let said = cluster.gives_up(leader).await;
    let took = began.elapsed();
    drop(injection);
    assert!(took > Duration::from_secs(9), "only {took:?}");
    assert_says(&said, &["has not done for 10 s"]);
    witness.goes_on(&cluster.running()).await;
    cluster.restart(leader).await;
    cluster.wait_ready_of(leader).await;
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_server_of_its_own_whose_disk_hangs_ends_and_has_promised_nothing() {
    let mut server = Server::on_disk(LASTING);
    let place = Place { id: 1, address: server.address() };
    let witness = Witness::start(vec![place]).await;
    let witnessed = witness.finish(&[1]).await;
    assert!(witnessed.writes > 0);
    let mut client = Client::new(&server).await;
    let injection = hang(&server);
    let id = client.submit("GetSequenceNumber", json!({})).await;
    if let Some(reply) = client.reply_unless_closed(id).await {
        assert!(refusal(&reply).is_some(), "{reply}");
    }
    let said = server.gives_up().await;
    drop(injection);
    assert_says(&said, &["has not done for 10 s"]);
    server.restart();
    let mut client = Client::with_id(&server, client.id()).await;
    let number = client.call_as(id, "GetSequenceNumber", json!({})).await;
    assert!(number["first"].as_u64() > Some(witnessed.numbers as u64 - 1), "{number}");
}

/// How long syncs have taken so far, seconds.
const SYNCS: &str = "rollcall_storage_sync_seconds_sum";

/// From now on nothing that it syncs returns before it has given up.
fn hang(server: &Server) -> Injection {
    Injection::begin(server.pid(), "fdatasync", "delay_enter=15000000")
}
