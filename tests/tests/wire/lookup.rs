//! `GetUserAddress`: what it answers, and that all of it is true at one revision.

use rollcall_tests::{
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

fn address_of(users: &Value, username: &str) -> Value {
    let users = users.as_array().expect("users is an array");
    let user = users.iter().find(|user| user["username"] == username);
    user.unwrap_or_else(|| panic!("{username} is not in {users:?}"))["addresses"].clone()
}

fn sorted(names: &Value) -> Vec<&str> {
    let names = names.as_array().expect("an array of names");
    let mut names: Vec<_> = names.iter().map(|name| name.as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_empty_directory_knows_nobody() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let answer = client.lookup(&["ann", "bob"]).await;
    assert_eq!(answer["users"], json!([]));
    assert_eq!(sorted(&answer["unknown"]), ["ann", "bob"]);
    assert!(answer["revision"].is_u64(), "{answer}");
}

#[tokio::test]
async fn a_user_is_listed_with_every_device() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let phone = json!({
        "username": "ann", "device": "phone", "ip": "2001:db8::7", "port": 5060, "meta": {"a": [1]},
    });
    let phone = revision(&client.call("ConnectUser", phone).await);
    let default = client.register("ann", 4711).await;
    let answer = client.lookup(&["ann", "bob"]).await;
    assert_eq!(answer["unknown"], json!(["bob"]));
    assert_eq!(answer["users"].as_array().map(Vec::len), Some(1));
    let mut addresses = address_of(&answer["users"], "ann").as_array().cloned().expect("a list");
    addresses.sort_by_key(|address| address["device"].to_string());
    let expected = json!([
        { "device": "default", "ip": "192.0.2.1", "port": 4711, "revision": default },
        { "device": "phone", "ip": "2001:db8::7", "port": 5060, "meta": {"a": [1]}, "revision": phone },
    ]);
    assert_eq!(Value::Array(addresses), expected);
    assert_eq!(answer["revision"], default.max(phone));
}

#[tokio::test]
async fn a_name_given_twice_is_answered_once() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    let answer = client.lookup(&["ann", "bob", "ann", "bob", "ann"]).await;
    assert_eq!(answer["users"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["unknown"], json!(["bob"]));
}

#[tokio::test]
async fn a_thousand_names_are_answered_at_once() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for n in (0..1000).step_by(10) {
        client.register(&format!("user-{n}"), 1).await;
    }
    let names: Vec<_> = (0..1000).map(|n| format!("user-{n}")).collect();
    let answer = client.call("GetUserAddress", json!({ "usernames": names })).await;
    assert_eq!(answer["users"].as_array().map(Vec::len), Some(100));
    assert_eq!(answer["unknown"].as_array().map(Vec::len), Some(900));
    assert_ne!(answer["more"], true);
}

#[tokio::test]
async fn what_was_acknowledged_is_seen_on_every_link() {
    let server = Server::start();
    let mut writer = Client::new(&server).await;
    let mut reader = Client::new(&server).await;
    for port in 1..=100 {
        let written = writer.register("ann", port).await;
        let answer = reader.lookup(&["ann"]).await;
        assert_eq!(address_of(&answer["users"], "ann")[0]["port"], port);
        assert!(revision(&answer) >= written);
    }
    writer.unregister("ann").await;
    assert!(!reader.is_online("ann").await);
}

#[tokio::test]
async fn the_revision_stands_still_while_nothing_changes() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    let before = revision(&client.lookup(&["ann"]).await);
    client.call("GetSequenceNumber", json!({})).await;
    client.call("Subscribe", json!({ "all": true })).await;
    client.refused("DisconnectUser", json!({ "username": "bob" }), "not_found").await;
    assert_eq!(revision(&client.lookup(&["bob"]).await), before);
}

#[tokio::test]
async fn all_names_of_an_answer_are_true_at_its_revision() {
    let server = Server::start();
    let mut writer = Client::new(&server).await;
    writer.register("first", 1).await;
    writer.register("second", 1).await;
    let steps = 400;
    let writing = tokio::spawn(async move {
        // `first` moves, then `second` follows: at any revision it is at most one step behind.
        for port in 2..=steps {
            let mut ids = Vec::new();
            for username in ["first", "second"] {
                let payload = json!({ "username": username, "ip": "192.0.2.1", "port": port });
                ids.push(writer.submit("ConnectUser", payload).await);
            }
            for id in ids {
                writer.reply(id).await;
            }
        }
        writer
    });
    let mut reader = Client::new(&server).await;
    let mut last = (0, 0);
    loop {
        let answer = reader.lookup(&["second", "first"]).await;
        let of = |username| {
            let address = &address_of(&answer["users"], username)[0];
            (address["port"].as_u64().expect("a port"), revision(address))
        };
        let ((first, first_revision), (second, second_revision)) = (of("first"), of("second"));
        assert!(first == second || first == second + 1, "{answer}");
        // Nobody else writes, so the newest of both is the directory's revision.
        assert_eq!(revision(&answer), first_revision.max(second_revision), "{answer}");
        assert!((first, second) >= last, "went back to {first}, {second} after {last:?}");
        last = (first, second);
        if second == steps {
            break;
        }
    }
    drop(writing.await.expect("the writer is done"));
}
