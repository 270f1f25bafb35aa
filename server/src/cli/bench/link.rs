//! A bare WebSocket link: texts out in batches, texts in as they come.
//!
//! Knows `Hello` and nothing else of the protocol.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use rollcall_shared::message::{self, Envelope, Error, Hello, RequestKind, tag};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::cli::failure::Failure;

/// An open link on which `Hello` was answered.
#[derive(Debug)]
pub(super) struct Link {
    socket: WebSocketStream<TcpStream>,
    /// The id of the next request.
    next_id: u64,
}

/// The part of a reply or push that tells what it is.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    pub(super) r#type: &'a str,
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
}

impl Link {
    /// Connects and says `Hello`.
    pub(super) async fn open(
        url: &str,
        token: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        match tokio::time::timeout(timeout, Self::open_untimed(url, token)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Unreachable(format!("{url} does not answer in time"))),
        }
    }

    async fn open_untimed(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let unreachable =
            |error: &dyn std::fmt::Display| Failure::Unreachable(format!("{url}: {error}"));
        let mut request = url.into_client_request().map_err(|error| unreachable(&error))?;
        request
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(message::SUBPROTOCOL));
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = request.uri().port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) =
            client_async_with_config(request, stream, Some(config)).await.map_err(|error| {
                match error {
                    tungstenite::Error::Http(response) => Failure::Refused(format!(
                        "{url} answered with HTTP status {}",
                        response.status()
                    )),
                    error => unreachable(&error),
                }
            })?;
        let mut link = Self { socket, next_id: 1 };
        link.hello(token).await?;
        Ok(link)
    }

    async fn hello(&mut self, token: Option<&str>) -> Result<(), Failure> {
        let hello = Hello {
            token: token.map(str::to_owned),
            versions: Some(vec![message::VERSION]),
            session: None,
        };
        self.feed(|id| request(RequestKind::Hello, id, &hello)).await?;
        self.flush().await?;
        let mut texts = Vec::new();
        self.receive(&mut texts).await?;
        let answer = texts.first().map(|text| head(text)).transpose()?;
        match answer {
            Some(head) if head.r#type == tag::WELCOME => Ok(()),
            Some(head) => Err(refusal(&head)),
            None => Err(Failure::Refused("the server answers nothing to Hello".to_owned())),
        }
    }

    /// Queues the request that `text` makes for an id; it leaves with [`Self::flush`], or when
    /// much is queued. Returns the id.
    pub(super) async fn feed(&mut self, text: impl FnOnce(u64) -> String) -> Result<u64, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        self.socket.feed(Message::Text(text(id).into())).await.map_err(lost)?;
        Ok(id)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.socket.flush().await.map_err(lost)
    }

    /// Waits for a text and adds it and those already there to `texts`. May be cancelled.
    pub(super) async fn receive(&mut self, texts: &mut Vec<Utf8Bytes>) -> Result<(), Failure> {
        let mut next = self.socket.next().await;
        loop {
            match next {
                Some(Ok(Message::Text(text))) => texts.push(text),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(closed(None)),
            }
            if texts.len() >= BATCH_MAX {
                return Ok(());
            }
            next = match self.socket.next().now_or_never() {
                Some(next) => next,
                None if texts.is_empty() => self.socket.next().await,
                None => return Ok(()),
            };
        }
    }
}

/// The text of a request.
pub(super) fn request(kind: RequestKind, id: u64, payload: &impl serde::Serialize) -> String {
    let envelope = Envelope {
        r#type: kind.tag(),
        origin: None,
        id: Some(rollcall_shared::id::RequestId(id)),
        payload,
    };
    serde_json::to_string(&envelope).expect("message types have no failing serializers")
}

/// Reads what a message is.
pub(super) fn head(text: &str) -> Result<Head<'_>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Refused(format!("the server sent no message: {error}: {text}")))
}

/// The code of an `Error`, as the server wrote it.
pub(super) fn error_code(head: &Head<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Code {
        code: String,
    }
    if head.r#type != tag::ERROR {
        return None;
    }
    let code = serde_json::from_str::<Code>(head.payload.get());
    Some(code.map_or_else(|_| "unreadable".to_owned(), |payload| payload.code))
}

fn refusal(head: &Head<'_>) -> Failure {
    let text = match serde_json::from_str::<Error>(head.payload.get()) {
        Ok(error) => format!("{} ({})", error.message, error.code.as_str()),
        Err(_) => format!("the server answers Hello with {}", head.r#type),
    };
    Failure::Refused(text)
}

fn lost(error: tungstenite::Error) -> Failure {
    Failure::Refused(format!("a link was lost: {error}"))
}

fn closed(frame: Option<tungstenite::protocol::CloseFrame>) -> Failure {
    let why = frame.map_or_else(
        || "without a reason".to_owned(),
        |frame| format!("with code {}: {}", u16::from(frame.code), frame.reason),
    );
    Failure::Refused(format!("the server closed a link {why}"))
}

/// Enough for a batch of replies; the default of 128 KiB would be most of a link's memory.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Replies handled in one go, so that a fast server cannot keep a link from sending.
const BATCH_MAX: usize = 256;
