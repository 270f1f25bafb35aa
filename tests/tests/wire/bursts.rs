//! Much at once, from one cause: nobody who reads is taken for slow, nobody else waits.

use rollcall_tests::{
    raw::RawLink,
    server::Server,
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// Sends `count` writes of one client without waiting for each, and returns the last revision.
async fn register_many(client: &mut Client, count: usize) -> u64 {
    let mut newest = 0;
    for chunk in (0..count).collect::<Vec<_>>().chunks(64) {
        for n in chunk {
            let payload = json!({ "username": format!("user-{n}"), "ip": "::1", "port": 1 });
            client.submit("ConnectUser", payload).await;
        }
        newest = revision(&client.reply(client.last_id()).await["payload"]);
    }
    newest
}

#[tokio::test]
async fn the_end_of_a_large_session_makes_no_reader_slow() {
    // Together more than a queue holds.
    const USERS: usize = 500;
    const SUBSCRIPTIONS: usize = 24;
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut holder = Client::new(&server).await;
    register_many(&mut holder, USERS).await;
    let mut reader = Client::new(&server).await;
    for _ in 0..SUBSCRIPTIONS {
        reader.call("Subscribe", json!({ "prefix": "user-" })).await;
    }
    drop(holder);
    let mut last = [0; SUBSCRIPTIONS];
    for _ in 0..USERS * SUBSCRIPTIONS {
        let push = reader.expect_push("UserDisconnected").await;
        assert_eq!(push["reason"], "expired");
        let number = push["subscription"].as_u64().expect("a number") as usize;
        assert!(last[number - 1] == 0 || revision(&push) == last[number - 1] + 1, "a gap: {push}");
        last[number - 1] = revision(&push);
    }
    assert_eq!(reader.lookup(&["user-0"]).await["unknown"], json!(["user-0"]));
}

#[tokio::test]
async fn what_begins_within_a_burst_has_no_gap() {
    const USERS: usize = 3000;
    let server = Server::with(&["--session-grace-ms", "100"]);
    let mut holder = Client::new(&server).await;
    let newest = register_many(&mut holder, USERS).await;
    drop(holder);
    // New links begin while the changes are announced, some from a picture, some from the history.
    let mut links = Vec::new();
    let mut prober = Client::new(&server).await;
    loop {
        let at = revision(&prober.lookup(&["nobody"]).await);
        for payload in [json!({ "all": true }), json!({ "all": true, "since": newest })] {
            let mut link = Client::new(&server).await;
            let id = link.submit("Subscribe", payload).await;
            links.push((link, id, at));
        }
        if at > newest {
            break;
        }
    }
    for (mut link, id, asked_at) in links {
        let mut reply = link.reply(id).await["payload"].clone();
        let mut at = revision(&reply);
        assert!(at >= asked_at || reply["recovered"] == true, "behind an answer: {at}");
        let mut online = USERS as u64 - (at - newest);
        if reply["recovered"] != true {
            let mut listed = 0;
            loop {
                listed += reply["users"].as_array().map_or(0, Vec::len) as u64;
                if reply["more"] != true {
                    break;
                }
                reply = link.reply(id).await["payload"].clone();
            }
            assert_eq!(listed, online);
        }
        while online > 0 {
            let push = link.expect_push("UserDisconnected").await;
            at += 1;
            online -= 1;
            assert_eq!(revision(&push), at, "a gap");
        }
    }
}

#[tokio::test]
async fn a_link_that_resumes_much_does_not_hold_up_the_others() {
    const USERS: usize = 4000;
    const SUBSCRIPTIONS: u64 = 600;
    let server = Server::with(&["--threads", "1"]);
    let mut other = Client::new(&server).await;
    let since = other.register("ann", 1).await;
    register_many(&mut other, USERS).await;
    other.register("marker", 1).await;
    // Each looks through all changes; the last one finds something.
    let mut busy = RawLink::upgrade(&server).await;
    for id in 1..=SUBSCRIPTIONS {
        let mut names: Vec<String> = (0..100).map(|n| format!("nobody-{n}")).collect();
        if id == SUBSCRIPTIONS {
            names.push("marker".into());
        }
        let payload = json!({ "usernames": names, "since": since });
        busy.send_text(&json!({ "type": "Subscribe", "id": id, "payload": payload }).to_string())
            .await;
    }
    let found = async {
        while let Some(text) = busy.text().await {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["type"] == "UserConnected" {
                return;
            }
        }
        panic!("the link ended");
    };
    tokio::pin!(found);
    let mut answered = 0;
    loop {
        tokio::select! {
            () = &mut found => break,
            _ = other.call("Ping", json!({})) => answered += 1,
        }
    }
    // Held up, it would be one or two; on a busy machine the client itself is slow.
    assert!(answered >= 8, "only {answered} requests of another link were answered meanwhile");
}
