//! `backup` and `restore`: what was acknowledged comes back, in a new cluster, and nothing that is
//! handed out comes twice.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rollcall_tests::{
    cluster::Cluster,
    command::{Finished, Running, run, run_with},
    http,
    server::{Server, new_directory, parse_line_of},
    wire::{Client, revision},
};
use serde_json::{Value, json};

/// Runs a command that must do its work; what it printed.
async fn done(folder: &Path, arguments: &[&str]) -> String {
    let finished = run_with(arguments, &[], folder).await;
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    finished.stdout
}

/// Runs a command that must refuse with this status and say all this.
async fn refused(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) -> Finished {
    let finished = run_with(arguments, &[], folder).await;
    assert_eq!(finished.code, Some(code), "{arguments:?}: {}", finished.stderr);
    for part in says {
        assert!(
            finished.stderr.contains(part),
            "{arguments:?}: no {part:?} in {}",
            finished.stderr
        );
    }
    finished
}

/// Takes a backup of this server into `folder`, as a JSON object.
async fn back_up(server: &Server, folder: &Path, file: &str) -> Value {
    let url = server.url();
    let said = done(folder, &["backup", file, "--server", &url, "--json"]).await;
    serde_json::from_str(&said).expect("one JSON object")
}

/// A server on the folder `data` that was restored to, and a client of it.
async fn start_restored(folder: &Path) -> (Running, Client) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let mut server = Running::start_in(folder, &arguments, &[]);
    let line = server.line().await;
    let (_, port) = parse_line_of(1, &line).unwrap_or_else(|| panic!("it said {line}"));
    (server, Client::at(([127, 0, 0, 1], port).into(), 1).await)
}

#[tokio::test]
async fn a_new_cluster_begins_with_what_was_backed_up() {
    let (server, folder) = (Server::start(), new_directory());
    let mut ann = Client::new(&server).await;
    let registered = ann.register("ann", 4711).await;
    assert_eq!(ann.call("GetSequenceNumber", json!({ "count": 7 })).await["first"], 1);
    let taken = back_up(&server, folder.path(), "state.backup").await;
    assert_eq!((&taken["users"], &taken["next_number"]), (&json!(1), &json!(8)), "{taken}");
    // Handed out after the backup: these must not come again.
    let later = ann.call("GetSequenceNumber", json!({ "count": 500 })).await;
    let mut highest = later["first"].as_u64().expect("a number") + 499;
    drop(server);

    let said = done(folder.path(), &["restore", "state.backup", "--data-dir", "data"]).await;
    assert!(said.contains("1 user"), "{said}");
    // It is found again after a restart as well.
    for _ in 0..2 {
        let (server, mut client) = start_restored(folder.path()).await;
        let users = client.lookup(&["ann"]).await;
        assert_eq!(users["users"][0]["addresses"][0]["port"], 4711, "{users}");
        assert!(revision(&users) > registered, "revisions go on above those of before");
        let next = client.call("GetSequenceNumber", json!({})).await["first"].clone();
        assert!(next.as_u64() > Some(highest), "{next} after {highest}");
        highest = next.as_u64().expect("a number");
        let since = json!({ "all": true, "since": registered });
        let subscribed = client.call("Subscribe", since).await;
        assert_eq!(subscribed["recovered"], false, "{subscribed}");
        server.interrupt();
        assert_eq!(server.finished().await.code, Some(0));
    }
}

