//! A client that is linked to all servers at once and moves on at once: what clients of the product
//! are to do, in the fewest lines.
//!
//! It opens each link once and for all: what has ended does not come back within a measurement.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rollcall_tests::{random_client_id, roaming::Place};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::Result;

/// One client id with a link to each of some servers.
#[derive(Debug)]
pub(crate) struct Client {
    origin: String,
    /// What it says first on each link.
    hello: String,
    last_id: u64,
    ways: Vec<Way>,
    /// Which of the ways the next request takes.
    at: usize,
    heard: mpsc::UnboundedReceiver<Heard>,
}

/// The link to a server.
#[derive(Debug)]
struct Way {
    server: u64,
    stage: Stage,
    /// Takes what is to be sent; what is said before the link is open waits.
    sender: mpsc::UnboundedSender<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    /// Its server shuts down.
    Leaving,
    Ended,
}

#[derive(Debug)]
struct Heard {
    way: usize,
    when: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Message(Value),
    /// The link has ended.
    Ended,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// When it was sent first.
    pub(crate) sent: Instant,
    /// When its answer was here.
    pub(crate) at: Instant,
    /// Who answered.
    pub(crate) server: u64,
    /// How often it was sent.
    pub(crate) copies: u32,
}

impl Answered {
    /// How long it took.
    pub(crate) fn took(&self) -> Duration {
        self.at - self.sent
    }
}

impl Client {
    /// Begins to open links to these servers, however long they take to listen. Requests go to the
    /// first one while that serves.
    pub(crate) fn begin(places: &[Place]) -> Self {
        let (to_client, heard) = mpsc::unbounded_channel();
        let origin = format!("client/{}", random_client_id());
        let hello = json!({ "type": "Hello", "origin": origin, "id": HELLO }).to_string();
        let open = |(way, place): (usize, &Place)| {
            let (sender, due) = mpsc::unbounded_channel();
            // It is sent as soon as there is a link.
            let _ = sender.send(hello.clone());
            tokio::spawn(drive(*place, way, due, to_client.clone()));
            Way { server: place.id, stage: Stage::Opening, sender }
        };
        let ways = places.iter().enumerate().map(open).collect();
        Self { origin, hello, last_id: HELLO, ways, at: 0, heard }
    }

    /// Opens links to these servers, and waits until all have welcomed it.
    pub(crate) async fn start(places: &[Place]) -> Result<Self> {
        let mut client = Self::begin(places);
        while client.ways.iter().any(|way| way.stage == Stage::Opening) {
            client.hear().await?;
        }
        match client.ways.iter().find(|way| way.stage != Stage::Open) {
            Some(way) => Err(format!("server {} took no link", way.server).into()),
            None => Ok(client),
        }
    }

    /// Takes a sequence number: a write.
    pub(crate) async fn write(&mut self) -> Result<Answered> {
        self.ask("GetSequenceNumber", json!({})).await
    }

    /// Looks a name up.
    pub(crate) async fn read(&mut self) -> Result<Answered> {
        self.ask("GetUserAddress", json!({ "usernames": ["nobody"] })).await
    }

