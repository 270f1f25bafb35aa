//! Answers over 256 KiB: parts in order and complete, never mistaken for slow reading, never mixed with pushes.

use std::collections::BTreeSet;

use rollcall_tests::{
    model::{Address, Directory},
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// How many users with [`META_BYTES`] each the directory holds: some 700 KiB.
const USERS: usize = 600;
const META_BYTES: usize = 1000;

fn username(n: usize) -> String {
    format!("user-{n:04}")
}

fn connect(n: usize, port: u16) -> Value {
    let meta = json!({ "k": "x".repeat(META_BYTES) });
    json!({ "username": username(n), "ip": "192.0.2.1", "port": port, "meta": meta })
}

/// Fills the directory and returns the client that holds it with what it registered.
async fn fill(server: &Server) -> (Client, Directory) {
    let mut client = Client::new(server).await;
    let mut model = Directory::default();
    for chunk in (0..USERS).collect::<Vec<_>>().chunks(32) {
        let mut ids = Vec::new();
        for &n in chunk {
            ids.push(client.submit("ConnectUser", connect(n, 1)).await);
        }
        for (id, &n) in ids.into_iter().zip(chunk) {
            let reply = client.reply(id).await;
            let mut address = connect(n, 1);
            address["revision"] = reply["payload"]["revision"].clone();
            model.set(&username(n), "default", Address::from_json(&address));
        }
    }
    (client, model)
}

/// Collects all parts of the answer to a request: its first message, everybody in it, and the
/// unknown names.
async fn collect(client: &mut Client, id: u64, kind: &str) -> (Value, Directory, BTreeSet<String>) {
    let first = client.reply(id).await;
    assert_eq!(first["type"], kind, "{}", first["type"]);
    collect_rest(client, id, first).await
}

/// Collects the parts after the first.
async fn collect_rest(
    client: &mut Client,
    id: u64,
    first: Value,
) -> (Value, Directory, BTreeSet<String>) {
    let mut model = Directory::from_users(&first["payload"]["users"]);
    let mut unknown = BTreeSet::new();
    let mut add_unknown = |part: &Value| {
        for name in part["payload"]["unknown"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name").to_owned();
            assert!(unknown.insert(name.clone()), "{name} was listed twice");
        }
    };
    add_unknown(&first);
    let mut more = first["payload"]["more"] == true;
    while more {
        let part = client.reply(id).await;
        assert_eq!(part["type"], "Users", "{}", part["type"]);
        model.add_users(&part["payload"]["users"]);
        add_unknown(&part);
        more = part["payload"]["more"].as_bool().expect("every part says whether more follows");
    }
    (first, model, unknown)
}

#[tokio::test]
async fn a_large_subscription_comes_in_parts_and_is_complete() {
    let server = Server::start();
    let (_holder, model) = fill(&server).await;
    let mut client = Client::new(&server).await;
    for filter in [json!({ "all": true }), json!({ "prefix": "user-" })] {
        let id = client.submit("Subscribe", filter).await;
        let (first, received, _) = collect(&mut client, id, "Subscribed").await;
        assert_eq!(first["payload"]["more"], true, "{USERS} users fit into one message?");
        assert_eq!(revision(&first["payload"]), model.newest_revision());
        assert!(received == model, "the parts are not the directory");
    }
}

#[tokio::test]
async fn a_large_lookup_comes_in_parts_and_is_complete() {
    let server = Server::start();
    let (_holder, model) = fill(&server).await;
    let mut client = Client::new(&server).await;
    // Long names of nobody, with characters that JSON escapes, among those who are there.
    let nobody = |n: usize| format!("{}{n:04}", "\"".repeat(124));
    let names: Vec<String> =
        (0..1000).map(|n| if n < USERS { username(n) } else { nobody(n) }).collect();
    let id = client.submit("GetUserAddress", json!({ "usernames": names })).await;
    let (first, received, unknown) = collect(&mut client, id, "UserAddress").await;
    assert_eq!(first["payload"]["more"], true);
    assert_eq!(revision(&first["payload"]), model.newest_revision());
    assert!(received == model, "the parts are not the directory");
    assert_eq!(unknown, (USERS..1000).map(nobody).collect());
}

#[tokio::test]
async fn unknown_names_alone_can_need_parts() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    // 1000 names of 128 bytes fit a request; escaped in the answer they still fit its bound.
    let names: Vec<String> = (0..1000).map(|n| format!("{}{n:04}", "\\".repeat(124))).collect();
    let id = client.submit("GetUserAddress", json!({ "usernames": names })).await;
    let (first, received, unknown) = collect(&mut client, id, "UserAddress").await;
    assert!(first["payload"]["revision"].is_u64());
    assert_eq!(received, Directory::default());
    assert_eq!(unknown, names.into_iter().collect());
}

