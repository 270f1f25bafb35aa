//! Clients that outlive a server: links that may fail at any time, and a client that moves to the
//! next server and asks the very same again until it has an outcome.
//!
//! [`crate::wire`] is for what a link that works must say. How long a server may take is not judged
//! here: whoever has no answer in time asks elsewhere.

use std::{
    collections::VecDeque,
    fmt::Display,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{random_client_id, wire::check_envelope};

/// A server and where clients reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: u64,
    pub address: SocketAddr,
}

/// One link that may fail. What it hears is checked for its form only.
#[derive(Debug)]
pub struct Link {
    socket: WebSocketStream<TcpStream>,
    server: u64,
    origin: Option<String>,
}

/// What came of waiting for a message.
#[derive(Debug)]
pub enum Heard {
    Message(Value),
    /// The link has ended, with this code if the server gave one.
    Closed(Option<u16>),
    /// Nothing came in time.
    Nothing,
}

impl Link {
    /// A link to a server, if that answers in time; of the named client if there is a name.
    pub async fn open(place: Place, client: Option<&str>) -> Option<Self> {
        let opening = async {
            let stream = TcpStream::connect(place.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let url = format!("ws://{}/ws", place.address);
            let request = url.into_client_request().expect("a valid URL");
            Some(client_async(request, stream).await.ok()?.0)
        };
        let socket = timeout(ATTEMPT, opening).await.ok().flatten()?;
        let origin = client.map(|id| format!("client/{id}"));
        Some(Self { socket, server: place.id, origin })
    }

    /// Sends a request; where that fails, the end of the link is heard next.
    pub async fn send(&mut self, id: u64, kind: &str, payload: &Value) {
        let mut message = json!({ "type": kind, "id": id, "payload": payload });
        if let Some(origin) = &self.origin {
            message["origin"] = json!(origin);
        }
        let sending = self.socket.send(Message::text(message.to_string()));
        let _ = timeout(ATTEMPT, sending).await;
    }

    /// Waits for the next message until the deadline.
    pub async fn hear(&mut self, deadline: Instant) -> Heard {
        loop {
            let Ok(next) = timeout_at(deadline, self.socket.next()).await else {
                return Heard::Nothing;
            };
            match next {
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text).expect("the server sends JSON");
                    check_envelope(&message, &format!("server/{}", self.server));
                    return Heard::Message(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(bytes))) => {
                    panic!("server {} sent {} bytes in binary", self.server, bytes.len())
                }
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// Sends a request and waits for its reply; what else comes meanwhile is left out.
    pub async fn ask(&mut self, id: u64, kind: &str, payload: &Value) -> Result<Value, Trouble> {
        self.send(id, kind, payload).await;
        let deadline = Instant::now() + ATTEMPT;
        loop {
            match self.hear(deadline).await {
                Heard::Message(message) if message["id"] == id => return Ok(message),
                Heard::Message(_) => {}
                Heard::Closed(code) => return Err(Trouble::Closed(code)),
                Heard::Nothing => return Err(Trouble::Silent),
            }
        }
    }
}

/// Asks a server for one thing on a link of its own; none where it does not answer.
pub async fn ask_once(place: Place, kind: &str, payload: &Value) -> Option<Value> {
    Link::open(place, None).await?.ask(1, kind, payload).await.ok()
}

/// Why a client turns to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    Unreachable,
    Closed(Option<u16>),
    Silent,
    /// A code that says that this copy was not applied, or may have been.
    Refused(String),
}

/// The error of a reply that another server may answer better.
pub fn refusal(reply: &Value) -> Option<Trouble> {
    let code = reply["payload"]["code"].as_str().filter(|_| reply["type"] == "Error")?;
    let again = ["no_quorum", "overloaded", "rate_limited", "outcome_unknown"].contains(&code);
    again.then(|| Trouble::Refused(code.to_owned()))
}

/// A client with one id and one link at a time, to whichever server serves it.
#[derive(Debug)]
pub struct Roaming {
    id: String,
    places: Vec<Place>,
    at: usize,
    link: Option<Link>,
    last_id: u64,
    /// Its session, as its last `Welcome` named it.
    session: Value,
    notes: Notes,
}

impl Roaming {
    /// A new client that begins with the first place.
    pub fn new(places: Vec<Place>, notes: Notes) -> Self {
        let id = random_client_id();
        Self { id, places, at: 0, link: None, last_id: 0, session: Value::Null, notes }
    }

    /// Leaves its server for the next one.
    pub fn move_on(&mut self) {
        self.link = None;
        self.at = (self.at + 1) % self.places.len();
    }

    /// Sends a request until it has an outcome, and returns that reply.
    ///
    /// # Errors
    /// Says so if its session was lost, though it was never away for long.
    pub async fn insist(&mut self, kind: &str, payload: &Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        loop {
            match self.attempt(id, kind, payload).await? {
                Ok(reply) => return Ok(reply),
                Err(trouble) => {
                    let server = self.places[self.at].id;
                    self.notes.add(format_args!("{kind} {id} at server {server}: {trouble:?}"));
                    self.move_on();
                    // All may be out of order: without a pause this would only heat the machine.
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        id: u64,
        kind: &str,
        payload: &Value,
    ) -> Result<Result<Value, Trouble>, String> {
        if self.link.is_none()
            && let Err(trouble) = self.come_back().await?
        {
            return Ok(Err(trouble));
        }
        let link = self.link.as_mut().expect("it was just opened");
        let reply = match link.ask(id, kind, payload).await {
            Ok(reply) => refusal(&reply).map_or(Ok(reply), Err),
            Err(trouble) => Err(trouble),
        };
        Ok(reply)
    }

    /// Opens a link and says which session it goes on with.
    async fn come_back(&mut self) -> Result<Result<(), Trouble>, String> {
        let place = self.places[self.at];
        let Some(mut link) = Link::open(place, Some(&self.id)).await else {
            return Ok(Err(Trouble::Unreachable));
        };
        self.last_id += 1;
        let payload = match &self.session {
            Value::Null => json!({}),
            session => json!({ "session": session }),
        };
        let welcome = match link.ask(self.last_id, "Hello", &payload).await {
            Ok(reply) => match refusal(&reply) {
                None => reply,
                Some(trouble) => return Ok(Err(trouble)),
            },
            Err(trouble) => return Ok(Err(trouble)),
        };
        if welcome["type"] != "Welcome" {
            return Err(format!("Hello was answered {welcome}"));
        }
        let welcome = &welcome["payload"];
        if !self.session.is_null() && welcome["resumed"] != true {
            return Err(format!("server {} lost the session of {}: {welcome}", place.id, self.id));
        }
        self.session = welcome["session"].clone();
        self.link = Some(link);
        Ok(Ok(()))
    }
}

/// What went wrong lately, for whoever has to find out why nothing goes on.
#[derive(Clone, Debug)]
pub struct Notes {
    began: Instant,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Notes {
    pub fn new() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }

    pub fn add(&self, line: impl Display) {
        let mut lines = self.lines.lock().expect("no holder of the notes panics");
        if lines.len() == NOTES_MAX {
            lines.pop_front();
        }
        lines.push_back(format!("  {:7.3} s  {line}\n", self.began.elapsed().as_secs_f64()));
    }

    pub fn text(&self) -> String {
        self.lines.lock().expect("no holder of the notes panics").iter().cloned().collect()
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a server may take to answer before another one is asked.
pub const ATTEMPT: Duration = Duration::from_millis(700);
/// How long a client waits after a refusal.
pub const PAUSE: Duration = Duration::from_millis(20);

const NOTES_MAX: usize = 80;
