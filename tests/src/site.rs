//! A web site for tests: a few pages in memory on a loopback port, so on an origin of its own.
//!
//! Answers `GET` only. Its pages carry a strict content security policy, as a careful application's
//! would: scripts from this site and from the allowed origins, WebAssembly, nothing inline.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A running site. Dropping it ends it.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Site {
    /// Serves files by their paths (`/index.html`); `allowed` are origins that pages may load
    /// scripts from and connect to.
    pub async fn serve(
        files: Vec<(impl Into<String>, impl Into<Vec<u8>>)>,
        allowed: &[String],
    ) -> Self {
        let files: Vec<(String, Vec<u8>)> =
            files.into_iter().map(|(path, body)| (path.into(), body.into())).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let allowed = allowed.join(" ");
        let policy = format!(
            "default-src 'none'; img-src data:; worker-src 'self' {allowed}; \
             script-src 'self' 'wasm-unsafe-eval' {allowed}; connect-src 'self' {allowed}"
        );
        let content = Arc::new((files, policy));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            // Each on its own: browsers open connections ahead and say nothing on them.
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let content = Arc::clone(&content);
                connections.spawn(async move {
                    // Who hangs up early gets nothing.
                    let _ = answer(stream, &content.0, &content.1).await;
                });
            }
        });
        Self { address, task }
    }

    /// The address of a path on this site.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request and closes.
async fn answer(
    mut stream: TcpStream,
    files: &[(String, Vec<u8>)],
    policy: &str,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    // What follows a question mark is for the page.
    let path = path.and_then(|path| path.split('?').next());
    let found = files.iter().find(|(name, _)| Some(name.as_str()) == path);
    let (status, body) =
        found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body.as_slice()));
    let kind = match path.and_then(|path| path.rsplit('.').next()) {
        Some("html") => "text/html; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Content-Security-Policy: {policy}\r\nCache-Control: no-cache\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    writer.write_all(head.as_bytes()).await?;
    writer.write_all(body).await?;
    writer.shutdown().await
}
