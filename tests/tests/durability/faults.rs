//! Disks that answer with an error: the server ends and says which file and why, never having
//! acknowledged what it could not store; the others go on, and it finds everything when it is back.

use rollcall_tests::{
    cluster::Cluster,
    disk::SmallDisk,
    roaming::refusal,
    server::{Keeps, Server},
    strace::{Injection, injecting},
    wire::Client,
    witness::Witness,
};
use serde_json::{Value, json};

use crate::{LASTING, assert_says, rounds};

/// What fails from some moment on, and what is said of it.
const FAULTS: [(&str, &str, &[&str]); 5] = [
    ("fdatasync", "error=EIO", &["cannot sync ", "Input/output error"]),
    ("pwrite64", "error=EIO", &["cannot write ", "Input/output error"]),
    ("pwrite64", "error=ENOSPC", &["cannot write ", "No space left", "make room there"]),
    ("fdatasync", "error=ENOSPC", &["cannot sync ", "No space left", "make room there"]),
    // What a file system does that has found a fault in itself: a mount cannot be made read-only by
    // hand while a server has its journal open.
    ("pwrite64,fdatasync", "error=EROFS", &["Read-only file system", "takes nothing any more"]),
];

#[tokio::test]
async fn a_server_of_its_own_acknowledges_nothing_that_it_could_not_store() {
    let mut server = Server::on_disk(LASTING);
    let mut client = Client::new(&server).await;
    let (id, mut written) = (client.id().to_owned(), client.register("ann", 1).await);
    let mut numbers = 0;
    for (port, (calls, wrong, says)) in (2_u16..).zip(FAULTS) {
        let before = client.call("GetSequenceNumber", json!({})).await;
        assert!(before["first"].as_u64() > Some(numbers), "{before} after {numbers}");
        numbers = before["first"].as_u64().expect("a number");
        let injection = Injection::begin(server.pid(), calls, wrong);
        // Nothing gets durable any more, so this has no outcome that could be told.
        let payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": port });
        let request = client.submit("ConnectUser", payload.clone()).await;
        if let Some(reply) = client.reply_unless_closed(request).await {
            assert!(refusal(&reply).is_some(), "{calls} {wrong}: {reply}");
        }
        let said = server.gives_up().await;
        drop(injection);
        assert_says(&said, &[&server.data_dir().display().to_string()]);
        assert_says(&said, says);

        server.restart();
        let mut reader = Client::new(&server).await;
        let seen = seen(&mut reader).await;
        let old = (Some(u64::from(port) - 1), Some(written));
        assert!(seen == old || seen.0 == Some(port.into()), "{seen:?} after {old:?}");
        // The retry has one outcome, and that stands.
        client = Client::with_id(&server, &id).await;
        written = client.call_as(request, "ConnectUser", payload).await["revision"]
            .as_u64()
            .expect("a revision");
        assert_eq!(self::seen(&mut reader).await, (Some(port.into()), Some(written)));
    }
}

/// Where Ann is, and since which revision.
async fn seen(reader: &mut Client) -> (Option<u64>, Option<u64>) {
    let answer = reader.lookup(&["ann"]).await;
    let address = &answer["users"][0]["addresses"][0];
    (address["port"].as_u64(), address["revision"].as_u64())
}

/// Of three servers one is away, so that the two others are needed for anything to be durable.
#[tokio::test]
async fn a_server_that_cannot_store_does_not_count() {
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    for victim_leads in [false, true] {
        let leader = cluster.leader().await;
        let [one, other] = cluster.others(leader)[..] else { panic!("there are three") };
        let (victim, left) = if victim_leads { (leader, one) } else { (one, leader) };
        let mut client = Client::new(cluster.server(left)).await;
        let name = format!("user-{victim_leads}");
        let first = client.register(&name, 1).await;
        cluster.kill9(other);
        let injection = Injection::begin(cluster.server(victim).pid(), "fdatasync", "error=EIO");
        let payload = json!({ "username": name, "ip": "192.0.2.1", "port": 2 });
        let request = client.submit("ConnectUser", payload.clone()).await;
        if let Some(reply) = client.reply_unless_closed(request).await {
            assert!(refusal(&reply).is_some(), "victim leads: {victim_leads}: {reply}");
        }
        let said = cluster.gives_up(victim).await;
        drop(injection);
        assert_says(&said, &["cannot sync "]);
        // The one that is left can promise nothing.
        let mut asking = Client::new(cluster.server(left)).await;
        let id = asking.submit("GetSequenceNumber", json!({})).await;
        if let Some(reply) = asking.reply_unless_closed(id).await {
            assert!(refusal(&reply).is_some(), "{reply}");
        }
        cluster.restart_all(&[victim, other]).await;
        cluster.wait_ready().await;
        let mut client = Client::with_id(cluster.server(other), client.id()).await;
        let second = client.call_as(request, "ConnectUser", payload).await;
        assert!(second["revision"].as_u64() > Some(first), "{second} after {first}");
    }
}

#[tokio::test]
async fn a_server_of_three_whose_disk_fails_ends_and_the_others_go_on() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let mut witness = Witness::start(cluster.places()).await;
    for round in 0..rounds(2 * FAULTS.len()) {
        let (calls, wrong, says) = FAULTS[(round / 2) % FAULTS.len()];
        let leader = cluster.leader().await;
        let victim = if round % 2 == 0 { leader } else { cluster.others(leader)[0] };
        eprintln!("server {victim} where {leader} leads: {calls} {wrong}");
        let injection = Injection::begin(cluster.server(victim).pid(), calls, wrong);
        let said = cluster.gives_up(victim).await;
        drop(injection);
        assert_says(&said, &[&cluster.server(victim).data_dir().display().to_string()]);
        assert_says(&said, says);
        let others = cluster.running();
        witness.goes_on(&others).await;
        assert!(others.contains(&cluster.leader().await));
        cluster.restart(victim).await;
        cluster.wait_ready_of(victim).await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_server_that_cannot_store_at_its_start_does_not_start() {
    let mut server = Server::on_disk(LASTING);
    let mut client = Client::new(&server).await;
    let written = client.register("ann", 1).await;
    let folder = server.data_dir().display().to_string();
    let faults = [
        ("fdatasync,fsync", "error=EIO", "Input/output error"),
        ("fdatasync", "error=EIO", "Input/output error"),
        ("pwrite64", "error=EIO", "Input/output error"),
        ("fallocate", "error=ENOSPC", "No space left"),
        ("rename,renameat,renameat2", "error=EIO", "Input/output error"),
    ];
    for (calls, wrong, says) in faults {
        server.wrap(injecting(calls, wrong));
        let (code, said) = server.refuses_to_start().await;
        assert_eq!(code, Some(1), "{calls} {wrong}: {said}");
        assert_says(&said, &[&folder, says]);
    }
    server.wrap(Vec::new());
    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], Value::from(written), "{answer}");
}

#[tokio::test]
async fn a_folder_that_takes_nothing_is_not_used() {
    let mut disk = SmallDisk::new(64);
    let folder = disk.path().join("data");
    let mut server = Server::keeping(Keeps::In(folder.clone()), LASTING);
    let written = Client::new(&server).await.register("ann", 1).await;
    server.kill9();
    disk.set_read_only(true);
    let (code, said) = server.refuses_to_start().await;
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &[&folder.display().to_string(), "Read-only file system"]);
    disk.set_read_only(false);
    server.restart();
    let answer = Client::new(&server).await.lookup(&["ann"]).await;
    assert_eq!(answer["users"][0]["addresses"][0]["revision"], Value::from(written), "{answer}");
}
