//! The configuration of one server: valid values, their defaults and bounds.
//!
//! Does not own where values come from: the command line, the environment and the configuration
//! file are read by the binary (`cli/settings.rs`), which ends up here.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_shared::id::NodeId;
use rollcall_shared::limits;
use tokio_tungstenite::tungstenite::http::Uri;

/// What one server is told at its start. [`Config::validate`] says whether it holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server's number within its cluster, 1 or more. No other member has it.
    pub id: NodeId,
    /// Where the server listens: clients, other servers, the console and operators on one port.
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The *other* servers of the cluster: id and `ws://host:port/peer`. Default none.
    pub members: Vec<(NodeId, String)>,
    /// The WebSocket URL by which clients reach this server, where it is not what `listen` says
    /// (all interfaces, a proxy in front). Default: made from `listen`.
    pub advertise: Option<String>,
    /// The folder in which the state is kept. Default none: it is kept in memory, and gone with the
    /// process.
    pub data_dir: Option<PathBuf>,
    /// A TOML file that maps tokens to principals. Default none: clients need no token, and each
    /// client id is its own principal.
    pub tokens: Option<PathBuf>,
    /// Origins (`https://app.example`) whose pages may connect, besides those of this server
    /// itself. Default none; without tokens on loopback, any loopback origin may.
    pub allow_origins: Vec<String>,
    /// How long registrations outlive their client's last link. Default 10 s. Longer than a
    /// client's way to another server, or every reconnect is seen as a leave and a join.
    pub session_grace: Duration,
    /// How often an idle link is pinged; three silent ones end it. Default 5 s.
    pub heartbeat: Duration,
    /// How long after its upgrade a link may stay without a message. Default 5 s.
    pub first_message: Duration,
    /// The most changes kept for subscribers that come back with `since`. Default 65,536.
    pub history_changes: usize,
    /// The most bytes those changes may take. Default 32 MiB; whichever bound is met first counts.
    pub history_bytes: usize,
    /// The most bytes that may wait for one link. Default 1 MiB, which is also the least: four of
    /// the largest messages. A link over it reads too slowly and is closed.
    pub link_queue_bytes: usize,
    /// The most links of clients at once; further ones are refused with HTTP 503. Default 100,000.
    pub max_connections: usize,
    /// The most registrations of the cluster. Default 5,000,000.
    pub max_registrations: usize,
    /// Threads that serve connections. Default 0: one per core.
    pub threads: usize,
}

impl Config {
    /// A server with this id and address and the default of everything else.
    #[must_use]
    pub const fn new(id: NodeId, listen: SocketAddr) -> Self {
        Self {
            id,
            listen,
            members: Vec::new(),
            advertise: None,
            data_dir: None,
            tokens: None,
            allow_origins: Vec::new(),
            session_grace: Duration::from_millis(SESSION_GRACE_MS),
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            first_message: Duration::from_millis(FIRST_MESSAGE_MS),
            history_changes: HISTORY_CHANGES as usize,
            history_bytes: HISTORY_BYTES as usize,
            link_queue_bytes: LINK_QUEUE_BYTES as usize,
            max_connections: MAX_CONNECTIONS as usize,
            max_registrations: MAX_REGISTRATIONS as usize,
            threads: 0,
        }
    }

    /// Checks what no single value can tell, and the bounds of each for those that came from code.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first fault.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        if self.id.0 == 0 {
            return fault("id", "must be 1 or more");
        }
        for (index, (id, url)) in self.members.iter().enumerate() {
            if *id == self.id {
                return fault("members", "must name the other servers, not this one");
            }
            if self.members[..index].iter().any(|(other, _)| other == id) {
                return fault("members", "names a server twice");
            }
            peer_url(url).map_err(|reason| InvalidConfig { key: "members", reason })?;
        }
        if let Some(url) = &self.advertise {
            websocket_url(url).map_err(|reason| InvalidConfig { key: "advertise", reason })?;
        }
        for text in &self.allow_origins {
            origin(text).map_err(|reason| InvalidConfig { key: "allow_origins", reason })?;
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let count = |value: usize| value as u64;
        bounded("session_grace_ms", millis(self.session_grace), SESSION_GRACE_MS_RANGE)?;
        bounded("heartbeat_ms", millis(self.heartbeat), HEARTBEAT_MS_RANGE)?;
        bounded("first_message_ms", millis(self.first_message), FIRST_MESSAGE_MS_RANGE)?;
        bounded("history_changes", count(self.history_changes), HISTORY_CHANGES_RANGE)?;
        bounded("history_bytes", count(self.history_bytes), HISTORY_BYTES_RANGE)?;
        bounded("link_queue_bytes", count(self.link_queue_bytes), LINK_QUEUE_BYTES_RANGE)?;
        bounded("max_connections", count(self.max_connections), MAX_CONNECTIONS_RANGE)?;
        bounded("max_registrations", count(self.max_registrations), MAX_REGISTRATIONS_RANGE)?;
        bounded("threads", count(self.threads), THREADS_RANGE)
    }
}