#[tokio::test]
async fn a_cluster_of_three_begins_with_a_backup_at_its_highest_server() {
    let (server, folder) = (Server::start(), new_directory());
    let mut client = Client::new(&server).await;
    for number in 0..100 {
        client.register(&format!("user-{number}"), 1000 + number).await;
    }
    back_up(&server, folder.path(), "state.backup").await;
    drop(server);
    let to = |id| format!("data/{id}");
    done(folder.path(), &["restore", "state.backup", "--id", "3", "--data-dir", &to(3)]).await;
    let dev = ["dev", "--base-port", "0", "--data-dir", "data"];
    let mut cluster = Running::start_in(folder.path(), &dev, &[]);
    let mut ports = Vec::new();
    for id in 1..=3 {
        let line = cluster.line().await;
        let (_, port) = parse_line_of(id, &line).unwrap_or_else(|| panic!("it said {line}"));
        ports.push((id, port));
    }
    assert_eq!(cluster.line().await, "ready");
    for (id, port) in ports {
        let mut client = Client::at(([127, 0, 0, 1], port).into(), id).await;
        let status = client.call("GetStatus", json!({})).await;
        assert_eq!((&status["users"], &status["epoch"]), (&json!(100), &json!(0)), "{status}");
    }
    cluster.interrupt();
    assert_eq!(cluster.finished().await.code, Some(0));
    // Any other one would begin without it.
    done(folder.path(), &["restore", "state.backup", "--id", "2", "--data-dir", "other"]).await;
    let second = ["serve", "--id", "2", "--data-dir", "other", "--listen", "127.0.0.1:0"];
    let member = ["--member", "3=ws://127.0.0.1:1/peer"];
    refused(folder.path(), &[&second[..], &member].concat(), 2, &["highest id, 3"]).await;
}

/// What one client wrote, one after the other, is in a backup up to some point, and all of it that
/// was answered before.
#[tokio::test]
async fn a_backup_is_of_one_moment() {
    let (cluster, folder) = (Cluster::start(3).await, new_directory());
    let mut writer = Client::new(cluster.server(1)).await;
    let names: Vec<_> = (0..400).map(|number| format!("user-{number:03}")).collect();
    let (half, rest) = names.split_at(200);
    for name in half {
        writer.register(name, 1).await;
    }
    let writes = async {
        for name in rest {
            writer.register(name, 1).await;
        }
    };
    let backup = back_up(cluster.server(2), folder.path(), "state.backup");
    let (taken, ()) = tokio::join!(backup, writes);
    drop(cluster);
    done(folder.path(), &["restore", "state.backup", "--data-dir", "data"]).await;
    let (_server, mut client) = start_restored(folder.path()).await;
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let unknown = client.lookup(&asked).await["unknown"].clone();
    let unknown: Vec<_> = unknown.as_array().expect("a list").iter().collect();
    let there = names.len() - unknown.len();
    assert!(there >= half.len(), "{there} of those before it");
    assert_eq!(unknown, names[there..].iter().collect::<Vec<_>>(), "up to some point");
    assert_eq!(taken["users"], there);
}

#[tokio::test]
async fn a_file_that_is_not_a_whole_backup_is_refused() {
    let (server, folder) = (Server::start(), new_directory());
    Client::new(&server).await.register("ann", 1).await;
    back_up(&server, folder.path(), "good").await;
    let good = fs::read(folder.path().join("good")).expect("it was saved");
    let restore = |file| ["restore", file, "--data-dir", "data"];
    let mut flipped = good.clone();
    let last = flipped.len() - 40;
    flipped[last] ^= 4;
    for (name, content) in [("flipped", &flipped[..]), ("short", &good[..good.len() - 8])] {
        fs::write(folder.path().join(name), content).expect("it can be written");
        let says = [name, "is damaged at byte"];
        refused(folder.path(), &restore(name), 1, &says).await;
    }
    fs::write(folder.path().join("text"), "no backup at all, but long enough to be one")
        .expect("it can be written");
    refused(folder.path(), &restore("text"), 1, &["text is no backup of Rollcall"]).await;
    refused(folder.path(), &restore("missing"), 1, &["missing"]).await;
    assert!(!folder.path().join("data").exists(), "nothing was begun");

    refused(folder.path(), &[&restore("good")[..], &["--next-number", "0"]].concat(), 2, &[]).await;
    done(folder.path(), &restore("good")).await;
    refused(folder.path(), &restore("good"), 1, &["data holds the data of a server"]).await;
}

#[tokio::test]
async fn the_sequence_goes_on_where_it_is_told_to_but_not_back() {
    let (server, folder) = (Server::start(), new_directory());
    Client::new(&server).await.call("GetSequenceNumber", json!({ "count": 99 })).await;
    back_up(&server, folder.path(), "state").await;
    let restore = |number| ["restore", "state", "--data-dir", "data", "--next-number", number];
    refused(folder.path(), &restore("99"), 1, &["cannot go back", "100"]).await;
    done(folder.path(), &restore("1234")).await;
    let (_server, mut client) = start_restored(folder.path()).await;
    assert_eq!(client.call("GetSequenceNumber", json!({})).await["first"], 1234);
}

