//! Where `serve` and `dev` keep their state, and that they find it again.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rollcall_tests::{
    command::Running,
    server::{new_directory, parse_line_of, send_signal},
    wire::Client,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Runs `serve` in a folder, takes a number from it and ends it; that number and the cluster's life.
async fn serve_once(folder: &Path, flags: &[&str], environment: &[(&str, &str)]) -> (u64, Value) {
    let own = ["serve", "--id", "4", "--listen", "127.0.0.1:0"];
    let mut server = Running::start_in(folder, &[&own, flags].concat(), environment);
    let line = server.line().await;
    let (_, port) = parse_line_of(4, &line).unwrap_or_else(|| panic!("it said {line}"));
    let got = number_and_life(port, 4).await;
    server.interrupt();
    let finished = server.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    got
}

async fn number_and_life(port: u16, id: u64) -> (u64, Value) {
    let mut client = Client::at(([127, 0, 0, 1], port).into(), id).await;
    let life = client.call("Hello", json!({})).await["cluster"].clone();
    let number = client.call("GetSequenceNumber", json!({})).await;
    (number["first"].as_u64().expect("a number"), life)
}

/// Whether a server has kept something in this folder, which is nobody else's business then.
#[track_caller]
fn assert_kept(folder: &Path) {
    let names: Vec<_> = entries(folder).iter().map(|path| path.display().to_string()).collect();
    assert!(names.iter().any(|name| name.contains("journal-")), "{names:?}");
    let mode = fs::metadata(folder).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", folder.display());
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

#[tokio::test]
async fn serve_keeps_its_state_below_where_it_is_started_unless_told_otherwise() {
    let folder = new_directory();
    let (first, life) = serve_once(folder.path(), &[], &[]).await;
    assert_eq!(first, 1);
    assert_kept(&folder.path().join("rollcall-data/4"));
    assert_eq!(serve_once(folder.path(), &[], &[]).await, (2, life));
}

#[tokio::test]
async fn serve_keeps_its_state_where_it_is_told_to() {
    let folder = new_directory();
    let (_, life) = serve_once(folder.path(), &["--data-dir", "some/where"], &[]).await;
    assert_kept(&folder.path().join("some/where"));
    let told = [("ROLLCALL_DATA_DIR", "some/where")];
    assert_eq!(serve_once(folder.path(), &[], &told).await, (2, life.clone()));
    fs::write(folder.path().join("it.toml"), "data_dir = \"some/where\"\n").expect("it is ours");
    assert_eq!(serve_once(folder.path(), &["--config", "it.toml"], &[]).await, (3, life));
    assert!(!folder.path().join("rollcall-data").exists());
}

#[tokio::test]
async fn serve_in_memory_leaves_nothing_behind() {
    let folder = new_directory();
    let (first, life) = serve_once(folder.path(), &["--in-memory"], &[]).await;
    let (again, another_life) = serve_once(folder.path(), &["--in-memory"], &[]).await;
    assert_eq!((first, again), (1, 1));
    assert_ne!(life, another_life);
    assert_eq!(entries(folder.path()), NOTHING);
}

/// A local cluster of two that has its temporary files in this folder.
async fn dev(folder: &Path, flags: &[&str]) -> (Running, Vec<u16>) {
    let own = ["dev", "--base-port", "0", "--size", "2"];
    let temporary = folder.display().to_string();
    let environment = [("TMPDIR", temporary.as_str())];
    let mut dev = Running::start_in(folder, &[&own, flags].concat(), &environment);
    let mut ports = Vec::new();
    for id in [1, 2] {
        let line = dev.line().await;
        let (_, port) = parse_line_of(id, &line).unwrap_or_else(|| panic!("it said {line}"));
        ports.push(port);
    }
    assert_eq!(dev.line().await, "ready");
    (dev, ports)
}

#[tokio::test]
async fn dev_keeps_its_state_among_the_temporary_files_and_removes_it_at_the_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = new_directory();
        let (dev, ports) = dev(folder.path(), &[]).await;
        assert_eq!(number_and_life(ports[0], 1).await.0, 1);
        let [data] = &entries(folder.path())[..] else { panic!("{:?}", entries(folder.path())) };
        for id in ["1", "2"] {
            assert_kept(&data.join(id));
        }
        send_signal(dev.pid(), signal);
        let finished = dev.finished().await;
        let said = format!("data: {} (removed at the end)", data.display());
        assert!(finished.stderr.contains(&said), "no {said:?} in {}", finished.stderr);
        assert_eq!(entries(folder.path()), NOTHING, "{}", finished.stderr);
    }
}

#[tokio::test]
async fn dev_finds_its_state_again_in_a_folder_that_it_was_told() {
    let folder = new_directory();
    let mut life = None;
    for number in 1..=3 {
        let (dev, ports) = dev(folder.path(), &["--data-dir", "kept"]).await;
        let (found, this_life) = number_and_life(ports[1], 2).await;
        assert_eq!(found, number);
        assert_eq!(*life.get_or_insert_with(|| this_life.clone()), this_life);
        dev.interrupt();
        let finished = dev.finished().await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(!finished.stderr.contains("removed"), "{}", finished.stderr);
        for id in ["1", "2"] {
            assert_kept(&folder.path().join("kept").join(id));
        }
        assert_eq!(entries(folder.path()).len(), 1, "{:?}", entries(folder.path()));
    }
}

#[tokio::test]
async fn dev_in_memory_leaves_nothing_behind() {
    let folder = new_directory();
    let (dev, _) = dev(folder.path(), &["--in-memory"]).await;
    assert_eq!(entries(folder.path()), NOTHING);
    dev.interrupt();
    let finished = dev.finished().await;
    assert!(!finished.stderr.contains("data:"), "{}", finished.stderr);
    assert_eq!(entries(folder.path()), NOTHING);
}

/// What is in an empty folder.
const NOTHING: [PathBuf; 0] = [];
