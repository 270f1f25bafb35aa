//! How a server ends: politely with `GoingAway` and 1001, in time whatever clients do, or by force.

use rollcall_tests::{http, raw::RawLink, server::Server, wire::Client};
use serde_json::json;
use tokio::net::TcpStream;

#[tokio::test]
async fn every_link_hears_that_the_server_goes_away() {
    let mut server = Server::start();
    let mut busy = Client::new(&server).await;
    busy.register("ann", 1).await;
    busy.call("Subscribe", json!({ "all": true })).await;
    let mut idle = Client::anonymous(&server).await;
    idle.send_text(r#"{"type":"Ping","id":1}"#).await;
    idle.reply(1).await;
    server.terminate();
    for client in [&mut busy, &mut idle] {
        let push = client.expect_push("GoingAway").await;
        assert!(push["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{push}");
        client.expect_close(1001).await;
    }
    assert!(server.exited().await.success());
    assert!(TcpStream::connect(server.address()).await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_link_in_the_middle_of_work_hears_it_too() {
    let mut server = Server::start();
    let mut client = Client::new(&server).await;
    client.call("Subscribe", json!({ "all": true })).await;
    let mut ids = Vec::new();
    for port in 1..=500 {
        let payload = json!({ "username": "ann", "ip": "::1", "port": port });
        ids.push(client.submit("ConnectUser", payload).await);
    }
    client.reply(ids[0]).await;
    server.terminate();
    client.expect_close(1001).await;
    let said = |kind: &str| client.unread().filter(|message| message["type"] == kind).count();
    assert_eq!(said("GoingAway"), 1);
    // What it still answered was carried out, and so was pushed or cut off by the close.
    assert!(said("Error") == 0, "{:?}", client.unread().find(|message| message["type"] == "Error"));
    assert!(server.exited().await.success());
}

#[tokio::test]
async fn clients_that_do_not_take_part_do_not_hold_it_up() {
    let mut server = Server::start();
    let _half = RawLink::connect(&server).await;
    let mut deaf = RawLink::upgrade(&server).await;
    deaf.send_text(r#"{"type":"Subscribe","id":1,"payload":{"all":true}}"#).await;
    deaf.text().await.expect("a reply");
    let mut keep_alive = RawLink::connect(&server).await;
    keep_alive.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    keep_alive.head().await;
    server.terminate();
    assert!(server.exited().await.success());
}

#[tokio::test]
async fn a_server_that_shuts_down_is_not_ready_any_more() {
    // It can be asked only while a client that takes no part holds it up, two seconds at most: on
    // a machine that slept through them, once more.
    let mut answer = None;
    for _ in 0..ATTEMPTS {
        answer = readiness_while_it_ends().await;
        if answer.is_some() {
            break;
        }
    }
    let answer = answer.expect("it answers while it ends");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// What a server answers on an open connection when it has begun to end; none where it was gone
/// before it could be asked.
async fn readiness_while_it_ends() -> Option<String> {
    // With one thread for all connections, the deaf one holds up the others too.
    let server = Server::with(&["--threads", "1"]);
    let mut operator = RawLink::connect(&server).await;
    operator.send(READY).await;
    let head = operator.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut deaf = RawLink::upgrade(&server).await;
    deaf.send_text(r#"{"type":"Ping","id":1}"#).await;
    deaf.text().await.expect("a reply");
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
    server.terminate();
    client.expect_push("GoingAway").await;
    operator.send(READY).await;
    // After the body of the answer before.
    let rest = String::from_utf8(operator.rest().await).expect("HTTP is text");
    rest.find("HTTP/1.1").map(|at| rest[at..].to_owned())
}

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
const ATTEMPTS: usize = 5;

#[tokio::test]
async fn a_killed_server_is_back_on_its_port_at_once() {
    let mut server = Server::start();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::new(&server).await;
        client.call("Ping", json!({})).await;
        clients.push(client);
    }
    let before = server.address();
    server.restart();
    assert_eq!(server.address(), before);
    for client in &mut clients {
        assert_eq!(client.close_code().await, None);
    }
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
    assert_eq!(http::get(&server, "/readyz").await.status, 200);
}
