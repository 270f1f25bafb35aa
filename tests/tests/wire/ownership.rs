//! Who may change a registration: other principals may not, the same principal takes over.

use rollcall_tests::{
    random_client_id,
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

const TOKENS: &str = r#"
[tokens]
"ann-laptop" = { sub = "ann" }
"ann-phone" = "ann"
"bob-secret" = "bob"
"#;

async fn signed_in(server: &Server, token: &str) -> Client {
    let mut client = Client::new(server).await;
    client.call("Hello", json!({ "token": token })).await;
    client
}

#[tokio::test]
async fn a_held_name_is_refused_to_others_also_within_the_grace() {
    let server = Server::with(&["--session-grace-ms", "800"]);
    let mut owner = Client::new(&server).await;
    let mut other = Client::new(&server).await;
    other.call("Subscribe", json!({ "usernames": ["ann"] })).await;
    let written = owner.register("ann", 1).await;
    let same = json!({ "username": "ann", "ip": "192.0.2.1", "port": 1 });
    let moved = json!({ "username": "ann", "ip": "192.0.2.9", "port": 9 });
    for payload in [&same, &moved] {
        let error = other.refused("ConnectUser", payload.clone(), "username_taken").await;
        assert_eq!(error["retry"], false);
    }
    drop(owner);
    other.refused("ConnectUser", moved.clone(), "username_taken").await;
    let push = other.expect_push("UserConnected").await;
    assert_eq!(revision(&push), written);
    other.expect_push("UserDisconnected").await;
    other.call("ConnectUser", moved).await;
}

#[tokio::test]
async fn what_is_not_yours_you_cannot_end() {
    let server = Server::start();
    let mut owner = Client::new(&server).await;
    let mut other = Client::new(&server).await;
    let written = owner.register("ann", 1).await;
    other.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
    let missing = json!({ "username": "ann", "device": "phone" });
    other.refused("DisconnectUser", missing, "not_found").await;
    other.refused("DisconnectUser", json!({ "username": "bob" }), "not_found").await;
    let answer = other.lookup(&["ann"]).await;
    assert_eq!(revision(&answer), written);
    owner.unregister("ann").await;
    owner.refused("DisconnectUser", json!({ "username": "ann" }), "not_found").await;
    other.register("ann", 2).await;
}

#[tokio::test]
async fn without_tokens_anyone_may_add_another_device() {
    let server = Server::start();
    let mut owner = Client::new(&server).await;
    let mut other = Client::new(&server).await;
    owner.register("ann", 1).await;
    let phone = json!({ "username": "ann", "device": "phone", "ip": "::1", "port": 2 });
    other.call("ConnectUser", phone).await;
    let users = owner.lookup(&["ann"]).await["users"].take();
    assert_eq!(users[0]["addresses"].as_array().map(Vec::len), Some(2));
    let phone = json!({ "username": "ann", "device": "phone" });
    owner.refused("DisconnectUser", phone, "not_owner").await;
}

#[tokio::test]
async fn another_subject_cannot_take_over() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut ann = signed_in(&server, "ann-laptop").await;
    let mut bob = signed_in(&server, "bob-secret").await;
    ann.register("ann", 1).await;
    let payload = json!({ "username": "ann", "ip": "::1", "port": 2 });
    bob.refused("ConnectUser", payload, "username_taken").await;
    bob.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
}

#[tokio::test]
async fn the_same_principal_takes_over_at_once() {
    let server = Server::with_tokens(TOKENS, &[]);
    let mut watcher = signed_in(&server, "bob-secret").await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let mut laptop = signed_in(&server, "ann-laptop").await;
    let mut phone = signed_in(&server, "ann-phone").await;
    let first = laptop.register("ann", 1).await;
    let second = phone.register("ann", 2).await;
    assert!(second > first);
    let replaced = laptop.expect_push("SessionReplaced").await;
    assert_eq!(replaced, json!({ "username": "ann", "device": "default" }));
    // The old session's late goodbye changes nothing.
    laptop.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
    let users = watcher.lookup(&["ann"]).await["users"].take();
    assert_eq!(users[0]["addresses"][0]["port"], 2);
    // One change for those who watch, never a leave and a join.
    watcher.expect_push("UserConnected").await;
    let push = watcher.expect_push("UserUpdated").await;
    assert_eq!((revision(&push), &push["port"]), (second, &json!(2)));
    let ended = phone.unregister("ann").await;
    assert_eq!(revision(&watcher.expect_push("UserDisconnected").await), ended);
}

