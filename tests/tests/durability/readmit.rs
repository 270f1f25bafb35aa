//! `rollcall readmit`: a server whose folder is damaged begins blank and is admitted again; a folder
//! that is not damaged is left alone.

use std::fs;

use rollcall_tests::{
    cluster::Cluster,
    command::{Finished, run},
    http::Metrics,
    server::Server,
    wire::Client,
    witness::Witness,
};
use serde_json::Value;
use tokio::time::{Duration, sleep};

use crate::{
    LASTING, assert_says, files_of,
    frames::{Files, boundaries},
};

async fn readmit(server: &Server, id: u64) -> Finished {
    let folder = server.data_dir().display().to_string();
    run(&["readmit", "--id", &id.to_string(), "--data-dir", &folder]).await
}

#[tokio::test]
async fn a_server_whose_folder_is_damaged_begins_anew_and_is_worth_as_much_as_before() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    let mut victim = cluster.leader().await;
    for _ in 0..2 {
        cluster.kill9(victim);
        witness.goes_on(&cluster.running()).await;
        damage(cluster.server(victim));
        let (code, said) = cluster.server_mut(victim).refuses_to_start().await;
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &["is damaged at byte", "rollcall readmit"]);
        assert_says(&said, &[&cluster.server(victim).data_dir().display().to_string()]);

        let readmitted = readmit(cluster.server(victim), victim).await;
        assert_eq!(readmitted.code, Some(0), "{readmitted:?}");
        assert_says(&readmitted.stdout, &["is damaged at byte", "begins blank"]);
        let folder = cluster.server(victim).data_dir();
        assert_eq!(files_of(&folder), [""; 0], "nothing is left of the damaged journal");
        // Somebody may still want to look at it.
        let aside = readmitted.stdout.lines().find_map(|line| line.strip_prefix("moved to "));
        let aside = aside.unwrap_or_else(|| panic!("{}", readmitted.stdout));
        assert!(!files_of(aside.as_ref()).is_empty(), "{aside}");

        cluster.restart(victim).await;
        cluster.is_admitted(victim).await;
        witness.goes_on(&[1, 2, 3]).await;
        is_a_follower(&cluster, victim).await;
        // Without it the next one could not go.
        let leader = cluster.leader().await;
        cluster.kill9(leader);
        witness.goes_on(&cluster.running()).await;
        cluster.restart(leader).await;
        cluster.wait_ready_of(leader).await;
        witness.goes_on(&[1, 2, 3]).await;
        victim = cluster.others(cluster.leader().await)[0];
    }
    // It finds again what it copied.
    for id in [1, 2, 3] {
        cluster.kill9(id);
    }
    cluster.restart_all(&[1, 2, 3]).await;
    cluster.wait_ready().await;
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

/// Everybody who may want to know sees that it takes part.
async fn is_a_follower(cluster: &Cluster, id: u64) {
    let metrics = Metrics::of(cluster.server(id)).await;
    assert_eq!(metrics.value("rollcall_role{role=\"follower\"}"), 1.0, "server {id}");
    assert_eq!(metrics.value("rollcall_role{role=\"blank\"}"), 0.0, "server {id}");
    let status = run(&["status", "--server", &cluster.url(id), "--json"]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).expect("it prints JSON");
    assert_eq!((&status["node"], &status["role"]), (&id.into(), &"follower".into()), "{status}");
}

/// Flips a bit of the first records, which nobody can take for left unfinished.
fn damage(server: &Server) {
    let folder = server.data_dir();
    let files = Files::read(&folder);
    let name = files.newest("journal-");
    let mut bytes = files.bytes(&name).clone();
    let records = boundaries(&bytes)[1];
    bytes[records] ^= 0x10;
    fs::write(folder.join(name), bytes).expect("the folder is ours");
}

#[tokio::test]
async fn a_sound_folder_is_left_alone() {
    let mut server = Server::on_disk(LASTING);
    let folder = server.data_dir();
    let mut client = Client::new(&server).await;
    let written = client.register("ann", 1).await;

    let running = readmit(&server, 1).await;
    assert_eq!(running.code, Some(1), "{running:?}");
    assert_says(&running.stderr, &["in use", &format!("pid {}", server.pid())]);

    sleep(Duration::from_millis(50)).await;
    server.kill9();
    let before = files_of(&folder);
    let sound = readmit(&server, 1).await;
    assert_eq!(sound.code, Some(1), "{sound:?}");
    assert_says(&sound.stderr, &["is not damaged", &folder.display().to_string()]);

    let other = readmit(&server, 2).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert_says(&other.stderr, &["belongs to server 1"]);

    let parent = folder.parent().expect("it lies in a folder").display().to_string();
    for nothing in [parent.clone(), format!("{parent}/nowhere")] {
        let refused = run(&["readmit", "--id", "1", "--data-dir", &nothing]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert_says(&refused.stderr, &["holds nothing of a server"]);
    }
    assert_eq!(files_of(&folder), before);
    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], written, "{answer}");
}