impl Default for Config {
    /// Server 1 on [`LISTEN`].
    fn default() -> Self {
        Self::new(NodeId(1), LISTEN)
    }
}

/// A configuration that does not hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// The key at fault, as the configuration file spells it.
    pub key: &'static str,
    /// What is wrong: "must …".
    pub reason: String,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.reason)
    }
}

impl std::error::Error for InvalidConfig {}

/// Checks a URL that a WebSocket client can connect to.
///
/// # Errors
/// What it must be.
pub fn websocket_url(text: &str) -> Result<String, String> {
    let expected = || "must be a WebSocket URL such as ws://127.0.0.1:7101/ws".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let scheme = matches!(uri.scheme_str(), Some("ws" | "wss"));
    if text.len() > URL_BYTES {
        return Err(format!("must have at most {URL_BYTES} bytes"));
    }
    if !scheme || !has_plain_authority(&uri) || text.contains('#') {
        return Err(expected());
    }
    Ok(text.to_owned())
}

/// Checks the URL of another server.
///
/// # Errors
/// What it must be.
pub fn peer_url(text: &str) -> Result<String, String> {
    let expected = || "must be a URL such as ws://127.0.0.1:7102/peer".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let shape = uri.scheme_str() == Some("ws") && uri.port_u16().is_some() && uri.path() == "/peer";
    if !shape || !has_plain_authority(&uri) || uri.query().is_some() || text.contains('#') {
        return Err(expected());
    }
    Ok(text.to_owned())
}

/// Checks the origin of a web page, in the form browsers send it.
///
/// # Errors
/// What it must be.
pub fn origin(text: &str) -> Result<String, String> {
    let expected =
        || "must be an origin such as https://app.example or http://localhost:3000".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
        return Err(expected());
    };
    let written = format!("{scheme}://{authority}");
    if !has_plain_authority(&uri) || !written.eq_ignore_ascii_case(text) {
        return Err(expected());
    }
    Ok(written.to_ascii_lowercase())
}

/// A host, perhaps a port, no user name.
fn has_plain_authority(uri: &Uri) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    uri.authority().filter(|authority| authority.as_str().chars().all(plain)).is_some_and(
        |authority| {
            let port_is_absent_or_valid = authority.as_str().len() == authority.host().len()
                || authority.port_u16() > Some(0);
            !authority.host().is_empty()
                && !authority.as_str().contains('@')
                && port_is_absent_or_valid
        },
    )
}

fn bounded(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), InvalidConfig> {
    if range.contains(&value) {
        return Ok(());
    }
    fault(key, format!("must be {} to {}", range.start(), range.end()))
}

fn fault(key: &'static str, reason: impl Into<String>) -> Result<(), InvalidConfig> {
    Err(InvalidConfig { key, reason: reason.into() })
}