    /// Sends a request until it is answered.
    async fn ask(&mut self, kind: &str, payload: Value) -> Result<Answered> {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "type": kind, "origin": self.origin, "id": id, "payload": payload });
        let request = request.to_string();
        while self.ways.iter().all(|way| way.stage == Stage::Opening) {
            self.hear().await?;
        }
        if self.ways[self.at].stage != Stage::Open {
            self.move_on()?;
        }
        let sent = Instant::now();
        let (mut copies, mut refused) = (0, 0);
        loop {
            // A link that has just ended is heard of soon.
            let _ = self.ways[self.at].sender.send(request.clone());
            copies += 1;
            if let Some(Answer { way, when, reply }) = self.answer(id).await? {
                if reply["type"] != "Error" {
                    let server = self.ways[way].server;
                    return Ok(Answered { sent, at: when, server, copies });
                }
                if reply["payload"]["retry"] != true {
                    return Err(format!("{kind} was refused: {reply}").into());
                }
                refused += 1;
                if refused >= self.open() {
                    // All are out of order: asking without a pause would only heat the machine.
                    sleep(PAUSE).await;
                }
            }
            self.move_on()?;
        }
    }

    /// Waits for the answer to a request as long as the server that was asked last is worth it.
    async fn answer(&mut self, id: u64) -> Result<Option<Answer>> {
        let patience = Instant::now() + PATIENCE;
        let others = self.ways.len() > 1;
        loop {
            tokio::select! {
                heard = self.hear() => match heard? {
                    Some(answer) if answer.reply["id"] == id => return Ok(Some(answer)),
                    _ if self.ways[self.at].stage != Stage::Open => return Ok(None),
                    _ => {}
                },
                () = sleep_until(patience), if others => return Ok(None),
            }
        }
    }

    /// Takes the next server that serves; stays where there is no other.
    fn move_on(&mut self) -> Result {
        let count = self.ways.len();
        for step in 1..=count {
            let next = (self.at + step) % count;
            if self.ways[next].stage == Stage::Open {
                self.at = next;
                return Ok(());
            }
        }
        Err("no server is linked any more".into())
    }

    fn open(&self) -> usize {
        self.ways.iter().filter(|way| way.stage == Stage::Open).count()
    }

    /// Takes in what a server says next; the message, if it answers a request.
    async fn hear(&mut self) -> Result<Option<Answer>> {
        let Some(Heard { way, when, what }) = self.heard.recv().await else {
            return Err("no server is linked any more".into());
        };
        let stage = &mut self.ways[way].stage;
        match what {
            What::Ended => *stage = Stage::Ended,
            What::Message(message) if message["type"] == "GoingAway" => *stage = Stage::Leaving,
            What::Message(message) if message["type"] == "Welcome" => *stage = Stage::Open,
            What::Message(reply) if reply["id"] == HELLO => {
                if reply["payload"]["retry"] != true {
                    return Err(format!("Hello was answered {reply}").into());
                }
                let _ = self.ways[way].sender.send(self.hello.clone());
            }
            What::Message(reply) => return Ok(Some(Answer { way, when, reply })),
        }
        Ok(None)
    }
}

#[derive(Debug)]
struct Answer {
    way: usize,
    when: Instant,
    reply: Value,
}

/// Opens a link as soon as the server listens, and carries what is said on it until it ends.
async fn drive(
    place: Place,
    way: usize,
    mut due: mpsc::UnboundedReceiver<String>,
    to_client: mpsc::UnboundedSender<Heard>,
) {
    // An error of `send` says that the client is gone, and so will this task be.
    let tell = |what| to_client.send(Heard { way, when: Instant::now(), what });
    let mut socket = open(place).await;
    loop {
        tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text).unwrap_or_default();
                    let _ = tell(What::Message(message));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
            text = due.recv() => {
                let Some(text) = text else { return };
                if socket.send(Message::text(text)).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = tell(What::Ended);
}

/// Tries until the server takes the link.
async fn open(place: Place) -> WebSocketStream<TcpStream> {
    loop {
        let attempt = async {
            let stream = TcpStream::connect(place.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let request = format!("ws://{}/ws", place.address).into_client_request().ok()?;
            Some(client_async(request, stream).await.ok()?.0)
        };
        if let Ok(Some(socket)) = timeout(OPENING, attempt).await {
            return socket;
        }
        sleep(DIAL_AGAIN).await;
    }
}

/// The number of its first request on each link.
const HELLO: u64 = 1;
/// How long one server may take before the next one is asked too.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait once all servers have refused.
const PAUSE: Duration = Duration::from_millis(2);
const OPENING: Duration = Duration::from_secs(1);
const DIAL_AGAIN: Duration = Duration::from_millis(1);