#[tokio::test]
async fn a_takeover_of_an_equal_address_is_a_change_nevertheless() {
    let server = Server::with_tokens(TOKENS, &["--session-grace-ms", "100"]);
    let mut watcher = signed_in(&server, "bob-secret").await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let mut laptop = signed_in(&server, "ann-laptop").await;
    let mut phone = signed_in(&server, "ann-phone").await;
    let first = laptop.register("ann", 1).await;
    let second = phone.register("ann", 1).await;
    assert!(second > first);
    laptop.expect_push("SessionReplaced").await;
    watcher.expect_push("UserConnected").await;
    assert_eq!(revision(&watcher.expect_push("UserUpdated").await), second);
    // The end of the old session ends only what it still holds.
    laptop.register("left-behind", 1).await;
    drop(laptop);
    watcher.expect_push("UserConnected").await;
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["username"], "left-behind");
    assert!(watcher.is_online("ann").await);
}

#[tokio::test]
async fn every_link_of_the_old_session_hears_of_a_takeover_and_nobody_else() {
    let server = Server::with_tokens(TOKENS, &[]);
    let id = random_client_id();
    let mut old = [Client::with_id(&server, &id).await, Client::with_id(&server, &id).await];
    for link in &mut old {
        link.call("Hello", json!({ "token": "ann-laptop" })).await;
    }
    let mut bystander = signed_in(&server, "ann-laptop").await;
    let mut new = signed_in(&server, "ann-phone").await;
    let payload = json!({ "username": "ann", "device": "tablet", "ip": "::1", "port": 1 });
    old[0].call_as(10, "ConnectUser", payload.clone()).await;
    new.call("ConnectUser", payload).await;
    for link in &mut old {
        let replaced = link.expect_push("SessionReplaced").await;
        assert_eq!(replaced, json!({ "username": "ann", "device": "tablet" }));
    }
    // And the other way round: the first session takes it back.
    let back = json!({ "username": "ann", "device": "tablet", "ip": "::1", "port": 3 });
    old[1].call_as(11, "ConnectUser", back).await;
    new.expect_push("SessionReplaced").await;
    // A marker that only the bystander loses, to see that it heard of nothing else.
    bystander.register("marker", 1).await;
    new.register("marker", 1).await;
    let replaced = bystander.expect_push("SessionReplaced").await;
    assert_eq!(replaced["username"], "marker");
}

#[tokio::test]
async fn a_client_id_belongs_to_the_principal_that_used_it_first() {
    let server = Server::with_tokens(TOKENS, &[]);
    let id = random_client_id();
    let mut ann = Client::with_id(&server, &id).await;
    ann.call("Hello", json!({ "token": "ann-laptop" })).await;
    ann.register("ann", 1).await;
    let mut thief = Client::with_id(&server, &id).await;
    thief.skip_ids_to(100);
    thief.refused("Hello", json!({ "token": "bob-secret" }), "forbidden").await;
    // The same person's other token is fine.
    let mut phone = Client::with_id(&server, &id).await;
    phone.skip_ids_to(200);
    phone.call("Hello", json!({ "token": "ann-phone" })).await;
    phone.call("DisconnectUser", json!({ "username": "ann" })).await;
}

#[tokio::test]
async fn without_tokens_no_takeover_arises() {
    let server = Server::start();
    let mut first = Client::anonymous(&server).await;
    let mut second = Client::anonymous(&server).await;
    first.register("ann", 1).await;
    let payload: Value = json!({ "username": "ann", "ip": "192.0.2.1", "port": 1 });
    second.refused("ConnectUser", payload, "username_taken").await;
    assert!(first.unread().next().is_none());
    first.unregister("ann").await;
    second.register("ann", 1).await;
}