/// The most bytes of a URL by which clients reach a server: it is told to each of them.
pub const URL_BYTES: usize = 1024;
/// Where a server listens unless told otherwise.
pub const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), BASE_PORT);
/// The port of the first server of a local cluster; the others follow it.
pub const BASE_PORT: u16 = 7101;
/// Default of [`Config::session_grace`], milliseconds.
pub const SESSION_GRACE_MS: u64 = 10_000;
/// Bounds of [`Config::session_grace`], milliseconds; 0 ends a session with its last link.
pub const SESSION_GRACE_MS_RANGE: RangeInclusive<u64> = 0..=3_600_000;
/// Default of [`Config::heartbeat`], milliseconds.
pub const HEARTBEAT_MS: u64 = 5_000;
/// Bounds of [`Config::heartbeat`], milliseconds.
pub const HEARTBEAT_MS_RANGE: RangeInclusive<u64> = 10..=600_000;
/// Default of [`Config::first_message`], milliseconds.
pub const FIRST_MESSAGE_MS: u64 = 5_000;
/// Bounds of [`Config::first_message`], milliseconds.
pub const FIRST_MESSAGE_MS_RANGE: RangeInclusive<u64> = 10..=600_000;
/// Default of [`Config::history_changes`].
pub const HISTORY_CHANGES: u64 = 65_536;
/// Bounds of [`Config::history_changes`]; 0 keeps none.
pub const HISTORY_CHANGES_RANGE: RangeInclusive<u64> = 0..=100_000_000;
/// Default of [`Config::history_bytes`], bytes.
pub const HISTORY_BYTES: u64 = 32 << 20;
/// Bounds of [`Config::history_bytes`], bytes; 0 keeps none.
pub const HISTORY_BYTES_RANGE: RangeInclusive<u64> = 0..=64 << 30;
/// Default of [`Config::link_queue_bytes`], bytes.
pub const LINK_QUEUE_BYTES: u64 = 4 * limits::MESSAGE_BYTES as u64;
/// Bounds of [`Config::link_queue_bytes`], bytes: a few of the largest messages must fit, or a
/// reader that keeps up would be taken for a slow one.
pub const LINK_QUEUE_BYTES_RANGE: RangeInclusive<u64> = LINK_QUEUE_BYTES..=1 << 30;
/// Default of [`Config::max_connections`].
pub const MAX_CONNECTIONS: u64 = 100_000;
/// Bounds of [`Config::max_connections`].
pub const MAX_CONNECTIONS_RANGE: RangeInclusive<u64> = 1..=10_000_000;
/// Default of [`Config::max_registrations`].
pub const MAX_REGISTRATIONS: u64 = 5_000_000;
/// Bounds of [`Config::max_registrations`].
pub const MAX_REGISTRATIONS_RANGE: RangeInclusive<u64> = 1..=1_000_000_000;
/// Bounds of [`Config::threads`]; 0 means one per core.
pub const THREADS_RANGE: RangeInclusive<u64> = 0..=1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().expect_err("the change is a fault").to_string()
    }

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    /// The contract and `docs/operations.md` state them.
    #[test]
    fn the_defaults_are_those_that_are_promised() {
        let config = Config::default();
        let seconds = |time: Duration| time.as_millis() as f64 / 1000.0;
        assert_eq!(seconds(config.session_grace), 10.0);
        assert_eq!(seconds(config.heartbeat), 5.0);
        assert_eq!(seconds(config.first_message), 5.0);
        assert_eq!(config.history_changes, 65_536);
        assert_eq!(config.history_bytes, 32 * 1024 * 1024);
        assert_eq!(config.link_queue_bytes, 1024 * 1024);
        assert_eq!(config.listen, "127.0.0.1:7101".parse().unwrap());
        assert_eq!(config.threads, 0);
    }

    #[test]
    fn members_are_the_others_and_each_named_once() {
        let member = |id| (NodeId(id), "ws://127.0.0.1:7102/peer".to_owned());
        assert_eq!(
            faulty(|config| config.members = vec![member(1)]),
            "members must name the other servers, not this one"
        );
        assert_eq!(
            faulty(|config| config.members = vec![member(2), member(2)]),
            "members names a server twice"
        );
        let config = Config { members: vec![member(2), member(3)], ..Config::default() };
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn values_from_code_have_bounds_too() {
        assert_eq!(faulty(|config| config.id = NodeId(0)), "id must be 1 or more");
        assert_eq!(
            faulty(|config| config.heartbeat = Duration::ZERO),
            "heartbeat_ms must be 10 to 600000"
        );
        assert!(faulty(|config| config.link_queue_bytes = 4096).starts_with("link_queue_bytes"));
        assert!(faulty(|config| config.advertise = Some("example".into())).contains("ws://"));
    }

    #[test]
    fn urls_are_told_from_what_looks_like_one() {
        for good in ["ws://127.0.0.1:7101/ws", "wss://example.org/ws", "ws://[::1]:80/ws"] {
            assert_eq!(websocket_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "127.0.0.1:7101",
            "http://a/ws",
            "ws://",
            "ws://u@a/ws",
            "ws://a;sandbox;x/ws",
            "ws://a,b/ws",
            "ws://a b/",
            "ws://a:0/ws",
            "ws://a:/ws",
            "ws://a:99999/ws",
            "ws://a/ws#x",
            "/ws",
        ] {
            assert!(websocket_url(bad).is_err(), "{bad}");
        }
        assert!(peer_url("ws://127.0.0.1:7102/peer").is_ok());
        for bad in ["ws://127.0.0.1/peer", "ws://127.0.0.1:7102/ws", "wss://a:1/peer"] {
            assert!(peer_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        assert_eq!(origin("HTTPS://App.example").as_deref(), Ok("https://app.example"));
        assert_eq!(origin("http://localhost:3000").as_deref(), Ok("http://localhost:3000"));
        for bad in ["", "*", "app.example", "https://app.example/", "ws://a", "https://a/b"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
