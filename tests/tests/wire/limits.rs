//! What is bounded besides sizes: registrations, devices, subscriptions. Full is `overloaded`, and not an outcome.

use rollcall_tests::{
    model::Directory,
    server::Server,
    wire::{Client, failed, revision},
};
use serde_json::{Value, json};

fn connect(device: &str, meta: Value) -> Value {
    json!({ "username": "ann", "device": device, "ip": "::1", "port": 1, "meta": meta })
}

#[tokio::test]
async fn a_full_directory_refuses_more_until_there_is_room() {
    let server = Server::with(&["--max-registrations", "3"]);
    let mut client = Client::new(&server).await;
    for name in ["a", "b", "c"] {
        client.register(name, 1).await;
    }
    let fourth = json!({ "username": "d", "ip": "::1", "port": 1 });
    let reply = client.request_as(100, "ConnectUser", fourth.clone()).await;
    assert_eq!(failed("overloaded", &reply)["retry"], true);
    // What is there can still move and go.
    client.skip_ids_to(200);
    client.register("a", 2).await;
    client.unregister("b").await;
    // The copy that was refused was not applied, so the very same request may succeed now.
    client.call_as(100, "ConnectUser", fourth).await;
    assert!(client.is_online("d").await);
}

#[tokio::test]
async fn a_link_has_at_most_so_many_subscriptions_as_it_was_told() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    let most = welcome["limits"]["subscriptions"].as_u64().expect("a number");
    for _ in 0..most {
        client.call("Subscribe", json!({ "usernames": ["nobody"] })).await;
    }
    client.refused("Subscribe", json!({ "all": true }), "overloaded").await;
    client.call("Unsubscribe", json!({ "subscription": 1 })).await;
    client.call("Subscribe", json!({ "usernames": ["ann"] })).await;
    let written = client.register("ann", 1).await;
    assert_eq!(revision(&client.expect_push("UserConnected").await), written);
}

#[tokio::test]
async fn the_subscriptions_of_a_link_name_a_bounded_number_of_users() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let names = |n: usize| json!({ "usernames": (0..1000).map(|m| format!("{n}-{m}")).collect::<Vec<_>>() });
    for n in 0..65 {
        client.call("Subscribe", names(n)).await;
    }
    client.refused("Subscribe", names(65), "overloaded").await;
    // Names that are given up make room, and a filter without names needs none.
    client.call("Subscribe", json!({ "prefix": "65-" })).await;
    client.call("Unsubscribe", json!({ "subscription": 1 })).await;
    let last = client.call("Subscribe", names(65)).await;
    let written = client.register("65-7", 1).await;
    let push = client.push_of(&last["subscription"]).await;
    assert_eq!(revision(&push["payload"]), written);
}

#[tokio::test]
async fn one_user_with_the_most_devices_is_answered_in_parts() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    let most = welcome["limits"]["devices"].as_u64().expect("a number");
    let meta = json!({ "k": "x".repeat(1000) });
    for n in 0..most {
        client.submit("ConnectUser", connect(&format!("device-{n}"), meta.clone())).await;
        if n % 32 == 31 {
            client.reply(client.last_id()).await;
        }
    }
    let reply = client.reply(client.last_id()).await;
    assert_eq!(reply["type"], "Connected", "{reply}");
    client.refused("ConnectUser", connect("one-more", json!({})), "overloaded").await;

    let id = client.submit("GetUserAddress", json!({ "usernames": ["ann", "bob"] })).await;
    let first = client.reply(id).await;
    let mut model = Directory::from_users(&first["payload"]["users"]);
    let mut unknown = first["payload"]["unknown"].as_array().map_or(0, Vec::len);
    let mut more = first["payload"]["more"] == true;
    assert!(more, "{most} devices fit into one message?");
    while more {
        let part = client.reply(id).await;
        model.add_users(&part["payload"]["users"]);
        unknown += part["payload"]["unknown"].as_array().map_or(0, Vec::len);
        more = part["payload"]["more"] == true;
    }
    assert_eq!(unknown, 1);
    for n in 0..most {
        let address = model.address("ann", &format!("device-{n}"));
        assert!(address.is_some(), "device-{n} is missing");
    }
}

#[tokio::test]
async fn an_idle_link_costs_little_memory() {
    let server = Server::start();
    let mut links = vec![Client::new(&server).await];
    links[0].call("Hello", json!({})).await;
    let before = server.resident_kib();
    for _ in 0..LINKS {
        let mut link = Client::new(&server).await;
        link.call("Hello", json!({})).await;
        links.push(link);
    }
    let each = server.resident_kib().saturating_sub(before) / LINKS;
    // About 10 in a release build. The WebSocket library's own buffer sizes would make it 140.
    assert!(each <= 40, "{each} KiB for each of {LINKS} links");
}

const LINKS: u64 = 400;
