//! WebSocket by hand over TCP: sends frames that no library would, and sees every byte that returns.
//!
//! Answers nothing on its own, no ping and no close: a client that hangs is what it is for.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{PATIENCE, server::Server};

/// A TCP connection to a server.
#[derive(Debug)]
pub struct RawLink {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub is_final: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
/// Set in the first byte of the last frame of a message.
pub const FINAL: u8 = 0x80;

impl RawLink {
    /// Connects and says nothing.
    pub async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).await.expect("the server accepts");
        stream.set_nodelay(true).expect("TCP knows it");
        Self { stream, buffer: Vec::new() }
    }

    /// Connects and upgrades to WebSocket.
    pub async fn upgrade(server: &Server) -> Self {
        let mut link = Self::connect(server).await;
        link.send(upgrade_request("").as_bytes()).await;
        let head = link.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The answer to the key of the RFC's own example.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        link
    }

    /// Sends bytes; the server may have closed the connection already.
    pub async fn send(&mut self, bytes: &[u8]) {
        // What the server thinks of it shows in what it sends.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a masked frame whose first byte (final bit, reserved bits, opcode) is given.
    pub async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&encode_frame(first, payload)).await;
    }

    /// Sends a whole text message.
    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(FINAL | TEXT, text.as_bytes()).await;
    }

    /// Reads the head of an HTTP response, up to and with the empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).expect("a head is ASCII");
            }
            let more = self.fill().await;
            assert!(more, "closed within the head {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads the next frame; none once the connection has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = decode_frame(&self.buffer) {
                self.buffer.drain(..used);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads the next frame that carries a message, past pings.
    pub async fn text(&mut self) -> Option<String> {
        while let Some(frame) = self.frame().await {
            match frame.opcode {
                TEXT => return Some(String::from_utf8(frame.payload).expect("text is UTF-8")),
                PING => {}
                _ => return None,
            }
        }
        None
    }

    /// Reads to the end of the connection and returns the code of the close frame in it, if any.
    pub async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(frame) = self.frame().await {
            if frame.opcode == CLOSE {
                let bytes = frame.payload.first_chunk::<2>().copied();
                code = bytes.map(u16::from_be_bytes);
                // A polite end: the server need not wait for our half.
                self.send_frame(FINAL | CLOSE, &frame.payload).await;
            }
        }
        code
    }

    /// Reads until the server ends the connection, and returns what came before.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads once; false at the end of the connection, however it ended.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        match timeout(PATIENCE, read).await {
            Ok(Ok(count)) => count > 0,
            Ok(Err(_)) => false,
            Err(_) => panic!("nothing came; unread: {} bytes", self.buffer.len()),
        }
    }
}

/// An upgrade with the key of the RFC's example and further header lines, each ended by CRLF.
pub fn upgrade_request(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A masked frame as a client sends it.
pub fn encode_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_header(first, 0x80, payload.len() as u64);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The first bytes of a frame up to its length; `mask_bit` is 0x80 or 0.
pub fn frame_header(first: u8, mask_bit: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask_bit | length as u8),
        126..=0xFFFF => {
            bytes.push(mask_bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

fn decode_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0x70, 0, "the server set a reserved bit");
    assert_eq!(second & 0x80, 0, "the server masked a frame");
    let (length, header) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = header + usize::try_from(length).expect("a frame fits into memory");
    let payload = bytes.get(header..end)?.to_vec();
    Some((Frame { is_final: first & FINAL != 0, opcode: first & 0x0F, payload }, end))
}

const MASK: [u8; 4] = [0x5A, 0xC3, 0x0F, 0x99];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_three_lengths_are_read_back() {
        for length in [0, 125, 126, 0xFFFF, 0x1_0000] {
            let mut bytes = frame_header(FINAL | TEXT, 0, length as u64);
            bytes.resize(bytes.len() + length, b'x');
            let (frame, used) = decode_frame(&bytes).expect("the frame is whole");
            assert_eq!((frame.payload.len(), used), (length, bytes.len()));
            assert_eq!(decode_frame(&bytes[..bytes.len() - 1]), None);
        }
    }
}
