//! The native driver against a scripted server on loopback: that the wiring holds. What the
//! session does is tested with the session.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rollcall_client::{ChangeKind, Client, Event, Filter, Ip, Registration, State};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// A server that does what a test tells it, on a port of its own.
struct Server(TcpListener);

/// One client's link.
struct Link(WebSocketStream<TcpStream>);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    fn url(&self) -> String {
        format!("ws://{}/ws", self.0.local_addr().unwrap())
    }

    async fn accept(&self) -> Link {
        let (tcp, _) = within(self.0.accept()).await.unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let choose = |request: &Request, mut response: Response| {
            let offered = request.headers().get("sec-websocket-protocol").unwrap();
            assert_eq!(offered, "rollcall.v1.json");
            let chosen = HeaderValue::from_static("rollcall.v1.json");
            response.headers_mut().insert("sec-websocket-protocol", chosen);
            Ok(response)
        };
        Link(tokio_tungstenite::accept_hdr_async(tcp, choose).await.unwrap())
    }

    /// A link that was welcomed.
    async fn welcome(&self) -> Link {
        let mut link = self.accept().await;
        let hello = link.request("Hello").await;
        let payload = json!({
            "node": 1, "client": "c", "version": 1, "cluster": "c", "session": 1,
            "resumed": false, "next_id": 1, "observed": {"ip": "127.0.0.1", "port": 1},
            "leader": 1, "members": [], "session_grace_ms": 10_000, "heartbeat_ms": 5000,
            "limits": {"window": 64, "message_bytes": 262_144, "usernames": 1000,
                "sequence_count": 10_000, "meta_bytes": 1024, "subscriptions": 1024,
                "devices": 1000},
        });
        link.reply(&hello, "Welcome", payload).await;
        // It measures how far the server is.
        let ping = link.request("Ping").await;
        link.reply(&ping, "Pong", json!({})).await;
        link
    }
}

impl Link {
    async fn request(&mut self, tag: &str) -> Value {
        let message = within(self.0.next()).await.unwrap().unwrap();
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(message["type"], tag, "{message}");
        message
    }

    async fn reply(&mut self, to: &Value, tag: &str, payload: Value) {
        let id = &to["id"];
        self.send(json!({"type": tag, "origin": "server/1", "id": id, "payload": payload})).await;
    }

    async fn push(&mut self, tag: &str, payload: Value) {
        self.send(json!({"type": tag, "origin": "server/1", "payload": payload})).await;
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.0.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it takes no 10 s")
}

/// A client and its welcomed link.
async fn connected(server: &Server) -> (Client, Link) {
    let (client, link) = tokio::join!(Client::connect([server.url()]), server.welcome());
    (client.unwrap(), link)
}

fn registered(name: &str) -> Value {
    json!({"username": name, "device": "default", "revision": 5})
}

fn change(at: u64, name: &str) -> Value {
    json!({
        "subscription": 1, "username": name, "device": "d", "ip": "10.0.0.1", "port": 1,
        "revision": at, "online": true,
    })
}

#[tokio::test]
async fn calls_are_answered_and_closing_says_goodbye() {
    let server = Server::new().await;
    let (client, mut link) = connected(&server).await;
    assert_eq!(client.welcome().unwrap().node.0, 1);
    let served = async {
        let request = link.request("ConnectUser").await;
        assert_eq!(request["payload"]["ip"], "observed");
        link.reply(&request, "Connected", registered("ann")).await;
        let request = link.request("GetUserAddress").await;
        let payload = json!({"users": [], "unknown": ["bob"], "revision": 5});
        link.reply(&request, "UserAddress", payload).await;
        let request = link.request("GetSequenceNumber").await;
        link.reply(&request, "SequenceNumber", json!({"first": 7, "count": 1})).await;
        let request = link.request("DisconnectUser").await;
        link.reply(&request, "Disconnected", registered("ann")).await;
        match within(link.0.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1000),
            other => panic!("{other:?}"),
        }
    };
    let asked = async {
        let registered =
            client.connect_user("ann", Registration::new(Ip::Observed, 1)).await.unwrap();
        assert_eq!(registered.revision.0, 5);
        let answer = client.get_user_address(["bob"]).await.unwrap();
        assert_eq!(answer.unknown[0].as_str(), "bob");
        assert_eq!(client.get_sequence_number().await.unwrap(), 7);
        within(client.close()).await;
    };
    tokio::join!(served, asked);
    assert_eq!(client.ping().await.unwrap_err().code.as_str(), "closed");
    assert_eq!(client.state(), State::Closed);
}

