//! The way to a link: subprotocols, browsers' origins, deadlines before the first message.

use std::time::{Duration, Instant};

use rollcall_tests::{
    http,
    raw::{FINAL, PING, RawLink, TEXT, encode_frame, upgrade_request},
    server::Server,
    wire::Client,
};
use serde_json::json;

#[tokio::test]
async fn the_subprotocol_is_chosen_if_it_is_offered() {
    let server = Server::start();
    let offers = [
        "Sec-WebSocket-Protocol: rollcall.v1.json\r\n",
        "Sec-WebSocket-Protocol: rollcall.v9.cbor, rollcall.v1.json\r\n",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: rollcall.v1.json\r\n",
    ];
    for offer in offers {
        let response = http::upgrade(&server, offer).await;
        assert_eq!(response.status, 101, "{offer}");
        assert_eq!(response.header("sec-websocket-protocol"), Some("rollcall.v1.json"), "{offer}");
    }
}

#[tokio::test]
async fn without_an_offer_there_is_no_subprotocol_in_the_answer() {
    let server = Server::start();
    let response = http::upgrade(&server, "").await;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-protocol"), None);
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[tokio::test]
async fn only_foreign_subprotocols_are_refused() {
    let server = Server::start();
    for offer in ["chat", "rollcall.v2.json, chat", "ROLLCALL.V1.JSON", "rollcall.v1.json2"] {
        let header = format!("Sec-WebSocket-Protocol: {offer}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, 400, "{offer}");
    }
}

#[tokio::test]
async fn pages_of_any_loopback_origin_may_connect() {
    let server = Server::start();
    let origins = [
        "http://localhost",
        "http://localhost:8080",
        "http://127.0.0.1:3000",
        "http://127.8.7.6",
        "https://localhost:8443",
        "http://[::1]:5000",
    ];
    for origin in origins {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, 101, "{origin}");
    }
}

/// A console goes on with another server when its own is lost, wherever origins are looked at.
#[tokio::test]
async fn the_consoles_of_the_other_members_may_connect() {
    let table = "[tokens]\nsecret = \"ann\"\n";
    let member = |id: u32| format!("--member={id}=ws://127.0.0.1:{id}/peer");
    let server = Server::with_tokens(table, &[&member(2), &member(3)]);
    for (origin, status) in [
        ("http://127.0.0.1:2", 101),
        ("http://127.0.0.1:3", 101),
        ("http://127.0.0.1:4", 403),
        ("https://127.0.0.1:2", 403),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let server = Server::start();
    let origins = [
        "http://example.org",
        "https://evil.example:443",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1:80@example.org",
        "http://192.0.2.1",
        "http://[::2]",
        "null",
        "",
        "localhost",
    ];
    for origin in origins {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, 403, "{origin:?}");
    }
}

#[tokio::test]
async fn a_server_for_other_machines_accepts_no_page_that_is_not_configured() {
    let flags = ["--allow-origin", "https://app.example.org"];
    let server = Server::on_all_interfaces(&flags);
    for (origin, status) in [
        ("https://app.example.org", 101),
        ("http://localhost:8080", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://example.org", 403),
        // Its own console, as seen from here.
        (&server.http(), 101),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, status, "{origin}");
    }
    // What is no page says no origin.
    assert_eq!(http::upgrade(&server, "").await.status, 101);
}

#[tokio::test]
async fn configured_origins_may_connect() {
    let server = Server::with(&["--allow-origin", "https://app.example.org"]);
    for (origin, status) in [
        ("https://app.example.org", 101),
        ("http://localhost:1", 101),
        ("http://app.example.org", 403),
        ("https://app.example.org:444", 403),
        ("https://app.example.org.evil.example", 403),
        ("https://example.org", 403),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(http::upgrade(&server, &header).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn with_tokens_only_configured_origins_may_connect() {
    let table = "[tokens]\n\"t\" = \"ann\"\n";
    let server = Server::with_tokens(table, &["--allow-origin", "https://app.example.org"]);
    for (header, status) in [
        ("Origin: https://app.example.org\r\n", 101),
        ("Origin: http://localhost:8080\r\n", 403),
        ("", 101),
    ] {
        assert_eq!(http::upgrade(&server, header).await.status, status, "{header:?}");
    }
}

#[tokio::test]
async fn what_is_no_proper_upgrade_is_answered_by_http() {
    let server = Server::start();
    let good = upgrade_request("");
    let cases = [
        (
            "no upgrade at all",
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        ),
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("another version", good.replace("Version: 13", "Version: 8")),
        ("another protocol", good.replace("Upgrade: websocket", "Upgrade: h2c")),
        ("another method", good.replace("GET /ws", "POST /ws")),
    ];
    for (what, request) in cases {
        let mut link = RawLink::connect(&server).await;
        link.send(request.as_bytes()).await;
        let head = link.head().await;
        let status: u16 = head[9..12].parse().expect("a status");
        assert!((400..500).contains(&status), "{what}: {head}");
    }
}

#[tokio::test]
async fn a_link_without_a_message_is_closed() {
    let server = Server::with(&["--first-message-ms", "300"]);
    let mut link = RawLink::upgrade(&server).await;
    let began = Instant::now();
    // A ping is no message.
    link.send_frame(FINAL | PING, b"").await;
    assert_eq!(link.close_code().await, Some(4003));
    assert!(began.elapsed() >= Duration::from_millis(290), "after {:?}", began.elapsed());
}

#[tokio::test]
async fn one_message_is_enough_to_stay() {
    let server = Server::with(&["--first-message-ms", "300"]);
    let mut link = Client::new(&server).await;
    link.call("Ping", json!({})).await;
    // Another link meets its deadline meanwhile, from a later start.
    let mut silent = RawLink::upgrade(&server).await;
    assert_eq!(silent.close_code().await, Some(4003));
    link.call("Ping", json!({})).await;
}

#[tokio::test]
async fn half_a_handshake_is_given_up() {
    let server = Server::with(&["--first-message-ms", "300"]);
    let upgrade = upgrade_request("");
    for beginning in ["", "GET /ws HT", &upgrade[..upgrade.len() - 2]] {
        let mut link = RawLink::connect(&server).await;
        link.send(beginning.as_bytes()).await;
        let rest = link.rest().await;
        assert!(!rest.starts_with(b"HTTP/1.1 101"), "{beginning:?} was upgraded");
    }
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
}

#[tokio::test]
async fn extensions_are_declined() {
    let server = Server::start();
    let header = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let response = http::upgrade(&server, header).await;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_message_may_come_together_with_the_handshake() {
    let server = Server::start();
    let mut link = RawLink::connect(&server).await;
    let mut bytes = upgrade_request("").into_bytes();
    bytes.extend(encode_frame(FINAL | TEXT, br#"{"type":"Ping","id":1}"#));
    link.send(&bytes).await;
    assert!(link.head().await.starts_with("HTTP/1.1 101"));
    assert!(link.text().await.is_some_and(|text| text.contains("Pong")));
}

#[tokio::test]
async fn links_over_the_bound_are_refused_while_operators_are_served() {
    let server = Server::with(&["--max-connections", "2"]);
    let mut first = Client::new(&server).await;
    let mut second = Client::new(&server).await;
    first.call("Ping", json!({})).await;
    second.call("Ping", json!({})).await;
    let refused = http::upgrade(&server, "").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(http::get(&server, "/healthz").await.status, 200);
    assert_eq!(http::get(&server, "/metrics").await.status, 200);
    first.leave(1000).await;
    // The room is free when the server has noticed the end of the link.
    let deadline = Instant::now() + Duration::from_secs(10);
    while http::upgrade(&server, "").await.status != 101 {
        assert!(Instant::now() < deadline, "the room of a link that left is not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    second.call("Ping", json!({})).await;
}
