//! `since`: exactly the changes after a revision where the server has them, an honest snapshot where not.

use rollcall_tests::{
    model::Directory,
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// Subscribes with `since`, and returns the reply and all that was due when it was answered.
async fn resume(server: &Server, actor: &mut Client, since: u64) -> (Value, Vec<Value>) {
    let mut client = Client::new(server).await;
    let payload = json!({ "all": true, "since": since });
    let subscribed = client.call("Subscribe", payload).await;
    let pushes = client.pushes_until_marker(&subscribed["subscription"], actor).await;
    (subscribed, pushes)
}

fn revisions(pushes: &[Value]) -> Vec<u64> {
    pushes.iter().map(|push| revision(&push["payload"])).collect()
}

#[tokio::test]
async fn since_gives_exactly_the_changes_after_it() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let mut written = vec![actor.register("ann", 1).await];
    written.push(actor.register("bob", 1).await);
    written.push(actor.register("ann", 2).await);
    written.push(actor.unregister("bob").await);
    written.push(actor.register("bob", 3).await);
    let kinds =
        ["UserConnected", "UserConnected", "UserUpdated", "UserDisconnected", "UserConnected"];
    for missed in 0..written.len() {
        let since = written[missed];
        let (subscribed, pushes) = resume(&server, &mut actor, since).await;
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        assert_eq!(revision(&subscribed), since);
        assert_eq!(subscribed["users"], json!([]));
        assert_eq!(revisions(&pushes), written[missed + 1..]);
        let seen: Vec<_> = pushes.iter().map(|push| push["type"].as_str().expect("text")).collect();
        assert_eq!(seen, kinds[missed + 1..]);
    }
}

#[tokio::test]
async fn a_recovered_push_says_what_it_said_the_first_time() {
    let server = Server::with(&["--session-grace-ms", "50"]);
    let mut watcher = Client::new(&server).await;
    let start = watcher.call("Subscribe", json!({ "all": true })).await;
    let mut actor = Client::new(&server).await;
    for device in ["one", "two"] {
        let payload = json!({
            "username": "ann", "device": device, "ip": "::1", "port": 1, "meta": {"d": device},
        });
        actor.call("ConnectUser", payload).await;
    }
    actor.call("DisconnectUser", json!({ "username": "ann", "device": "one" })).await;
    drop(actor);
    let mut first_time = Vec::new();
    for _ in 0..4 {
        first_time.push(watcher.push().await);
    }
    assert_eq!(first_time[3]["payload"]["reason"], "expired");
    // By now another device is there; what `online` said then is said again.
    let mut actor = Client::new(&server).await;
    actor.register("ann", 9).await;
    let (subscribed, again) = resume(&server, &mut actor, revision(&start)).await;
    assert_eq!(subscribed["recovered"], true);
    assert_eq!(again[..4], first_time);
    assert_eq!(again.len(), 5);
}

#[tokio::test]
async fn only_matching_changes_are_recovered() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let since = actor.register("ann", 1).await;
    for (port, name) in (2..).zip(["bob", "ann", "anna", "carl", "ann"]) {
        actor.register(name, port).await;
    }
    let cases = [
        (json!({ "usernames": ["ann", "bob"], "since": since }), vec!["bob", "ann", "ann"]),
        (json!({ "prefix": "ann", "since": since }), vec!["ann", "anna", "ann"]),
    ];
    for (filter, expected) in cases {
        let mut client = Client::new(&server).await;
        let subscribed = client.call("Subscribe", filter).await;
        assert_eq!(subscribed["recovered"], true);
        for name in expected {
            let push = client.push().await;
            assert_eq!(push["payload"]["username"], name, "{push}");
        }
        client.call("Unsubscribe", json!({ "subscription": 1 })).await;
        assert!(client.unread().next().is_none());
    }
}

#[tokio::test]
async fn what_follows_a_recovery_is_pushed_as_it_happens() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let since = actor.register("ann", 1).await;
    let mut client = Client::new(&server).await;
    // The newest revision: there is nothing to recover, and that is known for sure.
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": since })).await;
    assert_eq!((&subscribed["recovered"], &subscribed["users"]), (&json!(true), &json!([])));
    let next = actor.register("ann", 2).await;
    assert_eq!(revision(&client.expect_push("UserUpdated").await), next);
}

