//! A WebSocket client for tests: says exactly what it is told, checks the envelope of all it hears.
//!
//! Keeps what arrives out of turn, since replies and pushes may come in any order. It neither
//! retries nor reconnects; [`crate::raw`] is for frames that no WebSocket library would send.

use std::{collections::VecDeque, fmt::Debug, net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::{MESSAGE_BYTES_MAX, PATIENCE, random_client_id, server::Server};

/// One link to a server.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    /// What every message of the server must name as its origin.
    server: String,
    id: Option<String>,
    last_id: u64,
    inbox: VecDeque<Value>,
    closed: Option<Option<u16>>,
}

impl Client {
    /// A link with a client id of its own.
    pub async fn new(server: &Server) -> Self {
        Self::with_id(server, &random_client_id()).await
    }

    /// A link of the named client; several links may share a client id.
    pub async fn with_id(server: &Server, id: &str) -> Self {
        let mut client = Self::anonymous(server).await;
        client.id = Some(id.to_owned());
        client
    }

    /// A link that never says an `origin`.
    pub async fn anonymous(server: &Server) -> Self {
        let mut client = Self::dial(server.address(), None).await;
        client.server = format!("server/{}", server.id());
        client
    }

    /// A link whose kernel takes in little before the server feels it.
    pub async fn with_small_buffer(server: &Server) -> Self {
        let mut client = Self::dial(server.address(), Some(65_536)).await;
        client.id = Some(random_client_id());
        client
    }

    /// A link without an `origin` to the server with this id at any address.
    pub async fn at(address: SocketAddr, id: u64) -> Self {
        let mut client = Self::dial(address, None).await;
        client.server = format!("server/{id}");
        client
    }

    /// A link without an `origin` to a server 1 at any address, perhaps with a small receive buffer.
    pub async fn dial(address: SocketAddr, receive_bytes: Option<u32>) -> Self {
        let tcp = TcpSocket::new_v4().expect("the system has sockets");
        if let Some(bytes) = receive_bytes {
            tcp.set_recv_buffer_size(bytes).expect("a small buffer is allowed");
        }
        let stream = tcp.connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("TCP knows it");
        let request = format!("ws://{address}/ws").into_client_request().expect("a valid URL");
        // Small reads, so that a link that does not read keeps nothing here either.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let handshake = client_async_with_config(request, stream, Some(config));
        let (socket, _) = within("the upgrade", handshake).await.expect("the server upgrades");
        let (server, inbox) = ("server/1".to_owned(), VecDeque::new());
        Self { socket, server, id: None, last_id: 0, inbox, closed: None }
    }

    /// Its client id, if it has one of its own.
    pub fn id(&self) -> &str {
        self.id.as_deref().expect("this link has a client id")
    }

    /// The number of its last request.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Makes the next request's number larger than this one.
    pub fn skip_ids_to(&mut self, id: u64) {
        self.last_id = id;
    }

