//! Servers that fail one at a time, in every way: no call of any client fails, and everybody who watches
//! is told each change once and in order.

use rollcall_tests::{cluster::Cluster, crowd::Crowd, fault::Fault};

const CALLERS: usize = 6;

#[tokio::test]
async fn nothing_fails_while_each_server_is_restarted_gracefully() {
    each_in_turn(Fault::Restart).await;
}

#[tokio::test]
async fn nothing_fails_while_each_server_is_killed() {
    each_in_turn(Fault::Kill).await;
}

#[tokio::test]
async fn nothing_fails_while_each_server_is_stopped() {
    each_in_turn(Fault::Stop).await;
}

#[tokio::test]
async fn nothing_fails_while_each_server_is_cut_off_from_the_others() {
    each_in_turn(Fault::Cut).await;
}

/// Hurts each of three servers and mends it again, while clients call and watch.
async fn each_in_turn(fault: Fault) {
    let mut cluster = Cluster::strict(3, &[]).await;
    let crowd = Crowd::start(&cluster, CALLERS, CALLERS).await;
    for id in cluster.running() {
        fault.begin(&mut cluster, id).await;
        if fault == Fault::Cut {
            cluster.leader_among(&cluster.others(id)).await;
        }
        crowd.goes_on().await;
        fault.end(&mut cluster, id).await;
        crowd.goes_on().await;
    }
    let outcome = crowd.finish().await;
    outcome.nothing_was_done_twice();
    assert!(outcome.followed.iter().all(|one| one.changes > 0), "changes were told");
}
