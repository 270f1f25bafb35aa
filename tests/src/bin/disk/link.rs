//! A WebSocket link that costs its machine little: requests are bytes, and of replies only their
//! number is read.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    net::SocketAddr,
};

use rollcall_tests::raw::{FINAL, PING, PONG, TEXT, frame_header, upgrade_request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::Result;

/// An open link with a session of its own.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    read: Vec<u8>,
    due: Vec<u8>,
    /// Room for a message, so that not each one has to ask for it.
    text: Vec<u8>,
    last_id: u64,
    /// The requests that are not answered, and when they were sent.
    waiting: VecDeque<(u64, Instant)>,
}

impl Link {
    /// Connects, and waits until the server has welcomed it.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(upgrade_request("").as_bytes()).await?;
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            // The server sends nothing more before it has heard something.
            fill(&mut stream, &mut read).await?;
        }
        if !read.starts_with(b"HTTP/1.1 101 ") {
            return Err(String::from_utf8_lossy(&read).into_owned().into());
        }
        read.clear();
        let (due, text, waiting) = Default::default();
        let mut link = Self { stream, read, due, text, last_id: 0, waiting };
        let welcome = link.ask(r#""Hello","payload":{}"#).await?;
        if welcome.starts_with(r#"{"type":"Welcome""#) { Ok(link) } else { Err(welcome.into()) }
    }

    /// Queues a request; `rest` is its type and payload, as JSON. It leaves with [`Self::flush`].
    pub(crate) fn feed(&mut self, rest: &str, now: Instant) {
        self.last_id += 1;
        self.text.clear();
        write!(self.text, r#"{{"id":{},"type":{rest}}}"#, self.last_id)
            .expect("writing to a Vec does not fail");
        push(&mut self.due, FINAL | TEXT, &self.text);
        self.waiting.push_back((self.last_id, now));
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.due).await?;
        self.due.clear();
        Ok(())
    }

    /// How many requests are not answered.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Waits until something is there to be read. May be cancelled.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        fill(&mut self.stream, &mut self.read).await
    }

    /// Takes the answers that are there, and says how long each took, in microseconds.
    pub(crate) fn answers(&mut self, took: &mut Vec<u32>) -> Result {
        let now = Instant::now();
        let mut at = 0;
        while let Some((opcode, text, used)) = frame(&self.read[at..])? {
            at += used;
            match opcode {
                TEXT => {}
                PING => {
                    push(&mut self.due, FINAL | PONG, text);
                    continue;
                }
                _ => return Err("the server closed a link".into()),
            }
            let Some(id) = number(text) else { continue };
            if text.starts_with(br#"{"type":"Error""#) {
                return Err(String::from_utf8_lossy(text).into_owned().into());
            }
            // Replies come in any order, mostly in that of the requests.
            if let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == id)
                && let Some((_, sent)) = self.waiting.remove(place)
            {
                took.push(u32::try_from((now - sent).as_micros()).unwrap_or(u32::MAX));
            }
        }
        self.read.drain(..at);
        Ok(())
    }

    /// Sends one request on a link that is otherwise idle, and waits for its reply.
    pub(crate) async fn ask(&mut self, rest: &str) -> Result<String> {
        self.feed(rest, Instant::now());
        self.waiting.clear();
        self.flush().await?;
        loop {
            while let Some((opcode, text, used)) = frame(&self.read)? {
                let text = String::from_utf8_lossy(text).into_owned();
                self.read.drain(..used);
                if opcode == TEXT && number(text.as_bytes()) == Some(self.last_id) {
                    return Ok(text);
                }
            }
            self.fill().await?;
        }
    }
}

/// Reads once.
async fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    // No more is read than there is room for.
    read.reserve(READ_BYTES);
    match stream.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Adds a frame. It is masked, as those of clients have to be, but with zeros, which cost nothing.
fn push(out: &mut Vec<u8>, first: u8, content: &[u8]) {
    out.extend(frame_header(first, 0x80, content.len() as u64));
    out.extend([0; 4]);
    out.extend(content);
}

/// The first frame: its opcode, what is in it, and how long it is; none where it is not whole.
fn frame(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & FINAL == 0 || second & 0x80 != 0 {
        return Err("the server sent a frame in parts, or a masked one".into());
    }
    let (length, head) = match (second, rest) {
        (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        (127, [_, _, _, _, rest @ ..]) if rest.len() >= 4 => {
            (u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize, 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(*short), 2),
    };
    Ok(bytes.get(head..head + length).map(|content| (first & 0x0F, content, head + length)))
}

/// The number of the request that a message answers; a push has none. Servers write it behind the
/// type and the origin.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.split(|byte| *byte == b',').nth(2)?.strip_prefix(br#""id":"#)?;
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Enough for all answers that may be there.
pub(crate) const READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_read() {
        for length in [0, 125, 126, 0xFFFF, 0x1_0000] {
            let mut bytes = frame_header(FINAL | TEXT, 0, length as u64);
            bytes.resize(bytes.len() + length, b'x');
            let (opcode, text, used) = frame(&bytes).unwrap().unwrap();
            assert_eq!((opcode, text.len(), used), (TEXT, length, bytes.len()));
            assert!(frame(&bytes[..bytes.len() - 1]).unwrap().is_none());
        }
    }

    #[test]
    fn an_answer_has_a_number_and_a_push_has_none() {
        let answer = br#"{"type":"Connected","origin":"server/1","id":42,"payload":{"id":7}}"#;
        assert_eq!(number(answer), Some(42));
        let push = br#"{"type":"GoingAway","origin":"server/1","payload":{"id":7}}"#;
        assert_eq!(number(push), None);
    }
}
