//! Whoever knocks at `/peer` and is none of the servers, or is another one than it should be: refused
//! with a reason, counted, and nobody else is disturbed.

use std::{net::Ipv4Addr, time::Duration};

use rollcall_tests::{
    cluster::Cluster,
    http::{Metrics, Response},
    raw::{BINARY, FINAL, RawLink, TEXT, frame_header},
    server::Server,
    wire::{eventually, within},
    witness::Witness,
};
use tokio::{net::TcpListener, time::Instant};

/// What a server of a cluster of three says of itself when it dials.
#[derive(Clone, Copy)]
struct Introduction {
    node: &'static str,
    wanted: &'static str,
    process: &'static str,
    members: &'static str,
    protocol: &'static str,
    more: &'static str,
}

impl Introduction {
    /// A good one: server 3 dials server 1.
    const GOOD: Self = Self {
        node: "3",
        wanted: "1",
        process: "00000000000000ff",
        members: "3,2,1",
        protocol: "rollcall.peer.v1",
        more: "",
    };

    fn request(&self) -> String {
        let Self { node, wanted, process, members, protocol, more } = self;
        let mut headers = String::new();
        let known = [
            ("Rollcall-Node", node),
            ("Rollcall-Wanted", wanted),
            ("Rollcall-Process", process),
            ("Rollcall-Members", members),
            ("Sec-WebSocket-Protocol", protocol),
        ];
        for (name, value) in known.iter().filter(|(_, value)| !value.is_empty()) {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        format!(
            "GET /peer HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}{more}\r\n"
        )
    }
}

async fn refusals(server: &Server, reason: &str) -> f64 {
    let sample = format!("rollcall_peer_links_refused_total{{reason=\"{reason}\"}}");
    Metrics::of(server).await.value(&sample)
}

#[tokio::test]
async fn who_is_no_member_is_refused_and_told_why() {
    let good = Introduction::GOOD;
    let cases = [
        ("malformed", Introduction { node: "", ..good }),
        ("malformed", Introduction { node: "0", ..good }),
        ("malformed", Introduction { node: "three", ..good }),
        ("malformed", Introduction { wanted: "", ..good }),
        ("malformed", Introduction { process: "", ..good }),
        ("malformed", Introduction { process: "no number", ..good }),
        ("malformed", Introduction { members: "", ..good }),
        ("malformed", Introduction { members: "1,,3", ..good }),
        ("malformed", Introduction { members: "1,2,3,4,5,6,7,8,9", ..good }),
        ("version", Introduction { protocol: "", ..good }),
        ("version", Introduction { protocol: "rollcall.peer.v999", ..good }),
        ("version", Introduction { protocol: "rollcall.v1.json", ..good }),
        ("page", Introduction { more: "Origin: http://127.0.0.1\r\n", ..good }),
        ("elsewhere", Introduction { wanted: "2", ..good }),
        ("duplicate_id", Introduction { node: "1", ..good }),
        ("duplicate_id", good),
        ("members", Introduction { node: "9", ..good }),
        ("members", Introduction { members: "3,2,1,4", ..good }),
        ("members", Introduction { members: "3,1", ..good }),
    ];
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let server = cluster.server(1);
    for (reason, introduction) in cases {
        let before = refusals(server, reason).await;
        let mut link = RawLink::connect(server).await;
        link.send(introduction.request().as_bytes()).await;
        let response = Response::parse(link.head().await.as_bytes());
        assert!((400..500).contains(&response.status), "{reason}: {response:?}");
        let why = response.header("rollcall-refusal").unwrap_or_default();
        assert!(!why.is_empty(), "{reason}: {response:?}");
        assert_eq!(refusals(server, reason).await, before + 1.0, "{reason}: {why}");
    }
    assert!(cluster.log(1).contains("refused"), "{}", cluster.log(1));
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_plain_request_is_no_peer() {
    let cluster = Cluster::start(3).await;
    let response = rollcall_tests::http::get(cluster.server(2), "/peer").await;
    assert!((400..500).contains(&response.status), "{response:?}");
    cluster.wait_ready().await;
}

/// A place that is free: server 3 has died, so whoever says that it is server 3 is believed at first.
#[tokio::test]
async fn who_talks_garbage_is_shown_the_door() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    cluster.kill9(3);
    witness.goes_on(&[1, 2]).await;
    let mut huge = frame_header(FINAL | BINARY, 0x80, 1 << 40);
    huge.extend([0; 64]);
    let frame = |first, payload: &[u8]| rollcall_tests::raw::encode_frame(first, payload);
    let garbage = [
        frame(FINAL | BINARY, &[]),
        frame(FINAL | BINARY, &[0xFF; 64]),
        frame(FINAL | BINARY, b"GET / HTTP/1.1\r\n\r\n"),
        frame(FINAL | TEXT, b"{}{}"),
        frame(FINAL | TEXT, &[0xC3, 0x28]),
        frame(0xF0 | BINARY, &[1, 2, 3]),
        huge,
        vec![0; 4096],
    ];
    for (number, bytes) in garbage.into_iter().enumerate() {
        let before = refusals(cluster.server(1), "garbage").await;
        let mut link = RawLink::connect(cluster.server(1)).await;
        link.send(Introduction::GOOD.request().as_bytes()).await;
        let head = link.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        link.send(&bytes).await;
        // It ends the link, whatever it had to say before.
        link.rest().await;
        eventually("it is counted", async || {
            let refused = refusals(cluster.server(1), "garbage").await - before;
            if refused == 1.0 { Ok(()) } else { Err(format!("number {number}: {refused}")) }
        })
        .await;
        witness.goes_on(&[1, 2]).await;
    }
    // The real one is welcome all the same.
    cluster.restart(3).await;
    cluster.is_admitted(3).await;
    witness.goes_on(&[1, 2, 3]).await;
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn servers_that_were_told_something_else_are_kept_out() {
    let cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    let at = |id, of: u64| format!("{id}=ws://{}/peer", cluster.address(of));
    let cases = [
        // Somebody started server 3 a second time, elsewhere.
        ("duplicate_id", 3, vec![at(1, 1), at(2, 2)]),
        // Somebody thinks that there are four.
        ("members", 4, vec![at(1, 1), at(2, 2), at(3, 3)]),
        // Somebody thinks that there are two.
        ("members", 2, vec![at(1, 1)]),
        // Somebody mixed up addresses.
        ("elsewhere", 3, vec![at(1, 2), at(2, 1)]),
    ];
    for (reason, id, members) in cases {
        let before = refusals(cluster.server(1), reason).await;
        let flags = members.iter().flat_map(|member| ["--member".to_owned(), member.clone()]);
        let mut stranger = Server::begin(id, flags.collect());
        stranger.listens().await;
        eventually("it is refused", async || {
            let refused = refusals(cluster.server(1), reason).await - before;
            if refused >= 1.0 { Ok(()) } else { Err(format!("{reason}: {}", cluster.log(1))) }
        })
        .await;
        // It learns of it, for whoever looks for the reason there.
        eventually("it says so", async || match stranger.log().contains("refuses") {
            true => Ok(()),
            false => Err(stranger.log()),
        })
        .await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

/// Server 3 of another cluster with the same members, which finds ours where its own were.
#[tokio::test]
async fn a_server_of_another_cluster_is_kept_out() {
    let mut ours = Cluster::start(3).await;
    let mut theirs = Cluster::start(3).await;
    ours.kill9(3);
    let mut witness = Witness::start(vec![ours.place(1), ours.place(2)]).await;
    for id in [1, 2] {
        theirs.mislead(3, id, ours.address(id));
        theirs.kill9(id);
    }
    for id in [1, 2] {
        refused_for(&ours, id, "cluster").await;
        comes_to_say(&ours, id, "it belongs to another cluster").await;
    }
    eventually("it says so", async || match theirs.log(3).contains("belongs to another cluster") {
        true => Ok(()),
        false => Err(theirs.log(3)),
    })
    .await;
    witness.goes_on(&[1, 2]).await;
    witness.finish(&[1, 2]).await;
}

/// Server 3 comes back with another idea of how long sessions last.
#[tokio::test]
async fn a_server_with_other_limits_is_kept_out() {
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(vec![cluster.place(1), cluster.place(2)]).await;
    cluster.kill9(3);
    let at = |id| format!("{id}=ws://{}/peer", cluster.address(id));
    let flags = ["--member", &at(1), "--member", &at(2), "--session-grace-ms", "77"];
    let mut stranger = Server::begin(3, flags.iter().map(ToString::to_string).collect());
    stranger.listens().await;
    for id in [1, 2] {
        refused_for(&cluster, id, "settings").await;
        comes_to_say(&cluster, id, "give all servers the same ones").await;
    }
    witness.goes_on(&[1, 2]).await;
    witness.finish(&[1, 2]).await;
}

async fn refused_for(cluster: &Cluster, id: u64, reason: &str) {
    // Which of the two notices first is chance; the other one is told.
    eventually("it is refused", async || {
        let server = cluster.server(id);
        let refused = refusals(server, reason).await + refusals(server, "by_peer").await;
        if refused >= 1.0 { Ok(()) } else { Err(format!("{reason}: {}", cluster.log(id))) }
    })
    .await;
}

/// What is counted is in the log a moment later.
async fn comes_to_say(cluster: &Cluster, id: u64, what: &str) {
    eventually("it says why", async || {
        let log = cluster.log(id);
        if log.contains(what) { Ok(()) } else { Err(format!("no {what:?} in {log}")) }
    })
    .await;
}

/// Where nobody answers as a server, it is asked again for ever, but not without a pause.
#[tokio::test]
async fn a_server_that_is_not_there_is_dialled_with_patience() {
    const DIALS: usize = 8;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let member = format!("1=ws://{address}/peer");
    let mut server = Server::begin(2, vec!["--member".to_owned(), member]);
    server.listens().await;
    let mut dialled = Vec::new();
    while dialled.len() < DIALS {
        // Whoever dials finds the connection closed.
        drop(within("a dial", listener.accept()).await.expect("it is accepted"));
        dialled.push(Instant::now());
    }
    // The pauses before the last three are 160, 320 and 500 ms; the machine may blur that, but not
    // to nothing.
    let waited = dialled[DIALS - 1] - dialled[DIALS - 4];
    assert!(waited > Duration::from_millis(500), "only {waited:?}");
}
