//! The driver of one link's socket: reads requests while the link may have more, and writes all
//! that is due in one go.
//!
//! Owns timers (pings, idleness, the first message), flow control and the closing handshake; it
//! looks into no message.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use rollcall_shared::close::CloseCode;
use rollcall_shared::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Closing, Link};
use crate::metered::Metered;
use crate::shard::Shard;

/// How a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer is gone, or said goodbye.
    Gone,
    /// The server closes it.
    Close(CloseCode),
}

/// Where reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// The socket has no more.
    Blocked,
    /// The link must not have more yet.
    Paused,
    /// The budget is used up; there may be more.
    Again,
    /// The link ends.
    Ended(End),
}

struct Driver {
    socket: WebSocketStream<Metered>,
    link: Rc<Link>,
    shard: Rc<Shard>,
    timer: Pin<Box<Sleep>>,
    opened: Instant,
    /// When a byte last came from the peer, or went to it while nothing was to be read.
    alive: Instant,
    pinged: Instant,
    received: u64,
    sent: u64,
    writes: u64,
}

/// Serves a link until it ends.
pub(crate) async fn serve(stream: Metered, link: Rc<Link>, shard: Rc<Shard>) {
    let _open = shard.open_socket();
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await;
    let now = Instant::now();
    let timer = Box::pin(sleep_until(now));
    let (opened, alive, pinged) = (now, now, now);
    let mut driver = Driver {
        socket,
        link: Rc::clone(&link),
        shard: Rc::clone(&shard),
        timer,
        opened,
        alive,
        pinged,
        received: 0,
        sent: 0,
        writes: 0,
    };
    let linked = Linked { shard: Rc::clone(&shard), link };
    let end = poll_fn(|cx| driver.poll(cx)).await;
    drop(linked);
    if let End::Close(code) = end {
        shard.context().metrics.link_closed(code.code());
        let peer = driver.link.peer;
        tracing::debug!(%peer, code = code.code(), "link closed: {}", code.reason());
    }
    driver.finish(end).await;
}

