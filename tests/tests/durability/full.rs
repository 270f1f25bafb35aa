//! Disks without room: the server ends and says where room is needed, the others go on, and what was
//! acknowledged is there once there is room.

use std::time::{Duration, Instant};

use rollcall_tests::{
    cluster::Cluster,
    disk::SmallDisk,
    roaming::Place,
    server::{Keeps, Server},
    strace::injecting,
    witness::Witness,
};
use tokio::time::sleep;

use crate::{LASTING, assert_says, load::Load};

#[tokio::test]
async fn a_server_whose_disk_fills_up_ends_and_has_everything_once_there_is_room() {
    let mut disk = SmallDisk::new(ONE_SEGMENT);
    let folder = disk.path().join("data");
    let mut server = Server::keeping(Keeps::In(folder.clone()), LASTING);
    let place = Place { id: 1, address: server.address() };
    let witness = Witness::start(vec![place]).await;
    let pouring = Load::new(LARGE).pour(vec![place]);
    wait_for_end(&mut server).await;
    let said = server.gives_up().await;
    let folder = folder.display().to_string();
    assert_says(&said, &[&folder, "No space left", "make room there"]);
    // Long before, while there was still time.
    assert_says(&said, &["there is no room for the next segment"]);

    // It needs room to start as well.
    let (code, said) = server.refuses_to_start().await;
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &[&folder, "No space left"]);

    disk.resize(4 * ONE_SEGMENT);
    server.restart();
    let mut load = pouring.end().await;
    eprintln!("{} writes were acknowledged", load.promised());
    load.finds_everything(place).await;
    let mut witness = witness;
    witness.goes_on(&[1]).await;
    witness.finish(&[1]).await;
}

#[tokio::test]
async fn another_server_leads_when_the_leaders_disk_is_full() {
    // The first leader is the one with the highest number.
    let mut disk = SmallDisk::new(ONE_SEGMENT);
    let folder = disk.path().join("data");
    let keeps = |id| if id == 3 { Keeps::In(folder.clone()) } else { Keeps::OnDisk };
    let mut cluster = Cluster::keeping(3, LASTING, keeps).await;
    let mut witness = Witness::start(cluster.places()).await;
    assert_eq!(cluster.leader().await, 3);
    let pouring = Load::new(LARGE).pour(cluster.places());
    wait_for_end(cluster.server_mut(3)).await;
    let said = cluster.gives_up(3).await;
    assert_says(&said, &[&folder.display().to_string(), "No space left", "make room there"]);
    witness.goes_on(&[1, 2]).await;
    assert_ne!(cluster.leader_among(&[1, 2]).await, 3);

    let mut load = pouring.end().await;
    eprintln!("{} writes were acknowledged", load.promised());
    load.finds_everything(cluster.place(1)).await;
    disk.resize(4 * ONE_SEGMENT);
    cluster.restart(3).await;
    cluster.wait_ready_of(3).await;
    load.finds_everything(cluster.place(3)).await;
    witness.goes_on(&[1, 2, 3]).await;
    // It is worth as much as before.
    cluster.kill9(2);
    witness.goes_on(&[1, 3]).await;
    witness.finish(&[1, 3]).await;
}

/// Here the file system gives no room ahead, so that the disk may be full at any write.
#[tokio::test]
async fn the_others_go_on_when_a_followers_disk_is_full() {
    let disk = SmallDisk::new(ONE_SEGMENT);
    let folder = disk.path().join("data");
    let keeps = |id| if id == 1 { Keeps::In(folder.clone()) } else { Keeps::OnDisk };
    let mut cluster = Cluster::keeping(3, LASTING, keeps).await;
    let mut witness = Witness::start(cluster.places()).await;
    cluster.kill9(1);
    cluster.server_mut(1).wrap(injecting("fallocate", "error=EOPNOTSUPP"));
    cluster.restart(1).await;
    cluster.wait_ready_of(1).await;
    witness.goes_on(&[1, 2, 3]).await;

    disk.fill(64);
    let said = cluster.gives_up(1).await;
    assert_says(&said, &[&folder.display().to_string(), "No space left", "make room there"]);
    witness.goes_on(&[2, 3]).await;

    disk.make_room();
    cluster.restart(1).await;
    cluster.wait_ready_of(1).await;
    witness.goes_on(&[1, 2, 3]).await;
    cluster.kill9(3);
    witness.goes_on(&[1, 2]).await;
    witness.finish(&[1, 2]).await;
}

/// It ends when its segment is full, which takes as long as it takes to write that much.
async fn wait_for_end(server: &mut Server) {
    let deadline = Instant::now() + FILLING;
    while server.is_running() {
        assert!(Instant::now() < deadline, "the disk is not full after {FILLING:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Room for one segment of 16 MiB and what begins the next one, MiB.
const ONE_SEGMENT: u64 = 24;
/// Bytes of a large write.
const LARGE: usize = 900;
const FILLING: Duration = Duration::from_secs(90);
