//! A stream that counts what passes through it, so that its owner can tell a slow peer from a dead
//! one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP stream, what was read of it before it was one, and counts of both ways.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    ahead: Bytes,
    /// Bytes that came from the peer.
    pub(crate) received: u64,
    /// Bytes that the system took over for the peer.
    pub(crate) sent: u64,
    /// In how many calls it did.
    pub(crate) writes: u64,
}

impl Metered {
    /// A stream whose first bytes, `ahead`, were read with the HTTP request.
    pub(crate) fn new(stream: TcpStream, ahead: Bytes) -> Self {
        // Even an empty slice would keep the whole buffer of the HTTP request.
        let ahead = if ahead.is_empty() { Bytes::new() } else { ahead };
        Self { stream, ahead, received: 0, sent: 0, writes: 0 }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        if this.ahead.is_empty() {
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else {
            let count = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
        }
        this.received += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent += count as u64;
        self.writes += 1;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
