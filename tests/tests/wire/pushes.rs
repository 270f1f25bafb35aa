//! The shape of each push, and which change causes which.

use rollcall_tests::{
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

async fn watch_all(server: &Server) -> (Client, Value) {
    let mut client = Client::new(server).await;
    let subscribed = client.call("Subscribe", json!({ "all": true })).await;
    (client, subscribed["subscription"].clone())
}

fn connect(port: u16, meta: Option<Value>) -> Value {
    let mut payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": port });
    if let Some(meta) = meta {
        payload["meta"] = meta;
    }
    payload
}

#[tokio::test]
async fn a_push_has_all_the_fields_of_the_contract_and_no_id() {
    let server = Server::start();
    let (mut watcher, subscription) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    let payload = json!({
        "username": "ann", "device": "phone", "ip": "2001:db8::1", "port": 65535, "meta": {"k": [1]},
    });
    let connected = actor.call("ConnectUser", payload).await;
    let push = watcher.push().await;
    assert!(push.get("id").is_none());
    let expected = json!({
        "subscription": subscription, "username": "ann", "device": "phone", "ip": "2001:db8::1",
        "port": 65535, "meta": {"k": [1]}, "revision": connected["revision"], "online": true,
    });
    assert_eq!((&push["type"], &push["payload"]), (&json!("UserConnected"), &expected));
    let payload = json!({ "username": "ann", "device": "phone", "ip": "::1", "port": 1 });
    let updated = actor.call("ConnectUser", payload).await;
    let expected = json!({
        "subscription": subscription, "username": "ann", "device": "phone", "ip": "::1",
        "port": 1, "revision": updated["revision"], "online": true,
    });
    assert_eq!(watcher.expect_push("UserUpdated").await, expected);
    let payload = json!({ "username": "ann", "device": "phone" });
    let ended = actor.call("DisconnectUser", payload).await;
    let expected = json!({
        "subscription": subscription, "username": "ann", "device": "phone", "reason": "left",
        "revision": ended["revision"], "online": false,
    });
    assert_eq!(watcher.expect_push("UserDisconnected").await, expected);
}

#[tokio::test]
async fn replies_to_writes_name_user_device_and_revision() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let connected = client.call("ConnectUser", connect(1, None)).await;
    let written = revision(&connected);
    let expected = json!({ "username": "ann", "device": "default", "revision": written });
    assert_eq!(connected, expected);
    let ended = client.call("DisconnectUser", json!({ "username": "ann" })).await;
    let expected = json!({ "username": "ann", "device": "default", "revision": ended["revision"] });
    assert_eq!(ended, expected);
    assert!(revision(&ended) > written);
}

