//! The driver of one link to another server: bytes to frames and back.
//!
//! Reads and writes at the same time, so that two servers that both write never wait for each
//! other. What a frame says is not looked at.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use rollcall_replica::consensus::message::Frame;
use rollcall_replica::consensus::peer::CloseReason;
use rollcall_replica::wire;
use rollcall_shared::id::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Current, FromPeer, Peers, Report, ToPeer};
use crate::clock;
use crate::metered::Metered;

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// It broke, or the other server went away.
    Lost(String),
    /// A newer link to the same server takes its place.
    Replaced,
    /// This server closed it.
    Closed(CloseReason),
    /// The other server sent what is no frame.
    Garbage(String),
    /// The other server closed it for cause.
    Refused(String),
}

type Socket = WebSocketStream<Metered>;

/// Carries frames until the link ends. Its socket is closed in good order beside what comes next: a
/// server that answers nothing must not hold up the next link to it.
pub(super) async fn drive(
    peers: &Peers,
    peer: NodeId,
    current: &Rc<Current>,
    socket: Socket,
    due: mpsc::Receiver<ToPeer>,
    given_up: oneshot::Receiver<Infallible>,
) -> End {
    let (mut sink, mut stream) = socket.split();
    let stuck = async {
        // What is due is written first; where that takes long the other server takes nothing.
        let _ = given_up.await;
        sleep(LINGER).await;
    };
    let end = tokio::select! {
        end = read(peers, peer, current, &mut stream) => end,
        end = write(peers, &mut sink, due) => end,
        () = current.replaced.notified() => End::Replaced,
        () = stuck => End::Lost("it takes nothing any more".to_owned()),
    };
    let bye = CloseFrame { code: end.code().into(), reason: end.reason().into() };
    let closing = async move {
        let _ = sink.send(Message::Close(Some(bye))).await;
        // What still comes is thrown away, so that no reset overtakes the close frame.
        while let Some(Ok(_)) = stream.next().await {}
    };
    tokio::task::spawn_local(timeout(LINGER, closing));
    end
}

/// Passes on what comes, all that is there at once; only the end ends it.
async fn read(
    peers: &Peers,
    peer: NodeId,
    current: &Current,
    stream: &mut SplitStream<Socket>,
) -> End {
    loop {
        let mut next = stream.next().await;
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let ended = loop {
            let message = match next {
                Some(Ok(message)) => message,
                Some(Err(error)) => break Some(end_of(&error)),
                None => break Some(End::Lost("it was closed".to_owned())),
            };
            current.heard.set(clock::now());
            bytes += message.len();
            match take(peers, peer, message) {
                Ok(Some(frame)) => {
                    current.spoke.set(true);
                    frames.push(frame);
                }
                Ok(None) => {}
                Err(end) => break Some(end),
            }
            if frames.len() >= BATCH_FRAMES || bytes >= BATCH_BYTES {
                break None;
            }
            let Some(more) = stream.next().now_or_never() else { break None };
            next = more;
        };
        peers.context.metrics.peer_received(bytes as u64);
        if !frames.is_empty() {
            let link = current.link;
            let batch = FromPeer::Frames { peer, link, frames };
            if peers.to_node.send(batch).await.is_err() {
                return End::Lost("this server ends".to_owned());
            }
        }
        if let Some(end) = ended {
            return end;
        }
    }
}

