//! The commands that talk to a cluster: what they print, for people and as JSON, and how they end.

use rollcall_tests::{
    cluster::Cluster,
    command::{Finished, Running, run},
    server::Server,
    wire::{Client, eventually},
};
use serde_json::{Value, json};

/// Runs a client command against this server.
async fn ask(server: &Server, arguments: &[&str]) -> Finished {
    let url = server.url();
    run(&[arguments, &["--server", &url]].concat()).await
}

fn start(server: &Server, arguments: &[&str]) -> Running {
    let url = server.url();
    Running::start(&[arguments, &["--server", &url]].concat())
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// A URL where nobody listens.
const NOWHERE: &str = "ws://127.0.0.1:1/ws";

#[tokio::test]
async fn lookup_shows_addresses_and_says_no_for_unknown_names() {
    let server = Server::start();
    let mut holder = Client::new(&server).await;
    let written = holder.register("ann", 4711).await;
    let known = ask(&server, &["lookup", "ann"]).await;
    assert_eq!(known.code, Some(0), "{}", known.stderr);
    for part in ["ann", "192.0.2.1", "4711"] {
        assert!(known.stdout.contains(part), "no {part} in {}", known.stdout);
    }
    let mixed = ask(&server, &["lookup", "--json", "ann", "bob"]).await;
    assert_eq!(mixed.code, Some(1), "{}", mixed.stderr);
    let address =
        json!({ "device": "default", "ip": "192.0.2.1", "port": 4711, "revision": written });
    let expected = json!({
        "users": [{ "username": "ann", "addresses": [address] }],
        "unknown": ["bob"], "revision": written,
    });
    assert_eq!(mixed.stdout.lines().count(), 1);
    assert_eq!(parse(&mixed.stdout), expected);
    let unknown = ask(&server, &["lookup", "bob"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(format!("{}{}", unknown.stdout, unknown.stderr).contains("bob"));
}

#[tokio::test]
async fn sequence_takes_numbers() {
    let server = Server::start();
    let first = ask(&server, &["sequence"]).await;
    assert_eq!((first.code, first.stdout.trim()), (Some(0), "1"), "{}", first.stderr);
    let more = ask(&server, &["sequence", "--count", "5", "--json"]).await;
    assert_eq!(parse(&more.stdout), json!({ "first": 2, "count": 5 }));
    let next = ask(&server, &["sequence", "--json"]).await;
    assert_eq!(parse(&next.stdout), json!({ "first": 7, "count": 1 }));
}

#[tokio::test]
async fn status_shows_the_server() {
    let server = Server::start();
    let text = ask(&server, &["status"]).await;
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    for said in [
        "health    Healthy: 1 of 1, server 1 leads\n",
        "server    1, leader\n",
        "lookups   answered here\n",
    ] {
        assert!(text.stdout.contains(said), "no {said:?} in {}", text.stdout);
    }
    let status = parse(&ask(&server, &["status", "--json"]).await.stdout);
    assert_eq!((&status["node"], &status["leader"]), (&json!(1), &json!(1)));
    assert_eq!(status["members"][0]["url"], server.url());
}

/// Waits until `rollcall status` of a server has a line of exactly these words for each, however many
/// spaces are between them; returns all that it says. The lines depend on the status as JSON, which
/// may have changed meanwhile: then it is asked again. None are expected of a status that is not yet
/// the one that is waited for.
async fn status_says(
    cluster: &Cluster,
    id: u64,
    expected: impl Fn(&Value) -> Option<Vec<String>>,
) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    eventually("the status in words", async || {
        let before = cluster.status(id).await.ok_or("no status")?;
        let text = ask(cluster.server(id), &["status"]).await;
        let after = cluster.status(id).await.ok_or("no status")?;
        if (&before["leader"], &before["epoch"]) != (&after["leader"], &after["epoch"]) {
            return Err(format!("it changes from {before} to {after}"));
        }
        let lines = expected(&before).ok_or_else(|| before.to_string())?;
        let said: Vec<String> = text.stdout.lines().map(words).collect();
        let missing: Vec<_> = lines.iter().filter(|line| !said.contains(line)).collect();
        let right = text.code == Some(0) && missing.is_empty();
        if right { Ok(text.stdout) } else { Err(format!("no {missing:?} in {text:?}")) }
    })
    .await
}

#[tokio::test]
async fn status_shows_the_cluster_and_who_leads_it() {
    let mut cluster = Cluster::start(3).await;
    let asked = cluster.others(cluster.leader().await)[0];
    let urls = [1, 2, 3].map(|id| cluster.url(id));
    let url = |id: u64| &urls[id as usize - 1];
    status_says(&cluster, asked, |status| {
        let (leader, epoch) = (status["leader"].as_u64()?, &status["epoch"]);
        let member = |id: u64| {
            // The command itself is the one link.
            let links = if id == asked { "1 link" } else { "0 links" };
            let url = url(id);
            match id == leader {
                true => format!("member {id} * leader epoch {epoch} {links} {url}"),
                false => format!("member {id} follower epoch {epoch} in step {links} {url}"),
            }
        };
        let mut lines: Vec<_> = (1..=3).map(member).collect();
        lines.push(format!("health Healthy: 3 of 3, server {leader} leads"));
        lines.push(format!("leader {leader}, epoch {epoch}"));
        Some(lines)
    })
    .await;

    // By now the one that is asked may lead.
    let leader = cluster.leader().await;
    let first = if leader == asked { cluster.others(asked)[0] } else { leader };
    cluster.kill9(first);
    let text = status_says(&cluster, asked, |status| {
        let leader = status["leader"].as_u64().filter(|leader| *leader != first)?;
        let words = format!("2 of 3, server {leader} leads. Server {first} is down");
        let down = format!("member {first} down {}", url(first));
        Some(vec![format!("health Degraded: {words}"), down])
    })
    .await;
    assert_eq!(text.lines().filter(|line| line.contains(" * ")).count(), 1, "{text}");

    let last = cluster.running_but(&[asked])[0];
    cluster.kill9(last);
    let lost = format!("Servers {} and {} are down", first.min(last), first.max(last));
    let text = status_says(&cluster, asked, |_| {
        let means = "Until 2 of 3 are together, nothing changes and nobody is looked up";
        let health = format!("health No quorum: 1 of 3. {lost}. {means}");
        Some(vec![health, "lookups not answered here".to_owned()])
    })
    .await;
    assert!(text.contains("\nleader    unknown, epoch "), "{text}");
    assert!(!text.contains(" * "), "nobody leads: {text}");

    // Without its memory it knows no cluster, and says so.
    cluster.restart(last).await;
    let text = status_says(&cluster, last, |_| {
        Some(vec![format!("server {last}, blank"), "cluster unknown".to_owned()])
    })
    .await;
    assert!(text.contains("\nleader    unknown, epoch "), "{text}");
}

#[tokio::test]
async fn connect_stays_until_ctrl_c_which_disconnects() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let flags = ["--device", "phone", "--meta", r#"{"mood": "good"}"#, "--json"];
    let command = [&["connect", "ann", "203.0.113.7", "4711"][..], &flags].concat();
    let mut connect = start(&server, &command);
    let connected = parse(&connect.line().await);
    let push = watcher.expect_push("UserConnected").await;
    assert_eq!(
        connected,
        json!({ "username": "ann", "device": "phone", "revision": push["revision"] })
    );
    assert_eq!((&push["ip"], &push["port"]), (&json!("203.0.113.7"), &json!(4711)));
    assert_eq!(push["meta"], json!({ "mood": "good" }));
    connect.interrupt();
    let push = watcher.expect_push("UserDisconnected").await;
    assert_eq!(push["reason"], "left");
    let finished = connect.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for line in finished.stdout.lines() {
        parse(line);
    }
}

#[tokio::test]
async fn connect_shows_what_it_holds_and_takes_the_observed_address() {
    let server = Server::start();
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "all": true })).await;
    let mut connect = start(&server, &["connect", "ann", "observed", "4711"]);
    let line = connect.line().await;
    assert!(line.contains("ann"), "{line}");
    let push = watcher.expect_push("UserConnected").await;
    assert_eq!((&push["device"], &push["ip"]), (&json!("default"), &json!("127.0.0.1")));
    connect.interrupt();
    assert_eq!(connect.finished().await.code, Some(0));
}

