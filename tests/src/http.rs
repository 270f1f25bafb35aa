//! The few lines of HTTP/1.1 that the tests need: one request per connection, the whole response.
//!
//! Knows nothing of WebSocket beyond sending an upgrade request and reading the head of its answer.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    raw::{RawLink, upgrade_request},
    server::Server,
    wire::within,
};

/// A response, its header names in lower case.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name)?;
        Some(&found.1)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// Takes apart what a server sent.
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').expect("a header line has a colon"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response =
            Self { status: status.parse().expect("a status is a number"), headers, body: vec![] };
        response.body = match response.header("transfer-encoding") {
            Some("chunked") => unchunk(&bytes[end + 4..]),
            _ => bytes[end + 4..].to_vec(),
        };
        response
    }
}

/// Sends a request without a body and reads the response to its end.
pub async fn request(server: &Server, method: &str, path: &str, headers: &str) -> Response {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
        server.address()
    );
    Response::parse(&exchange(server.address(), text.as_bytes()).await)
}

/// Fetches a path.
pub async fn get(server: &Server, path: &str) -> Response {
    request(server, "GET", path, "").await
}

/// What `/metrics` says at one moment.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks a server.
    pub async fn of(server: &Server) -> Self {
        Self(get(server, "/metrics").await.text())
    }

    /// The value of a sample, by its name and labels as they are written; 0 where there is none,
    /// Whether there is such a sample.
    pub fn has(&self, sample: &str) -> bool {
        self.0.lines().any(|line| line.strip_prefix(sample).is_some_and(|it| it.starts_with(' ')))
    }

    /// as for a label that nothing was counted for yet.
    pub fn value(&self, sample: &str) -> f64 {
        let of = |line: &str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(of).unwrap_or(0.0)
    }
}

/// Tries to upgrade to WebSocket with further header lines, each ended by CRLF, and reads the head
/// of the answer. The link, if there is one, is dropped.
pub async fn upgrade(server: &Server, headers: &str) -> Response {
    let mut link = RawLink::connect(server).await;
    link.send(upgrade_request(headers).as_bytes()).await;
    Response::parse(link.head().await.as_bytes())
}

/// Sends bytes and returns all that comes back until the server closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // A server that has heard enough may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    let _ = within("the response", stream.read_to_end(&mut response)).await;
    response
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&bytes[..line]).expect("a size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        if size == 0 {
            return body;
        }
        body.extend(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}
