//! Watches over all that may happen: each change told once and in order, the set right in the end.

use futures::{StreamExt as _, future::join_all};
use rollcall_client::{Event, Filter, Prefix, Watch};
use rollcall_tests::{
    cluster::Cluster,
    crowd::{
        Crowd, connect,
        follower::{Directory, Follower, directory},
        here, urls,
    },
    fault::Fault,
    proxy::Network,
    wire::{eventually, within},
};

const CALLERS: usize = 12;

/// One who subscribes while a server is hurt is told everything from there on.
#[tokio::test]
async fn who_comes_during_a_fault_misses_nothing() {
    let mut cluster = Cluster::strict(3, &[]).await;
    let mut crowd = Crowd::start(&cluster, CALLERS, 0).await;
    for fault in [Fault::Kill, Fault::Stop, Fault::Cut] {
        let leader = cluster.leader().await;
        fault.begin(&mut cluster, leader).await;
        let client = connect(urls(&cluster)).await;
        crowd.is_watched_by(Follower::start(&client).await);
        crowd.goes_on().await;
        fault.end(&mut cluster, leader).await;
        crowd.goes_on().await;
    }
    let outcome = crowd.finish().await;
    assert!(outcome.followed.iter().all(|one| one.changes > 0), "changes were told");
}

/// More happens than servers keep while a client is away.
#[tokio::test]
async fn after_a_long_absence_the_differences_are_told() {
    let network = Network::new();
    let way = network.open();
    let name = format!("ws://{}/ws", way.address());
    let flags = ["--heartbeat-ms", "400", "--history-changes", "200"];
    let cluster = Cluster::advertised(1, &[(1, name.clone())].into(), &flags).await;
    way.lead_to(cluster.address(1));
    let (absent, actor) = (connect(vec![name]).await, connect(urls(&cluster)).await);
    for user in ["stays", "moves", "leaves"] {
        actor.connect_user(user, here(1)).await.expect("it is served");
    }
    let mut watch = absent.subscribe(Filter::All).await.expect("it is granted");
    let mut events = absent.events();
    way.cut();
    actor.disconnect_user("leaves", None).await.expect("it is served");
    for round in 0..20 {
        let names = (0..60).map(|at| format!("other-{at}"));
        let write = async |user: String| actor.connect_user(&user, here(1 + round % 2)).await;
        for written in join_all(names.map(write)).await {
            written.expect("it is served");
        }
    }
    actor.connect_user("moves", here(2)).await.expect("it is served");
    // Whoever comes back on the old link would be told all that lies in it first.
    way.stall();
    way.heal();
    let resync = async { while events.next().await.expect("the client lives") != Event::Resync {} };
    within("a resync", resync).await;
    let others = (0..60).map(|at| format!("other-{at}"));
    let names: Vec<_> =
        ["stays", "moves", "leaves"].map(str::to_owned).into_iter().chain(others).collect();
    let found = actor.get_user_address(&names).await.expect("it is served");
    shows(&mut watch, &directory(&found.users)).await;
    // And it goes on from there.
    actor.disconnect_user("moves", None).await.expect("it is served");
    let found = actor.get_user_address(&names).await.expect("it is served");
    shows(&mut watch, &directory(&found.users)).await;
}

#[tokio::test]
async fn a_watch_outlives_the_cluster() {
    let mut cluster = Cluster::strict(3, &[]).await;
    let (watcher, actor) = (connect(urls(&cluster)).await, connect(urls(&cluster)).await);
    for user in ["team-ann", "team-bob"] {
        actor.connect_user(user, here(1)).await.expect("it is served");
    }
    let filter = Filter::Prefix(Prefix::new("team-").expect("a prefix"));
    let mut watch = watcher.subscribe(filter).await.expect("it is granted");
    for id in [1, 2, 3] {
        cluster.kill9(id);
    }
    cluster.restart_all(&[1, 2, 3]).await;
    cluster.wait_ready().await;
    actor.connect_user("team-carl", here(1)).await.expect("it is served");
    let there = eventually("all are there again", async || {
        let names = ["team-ann", "team-bob", "team-carl"];
        let found = actor.get_user_address(names).await.map_err(|error| error.to_string())?;
        let there = directory(&found.users);
        if there.len() == 3 { Ok(there) } else { Err(format!("{there:?}")) }
    })
    .await;
    shows(&mut watch, &there).await;
}

/// Reads a watch until it shows this.
async fn shows(watch: &mut Watch, wanted: &Directory) {
    within("the set of the directory", async {
        while directory(watch.users()) != *wanted {
            watch.next().await.expect("the watch goes on");
        }
    })
    .await;
}
