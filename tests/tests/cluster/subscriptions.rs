//! Subscriptions on several servers: all tell the same, and who moves misses nothing and hears nothing
//! twice.

use rollcall_tests::{
    cluster::Cluster,
    model::Directory,
    random_client_id,
    wire::{Client, eventually, revision},
};
use serde_json::{Value, json};

use crate::asking::{LASTING, Said, hear, insist};

#[tokio::test]
async fn all_servers_push_the_same_in_the_same_order() {
    const ROUNDS: u16 = 30;
    let cluster = Cluster::start(3).await;
    let (mut watchers, mut actors) = (Vec::new(), Vec::new());
    for id in [1, 2, 3] {
        let mut watcher = Client::new(cluster.server(id)).await;
        watcher.call("Subscribe", json!({ "all": true })).await;
        watchers.push(watcher);
        actors.push(Client::new(cluster.server(id)).await);
    }
    // All at once, each through its own server: in which order is the cluster's affair.
    for round in 1..=ROUNDS {
        for (number, actor) in actors.iter_mut().enumerate() {
            let name = format!("user-{number}");
            if round % 5 == 0 {
                actor.submit("DisconnectUser", json!({ "username": name })).await;
            } else {
                let payload = json!({ "username": name, "ip": "::1", "port": round });
                actor.submit("ConnectUser", payload).await;
            }
        }
    }
    let mut told: Vec<Vec<Value>> = Vec::new();
    for watcher in &mut watchers {
        let mut changes = Vec::new();
        for _ in 0..usize::from(ROUNDS) * actors.len() {
            let push = watcher.push().await;
            changes.push(json!([push["type"], push["payload"]]));
        }
        told.push(changes);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    let revisions: Vec<_> = told[0].iter().map(|change| revision(&change[1])).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

#[tokio::test]
async fn a_subscriber_moves_from_server_to_server() {
    let cluster = Cluster::start(3).await;
    let mut actors = Vec::new();
    for id in [1, 2, 3] {
        actors.push(Client::new(cluster.server(id)).await);
    }
    let mut watcher = Client::new(cluster.server(1)).await;
    let subscribed = watcher.call("Subscribe", json!({ "all": true })).await;
    let mut model = Directory::from_users(&subscribed["users"]);
    let mut since = revision(&subscribed);
    for round in 0..24_u16 {
        for (number, actor) in actors.iter_mut().enumerate() {
            let name = format!("user-{number}-{}", round % 3);
            if round % 4 == 3 {
                actor.request("DisconnectUser", json!({ "username": name })).await;
            } else {
                actor.register(&name, 1 + round).await;
            }
        }
        // Reads some of what came, then goes to a server that may know more or less.
        for _ in 0..round % 4 {
            let push = watcher.push().await;
            since = revision(&push["payload"]);
            model.apply(&push);
        }
        watcher = Client::new(cluster.server(1 + u64::from(round % 3))).await;
        let again = watcher.call("Subscribe", json!({ "all": true, "since": since })).await;
        assert_eq!((&again["recovered"], revision(&again)), (&json!(true), since));
    }
    let last = actors[0].register("the-end", 1).await;
    while since < last {
        let push = watcher.push().await;
        since = revision(&push["payload"]);
        model.apply(&push);
    }
    let truth = actors[1].call("Subscribe", json!({ "all": true })).await;
    assert_eq!(model, Directory::from_users(&truth["users"]));
}

#[tokio::test]
async fn a_subscriber_moves_in_the_middle_of_an_expiry() {
    let cluster = Cluster::with(3, &["--session-grace-ms", "100"]).await;
    let mut watcher = Client::anonymous(cluster.server(1)).await;
    let subscribed = watcher.call("Subscribe", json!({ "all": true })).await;
    let mut model = Directory::from_users(&subscribed["users"]);
    let mut holder = Client::new(cluster.server(2)).await;
    let names = ["ann", "bob", "carl", "dora"];
    for name in names {
        holder.register(name, 1).await;
        model.apply(&watcher.push().await);
    }
    // All four end at once, and yet one after the other: who has seen one misses three.
    drop(holder);
    for left in (0..names.len()).rev() {
        let push = watcher.push().await;
        assert_eq!(push["payload"]["reason"], "expired", "{push}");
        model.apply(&push);
        assert_eq!(model.usernames().count(), left);
        watcher = Client::anonymous(cluster.server(1 + left as u64 % 3)).await;
        let since = revision(&push["payload"]);
        let again = watcher.call("Subscribe", json!({ "all": true, "since": since })).await;
        assert_eq!((&again["recovered"], revision(&again)), (&json!(true), since));
    }
}

#[tokio::test]
async fn a_server_that_lags_waits_for_what_the_subscriber_has_seen() {
    let mut cluster = Cluster::with(3, LASTING).await;
    let owner = random_client_id();
    let mut request = 0;
    for round in 1..=3 {
        let leader = cluster.leader().await;
        let late = cluster.others(leader)[0];
        cluster.wait_ready_of(late).await;
        let mut mover = Client::anonymous(cluster.server(late)).await;
        mover.call("Ping", json!({})).await;
        cluster.stop(late).await;
        let others = cluster.running();
        let mut since = 0;
        for step in 0..5 {
            request += 1;
            let port = 100 * round + step;
            let payload = json!({ "username": "ann", "ip": "::1", "port": port });
            let written = insist(&cluster, &others, &owner, request, "ConnectUser", payload).await;
            since = revision(&written);
        }
        // It wakes up with this question, and with an older state than the one asked about.
        let filter = json!({ "all": true, "since": since });
        let mut asked = mover.submit("Subscribe", filter.clone()).await;
        cluster.cont(late);
        let subscribed = eventually("it has caught up", async || {
            match hear(&mut mover, asked, "Subscribe").await {
                Said::Answer(answer) => Ok(answer),
                said => {
                    asked = mover.submit("Subscribe", filter.clone()).await;
                    Err(format!("{said:?}"))
                }
            }
        })
        .await;
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        assert_eq!(revision(&subscribed), since, "{subscribed}");
        // What comes next is the next change, and none before.
        request += 1;
        let payload = json!({ "username": "ann", "ip": "::1", "port": 100 * round + 99 });
        let written = insist(&cluster, &[late], &owner, request, "ConnectUser", payload).await;
        assert_eq!(revision(&mover.expect_push("UserUpdated").await), revision(&written));
    }
}

#[tokio::test]
async fn a_server_that_is_cut_off_does_not_go_back() {
    let cluster = Cluster::with(3, LASTING).await;
    let leader = cluster.leader().await;
    let late = cluster.others(leader)[0];
    let others = cluster.others(late);
    let owner = random_client_id();
    let write = async |request: u64| {
        let payload = json!({ "username": "ann", "ip": "::1", "port": request });
        revision(&insist(&cluster, &others, &owner, request, "ConnectUser", payload).await)
    };
    write(1).await;
    cluster.wait_ready_of(late).await;
    cluster.isolate(late);
    let since = write(2).await;
    // All it could show is what was there before: so it shows nothing, until it is back.
    let mut mover = Client::anonymous(cluster.server(late)).await;
    let filter = json!({ "usernames": ["ann"], "since": since });
    let asked = mover.submit("Subscribe", filter.clone()).await;
    let said = hear(&mut mover, asked, "Subscribe").await;
    assert!(said.is_silence(), "it is cut off, and says {said:?}");
    cluster.heal();
    let subscribed = eventually("it has caught up", async || {
        let mut mover = Client::anonymous(cluster.server(late)).await;
        let asked = mover.submit("Subscribe", filter.clone()).await;
        match hear(&mut mover, asked, "Subscribe").await {
            Said::Answer(answer) => Ok((mover, answer)),
            said => Err(format!("{said:?}")),
        }
    });
    let (mut mover, subscribed) = subscribed.await;
    assert_eq!((&subscribed["recovered"], revision(&subscribed)), (&json!(true), since));
    let written = write(3).await;
    assert_eq!(revision(&mover.expect_push("UserUpdated").await), written);
}

#[tokio::test]
async fn a_server_that_came_back_blank_shows_what_is_there_or_what_was_missed() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let blank = cluster.others(leader)[0];
    let mut actor = Client::new(cluster.server(leader)).await;
    let mut written = Vec::new();
    for port in 1..=10 {
        written.push(actor.register("ann", port).await);
    }
    cluster.kill9(blank);
    for port in 11..=20 {
        written.push(actor.register("ann", port).await);
    }
    cluster.restart(blank).await;
    cluster.is_admitted(blank).await;
    let mut watcher = Client::new(cluster.server(blank)).await;
    let filter = json!({ "all": true, "since": written[4] });
    let subscribed = watcher.call("Subscribe", filter).await;
    if subscribed["recovered"] == true {
        for expected in &written[5..] {
            assert_eq!(revision(&watcher.expect_push("UserUpdated").await), *expected);
        }
    } else {
        let model = Directory::from_users(&subscribed["users"]);
        assert_eq!(model.address("ann", "default").map(|address| address.port), Some(20));
    }
    let next = actor.register("ann", 21).await;
    assert_eq!(revision(&watcher.expect_push("UserUpdated").await), next);
}