#[tokio::test]
async fn changes_beyond_the_count_kept_are_answered_with_the_full_set() {
    let server = Server::with(&["--history-changes", "10"]);
    let mut actor = Client::new(&server).await;
    let mut written = Vec::new();
    for port in 1..=30 {
        written.push(actor.register("ann", port).await);
    }
    let mut client = Client::new(&server).await;
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": written[5] })).await;
    assert_eq!(subscribed["recovered"], false);
    assert_eq!(revision(&subscribed), written[29]);
    let model = Directory::from_users(&subscribed["users"]);
    assert_eq!(model.address("ann", "default").map(|address| address.port), Some(30));
    // The last few are there, and then they are told rather than the set.
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": written[24] })).await;
    assert_eq!(subscribed["recovered"], true);
    for expected in &written[25..] {
        let push = client.push_of(&subscribed["subscription"]).await;
        assert_eq!(revision(&push["payload"]), *expected);
    }
    // Both go on alike.
    let next = actor.register("ann", 99).await;
    for number in [1, 2] {
        assert_eq!(revision(&client.push_of(&json!(number)).await["payload"]), next);
    }
}

#[tokio::test]
async fn changes_beyond_the_bytes_kept_are_answered_with_the_full_set() {
    let server = Server::with(&["--history-bytes", "20000"]);
    let mut actor = Client::new(&server).await;
    let mut written = Vec::new();
    for port in 1..=100 {
        let meta = json!({ "k": "x".repeat(1000) });
        let payload = json!({ "username": "ann", "ip": "::1", "port": port, "meta": meta });
        written.push(revision(&actor.call("ConnectUser", payload).await));
    }
    let mut client = Client::new(&server).await;
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": written[50] })).await;
    assert_eq!(subscribed["recovered"], false);
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": written[97] })).await;
    assert_eq!(subscribed["recovered"], true);
}

#[tokio::test]
async fn a_revision_of_the_future_or_of_another_life_recovers_nothing() {
    let mut server = Server::start();
    let mut actor = Client::new(&server).await;
    let written = actor.register("ann", 1).await;
    let mut client = Client::new(&server).await;
    for since in [written + 1, written + 1_000_000, (1 << 53) - 1] {
        let subscribed = client.call("Subscribe", json!({ "all": true, "since": since })).await;
        assert_eq!(subscribed["recovered"], false, "since {since}");
        assert_eq!(revision(&subscribed), written);
        assert_eq!(subscribed["users"].as_array().map(Vec::len), Some(1));
    }
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": 0 })).await;
    let recovered = subscribed["recovered"] == true;
    assert_eq!(subscribed["users"].as_array().map(Vec::len), Some(usize::from(!recovered)));
    server.restart();
    let mut client = Client::new(&server).await;
    let subscribed = client.call("Subscribe", json!({ "all": true, "since": written })).await;
    assert_eq!(subscribed["recovered"], false);
    assert_eq!(subscribed["users"], json!([]));
}

#[tokio::test]
async fn a_reconnecting_watcher_misses_nothing() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let mut watcher = Client::new(&server).await;
    let subscribed = watcher.call("Subscribe", json!({ "all": true })).await;
    let mut model = Directory::from_users(&subscribed["users"]);
    let mut since = revision(&subscribed);
    for round in 0..20_u16 {
        for step in 0..10_u16 {
            let username = format!("user-{}", (round + step) % 6);
            if step % 4 == 3 {
                actor.request("DisconnectUser", json!({ "username": username })).await;
            } else {
                actor.register(&username, 1 + round * 10 + step).await;
            }
        }
        // Reads some of what came, then loses its link in the middle.
        for _ in 0..round % 5 {
            let push = watcher.push().await;
            since = revision(&push["payload"]);
            model.apply(&push);
        }
        watcher = Client::new(&server).await;
        let again = watcher.call("Subscribe", json!({ "all": true, "since": since })).await;
        assert_eq!(again["recovered"], true);
    }
    let last = actor.register("the-end", 1).await;
    while since < last {
        let push = watcher.push().await;
        since = revision(&push["payload"]);
        model.apply(&push);
    }
    let truth = actor.call("Subscribe", json!({ "all": true })).await;
    assert_eq!(model, Directory::from_users(&truth["users"]));
}