#[tokio::test]
async fn an_equal_registration_changes_nothing_and_pushes_nothing() {
    let server = Server::start();
    let (mut watcher, subscription) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    let meta = json!({ "a": 1, "b": {"c": [true, null]} });
    let first = actor.call("ConnectUser", connect(1, Some(meta.clone()))).await;
    for _ in 0..3 {
        assert_eq!(actor.call("ConnectUser", connect(1, Some(meta.clone()))).await, first);
    }
    // The default device by its name is the same one.
    let mut named = connect(1, Some(meta));
    named["device"] = json!("default");
    assert_eq!(actor.call("ConnectUser", named).await, first);
    let seen = watcher.pushes_until_marker(&subscription, &mut actor).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn an_address_is_the_same_however_it_is_spelt() {
    let server = Server::start();
    let (mut watcher, subscription) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    let spelt = |ip: &str| json!({ "username": "ann", "ip": ip, "port": 1 });
    let stands = revision(&actor.call("ConnectUser", spelt("2001:db8::1")).await);
    for ip in ["2001:DB8::1", "2001:0db8:0:0:0:0:0:1", "2001:db8:0::0:1"] {
        let again = actor.call("ConnectUser", spelt(ip)).await;
        assert_eq!(revision(&again), stands, "{ip}");
    }
    let pushes = watcher.pushes_until_marker(&subscription, &mut actor).await;
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert_eq!(pushes[0]["payload"]["ip"], "2001:db8::1");
}

#[tokio::test]
async fn each_part_of_a_registration_can_be_what_changed() {
    let server = Server::start();
    let (mut watcher, _) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    let steps = [
        connect(1, None),
        connect(2, None),
        connect(2, Some(json!({}))),
        connect(2, Some(json!({ "a": 1 }))),
        connect(2, Some(json!({ "a": 2 }))),
        json!({ "username": "ann", "ip": "192.0.2.2", "port": 2, "meta": {"a": 2} }),
        // Left out, it is gone: a registration is replaced as a whole.
        connect(2, None),
    ];
    let mut last = 0;
    for (index, step) in steps.iter().enumerate() {
        let written = revision(&actor.call("ConnectUser", step.clone()).await);
        assert!(written > last);
        last = written;
        let kind = if index == 0 { "UserConnected" } else { "UserUpdated" };
        let push = watcher.expect_push(kind).await;
        assert_eq!(revision(&push), written);
        assert_eq!((&push["ip"], &push["port"]), (&step["ip"], &step["port"]));
        assert_eq!(push.get("meta"), step.get("meta"), "{step}");
        let users = watcher.lookup(&["ann"]).await["users"].take();
        assert_eq!(users[0]["addresses"][0].get("meta"), step.get("meta"), "{step}");
    }
}

#[tokio::test]
async fn online_tells_whether_another_device_is_left() {
    let server = Server::start();
    let (mut watcher, _) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    for device in ["a", "b", "c"] {
        let payload = json!({ "username": "ann", "device": device, "ip": "::1", "port": 1 });
        actor.call("ConnectUser", payload).await;
        let push = watcher.expect_push("UserConnected").await;
        assert_eq!((&push["device"], &push["online"]), (&json!(device), &json!(true)));
    }
    for (device, left) in [("b", true), ("a", true), ("c", false)] {
        actor.call("DisconnectUser", json!({ "username": "ann", "device": device })).await;
        let push = watcher.expect_push("UserDisconnected").await;
        assert_eq!((&push["device"], &push["online"]), (&json!(device), &json!(left)));
    }
}

#[tokio::test]
async fn refused_writes_push_nothing() {
    let server = Server::start();
    let (mut watcher, subscription) = watch_all(&server).await;
    let mut actor = Client::new(&server).await;
    let mut other = Client::new(&server).await;
    actor.register("ann", 1).await;
    other.refused("ConnectUser", connect(2, None), "username_taken").await;
    other.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
    other.refused("DisconnectUser", json!({ "username": "bob" }), "not_found").await;
    actor.refused("ConnectUser", json!({ "username": "x" }), "invalid_argument").await;
    let seen = watcher.pushes_until_marker(&subscription, &mut actor).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn whoever_acts_sees_its_own_changes_too() {
    let server = Server::start();
    let (mut client, _) = watch_all(&server).await;
    let written = client.register("ann", 1).await;
    assert_eq!(revision(&client.expect_push("UserConnected").await), written);
}

#[tokio::test]
async fn pushes_keep_the_order_of_revisions_and_replies_agree_with_them() {
    let server = Server::start();
    let (mut watcher, _) = watch_all(&server).await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let mut client = Client::new(&server).await;
        writers.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            for round in 0..25 {
                let mut ids = Vec::new();
                for port in 1..=8 {
                    let payload = json!({
                        "username": format!("user-{writer}"), "ip": "::1", "port": 8 * round + port,
                    });
                    ids.push(client.submit("ConnectUser", payload).await);
                }
                for id in ids {
                    revisions.push(revision(&client.reply(id).await["payload"]));
                }
            }
            (client, revisions)
        }));
    }
    let mut acknowledged = Vec::new();
    let mut clients = Vec::new();
    for writer in writers {
        let (client, revisions) = writer.await.expect("the writer is done");
        assert!(revisions.is_sorted_by(|a, b| a < b));
        acknowledged.extend(revisions);
        clients.push(client);
    }
    acknowledged.sort_unstable();
    let mut seen = Vec::new();
    for _ in &acknowledged {
        seen.push(revision(&watcher.push().await["payload"]));
    }
    // In order, each once, none missing, none made up.
    assert_eq!(seen, acknowledged);
}