    /// The address the server sees.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().expect("it is connected")
    }

    /// Sends a text frame as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends one frame of any kind.
    pub async fn send_message(&mut self, message: Message) {
        within("sending", self.socket.send(message)).await.expect("the link takes it");
    }

    /// Sends a frame to a server that may have closed the link meanwhile.
    pub async fn try_send_text(&mut self, text: impl Into<String>) -> bool {
        within("sending", self.socket.send(Message::text(text.into()))).await.is_ok()
    }

    /// Sends a request with the next number and returns that.
    pub async fn submit(&mut self, kind: &str, payload: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.submit_as(id, kind, payload).await;
        id
    }

    /// Sends a request with this number.
    pub async fn submit_as(&mut self, id: u64, kind: &str, payload: Value) {
        self.last_id = self.last_id.max(id);
        let mut message = json!({ "type": kind, "id": id, "payload": payload });
        if let Some(client) = &self.id {
            message["origin"] = json!(format!("client/{client}"));
        }
        self.send_text(message.to_string()).await;
    }

    /// Sends a request and waits for its reply, whatever that is.
    pub async fn request(&mut self, kind: &str, payload: Value) -> Value {
        let id = self.submit(kind, payload).await;
        self.reply(id).await
    }

    /// Sends a request with this number and waits for its reply, whatever that is.
    pub async fn request_as(&mut self, id: u64, kind: &str, payload: Value) -> Value {
        self.submit_as(id, kind, payload).await;
        self.reply(id).await
    }

    /// Sends a request that must succeed, and returns the payload of its reply.
    pub async fn call(&mut self, kind: &str, payload: Value) -> Value {
        let reply = self.request(kind, payload).await;
        succeeded(kind, &reply)
    }

    /// Sends a request with this number that must succeed, and returns the payload of its reply.
    pub async fn call_as(&mut self, id: u64, kind: &str, payload: Value) -> Value {
        let reply = self.request_as(id, kind, payload).await;
        succeeded(kind, &reply)
    }

    /// Sends a request that must fail with this code, and returns the payload of the error.
    pub async fn refused(&mut self, kind: &str, payload: Value, code: &str) -> Value {
        let reply = self.request(kind, payload).await;
        failed(code, &reply)
    }

    /// Sends a request that must fail with this code because of that field.
    pub async fn refused_field(&mut self, kind: &str, payload: Value, code: &str, field: &str) {
        let shown = payload.to_string();
        let error = self.refused(kind, payload, code).await;
        assert_eq!(error["field"], field, "{kind} {shown} was answered {error}");
    }

    /// Registers a user's default device.
    pub async fn register(&mut self, username: &str, port: u16) -> u64 {
        let payload = json!({ "username": username, "ip": "192.0.2.1", "port": port });
        revision(&self.call("ConnectUser", payload).await)
    }

    /// Ends the registration of a user's default device.
    pub async fn unregister(&mut self, username: &str) -> u64 {
        revision(&self.call("DisconnectUser", json!({ "username": username })).await)
    }

    /// Looks names up.
    pub async fn lookup(&mut self, usernames: &[&str]) -> Value {
        self.call("GetUserAddress", json!({ "usernames": usernames })).await
    }

    /// Whether the user is online with any device.
    pub async fn is_online(&mut self, username: &str) -> bool {
        self.lookup(&[username]).await["unknown"].as_array().is_some_and(Vec::is_empty)
    }

    /// Waits for the reply to a request.
    pub async fn reply(&mut self, id: u64) -> Value {
        self.find(&format!("the reply to request {id}"), |message| message["id"] == id).await
    }

    /// Waits for the reply to a request, or the close of the link before it.
    pub async fn reply_unless_closed(&mut self, id: u64) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.inbox.iter().position(|message| message["id"] == id) {
                return self.inbox.remove(at);
            }
            if self.closed.is_some() {
                return None;
            }
            if let Some(message) = self.receive("a reply or the close", deadline).await {
                self.inbox.push_back(message);
            }
        }
    }

    /// Waits for the next push, whatever its subscription.
    pub async fn push(&mut self) -> Value {
        self.find("a push", is_push).await
    }

    /// Waits for the next push of this type and returns its payload.
    pub async fn expect_push(&mut self, kind: &str) -> Value {
        let push = self.push().await;
        assert_eq!(push["type"], kind, "{push}");
        push["payload"].clone()
    }

    /// Waits for the next push of this subscription.
    pub async fn push_of(&mut self, subscription: &Value) -> Value {
        let wanted = |message: &Value| {
            is_push(message) && message["payload"]["subscription"] == *subscription
        };
        self.find("a push of the subscription", wanted).await
    }

    /// Waits for the next error that names no request and returns its payload.
    pub async fn error_without_id(&mut self) -> Value {
        let wanted = |message: &Value| message["type"] == "Error" && message["id"].is_null();
        self.find("an error without an id", wanted).await["payload"].clone()
    }

    /// Lets `actor` change a user that only this purpose knows, and returns what was pushed to the
    /// subscription before that change showed up: everything that was due. The subscription has
    /// to match the user named `marker`.
    pub async fn pushes_until_marker(
        &mut self,
        subscription: &Value,
        actor: &mut Self,
    ) -> Vec<Value> {
        let payload = json!({ "username": "marker", "ip": "observed", "port": 1 });
        let retired = actor.request("DisconnectUser", json!({ "username": "marker" })).await;
        assert!(["Disconnected", "Error"].contains(&retired["type"].as_str().unwrap_or("")));
        let marker = revision(&actor.call("ConnectUser", payload).await);
        let mut before = Vec::new();
        loop {
            let push = self.push_of(subscription).await;
            if push["payload"]["revision"] == marker {
                return before;
            }
            if push["payload"]["username"] != "marker" {
                before.push(push);
            }
        }
    }

    /// Everything that has arrived and was not asked for yet, without waiting.
    pub fn unread(&self) -> impl Iterator<Item = &Value> {
        self.inbox.iter()
    }

    /// The next message in the order of arrival.
    pub async fn next(&mut self) -> Value {
        self.find("a message", |_| true).await
    }

    /// Waits until the server closes the link and returns the code; none if it just went away.
    pub async fn close_code(&mut self) -> Option<u16> {
        let deadline = Instant::now() + PATIENCE;
        while self.closed.is_none() {
            if let Some(message) = self.receive("the close", deadline).await {
                self.inbox.push_back(message);
            }
        }
        self.closed.flatten()
    }

    /// Waits until the server closes the link with this code.
    pub async fn expect_close(&mut self, code: u16) {
        let found = self.close_code().await;
        assert_eq!(found, Some(code), "unread before the close: {:?}", self.inbox);
    }

    /// Reads, and so answers the server's pings, until the server ends the link.
    pub async fn stay(mut self) {
        while self.closed.is_none() {
            if let Some(Ok(message)) = self.socket.next().await {
                self.digest(message);
            } else {
                return;
            }
        }
    }

    /// Says goodbye with this code and waits until the server has answered.
    pub async fn leave(mut self, code: u16) {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.send_message(Message::Close(Some(frame))).await;
        self.close_code().await;
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            while seen < self.inbox.len() {
                if wanted(&self.inbox[seen]) {
                    return self.inbox.remove(seen).expect("the index was just looked at");
                }
                seen += 1;
            }
            assert!(self.closed.is_none(), "closed ({:?}) before {what}", self.closed.flatten());
            if let Some(message) = self.receive(what, deadline).await {
                self.inbox.push_back(message);
            }
        }
    }

    /// Takes in one frame; pings of the server do not move the deadline.
    async fn receive(&mut self, what: &str, deadline: Instant) -> Option<Value> {
        let Ok(next) = timeout_at(deadline, self.socket.next()).await else {
            panic!("{what} did not come; unread: {}", excerpt(&self.inbox));
        };
        match next {
            Some(Ok(message)) => self.digest(message),
            Some(Err(_)) | None => {
                self.closed.get_or_insert(None);
                None
            }
        }
    }

    fn digest(&mut self, message: Message) -> Option<Value> {
        match message {
            Message::Text(text) => {
                assert!(text.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes", text.len());
                let message = serde_json::from_str(&text).expect("the server sends JSON");
                check_envelope(&message, &self.server);
                Some(message)
            }
            Message::Binary(bytes) => panic!("a binary frame of {} bytes", bytes.len()),
            Message::Close(frame) => {
                self.closed = Some(frame.map(|frame| frame.code.into()));
                None
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
        }
    }
}

/// The payload of a reply that must be an error with this code.
pub fn failed(code: &str, reply: &Value) -> Value {
    assert_eq!(reply["type"], "Error", "wanted {code}, got {reply}");
    assert_eq!(reply["payload"]["code"], code, "{reply}");
    reply["payload"].clone()
}

/// The payload of a reply that must be the good one for this request.
pub fn succeeded(request: &str, reply: &Value) -> Value {
    assert_eq!(reply["type"], reply_type(request), "{request} was answered {reply}");
    reply["payload"].clone()
}

/// The revision that a payload states.
pub fn revision(payload: &Value) -> u64 {
    payload["revision"].as_u64().unwrap_or_else(|| panic!("no revision in {payload}"))
}

/// Awaits something that is due, and gives up after [`PATIENCE`].
pub async fn within<F: Future>(what: &str, due: F) -> F::Output {
    match timeout(PATIENCE, due).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

/// Repeats a check until it holds; for what has no event to wait for.
pub async fn eventually<T: Debug>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A push has no id; neither has the error about a message whose id could not be read.
fn is_push(message: &Value) -> bool {
    message.get("id").is_none() && message["type"] != "Error"
}

/// What holds for every message of a server (contract, sections 3 and 4).
pub(crate) fn check_envelope(message: &Value, server: &str) {
    assert!(message.is_object(), "{message}");
    assert!(message["type"].is_string(), "{message}");
    assert_eq!(message["origin"], server, "{message}");
    assert!(message.get("id").is_none_or(Value::is_u64), "{message}");
    assert!(message.get("payload").is_none_or(Value::is_object), "{message}");
    if message["type"] != "Error" {
        return;
    }
    let error = &message["payload"];
    let code = error["code"].as_str().expect("an error has a code");
    assert!(ERROR_CODES.contains(&code), "{message}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
    let retry = ["no_quorum", "overloaded", "rate_limited", "outcome_unknown"].contains(&code);
    assert_eq!(error["retry"], retry, "{message}");
    if code == "invalid_argument" {
        assert!(error["field"].as_str().is_some_and(|field| !field.is_empty()), "{message}");
    }
}

fn reply_type(request: &str) -> &'static str {
    match request {
        "Hello" => "Welcome",
        "ConnectUser" => "Connected",
        "DisconnectUser" => "Disconnected",
        "GetUserAddress" => "UserAddress",
        "GetSequenceNumber" => "SequenceNumber",
        "Subscribe" => "Subscribed",
        "Unsubscribe" => "Unsubscribed",
        "GetStatus" => "Status",
        "Ping" => "Pong",
        _ => panic!("{request} is no request of the contract"),
    }
}

fn excerpt(messages: &VecDeque<Value>) -> String {
    let mut text: String = messages.iter().map(|message| format!("\n  {message}")).collect();
    if text.len() > 4000 {
        let end = text.floor_char_boundary(4000);
        text.truncate(end);
        text.push('…');
    }
    text
}

const ERROR_CODES: [&str; 15] = [
    "malformed",
    "unknown_type",
    "invalid_argument",
    "too_large",
    "username_taken",
    "not_owner",
    "not_found",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "overloaded",
    "no_quorum",
    "outcome_unknown",
    "stale_request",
    "internal",
];
