//! `Subscribe` and `Unsubscribe`: filters, snapshots, numbers, and that no change is lost or told twice.

use rollcall_tests::{
    model::Directory,
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

fn names_of(users: &Value) -> Vec<&str> {
    let users = users.as_array().expect("users is an array");
    let mut names: Vec<_> =
        users.iter().map(|user| user["username"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

/// The usernames of pushes, in order.
fn pushed(pushes: &[Value]) -> Vec<&str> {
    pushes.iter().map(|push| push["payload"]["username"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn each_filter_selects_its_users_in_snapshot_and_pushes() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    for (port, name) in (1..).zip(["team-a", "team-b", "tea", "ann", "Team-c"]) {
        actor.register(name, port).await;
    }
    let cases = [
        (json!({ "usernames": ["ann", "nobody", "team-a", "marker"] }), vec!["ann", "team-a"]),
        (json!({ "prefix": "team-" }), vec!["team-a", "team-b"]),
        (json!({ "prefix": "tea" }), vec!["tea", "team-a", "team-b"]),
        (json!({ "all": true }), vec!["Team-c", "ann", "tea", "team-a", "team-b"]),
    ];
    for (filter, expected) in cases {
        let mut watcher = Client::new(&server).await;
        let subscribed = watcher.call("Subscribe", filter.clone()).await;
        assert_eq!(names_of(&subscribed["users"]), expected, "{filter}");
        assert_eq!(subscribed["subscription"], 1);
        assert_eq!(revision(&subscribed), revision(&actor.lookup(&["x"]).await));
        assert!(subscribed.get("recovered").is_none(), "{subscribed}");
        let all = watcher.call("Subscribe", json!({ "usernames": ["marker"] })).await;
        for name in ["nobody", "team-new", "Team-new", "team-a"] {
            actor.register(name, 99).await;
        }
        watcher.pushes_until_marker(&all["subscription"], &mut actor).await;
        let mut seen = Vec::new();
        // What matches was pushed before the change after it.
        let matching: Vec<&str> = ["nobody", "team-new", "Team-new", "team-a"]
            .into_iter()
            .filter(|name| matches(&filter, name))
            .collect();
        for _ in &matching {
            seen.push(watcher.push_of(&json!(1)).await);
        }
        assert_eq!(pushed(&seen), matching, "{filter}");
        for name in ["nobody", "team-new", "Team-new", "marker"] {
            actor.unregister(name).await;
        }
        let restored = json!({ "username": "team-a", "ip": "192.0.2.1", "port": 1 });
        actor.call("ConnectUser", restored).await;
    }
}

fn matches(filter: &Value, name: &str) -> bool {
    if let Some(names) = filter["usernames"].as_array() {
        return names.contains(&json!(name));
    }
    filter["prefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
}

#[tokio::test]
async fn the_snapshot_lists_every_device_as_a_lookup_does() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    actor.register("ann", 1).await;
    let phone = json!({
        "username": "ann", "device": "phone", "ip": "::1", "port": 2, "meta": {"os": "x"},
    });
    actor.call("ConnectUser", phone).await;
    let looked_up = actor.lookup(&["ann"]).await;
    let subscribed = actor.call("Subscribe", json!({ "usernames": ["ann", "ann", "bob"] })).await;
    let snapshot = Directory::from_users(&subscribed["users"]);
    assert_eq!(snapshot, Directory::from_users(&looked_up["users"]));
    assert_eq!(snapshot.usernames().collect::<Vec<_>>(), ["ann"]);
}

#[tokio::test]
async fn a_prefix_compares_bytewise() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    for (port, name) in (1..).zip(["\u{e9}t\u{e9}", "e\u{301}t", "\u{e8}re", "\u{10FFFF}"]) {
        actor.register(name, port).await;
    }
    let cases = [("\u{e9}", vec!["\u{e9}t\u{e9}"]), ("e", vec!["e\u{301}t"])];
    for (prefix, expected) in cases {
        let subscribed = actor.call("Subscribe", json!({ "prefix": prefix })).await;
        assert_eq!(names_of(&subscribed["users"]), expected);
    }
    // The largest character has no successor to bound a range with.
    let subscribed = actor.call("Subscribe", json!({ "prefix": "\u{10FFFF}" })).await;
    assert_eq!(names_of(&subscribed["users"]), ["\u{10FFFF}"]);
    // A prefix may be a whole name.
    let subscribed = actor.call("Subscribe", json!({ "prefix": "\u{e8}re" })).await;
    assert_eq!(names_of(&subscribed["users"]), ["\u{e8}re"]);
}

#[tokio::test]
async fn subscriptions_are_numbered_within_their_link() {
    let server = Server::start();
    let mut first = Client::new(&server).await;
    let mut second = Client::with_id(&server, first.id()).await;
    for number in 1..=3 {
        let subscribed = first.call("Subscribe", json!({ "all": true })).await;
        assert_eq!(subscribed["subscription"], number);
    }
    let subscribed = second.call_as(50, "Subscribe", json!({ "all": true })).await;
    assert_eq!(subscribed["subscription"], 1);
    // A number is not used again.
    first.call("Unsubscribe", json!({ "subscription": 3 })).await;
    let subscribed = first.call("Subscribe", json!({ "all": true })).await;
    assert_eq!(subscribed["subscription"], 4);
}

#[tokio::test]
async fn overlapping_subscriptions_each_get_the_push() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    let filters = [
        json!({ "usernames": ["ann"] }),
        json!({ "prefix": "a" }),
        json!({ "prefix": "ann" }),
        json!({ "all": true }),
        json!({ "all": true }),
    ];
    for filter in filters {
        watcher.call("Subscribe", filter).await;
    }
    let written = watcher.register("ann", 1).await;
    let mut numbers = Vec::new();
    for _ in 0..5 {
        let push = watcher.expect_push("UserConnected").await;
        assert_eq!(revision(&push), written);
        numbers.push(push["subscription"].as_u64().expect("a number"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn nothing_is_pushed_after_unsubscribed() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "prefix": "a" })).await;
    let all = watcher.call("Subscribe", json!({ "all": true })).await["subscription"].take();
    actor.register("ann", 1).await;
    watcher.push_of(&json!(1)).await;
    let reply = watcher.call("Unsubscribe", json!({ "subscription": 1 })).await;
    assert_eq!(reply, json!({ "subscription": 1 }));
    actor.register("ann", 2).await;
    let seen = watcher.pushes_until_marker(&all, &mut actor).await;
    assert_eq!(pushed(&seen), ["ann", "ann"]);
    assert!(watcher.unread().all(|message| message["payload"]["subscription"] != 1));
    watcher.refused("Unsubscribe", json!({ "subscription": 1 }), "not_found").await;
}

#[tokio::test]
async fn unsubscribe_amid_changes_is_a_clean_cut() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let mut watcher = Client::new(&server).await;
    let all = watcher.call("Subscribe", json!({ "all": true })).await["subscription"].take();
    for round in 0..20 {
        let subscribed = watcher.call("Subscribe", json!({ "all": true })).await;
        let mut writes = Vec::new();
        for port in 1..=10 {
            let payload = json!({ "username": "ann", "ip": "::1", "port": 100 * round + port });
            writes.push(actor.submit("ConnectUser", payload).await);
        }
        let number = subscribed["subscription"].clone();
        let leave = watcher.submit("Unsubscribe", json!({ "subscription": number })).await;
        for write in writes {
            actor.reply(write).await;
        }
        watcher.reply(leave).await;
        let before: Vec<Value> = watcher.unread().cloned().collect();
        watcher.pushes_until_marker(&all, &mut actor).await;
        let of_it = |messages: &[Value]| {
            messages.iter().filter(|message| message["payload"]["subscription"] == number).count()
        };
        let after: Vec<Value> = watcher.unread().cloned().collect();
        assert_eq!(of_it(&before), of_it(&after), "pushed after Unsubscribed");
    }
}

#[tokio::test]
async fn a_subscription_belongs_to_its_link() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    let mut second = Client::with_id(&server, watcher.id()).await;
    let all = watcher.call("Subscribe", json!({ "all": true })).await["subscription"].take();
    second.skip_ids_to(100);
    second.refused("Unsubscribe", json!({ "subscription": 1 }), "not_found").await;
    let mut actor = Client::new(&server).await;
    watcher.pushes_until_marker(&all, &mut actor).await;
    second.call("Ping", json!({})).await;
    assert!(second.unread().next().is_none());
}

#[tokio::test]
async fn links_on_every_thread_see_the_very_first_changes() {
    // More threads than cores, so that some start late.
    for _ in 0..5 {
        let server = Server::with(&["--threads", "16"]);
        let mut actor = Client::new(&server).await;
        let mut written = vec![actor.register("first", 1).await];
        let mut watchers = Vec::new();
        for _ in 0..32 {
            let mut client = Client::new(&server).await;
            let subscribed = client.call("Subscribe", json!({ "all": true })).await;
            assert_eq!(names_of(&subscribed["users"]), ["first"]);
            watchers.push(client);
        }
        written.push(actor.register("second", 1).await);
        written.push(actor.unregister("first").await);
        for mut watcher in watchers {
            for expected in &written[1..] {
                assert_eq!(revision(&watcher.push().await["payload"]), *expected);
            }
        }
    }
}

#[tokio::test]
async fn snapshot_and_pushes_give_the_whole_picture_whenever_one_joins() {
    let server = Server::start();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let mut client = Client::new(&server).await;
        writers.push(tokio::spawn(async move {
            for step in 0..150_u16 {
                let username = format!("user-{writer}-{}", step % 7);
                if step % 3 == 2 {
                    client.request("DisconnectUser", json!({ "username": username })).await;
                } else {
                    client.register(&username, step + 1).await;
                }
            }
            client
        }));
    }
    let mut watchers = Vec::new();
    for watcher in 0..6 {
        let mut client = Client::new(&server).await;
        watchers.push(tokio::spawn(async move {
            // Each joins at another moment of the storm.
            for _ in 0..watcher * 40 {
                client.call("Ping", json!({})).await;
            }
            let subscribed = client.call("Subscribe", json!({ "all": true })).await;
            let mut model = Directory::from_users(&subscribed["users"]);
            let mut last = revision(&subscribed);
            assert!(model.newest_revision() <= last);
            loop {
                let push = client.push().await;
                let at = revision(&push["payload"]);
                assert_eq!(at, last + 1, "every change has the next revision here");
                last = at;
                model.apply(&push);
                if push["payload"]["username"] == "the-end" {
                    return (model, last);
                }
            }
        }));
    }
    let mut clients = Vec::new();
    for writer in writers {
        clients.push(writer.await.expect("the writer is done"));
    }
    clients[0].register("the-end", 1).await;
    let mut judge = Client::new(&server).await;
    let truth = judge.call("Subscribe", json!({ "all": true })).await;
    let expected = Directory::from_users(&truth["users"]);
    for watcher in watchers {
        let (model, last) = watcher.await.expect("the watcher saw it all");
        assert_eq!(model, expected);
        assert_eq!(last, revision(&truth));
    }
}
