//! As much HTTP/2 as one gRPC method takes that is called again and again: one connection, one kind
//! of request, and of answers only whether they have a body.

use std::{collections::BTreeSet, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Result, link::READ_BYTES};

/// A connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    stream: TcpStream,
    read: Vec<u8>,
    due: Vec<u8>,
    /// The head of every request, encoded.
    head: Vec<u8>,
    next: u32,
    /// Requests of which the answer's body is here and its end is not.
    answered: BTreeSet<u32>,
}

impl Http2 {
    /// Connects; all requests will call the method of this path.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut due = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        push(&mut due, SETTINGS, 0, 0, &[]);
        // Bodies that come are short: all of them fit into the largest window.
        push(&mut due, WINDOW_UPDATE, 0, 0, &(i32::MAX.unsigned_abs() - 65_535).to_be_bytes());
        let head = head(&address.to_string(), path);
        let (read, answered) = Default::default();
        Ok(Self { stream, read, due, head, next: 1, answered })
    }

    /// Queues a call with a message; it leaves with [`Self::flush`]. What is under way together must
    /// be less than 64 KiB, as nobody asks here how much the server will take.
    pub(crate) fn feed(&mut self, message: &[u8]) {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).expect("a message is short").to_be_bytes());
        body.extend(message);
        push(&mut self.due, HEADERS, END_HEADERS, self.next, &self.head);
        push(&mut self.due, DATA, END_STREAM, self.next, &body);
        self.next += 2;
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> Result {
        self.stream.write_all(&self.due).await?;
        self.due.clear();
        Ok(())
    }

    /// Waits until calls have returned, and says how many.
    pub(crate) async fn returned(&mut self) -> Result<usize> {
        loop {
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the connection was closed".into());
            }
            let (mut at, mut count) = (0, 0);
            while let Some(frame) = Frame::first(&self.read[at..]) {
                let used = FRAME + frame.content.len();
                match frame.kind {
                    DATA => _ = self.answered.insert(frame.stream),
                    HEADERS if frame.flags & END_STREAM != 0 => {
                        // What fails has no body.
                        if !self.answered.remove(&frame.stream) {
                            return Err("a call has failed".into());
                        }
                        count += 1;
                    }
                    SETTINGS if frame.flags & ACK == 0 => {
                        push(&mut self.due, SETTINGS, ACK, 0, &[]);
                    }
                    PING if frame.flags & ACK == 0 => {
                        push(&mut self.due, PING, ACK, 0, frame.content);
                    }
                    RST_STREAM | GOAWAY => return Err("a call was refused".into()),
                    _ => {}
                }
                at += used;
            }
            self.read.drain(..at);
            if count > 0 {
                return Ok(count);
            }
            self.flush().await?;
        }
    }
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    content: &'a [u8],
}

impl<'a> Frame<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let content = bytes.get(FRAME..FRAME + length)?;
        let stream = u32::from_be_bytes(stream) & 0x7FFF_FFFF;
        Some(Self { kind, flags, stream, content })
    }
}

/// Adds a frame (RFC 9113, section 4.1).
fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("a frame is short").to_be_bytes();
    out.extend(&length[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(content);
}

/// The head of a request, in fields that no table has to remember (RFC 7541, sections 6.1 and 6.2.2).
fn head(authority: &str, path: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http`, which the static table has.
    let mut bytes = vec![0x83, 0x86];
    let fields = [
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
            bytes.push(length.expect("names and values are short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

const FRAME: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back() {
        let mut bytes = Vec::new();
        push(&mut bytes, DATA, END_STREAM, 7, b"abc");
        let frame = Frame::first(&bytes).unwrap();
        let Frame { kind, flags, stream, content } = frame;
        assert_eq!((kind, flags, stream, content), (DATA, END_STREAM, 7, &b"abc"[..]));
        assert!(Frame::first(&bytes[..bytes.len() - 1]).is_none());
    }
}