#[tokio::test]
async fn connect_ends_with_1_where_the_name_is_taken() {
    let server = Server::start();
    let mut holder = Client::new(&server).await;
    holder.register("ann", 1).await;
    let refused = ask(&server, &["connect", "ann", "203.0.113.7", "4711", "--json"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("username_taken"), "{}", refused.stderr);
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
}

#[tokio::test]
async fn connect_survives_a_restart_of_the_server() {
    let mut server = Server::start();
    let connect = start(&server, &["connect", "ann", "203.0.113.7", "4711", "--json"]);
    let mut watcher = Client::new(&server).await;
    watcher.call("Subscribe", json!({ "usernames": ["ann"] })).await;
    if !watcher.is_online("ann").await {
        watcher.expect_push("UserConnected").await;
    }
    server.restart();
    let mut watcher = Client::new(&server).await;
    let subscribed = watcher.call("Subscribe", json!({ "usernames": ["ann"] })).await;
    if subscribed["users"] == json!([]) {
        watcher.expect_push("UserConnected").await;
    }
    connect.interrupt();
    watcher.expect_push("UserDisconnected").await;
    assert_eq!(connect.finished().await.code, Some(0));
}

#[tokio::test]
async fn watch_prints_a_snapshot_then_changes_as_whole_messages() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    let first = actor.register("ann", 1).await;
    let mut watch = start(&server, &["watch", "--json"]);
    let snapshot = parse(&watch.line().await);
    assert_eq!(snapshot["type"], "Subscribed");
    assert_eq!(snapshot["payload"]["revision"], first);
    assert_eq!(snapshot["payload"]["users"][0]["username"], "ann");
    let second = actor.register("ann", 2).await;
    let third = actor.unregister("ann").await;
    for (kind, revision) in [("UserUpdated", second), ("UserDisconnected", third)] {
        let change = parse(&watch.line().await);
        assert_eq!(
            (&change["type"], &change["payload"]["revision"]),
            (&json!(kind), &json!(revision))
        );
        assert_eq!(change["payload"]["username"], "ann");
    }
    watch.interrupt();
    let finished = watch.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn watch_filters_by_names_or_prefix() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    for arguments in
        [&["watch", "--json", "ann", "team-a"][..], &["watch", "--json", "--prefix", "team-"]]
    {
        let mut watch = start(&server, arguments);
        assert_eq!(parse(&watch.line().await)["payload"]["users"], json!([]));
        for name in ["bob", "team-a"] {
            actor.register(name, 1).await;
        }
        assert_eq!(parse(&watch.line().await)["payload"]["username"], "team-a");
        for name in ["bob", "team-a"] {
            actor.unregister(name).await;
        }
    }
}