/// Ends the link however its driver ends, by a bug too: no session may outlive it unseen.
struct Linked {
    shard: Rc<Shard>,
    link: Rc<Link>,
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.shard.unlink(&self.link);
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.link.state().waker = Some(cx.waker().clone());
        let read = self.read(cx);
        let written = self.poll_write(cx);
        if let Read::Ended(end) = read {
            return Poll::Ready(end);
        }
        if matches!(written, Poll::Ready(Err(()))) {
            return Poll::Ready(End::Gone);
        }
        {
            let state = self.link.state();
            match state.closing {
                Some(Closing::Now(code)) => return Poll::Ready(End::Close(code)),
                Some(Closing::AfterQueue(code)) if written.is_ready() && state.is_answered() => {
                    return Poll::Ready(End::Close(code));
                }
                _ => {}
            }
            // What was written may have made room for more requests.
            if read == Read::Again || read == Read::Paused && state.may_read() {
                cx.waker().wake_by_ref();
            }
        }
        self.poll_timers(cx)
    }

    /// Reads up to [`READ_BUDGET`] messages or [`READ_BUDGET_BYTES`].
    fn read(&mut self, cx: &mut Context<'_>) -> Read {
        let mut bytes = 0;
        for _ in 0..READ_BUDGET {
            if bytes >= READ_BUDGET_BYTES {
                break;
            }
            if !self.link.state().may_read() {
                return Read::Paused;
            }
            let Poll::Ready(message) = self.socket.poll_next_unpin(cx) else {
                return Read::Blocked;
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    bytes += text.len();
                    self.shard.handle_text(&self.link, &text);
                }
                Some(Ok(Message::Binary(_))) => {
                    return Read::Ended(End::Close(CloseCode::Binary));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Read::Ended(End::Gone),
                Some(Err(error)) => return Read::Ended(end_of(&error)),
            }
        }
        Read::Again
    }

    /// Writes what is due; ready when all of it has left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.shard.refill(&self.link);
        loop {
            if self.link.state().out.is_empty() {
                break;
            }
            if std::task::ready!(self.socket.poll_ready_unpin(cx)).is_err() {
                return Poll::Ready(Err(()));
            }
            let Some(text) = self.pop() else { break };
            if self.socket.start_send_unpin(Message::Text(text)).is_err() {
                return Poll::Ready(Err(()));
            }
        }
        if std::task::ready!(self.socket.poll_flush_unpin(cx)).is_err() {
            return Poll::Ready(Err(()));
        }
        if self.shard.has_more(&self.link) {
            // The rest is made after the other links had their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn pop(&self) -> Option<tokio_tungstenite::tungstenite::Utf8Bytes> {
        let mut state = self.link.state();
        let text = state.out.pop_front()?;
        state.out_bytes -= text.len();
        Some(text)
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let now = Instant::now();
            self.note_life(now);
            let config = &self.shard.context().config;
            let mut next = self.pinged + config.heartbeat;
            let silence = self.alive + 3 * config.heartbeat;
            if now >= silence {
                return Poll::Ready(End::Close(self.end_of_silence()));
            }
            next = next.min(silence);
            if let Some(code) = self.shard.must_speak(&self.link) {
                let deadline = self.opened + config.first_message;
                if now >= deadline {
                    return Poll::Ready(End::Close(code));
                }
                next = next.min(deadline);
            }
            if now >= self.pinged + config.heartbeat {
                self.pinged = now;
                let ready = matches!(self.socket.poll_ready_unpin(cx), Poll::Ready(Ok(())));
                // A socket that is blocked needs no ping: its peer owes us reading.
                if ready && self.socket.start_send_unpin(Message::Ping(Bytes::new())).is_ok() {
                    let _ = self.socket.poll_flush_unpin(cx);
                }
                continue;
            }
            self.timer.as_mut().reset(next);
            std::task::ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// Takes note of bytes that passed since the last look.
    fn note_life(&mut self, now: Instant) {
        let stream = self.socket.get_ref();
        let (received, sent, writes) = (stream.received, stream.sent, stream.writes);
        if writes > self.writes {
            self.shard.context().metrics.wrote(writes - self.writes);
        }
        // While this side does not read, it cannot see the peer's bytes; what the peer takes shows
        // that it lives.
        let paused = !self.link.state().may_read();
        if received > self.received || paused && sent > self.sent {
            self.alive = now;
        }
        (self.received, self.sent, self.writes) = (received, sent, writes);
    }

    /// A peer that leaves its answers unread is slow; one that says nothing is idle.
    fn end_of_silence(&self) -> CloseCode {
        if self.link.state().may_read() { CloseCode::Idle } else { CloseCode::SlowReader }
    }

    /// The closing handshake, within bounds.
    async fn finish(mut self, end: End) {
        let (frame, patience) = match end {
            End::Gone => (None, LINGER),
            End::Close(code) => {
                let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
                let slow = code == CloseCode::SlowReader;
                (Some(frame), if slow { SLOW_LINGER } else { LINGER })
            }
        };
        let closing = async {
            let _ = self.socket.close(frame).await;
            let _ = self.socket.flush().await;
            let stream = self.socket.get_mut();
            let _ = stream.shutdown().await;
        };
        if timeout(patience, closing).await.is_err() {
            return;
        }
        // Unread bytes would make the system answer with a reset, which can overtake the close
        // frame on its way to the peer.
        let drain = async {
            let stream = self.socket.get_mut();
            // On the heap: as a part of the future it would cost every link, for all its life.
            let mut buffer = vec![0; 4096];
            let mut left = DRAIN_BYTES;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(LINGER, drain).await;
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Utf8(_) => End::Close(CloseCode::NotUtf8),
        Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
            End::Close(CloseCode::TooLarge)
        }
        Error::Protocol(fault) => protocol_end(fault),
        _ => End::Gone,
    }
}

fn protocol_end(fault: &tokio_tungstenite::tungstenite::error::ProtocolError) -> End {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match fault {
        ProtocolError::ResetWithoutClosingHandshake => End::Gone,
        _ => End::Close(CloseCode::Protocol),
    }
}

/// Set on purpose: small buffers for many links, limits of the contract, and a bounded queue in
/// the library behind the bounded queue of the link.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES + 2 * limits::MESSAGE_BYTES)
        .max_message_size(Some(limits::MESSAGE_BYTES))
        .max_frame_size(Some(limits::MESSAGE_BYTES))
}

/// Messages read in one wake-up, so that one busy link does not hold up the others.
const READ_BUDGET: usize = 64;
/// The same in bytes: a large message is as much work as many small ones.
const READ_BUDGET_BYTES: usize = 64 * 1024;
/// Allocated for each link for as long as it lives.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// What is gathered before the system is asked to send it.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// How long the closing handshake may take.
const LINGER: Duration = Duration::from_secs(2);
/// The same for a peer that was too slow: it has unread messages before the close frame.
const SLOW_LINGER: Duration = Duration::from_secs(30);
/// How much of what a peer still sends is read after the close frame.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