#[tokio::test]
async fn no_backup_without_a_leader() {
    let alone = Server::with(&["--member", "2=ws://127.0.0.1:1/peer"]);
    let (url, folder) = (alone.url(), new_directory());
    fs::write(folder.path().join("state"), "yesterday's").expect("it can be written");
    let ask = ["backup", "state", "--server", &url, "--timeout", "5s"];
    refused(folder.path(), &ask, 1, &["no_quorum"]).await;
    let nobody = ["backup", "state", "--server", "ws://127.0.0.1:1/ws"];
    refused(folder.path(), &nobody, 3, &[]).await;
    let kept = fs::read_to_string(folder.path().join("state")).expect("it is there");
    assert_eq!(kept, "yesterday's");
    assert_eq!(
        fs::read_dir(folder.path()).expect("it is there").count(),
        1,
        "nothing is left over"
    );

    let usage = run(&["backup"]).await;
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
}

/// Requests that a proxy passes on come from this machine too: what counts is who can read a file.
#[tokio::test]
async fn a_backup_is_for_who_can_read_the_key() {
    let folder = new_directory();
    for server in [Server::start(), Server::on_disk(&[])] {
        for header in ["", "Authorization: Bearer \r\n", "Authorization: Bearer 0123\r\n"] {
            let reply = http::request(&server, "GET", "/backup", header).await;
            assert_eq!(reply.status, 401, "{header}");
            assert!(reply.body.len() < 100, "{header}");
        }
        let reply = http::request(&server, "GET", "/backup", "").await;
        let file = PathBuf::from(reply.header("rollcall-key-file").expect("it says where it is"));
        let mode = fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
        let key = fs::read_to_string(&file).expect("it is ours");
        let header = format!("Authorization: Bearer {key}\r\n");
        let reply = http::request(&server, "GET", "/backup", &header).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.starts_with(b"rollcall"), "a backup");
        fs::remove_file(&file).expect("it is ours");
        let url = server.url();
        let ask = ["backup", "state", "--server", &url];
        refused(folder.path(), &ask, 1, &["the user who runs it", &file.display().to_string()])
            .await;
    }
}

/// Each has a file of its own on the way, and the last one that is whole stays.
#[tokio::test]
async fn two_backups_to_one_file_do_not_meet() {
    let (server, folder) = (Server::start(), new_directory());
    Client::new(&server).await.register("ann", 1).await;
    let taken =
        futures::future::join_all((0..8).map(|_| back_up(&server, folder.path(), "state.backup")));
    assert!(taken.await.iter().all(|taken| taken["users"] == 1));
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is there").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    done(folder.path(), &["restore", "state.backup", "--data-dir", "data"]).await;
}

/// Nobody knows what a server that lost its data had handed out.
#[tokio::test]
async fn a_server_of_its_own_does_not_begin_anew_by_being_readmitted() {
    let (mut server, folder) = (Server::on_disk(&[]), new_directory());
    Client::new(&server).await.call("GetSequenceNumber", json!({})).await;
    back_up(&server, folder.path(), "state").await;
    let data = server.data_dir();
    server.kill9();
    let journal = data.join("journal-0000000001");
    let mut bytes = fs::read(&journal).expect("it is there");
    bytes[50] ^= 1;
    fs::write(&journal, bytes).expect("it can be written");
    let data = data.display().to_string();
    done(folder.path(), &["readmit", "--data-dir", &data]).await;
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data];
    refused(folder.path(), &serve, 1, &["no other server to copy its state", "restore"]).await;
    done(folder.path(), &["restore", "state", "--data-dir", &data]).await;
    let mut restored = Running::start_in(folder.path(), &serve, &[]);
    let (_, port) = parse_line_of(1, &restored.line().await).expect("it listens");
    let mut client = Client::at(([127, 0, 0, 1], port).into(), 1).await;
    let next = client.call("GetSequenceNumber", json!({})).await;
    assert!(next["first"].as_u64() > Some(1_000_000_000), "{next}");
}