#[tokio::test]
async fn watch_in_words_names_who_comes_and_goes() {
    let server = Server::start();
    let mut actor = Client::new(&server).await;
    actor.register("ann", 4711).await;
    let mut watch = start(&server, &["watch", "--all"]);
    while !watch.line().await.contains("ann") {}
    actor.register("bob", 1).await;
    while !watch.line().await.contains("bob") {}
    actor.unregister("ann").await;
    while !watch.line().await.contains("ann") {}
    watch.interrupt();
    assert_eq!(watch.finished().await.code, Some(0));
}

#[tokio::test]
async fn where_no_server_is_reached_the_status_is_3() {
    let short = ["--server", NOWHERE, "--timeout", "300ms"];
    let commands: [&[&str]; 5] = [
        &["lookup", "ann"],
        &["sequence"],
        &["status"],
        &["watch"],
        &["connect", "ann", "::1", "1"],
    ];
    for command in commands {
        let finished = run(&[command, &short[..]].concat()).await;
        assert_eq!(finished.code, Some(3), "{command:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "{command:?}: {}", finished.stdout);
        assert!(!finished.stderr.is_empty(), "{command:?} says nothing");
    }
}

#[tokio::test]
async fn one_reachable_server_of_several_is_enough() {
    let server = Server::start();
    let servers = format!("{NOWHERE},{}", server.url());
    let finished = run(&["sequence", "--server", &servers]).await;
    assert_eq!((finished.code, finished.stdout.trim()), (Some(0), "1"), "{}", finished.stderr);
}

#[tokio::test]
async fn standard_output_has_answers_and_nothing_else() {
    let server = Server::start();
    for arguments in
        [&["sequence", "--json"][..], &["status", "--json"], &["lookup", "--json", "x"]]
    {
        let finished = ask(&server, &[arguments, &["--log", "debug"]].concat()).await;
        assert_eq!(finished.stdout.lines().count(), 1, "{}", finished.stdout);
        parse(&finished.stdout);
    }
}