/// What a message is: a frame for the node, or nothing for it.
fn take(peers: &Peers, peer: NodeId, message: Message) -> Result<Option<Frame>, End> {
    match message {
        Message::Binary(bytes) => match wire::decode(&bytes) {
            Ok(frame) => Ok(Some(frame)),
            Err(fault) => Err(End::Garbage(fault.to_string())),
        },
        Message::Text(text) => match Report::decode(&text) {
            Some(report) => {
                peers.context.take_report(peer, report);
                Ok(None)
            }
            None => Err(End::Garbage("the text is no report".to_owned())),
        },
        Message::Close(Some(frame)) if u16::from(frame.code) == REFUSED => {
            Err(End::Refused(frame.reason.to_string()))
        }
        Message::Close(Some(frame)) if !frame.reason.is_empty() => {
            Err(End::Lost(format!("it says: {}", frame.reason)))
        }
        Message::Close(_) => Err(End::Lost("it was closed".to_owned())),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

/// Sends what is due, and now and then what this server says of itself.
async fn write(
    peers: &Peers,
    sink: &mut SplitSink<Socket, Message>,
    mut due: mpsc::Receiver<ToPeer>,
) -> End {
    let mut reports = interval(REPORT);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // First, for it says where clients reach the others; whoever hears from this one may be asked for that.
    let report = peers.context.report();
    if let Err(error) = sink.send(Message::text(report.encode())).await {
        return end_of(&error);
    }
    let mut said = Some(report);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = due.recv_many(&mut batch, TOGETHER) => if count == 0 {
                return End::Lost("this server ends".to_owned());
            },
            _ = reports.tick() => {
                let report = peers.context.report();
                if said.as_ref() == Some(&report) {
                    continue;
                }
                if let Err(error) = sink.feed(Message::text(report.encode())).await {
                    return end_of(&error);
                }
                said = Some(report);
            }
        }
        let mut bytes = 0;
        for due in batch.drain(..) {
            let frames = match due {
                ToPeer::Frames(frames) => frames,
                ToPeer::Close(why) => return End::Closed(why),
            };
            for frame in frames {
                let frame = Bytes::from(wire::encode(&frame));
                bytes += frame.len();
                if let Err(error) = sink.feed(Message::Binary(frame)).await {
                    return end_of(&error);
                }
            }
        }
        if let Err(error) = sink.flush().await {
            return end_of(&error);
        }
        peers.context.metrics.peer_sent(bytes as u64);
    }
}

impl End {
    /// What the other server is told: whether it was at fault.
    const fn code(&self) -> u16 {
        match self {
            Self::Garbage(_) | Self::Closed(CloseReason::Violation(_)) => REFUSED,
            _ => AWAY,
        }
    }

    fn reason(&self) -> String {
        let text = match self {
            Self::Lost(_) | Self::Refused(_) => "goodbye".to_owned(),
            Self::Replaced => "a newer link takes the place of this one".to_owned(),
            Self::Closed(why) => why.to_string(),
            Self::Garbage(what) => what.clone(),
        };
        let fits = (0..=REASON_BYTES.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        text[..fits.unwrap_or(0)].to_owned()
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::Garbage(wire::BadFrame::TooLarge.to_string())
        }
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => End::Lost("the connection was reset".to_owned()),
        Error::Protocol(_) | Error::Utf8(_) => End::Garbage(error.to_string()),
        other => End::Lost(other.to_string()),
    }
}

/// Buffers for few links that carry much, and the bound of a frame.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES + 2 * wire::MAX_FRAME_BYTES)
        .max_message_size(Some(wire::MAX_FRAME_BYTES))
        .max_frame_size(Some(wire::MAX_FRAME_BYTES))
}

/// Close code: the other server is at fault.
const REFUSED: u16 = 4100;
/// Close code: nobody is.
const AWAY: u16 = 1001;
/// The most bytes of a close frame's reason.
const REASON_BYTES: usize = 123;
/// Frames handed to the node at once, the most.
const BATCH_FRAMES: usize = 256;
/// Bytes of frames handed to the node at once, after which no more are gathered.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches of the node written in one go, the most.
const TOGETHER: usize = 64;
const BUFFER_BYTES: usize = 128 * 1024;
/// How often this server says what it is, where that has changed.
const REPORT: Duration = Duration::from_millis(500);
/// How long the closing handshake may take.
const LINGER: Duration = Duration::from_secs(1);
