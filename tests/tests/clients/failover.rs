//! Servers that fail one at a time, in every way: no call of any client fails.

use rollcall_tests::cluster::Cluster;

use crate::callers::{Callers, Onlooker, is_back};

const CALLERS: usize = 6;

#[tokio::test]
async fn no_call_fails_while_each_server_is_restarted_gracefully() {
    let end = async |cluster: &mut Cluster, id| {
        cluster.terminate(id);
        assert!(cluster.exited(id).await.success());
    };
    each_in_turn(1, end, begin_again).await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_killed() {
    each_in_turn(2, async |cluster, id| cluster.kill9(id), begin_again).await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_stopped() {
    let go_on = async |cluster: &mut Cluster, id| {
        cluster.cont(id);
        cluster.wait_ready().await;
    };
    each_in_turn(3, async |cluster, id| cluster.stop(id).await, go_on).await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_cut_off_from_the_others() {
    let cut_off = async |cluster: &mut Cluster, id| {
        cluster.isolate(id);
        cluster.leader_among(&cluster.others(id)).await;
    };
    let heal = async |cluster: &mut Cluster, _| {
        cluster.heal();
        cluster.wait_ready().await;
    };
    each_in_turn(1, cut_off, heal).await;
}

/// Hurts each of three servers and mends it again, while clients call and somebody who came by server
/// `seen_from` watches.
async fn each_in_turn(
    seen_from: u64,
    hurt: impl AsyncFn(&mut Cluster, u64),
    mend: impl AsyncFn(&mut Cluster, u64),
) {
    let mut cluster = Cluster::start(3).await;
    let callers = Callers::start(&cluster, CALLERS).await;
    let onlooker = Onlooker::at(&cluster, seen_from).await;
    for id in cluster.running() {
        hurt(&mut cluster, id).await;
        callers.go_on().await;
        mend(&mut cluster, id).await;
        callers.go_on().await;
    }
    onlooker.saw_nothing().await;
    callers.were_served().await;
}

async fn begin_again(cluster: &mut Cluster, id: u64) {
    cluster.restart(id).await;
    is_back(cluster, id).await;
}
