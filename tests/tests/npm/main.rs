//! The npm package where there is no browser: a program that has it installed, run by Node.js, Deno and
//! Bun against a cluster that loses a server.
//!
//! `cargo xtask test packaged` lays the program out; its sources are in `client-wasm/packaged`.

use std::{fs, process::Stdio};

use rollcall_tests::{PATIENCE, cluster::Cluster, packaged};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
    time::timeout,
};

#[tokio::test]
async fn it_works_in_node() {
    works_in("node").await;
}

#[tokio::test]
async fn it_works_in_deno() {
    works_in("deno").await;
}

#[tokio::test]
async fn it_works_in_bun() {
    works_in("bun").await;
}

async fn works_in(runtime: &str) {
    let mut cluster = Cluster::start(3).await;
    let servers: Vec<String> = cluster.running().into_iter().map(|id| cluster.url(id)).collect();
    let mut child = command(runtime)
        .args(&servers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{runtime} does not start: {error}"));
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert_eq!(said(runtime, &mut lines).await, packaged::seen(), "{runtime}");
    let serving = said(runtime, &mut lines).await;
    let node = serving["node"].as_u64().unwrap_or_else(|| panic!("{runtime}: {serving}"));
    cluster.kill9(node);
    assert_eq!(
        said(runtime, &mut lines).await,
        json!({ "moved": true, "grew": true }),
        "{runtime}"
    );
    let Ok(ended) = timeout(PATIENCE, child.wait()).await else {
        panic!("{runtime} did not end, though its client was closed");
    };
    let status = ended.expect("it can be waited for");
    assert!(status.success(), "{runtime} ended with {status}");
}

/// How the program is started by this runtime.
fn command(runtime: &str) -> Command {
    let file = packaged::folder().join("runtimes.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| packaged::missing(&file, &error));
    let commands: Value = serde_json::from_str(&text).expect("it is JSON");
    let words: Vec<String> =
        serde_json::from_value(commands[runtime].clone()).expect("it is a list of words");
    let (program, args) = words.split_first().expect("it begins with a program");
    let mut command = Command::new(program);
    command.args(args).current_dir(packaged::folder());
    // What it downloads and compiles is nobody else's.
    command.env("DENO_DIR", packaged::folder().join(".deno"));
    command
}

/// The next line that the program says.
async fn said(runtime: &str, lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let Ok(line) = timeout(PATIENCE, lines.next_line()).await else {
        panic!("{runtime} says nothing");
    };
    let line = line.expect("it says UTF-8").unwrap_or_else(|| panic!("{runtime} ended early"));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{runtime}: {error}: {line}"))
}
