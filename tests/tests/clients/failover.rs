//! Servers that fail one at a time, in every way: no call of any client fails.

use rollcall_tests::cluster::Cluster;

use crate::callers::{Callers, Onlooker, is_back};

const CALLERS: usize = 6;

#[tokio::test]
async fn no_call_fails_while_each_server_is_restarted_gracefully() {
    let mut cluster = Cluster::start(3).await;
    let callers = Callers::start(&cluster, CALLERS).await;
    let onlooker = Onlooker::at(&cluster, 1).await;
    for id in cluster.running() {
        cluster.terminate(id);
        assert!(cluster.exited(id).await.success());
        callers.go_on().await;
        cluster.restart(id).await;
        is_back(&cluster, id).await;
        callers.go_on().await;
    }
    onlooker.saw_nothing().await;
    callers.were_served().await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let callers = Callers::start(&cluster, CALLERS).await;
    let onlooker = Onlooker::at(&cluster, 2).await;
    for id in cluster.running() {
        cluster.kill9(id);
        callers.go_on().await;
        cluster.restart(id).await;
        is_back(&cluster, id).await;
        callers.go_on().await;
    }
    onlooker.saw_nothing().await;
    callers.were_served().await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_stopped() {
    let mut cluster = Cluster::start(3).await;
    let callers = Callers::start(&cluster, CALLERS).await;
    let onlooker = Onlooker::at(&cluster, 3).await;
    for id in cluster.running() {
        cluster.stop(id).await;
        callers.go_on().await;
        cluster.cont(id);
        cluster.wait_ready().await;
        callers.go_on().await;
    }
    onlooker.saw_nothing().await;
    callers.were_served().await;
}

#[tokio::test]
async fn no_call_fails_while_each_server_is_cut_off_from_the_others() {
    let cluster = Cluster::start(3).await;
    let callers = Callers::start(&cluster, CALLERS).await;
    let onlooker = Onlooker::at(&cluster, 1).await;
    for id in cluster.running() {
        cluster.isolate(id);
        cluster.leader_among(&cluster.others(id)).await;
        callers.go_on().await;
        cluster.heal();
        cluster.wait_ready().await;
        callers.go_on().await;
    }
    onlooker.saw_nothing().await;
    callers.were_served().await;
}