#[tokio::test]
async fn a_lost_link_is_opened_again_and_told() {
    let server = Server::new().await;
    let (client, link) = connected(&server).await;
    let mut events = client.events();
    link.close(4002).await;
    let mut link = server.welcome().await;
    let (pong, ()) = tokio::join!(client.ping(), async {
        let request = link.request("Ping").await;
        link.reply(&request, "Pong", json!({})).await;
    });
    pong.unwrap();
    let mut states = Vec::new();
    while states.len() < 3 {
        if let Event::State { state, retry_in, .. } = within(events.next()).await.unwrap() {
            assert_eq!(retry_in.is_some(), state == State::Disconnected);
            states.push(state);
        }
    }
    assert_eq!(states, [State::Disconnected, State::Connecting, State::Connected]);
}

#[tokio::test]
async fn a_final_close_code_ends_the_client() {
    let server = Server::new().await;
    let (client, link) = connected(&server).await;
    let mut events = client.events();
    link.close(4100).await;
    let event = within(events.next()).await.unwrap();
    assert!(matches!(event, Event::State { state: State::Closed, .. }), "{event:?}");
    assert_eq!(client.ping().await.unwrap_err().code.as_str(), "unauthenticated");
    assert!(within(events.next()).await.is_none());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let server = Server::new().await;
    let url = server.url();
    drop(server);
    let builder = || Client::builder().servers([url.clone()]).timeout(Duration::from_millis(300));
    let error = within(builder().connect()).await.unwrap_err();
    assert_eq!(error.code.as_str(), "unreachable");
    assert!(error.message.contains(&url), "{error}");
    let client = within(builder().lazy(true).connect()).await.unwrap();
    assert_eq!(within(client.ping()).await.unwrap_err().code.as_str(), "unreachable");
}

#[tokio::test]
async fn a_slow_reader_gets_the_net_changes() {
    const CHANGES: u64 = 5000;
    let server = Server::new().await;
    let (client, mut link) = connected(&server).await;
    let (watch, ()) = tokio::join!(client.subscribe(Filter::All), async {
        let request = link.request("Subscribe").await;
        assert_eq!(request["payload"], json!({"all": true}));
        let payload = json!({"subscription": 1, "revision": 1, "users": []});
        link.reply(&request, "Subscribed", payload).await;
    });
    let mut watch = watch.unwrap();
    for at in 0..CHANGES {
        let tag = if at < 2 { "UserConnected" } else { "UserUpdated" };
        link.push(tag, change(2 + at, ["ann", "bob"][(at % 2) as usize])).await;
    }
    let (pong, ()) = tokio::join!(client.ping(), async {
        let request = link.request("Ping").await;
        link.reply(&request, "Pong", json!({})).await;
    });
    pong.unwrap();
    for (name, revision) in [("ann", CHANGES), ("bob", CHANGES + 1)] {
        let change = within(watch.next()).await.unwrap();
        assert_eq!(change.kind, ChangeKind::Connected);
        assert_eq!((change.change.username.as_str(), change.change.revision.0), (name, revision));
        assert_eq!(change.origin, "server/1");
    }
    assert_eq!(watch.users().len(), 2);
    assert_eq!(watch.revision().0, CHANGES + 1);
    // Dropping a watch ends its subscription.
    drop(watch);
    assert_eq!(link.request("Unsubscribe").await["payload"]["subscription"], 1);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_link() {
    let server = Server::new().await;
    let (client, mut link) = connected(&server).await;
    let other = client.clone();
    drop(client);
    let (pong, ()) = tokio::join!(other.ping(), async {
        let request = link.request("Ping").await;
        link.reply(&request, "Pong", json!({})).await;
    });
    pong.unwrap();
    drop(other);
    assert!(!matches!(within(link.0.next()).await, Some(Ok(Message::Text(_)))));
}
