//! How a client is set up.

use std::time::Duration;

use rollcall_shared::id::ClientId;
use rollcall_shared::limits;
use rollcall_shared::session::{Config, Token};
use tokio_tungstenite::tungstenite::http::Uri;

use crate::{Client, Error};

/// Sets up a [`Client`].
///
/// ```no_run
/// # async fn run() -> Result<(), rollcall_client::Error> {
/// use std::time::Duration;
/// use rollcall_client::Client;
///
/// let client = Client::builder()
///     .servers(["ws://127.0.0.1:7101/ws", "ws://127.0.0.1:7102/ws"])
///     .timeout(Duration::from_secs(2))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `connect`"]
pub struct Builder {
    config: Config,
    client_id: Option<ClientId>,
    lazy: bool,
}

impl Builder {
    /// WebSocket URLs of servers, tried in turn. One is enough: the client learns of the others.
    pub fn servers(mut self, servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.servers.extend(servers.into_iter().map(Into::into));
        self
    }

    /// The token that says who the client is, where the servers ask for one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Token::Fixed(token.into());
        self
    }

    /// How long a call may take, with all its retries, and so may [`Builder::connect`]. Default
    /// 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// The client's identity. Who starts again with the same one within the grace period finds
    /// its session alive. It is a secret; by default a random one is made.
    pub fn client_id(mut self, client_id: ClientId) -> Self {
        self.client_id = Some(client_id);
        self
    }

    /// The shortest wait before a lost link is opened again. Default 100 ms.
    pub fn min_reconnect_delay(mut self, delay: Duration) -> Self {
        self.config.min_reconnect_delay = delay;
        self
    }

    /// The longest wait before a lost link is opened again. Default 5 s.
    pub fn max_reconnect_delay(mut self, delay: Duration) -> Self {
        self.config.max_reconnect_delay = delay;
        self
    }

    /// Whether [`Builder::connect`] returns at once instead of waiting for a server. Calls wait
    /// for one then, up to their timeout.
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    /// Starts the client and waits until a server has welcomed it. It must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// `unreachable` if no server answered in time, `unauthenticated` if one refused the token,
    /// `invalid_argument` for URLs that cannot be used.
    pub async fn connect(self) -> Result<Client, Error> {
        self.check()?;
        let client_id = self.client_id.unwrap_or_else(random_client_id);
        let client = Client::start(self.config, client_id);
        if !self.lazy {
            client.wait_until_connected().await?;
        }
        Ok(client)
    }

    fn check(&self) -> Result<(), Error> {
        let servers = |message: String| Err(Error::invalid("servers", message));
        if self.config.servers.is_empty() {
            return servers("name at least one server".to_owned());
        }
        for url in &self.config.servers {
            let parsed = url.parse::<Uri>().ok();
            match parsed.as_ref().and_then(Uri::scheme_str) {
                Some("ws") if parsed.as_ref().is_some_and(|uri| uri.host().is_some()) => {}
                Some("wss") => {
                    return servers(format!(
                        "{url}: this client does not speak TLS yet; use ws://"
                    ));
                }
                _ => {
                    return servers(format!(
                        "{url} is not a WebSocket URL such as ws://127.0.0.1:7101/ws"
                    ));
                }
            }
        }
        match &self.config.token {
            Token::Fixed(token) if token.len() > limits::TOKEN_BYTES => Err(Error::invalid(
                "token",
                format!("a token has at most {} bytes", limits::TOKEN_BYTES),
            )),
            _ => Ok(()),
        }
    }
}

fn random_client_id() -> ClientId {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ClientId::new(&text).expect("hexadecimal digits are allowed in a client id")
}

/// Random bytes of the system.
///
/// # Panics
/// Without any there is no secret client id, and nothing to go on with.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has a source of random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(servers: &[&str], expected: Option<&str>) {
        let got = Builder::default().servers(servers.iter().copied()).check();
        let message = got.err().map(|error| error.message);
        match expected {
            None => assert_eq!(message, None),
            Some(part) => assert!(message.is_some_and(|text| text.contains(part)), "{part}"),
        }
    }

    #[test]
    fn urls_are_checked_before_anything_is_opened() {
        check(&["ws://127.0.0.1:7101/ws", "ws://[::1]:7101/ws", "ws://host"], None);
        check(&[], Some("at least one"));
        check(&["wss://host/ws"], Some("TLS"));
        check(&["127.0.0.1:7101"], Some("not a WebSocket URL"));
        check(&["http://host/ws"], Some("not a WebSocket URL"));
        check(&["ws://"], Some("not a WebSocket URL"));
    }

    #[test]
    fn client_ids_are_long_and_different() {
        let (one, other) = (random_client_id(), random_client_id());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, other);
    }
}
