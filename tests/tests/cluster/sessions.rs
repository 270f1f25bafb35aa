//! Sessions that live on several servers: what keeps them alive, what ends them, and that all servers
//! say so once.

use rollcall_tests::{
    cluster::Cluster,
    random_client_id,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// A grace that is over soon. Where a server was lost it is up to three seconds longer.
const SHORT: &[&str] = &["--session-grace-ms", "500"];

/// One client for each of these servers that is told every change.
async fn watchers(cluster: &Cluster, ids: &[u64]) -> Vec<Client> {
    let mut watchers = Vec::new();
    for id in ids {
        let mut watcher = Client::anonymous(cluster.server(*id)).await;
        watcher.call("Subscribe", json!({ "all": true })).await;
        watchers.push(watcher);
    }
    watchers
}

/// Waits until each of the watchers is told that these users are gone, and nothing else before.
async fn expect_expiry(watchers: &mut [Client], names: &[&str]) {
    let mut told: Vec<Vec<Value>> = Vec::new();
    for watcher in watchers {
        let mut pushes = Vec::new();
        for _ in names {
            let push = watcher.expect_push("UserDisconnected").await;
            assert_eq!(push["reason"], "expired", "{push}");
            pushes.push(push);
        }
        told.push(pushes);
    }
    let mut gone: Vec<_> = told[0].iter().filter_map(|push| push["username"].as_str()).collect();
    gone.sort_unstable();
    assert_eq!(gone, names);
    assert!(told.iter().all(|pushes| *pushes == told[0]), "{told:?}");
}

/// Lets the watchers hear of a user that only this purpose knows: nothing came before it.
async fn expect_nothing_more(watchers: &mut [Client], actor: &mut Client, marker: &str) {
    let written = actor.register(marker, 1).await;
    for watcher in watchers {
        assert_eq!(revision(&watcher.expect_push("UserConnected").await), written);
    }
}

#[tokio::test]
async fn a_link_to_a_follower_keeps_a_session_while_the_leader_changes() {
    let mut cluster = Cluster::with(3, SHORT).await;
    let leader = cluster.leader().await;
    let [near, far] = cluster.others(leader)[..] else { panic!("two are left of three") };
    let mut stays = Client::new(cluster.server(near)).await;
    let welcome = stays.call("Hello", json!({})).await;
    stays.register("ann", 1).await;
    let mut leaves = Client::new(cluster.server(far)).await;
    leaves.register("bob", 1).await;
    let mut watchers = watchers(&cluster, &[near, far]).await;

    cluster.kill9(leader);
    cluster.leader().await;
    // Who leaves when the new leader is there is gone when its grace is over; by then, so would be
    // everybody whom the new leader had taken for gone from the beginning.
    drop(leaves);
    expect_expiry(&mut watchers, &["bob"]).await;
    expect_nothing_more(&mut watchers, &mut stays, "marker").await;
    assert!(stays.is_online("ann").await);
    let again = stays.call("Hello", json!({ "session": welcome["session"] })).await;
    assert_eq!(again["resumed"], true, "{again}");
}

#[tokio::test]
async fn with_a_server_go_the_sessions_that_only_it_held() {
    let mut cluster = Cluster::with(3, SHORT).await;
    let leader = cluster.leader().await;
    for victim in [cluster.others(leader)[0], leader] {
        let others = cluster.others(victim);
        let mut lost = Client::new(cluster.server(victim)).await;
        lost.register("ann", 1).await;
        // She has a second link, on which she neither writes nor says hello.
        let mut twofold = Client::new(cluster.server(victim)).await;
        twofold.register("bob", 1).await;
        let mut second = Client::with_id(cluster.server(others[0]), twofold.id()).await;
        second.skip_ids_to(twofold.last_id());
        assert!(second.is_online("ann").await);
        let mut elsewhere = Client::new(cluster.server(others[1])).await;
        elsewhere.register("carl", 1).await;
        let mut watchers = watchers(&cluster, &others).await;

        cluster.kill9(victim);
        expect_expiry(&mut watchers, &["ann"]).await;
        expect_nothing_more(&mut watchers, &mut elsewhere, "marker").await;
        assert!(second.is_online("bob").await);
        for (client, names) in [(&mut second, &["bob"][..]), (&mut elsewhere, &["carl", "marker"])]
        {
            for name in names {
                client.unregister(name).await;
            }
        }
        cluster.restart(victim).await;
        cluster.is_admitted(victim).await;
    }
}

#[tokio::test]
async fn who_moves_in_time_keeps_everything() {
    let mut cluster = Cluster::with(3, SHORT).await;
    let leader = cluster.leader().await;
    for victim in [cluster.others(leader)[0], leader] {
        let others = cluster.others(victim);
        let mut moves = Client::new(cluster.server(victim)).await;
        let welcome = moves.call("Hello", json!({})).await;
        let written = moves.register("ann", 1).await;
        let mut lost = Client::new(cluster.server(victim)).await;
        lost.register("bob", 1).await;
        let mut watchers = watchers(&cluster, &others).await;

        cluster.kill9(victim);
        let home = cluster.leader().await;
        let mut moved = Client::with_id(cluster.server(home), moves.id()).await;
        moved.skip_ids_to(moves.last_id());
        let again = moved.call("Hello", json!({ "session": welcome["session"] })).await;
        assert_eq!(again["resumed"], true, "{again}");
        // As it stands already, this changes nothing.
        assert_eq!(moved.register("ann", 1).await, written);
        expect_expiry(&mut watchers, &["bob"]).await;
        expect_nothing_more(&mut watchers, &mut moved, "marker").await;
        moved.unregister("ann").await;
        moved.unregister("marker").await;
        cluster.restart(victim).await;
        cluster.is_admitted(victim).await;
    }
}

#[tokio::test]
async fn who_leaves_a_server_that_works_is_gone_after_the_grace() {
    let cluster = Cluster::with(3, SHORT).await;
    let mut watchers = watchers(&cluster, &[1, 2, 3]).await;
    for (id, name) in [(1, "ann"), (2, "bob"), (3, "carl")] {
        let mut client = Client::new(cluster.server(id)).await;
        client.register(name, 1).await;
        for watcher in &mut watchers {
            watcher.expect_push("UserConnected").await;
        }
        drop(client);
        expect_expiry(&mut watchers, &[name]).await;
    }
}

#[tokio::test]
async fn who_moves_between_servers_that_work_is_never_gone() {
    let cluster = Cluster::with(3, SHORT).await;
    let mut watchers = watchers(&cluster, &[1, 2, 3]).await;
    let id = random_client_id();
    let mut moves = Client::with_id(cluster.server(1), &id).await;
    let welcome = moves.call("Hello", json!({})).await;
    moves.register("ann", 1).await;
    for watcher in &mut watchers {
        watcher.expect_push("UserConnected").await;
    }
    // Each time somebody else leaves for good: so every stay is longer than the grace.
    for round in 0..3 {
        let home = 1 + (round + 1) % 3;
        let mut next = Client::with_id(cluster.server(home), &id).await;
        next.skip_ids_to(moves.last_id());
        let again = next.call("Hello", json!({ "session": welcome["session"] })).await;
        assert_eq!(again["resumed"], true, "{again}");
        moves = next;
        let name = format!("user-{round}");
        let mut leaves = Client::new(cluster.server(home)).await;
        leaves.register(&name, 1).await;
        for watcher in &mut watchers {
            watcher.expect_push("UserConnected").await;
        }
        drop(leaves);
        expect_expiry(&mut watchers, &[&name]).await;
    }
    assert!(moves.is_online("ann").await);
}

#[tokio::test]
async fn with_a_server_that_is_cut_off_go_the_clients_that_do_not_move() {
    let cluster = Cluster::with(3, SHORT).await;
    let leader = cluster.leader().await;
    for cut_off in [cluster.others(leader)[0], leader] {
        cluster.wait_ready().await;
        let others = cluster.others(cut_off);
        let mut moves = Client::new(cluster.server(cut_off)).await;
        let welcome = moves.call("Hello", json!({})).await;
        moves.register("ann", 1).await;
        let mut lost = Client::new(cluster.server(cut_off)).await;
        lost.register("bob", 1).await;
        let mut watchers = watchers(&cluster, &others).await;

        cluster.isolate(cut_off);
        // Told to go only when the server is sure, and still in time.
        moves.expect_close(4002).await;
        let home = cluster.leader_among(&others).await;
        let mut moved = Client::with_id(cluster.server(home), moves.id()).await;
        moved.skip_ids_to(moves.last_id());
        let again = moved.call("Hello", json!({ "session": welcome["session"] })).await;
        assert_eq!(again["resumed"], true, "{again}");
        expect_expiry(&mut watchers, &["bob"]).await;
        expect_nothing_more(&mut watchers, &mut moved, "marker").await;
        moved.unregister("ann").await;
        moved.unregister("marker").await;
        cluster.heal();
    }
}

#[tokio::test]
async fn a_name_that_is_held_on_one_server_is_taken_on_all() {
    let cluster = Cluster::start(3).await;
    let mut owner = Client::new(cluster.server(1)).await;
    owner.register("ann", 1).await;
    for id in [1, 2, 3] {
        let mut other = Client::new(cluster.server(id)).await;
        let payload = json!({ "username": "ann", "ip": "192.0.2.9", "port": 9 });
        other.refused("ConnectUser", payload, "username_taken").await;
        other.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
    }
    // By another link of hers, on another server, she may end it.
    let mut elsewhere = Client::with_id(cluster.server(2), owner.id()).await;
    elsewhere.skip_ids_to(owner.last_id());
    elsewhere.unregister("ann").await;
    let mut heir = Client::new(cluster.server(3)).await;
    heir.register("ann", 2).await;
    owner.skip_ids_to(elsewhere.last_id());
    owner.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
}

#[tokio::test]
async fn who_is_taken_over_from_another_server_hears_of_it() {
    let folder = rollcall_tests::server::new_directory();
    let path = folder.path().join("tokens.toml");
    let table = "[tokens]\n\"laptop\" = \"ann\"\n\"phone\" = \"ann\"\n";
    std::fs::write(&path, table).expect("the temporary folder is writable");
    let path = path.display().to_string();
    let cluster = Cluster::with(3, &["--tokens", &path]).await;
    let mut old = Client::new(cluster.server(1)).await;
    old.call("Hello", json!({ "token": "laptop" })).await;
    old.register("ann", 1).await;
    let mut new = Client::new(cluster.server(2)).await;
    new.call("Hello", json!({ "token": "phone" })).await;
    new.register("ann", 2).await;
    let push = old.expect_push("SessionReplaced").await;
    assert_eq!(push["username"], "ann", "{push}");
    old.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
    let mut reader = Client::new(cluster.server(3)).await;
    reader.call("Hello", json!({ "token": "phone" })).await;
    let answer = reader.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["port"], 2, "{answer}");
}
