//! `serve` and `dev`: the lines they print, how they end, and that each server is its own process.

use std::net::Ipv4Addr;

use rollcall_tests::{
    command::{Running, run},
    server::{Server, parse_line_of, parse_ready_line, process_is_alive, send_signal},
    wire::{Client, eventually},
};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

/// A local cluster of one server as it is without being told more. Only its port is free.
async fn dev() -> (Running, u32, u16) {
    let mut dev = Running::start(&["dev", "--base-port", "0", "--size", "1"]);
    let line = dev.line().await;
    let (pid, port) = parse_ready_line(&line).unwrap_or_else(|| panic!("it said {line}"));
    assert_eq!(dev.line().await, "ready");
    (dev, pid, port)
}

async fn wait_until_gone(pid: u32) {
    eventually("the server of dev ends", async || match process_is_alive(pid) {
        true => Err(format!("process {pid} runs")),
        false => Ok(()),
    })
    .await;
}

#[tokio::test]
async fn dev_runs_its_server_as_a_child_and_ctrl_c_ends_both() {
    let (dev, pid, port) = dev().await;
    assert_ne!(dev.pid(), pid);
    let mut client = Client::dial(([127, 0, 0, 1], port).into(), None).await;
    assert_eq!(client.call("Hello", json!({})).await["node"], 1);
    dev.interrupt();
    client.expect_close(1001).await;
    let finished = dev.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    // Where its console is, for the person in front of it.
    let console = format!("console: http://127.0.0.1:{port}/");
    assert!(finished.stderr.contains(&console), "{}", finished.stderr);
    wait_until_gone(pid).await;
}

/// A local cluster of several servers; the process id and port of each.
async fn dev_of(flags: &[&str], size: u64) -> (Running, Vec<(u32, u16)>) {
    let mut dev = Running::start(&[&["dev", "--base-port", "0"], flags].concat());
    let mut servers = Vec::new();
    for id in 1..=size {
        let line = dev.line().await;
        let server = parse_line_of(id, &line);
        servers.push(server.unwrap_or_else(|| panic!("instead of server {id}'s it said {line}")));
    }
    assert_eq!(dev.line().await, "ready");
    (dev, servers)
}

#[tokio::test]
async fn dev_runs_three_servers_unless_told_otherwise_and_they_are_one_system() {
    let (dev, servers) = dev_of(&[], 3).await;
    let mut leaders = Vec::new();
    for (id, (_, port)) in (1..).zip(&servers) {
        let mut client = Client::at(([127, 0, 0, 1], *port).into(), id).await;
        let number = client.call("GetSequenceNumber", json!({})).await;
        assert_eq!(number["first"], id, "each server goes on where the others are");
        let status = client.call("GetStatus", json!({})).await;
        assert_eq!(status["node"], id);
        assert_eq!(status["members"].as_array().map(Vec::len), Some(3), "{status}");
        leaders.push(status["leader"].clone());
    }
    assert!(leaders[0].is_u64() && leaders.iter().all(|it| *it == leaders[0]), "{leaders:?}");
    dev.interrupt();
    let finished = dev.finished().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for (pid, _) in servers {
        wait_until_gone(pid).await;
    }
}

#[tokio::test]
async fn dev_of_an_even_size_says_what_that_means_and_goes_on_without_a_follower() {
    for (size, rule) in [(2, "the leader goes on alone"), (4, "of two equal halves")] {
        let (dev, servers) = dev_of(&["--size", &size.to_string()], size).await;
        let (_, port) = servers[0];
        let mut client = Client::at(([127, 0, 0, 1], port).into(), 1).await;
        client.call("GetSequenceNumber", json!({})).await;
        dev.interrupt();
        let finished = dev.finished().await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains(rule), "no {rule:?} in {}", finished.stderr);
    }
}

#[tokio::test]
async fn dev_goes_on_when_one_of_its_servers_is_killed() {
    let (dev, servers) = dev_of(&["--size", "3"], 3).await;
    let (pid, _) = servers[2];
    send_signal(pid, Signal::KILL);
    let mut client = Client::at(([127, 0, 0, 1], servers[0].1).into(), 1).await;
    eventually("two of three go on", async || {
        let reply = client.request("GetSequenceNumber", json!({})).await;
        if reply["type"] == "SequenceNumber" { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    dev.interrupt();
    let finished = dev.finished().await;
    assert!(finished.stderr.contains("server 3 has ended"), "{}", finished.stderr);
}

#[tokio::test]
async fn dev_starts_no_server_again_and_ends_when_none_is_left() {
    let (dev, pid, port) = dev().await;
    send_signal(pid, Signal::KILL);
    let finished = dev.finished().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    for said in ["server 1 has ended", "it is not started again", "no server is left"] {
        assert!(finished.stderr.contains(said), "no {said:?} in {}", finished.stderr);
    }
    let again = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    assert!(again.is_err(), "port {port} is served again");
}

#[tokio::test]
async fn dev_ends_its_server_when_it_is_terminated_too() {
    let (dev, pid, _) = dev().await;
    send_signal(dev.pid(), Signal::TERM);
    dev.finished().await;
    wait_until_gone(pid).await;
}

#[tokio::test]
async fn dev_passes_its_flags_on() {
    let arguments =
        ["dev", "--size", "1", "--base-port", "0", "--in-memory", "--session-grace-ms", "77"];
    let mut dev = Running::start(&arguments);
    let (_, port) = parse_ready_line(&dev.line().await).expect("a ready line");
    let mut client = Client::dial(([127, 0, 0, 1], port).into(), None).await;
    assert_eq!(client.call("Hello", json!({})).await["session_grace_ms"], 77);
    dev.interrupt();
    dev.finished().await;
}

#[tokio::test]
async fn serve_ends_well_on_ctrl_c() {
    let mut server =
        Running::start(&["serve", "--id", "1", "--in-memory", "--listen", "127.0.0.1:0"]);
    let (pid, _) = parse_ready_line(&server.line().await).expect("a ready line");
    assert_eq!(pid, server.pid());
    server.interrupt();
    assert_eq!(server.finished().await.code, Some(0));
}

#[tokio::test]
async fn a_server_on_all_interfaces_sees_clients_at_their_real_address() {
    let mut server = Running::start(&["serve", "--id", "1", "--in-memory", "--listen", "[::]:0"]);
    let line = server.line().await;
    let url = line.rsplit(' ').next().expect("a URL");
    let port = url.rsplit(':').next().and_then(|rest| rest.strip_suffix("/ws"));
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
    // It prints a URL that can be used on this machine.
    assert_eq!(run(&["status", "--server", url]).await.code, Some(0), "{url}");
    let mut client = Client::dial(([127, 0, 0, 1], port).into(), None).await;
    assert_eq!(client.call("Hello", json!({})).await["observed"]["ip"], "127.0.0.1");
    server.interrupt();
    assert_eq!(server.finished().await.code, Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_said_clearly() {
    let server = Server::start();
    let address = server.address().to_string();
    let second = run(&["serve", "--id", "1", "--in-memory", "--listen", &address]).await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(&address), "{}", second.stderr);
    assert!(second.stdout.is_empty(), "{}", second.stdout);
}
