//! Folders that are not for this server, or not for it alone: it does not touch them and says why.

use std::fs;

use rollcall_tests::{
    cluster::Cluster,
    command::{Finished, run},
    http::Metrics,
    server::Server,
    wire::{Client, eventually},
    witness::Witness,
};
use serde_json::json;

use crate::{
    LASTING, assert_says,
    frames::{Files, make_newer},
    newest_journal,
};

/// Runs a server on the folder of another one, which must not get far.
async fn serve(folder: &Server, flags: &[&str]) -> Finished {
    let folder = folder.data_dir().display().to_string();
    let own = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &folder];
    let finished = run(&[&own, flags].concat()).await;
    assert!(finished.stdout.is_empty(), "{flags:?}: {finished:?}");
    assert_says(&finished.stderr, &[&folder]);
    finished
}

#[tokio::test]
async fn a_folder_belongs_to_one_process_at_a_time() {
    let mut server = Server::on_disk(LASTING);
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    let second = serve(&server, &["--id", "1"]).await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert_says(&second.stderr, &["in use", &format!("pid {}", server.pid())]);
    // Nobody noticed.
    let written = client.register("ann", 2).await;
    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");
}

#[tokio::test]
async fn a_folder_of_another_server_or_cluster_is_refused() {
    let mut server = Server::on_disk(LASTING);
    let written = Client::new(&server).await.register("ann", 1).await;
    server.kill9();
    let before = fs::read(server.data_dir().join(newest_journal(&server.data_dir()))).ok();

    let other = serve(&server, &["--id", "2"]).await;
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert_says(&other.stderr, &["belongs to server 1", "this is server 2"]);

    let members = ["--id", "1", "--member", "2=ws://127.0.0.1:9/peer"];
    let larger = serve(&server, &members).await;
    assert_eq!(larger.code, Some(2), "{}", larger.stderr);
    assert_says(&larger.stderr, &["belongs to a cluster of the servers 1"]);

    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");
    assert!(before.is_some());
}

#[tokio::test]
async fn a_server_of_three_is_not_started_as_one_of_its_own() {
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    let written = Client::new(cluster.server(2)).await.register("ann", 1).await;
    cluster.kill9(2);
    for members in [&[][..], &["1"], &["1", "3", "4"], &["1", "4"]] {
        let members = members.iter().map(|id| format!("--member={id}=ws://127.0.0.1:9/peer"));
        let members: Vec<_> = members.collect();
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        let refused = serve(cluster.server(2), &[&["--id", "2"][..], &members].concat()).await;
        assert_eq!(refused.code, Some(2), "{members:?}: {}", refused.stderr);
        assert_says(&refused.stderr, &["belongs to a cluster of the servers 1, 2, 3"]);
    }
    cluster.restart(2).await;
    cluster.wait_ready_of(2).await;
    let answer = Client::new(cluster.server(2)).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_to_that() {
    let mut server = Server::on_disk(LASTING);
    let written = Client::new(&server).await.register("ann", 1).await;
    server.kill9();
    let folder = server.data_dir();
    let whole = Files::read(&folder);
    let name = whole.newest("journal-");
    let mut newer = whole.clone();
    make_newer(newer.bytes_mut(&name));
    newer.lay_out(&folder);
    let refused = serve(&server, &["--id", "1"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert_says(&refused.stderr, &[&name, "format 99", "newer"]);
    // It is no damage, which `readmit` would set aside.
    let path = folder.display().to_string();
    let readmitted = run(&["readmit", "--id", "1", "--data-dir", &path]).await;
    assert_eq!(readmitted.code, Some(1), "{readmitted:?}");
    assert_says(&readmitted.stderr, &["format 99"]);
    assert_eq!(newest_journal(&folder), name);

    whole.lay_out(&folder);
    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");
}

/// Somebody copied the folder of server 3 of another cluster over that of ours.
#[tokio::test]
async fn a_server_with_the_folder_of_another_cluster_is_kept_out() {
    let mut ours = Cluster::on_disk(3, LASTING).await;
    let mut theirs = Cluster::on_disk(3, LASTING).await;
    Client::new(ours.server(1)).await.register("ann", 1).await;
    Client::new(theirs.server(1)).await.register("ann", 2).await;
    theirs.kill9(3);
    ours.kill9(3);
    Files::read(&theirs.server(3).data_dir()).lay_out(&ours.server(3).data_dir());
    let mut witness = Witness::start(vec![ours.place(1), ours.place(2)]).await;
    ours.restart(3).await;
    for id in [1, 2] {
        eventually("it is refused", async || {
            let metrics = Metrics::of(ours.server(id)).await;
            let refused = |reason| {
                metrics.value(&format!("rollcall_peer_links_refused_total{{reason=\"{reason}\"}}"))
            };
            // Which of the two notices first is chance; the other one is told.
            let log = ours.log(id);
            let said = log.contains("it belongs to another cluster");
            let counted = refused("cluster") + refused("by_peer") >= 1.0;
            if said && counted { Ok(()) } else { Err(format!("counted: {counted}; {log}")) }
        })
        .await;
    }
    for _ in 0..3 {
        witness.goes_on(&[1, 2]).await;
        assert!(!ours.is_ready(3).await, "{:?}", ours.status(3).await);
        let mut client = Client::anonymous(ours.server(3)).await;
        let id = client.submit("GetUserAddress", json!({ "usernames": ["ann"] })).await;
        if let Some(reply) = client.reply_unless_closed(id).await {
            assert_eq!(reply["payload"]["code"], "no_quorum", "{reply}");
        }
    }
    witness.finish(&[1, 2]).await;
}
