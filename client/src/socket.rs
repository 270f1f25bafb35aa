//! One WebSocket on tokio: opening, reading and writing at once, closing.
//!
//! Owns the socket's limits and nothing of the protocol above it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rollcall_shared::limits;
use rollcall_shared::message::SUBPROTOCOL;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// A WebSocket, open or being opened.
pub(crate) struct Socket {
    stage: Stage,
    /// What is still to be written.
    outbox: VecDeque<Message>,
    unflushed: bool,
}

enum Stage {
    Opening(Pin<Box<dyn Future<Output = Result<Stream, String>> + Send>>),
    Open(Box<Stream>),
    Over,
}

type Stream = WebSocketStream<TcpStream>;

/// What came of a socket.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It is open.
    Opened,
    /// A text message came.
    Text(Utf8Bytes),
    /// Something else came.
    Alive,
    /// It is closed, or could not be opened, with a close code and a reason to log. It will say no
    /// more.
    Closed(u16, String),
}

impl Socket {
    pub(crate) fn open(url: Arc<str>) -> Self {
        Self {
            stage: Stage::Opening(Box::pin(async move { connect(&url).await })),
            outbox: VecDeque::new(),
            unflushed: false,
        }
    }

    pub(crate) fn send(&mut self, text: String) {
        self.outbox.push_back(Message::text(text));
    }

    /// Writes what there is to write and tells what happened.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        match &mut self.stage {
            Stage::Over => Poll::Pending,
            Stage::Opening(opening) => Poll::Ready(match ready!(opening.as_mut().poll(cx)) {
                Ok(stream) => {
                    self.stage = Stage::Open(Box::new(stream));
                    Happened::Opened
                }
                Err(why) => self.closed(NO_CLOSE_FRAME, why),
            }),
            Stage::Open(_) => {
                let written = self.poll_write(cx);
                match (self.poll_read(cx), written) {
                    // What was read before the fault comes first: a close frame may say why.
                    (Poll::Pending, Poll::Ready(Err(why))) => {
                        Poll::Ready(self.closed(NO_CLOSE_FRAME, why))
                    }
                    (read, _) => read,
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let Stage::Open(stream) = &mut self.stage else {
            return Poll::Ready(Ok(()));
        };
        while !self.outbox.is_empty() {
            ready!(stream.poll_ready_unpin(cx)).map_err(|error| error.to_string())?;
            if let Some(message) = self.outbox.pop_front() {
                stream.start_send_unpin(message).map_err(|error| error.to_string())?;
                self.unflushed = true;
            }
        }
        if self.unflushed {
            ready!(stream.poll_flush_unpin(cx)).map_err(|error| error.to_string())?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        let Stage::Open(stream) = &mut self.stage else {
            return Poll::Pending;
        };
        Poll::Ready(match ready!(stream.poll_next_unpin(cx)) {
            Some(Ok(Message::Text(text))) => Happened::Text(text),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or_else(
                    || (1005, String::new()),
                    |frame| (u16::from(frame.code), frame.reason.to_string()),
                );
                self.finish(None);
                Happened::Closed(code, reason)
            }
            Some(Ok(_)) => Happened::Alive,
            Some(Err(error)) => self.closed(NO_CLOSE_FRAME, error.to_string()),
            None => self.closed(NO_CLOSE_FRAME, "ended without a close frame".to_owned()),
        })
    }

    fn closed(&mut self, code: u16, reason: String) -> Happened {
        self.stage = Stage::Over;
        Happened::Closed(code, reason)
    }

    /// Writes what there is and the close frame, in the background and for a bounded time.
    pub(crate) fn close(mut self, code: u16) -> Option<tokio::task::JoinHandle<()>> {
        self.finish(Some(code))
    }

    fn finish(&mut self, code: Option<u16>) -> Option<tokio::task::JoinHandle<()>> {
        let Stage::Open(mut stream) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return None;
        };
        let outbox = std::mem::take(&mut self.outbox);
        Some(tokio::spawn(async move {
            let goodbye = async {
                if let Some(code) = code {
                    for message in outbox {
                        stream.feed(message).await?;
                    }
                    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                    stream.send(Message::Close(Some(frame))).await?;
                }
                // Until the other side has answered the close frame, or ours has been written.
                while stream.next().await.transpose()?.is_some() {}
                Ok::<_, tokio_tungstenite::tungstenite::Error>(())
            };
            // Neither an error nor a silent server changes that the link is over.
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }))
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("outbox", &self.outbox.len()).finish_non_exhaustive()
    }
}

async fn connect(url: &str) -> Result<Stream, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    if uri.scheme_str() != Some("ws") {
        return Err(format!("{url}: only ws:// is spoken yet"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let tcp = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| format!("{url}: {error}"))?;
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(2 * limits::MESSAGE_BYTES)
        .max_message_size(Some(limits::MESSAGE_BYTES))
        .max_frame_size(Some(limits::MESSAGE_BYTES));
    tokio_tungstenite::client_async_with_config(request, tcp, Some(config))
        .await
        .map(|(stream, _)| stream)
        .map_err(|error| format!("{url}: {error}"))
}

/// The code of a link that ended without a close frame.
const NO_CLOSE_FRAME: u16 = 1006;
/// Enough for a burst of small messages; a client may be one of thousands in a process.
const BUFFER_BYTES: usize = 4 * 1024;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