#[tokio::test]
async fn changes_during_a_large_subscription_are_pushed_once_after_it() {
    let server = Server::start();
    let (mut holder, _) = fill(&server).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut written = Vec::new();
        for port in 2..60_000_u16 {
            let n = usize::from(port) * 7 % USERS;
            written.push(revision(&holder.call("ConnectUser", connect(n, port)).await));
            if stopped.try_recv().is_ok() {
                break;
            }
        }
        (holder, written)
    });
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::new(&server).await;
        let id = client.submit("Subscribe", json!({ "all": true })).await;
        let (first, model, _) = collect(&mut client, id, "Subscribed").await;
        let at = revision(&first["payload"]);
        assert!(model.newest_revision() <= at, "the snapshot is newer than it says");
        let early = client.unread().count();
        assert_eq!(early, 0, "{early} pushes came before the last part");
        clients.push((client, model, at));
    }
    stop.send(()).expect("the writer listens");
    let (_holder, written) = writing.await.expect("the writer is done");
    let truth = Client::new(&server).await;
    let truth = directory(truth).await;
    for (mut client, mut model, at) in clients {
        let due: Vec<u64> = written.iter().copied().filter(|&revision| revision > at).collect();
        for expected in due {
            let push = client.push().await;
            assert_eq!(revision(&push["payload"]), expected);
            model.apply(&push);
        }
        assert!(model == truth, "snapshot and pushes do not give the directory");
    }
}

#[tokio::test]
async fn unsubscribing_in_the_middle_ends_the_pushes_and_not_the_answer() {
    let server = Server::start();
    let (mut holder, model) = fill(&server).await;
    let mut client = Client::with_small_buffer(&server).await;
    let subscribe = client.submit("Subscribe", json!({ "prefix": "user-" })).await;
    let first = client.reply(subscribe).await;
    let unsubscribe = client.submit("Unsubscribe", json!({ "subscription": 1 })).await;
    let (_, received, _) = collect_rest(&mut client, subscribe, first).await;
    assert!(received == model, "the parts are not the directory");
    assert_eq!(client.reply(unsubscribe).await["type"], "Unsubscribed");
    let marker = client.call("Subscribe", json!({ "usernames": ["marker"] })).await;
    holder.call("ConnectUser", connect(0, 9)).await;
    client.pushes_until_marker(&marker["subscription"], &mut holder).await;
    assert_eq!(client.unread().count(), 0, "pushed to a subscription that was given up");
}

async fn directory(mut client: Client) -> Directory {
    let id = client.submit("Subscribe", json!({ "all": true })).await;
    collect(&mut client, id, "Subscribed").await.1
}

#[tokio::test]
async fn other_replies_pass_between_the_parts() {
    let server = Server::start();
    let (_holder, model) = fill(&server).await;
    let mut client = Client::new(&server).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(client.submit("Subscribe", json!({ "prefix": "user-" })).await);
        client.call("Ping", json!({})).await;
        let number = client.call("GetSequenceNumber", json!({})).await;
        assert_eq!(number["first"], ids.len());
    }
    for id in ids {
        let (_, received, _) = collect(&mut client, id, "Subscribed").await;
        assert!(received == model);
    }
}

#[tokio::test]
async fn a_large_answer_is_not_slow_reading() {
    // Together the answers are twenty times the queue, and the reader does not read while all are due.
    let server = Server::start();
    let (mut holder, model) = fill(&server).await;
    let mut client = Client::with_small_buffer(&server).await;
    let names: Vec<String> = (0..USERS).map(username).collect();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(client.submit("GetUserAddress", json!({ "usernames": names })).await);
    }
    let before = server.resident_kib();
    for _ in 0..200 {
        holder.call("Ping", json!({})).await;
        holder.lookup(&["user-0001"]).await;
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 12 * 1024, "the parts are kept in memory: {grown} KiB more");
    for id in ids {
        let (_, received, _) = collect(&mut client, id, "UserAddress").await;
        assert!(received == model);
    }
}
