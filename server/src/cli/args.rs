//! The flags that several commands share.
//!
//! A field's name is its key in the configuration file, its flag makes the name of its environment
//! variable; [`super::settings`] reads both from these definitions.

#![allow(rustdoc::bare_urls, reason = "the comments of flags are what --help prints")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rollcall_server::config::{self, Config};
use rollcall_shared::id::NodeId;

use super::values::{self, Timeout, whole};

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArgs {
    /// TOML file with settings; a flag or an environment variable overrides what it says
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// What to log on standard error: a level (error, warn, info, debug, trace, off), or levels of
    /// parts such as info,rollcall_server=debug [default: info for serve and dev, else warn]
    #[arg(long, global = true, value_name = "FILTER", value_parser = values::log_filter,
          help_heading = "Global options")]
    pub(crate) log: Option<String>,
    /// How to write the log: lines for people, or one JSON object a line
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "human",
        help_heading = "Global options"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// Where the state lives: at most one of the two.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub(crate) struct Storage {
    /// Keep all state in memory: it is gone when the last server stops
    #[arg(long)]
    pub(crate) in_memory: bool,
    /// Keep the state in this folder, which belongs to one server [default: ./rollcall-data/ID;
    /// dev: one under the system's temporary folder, removed at its end]
    #[arg(long, value_name = "DIR", value_parser = values::folder)]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Where a server keeps its state unless told otherwise.
pub(crate) fn default_data_dir(id: NodeId) -> PathBuf {
    PathBuf::from("rollcall-data").join(id.to_string())
}

/// What tunes a server; `serve` takes it, and `dev` for each of its servers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tuning")]
pub(crate) struct Tunables {
    /// TOML file that maps tokens to principals; without it clients need no token
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Origin whose web pages may connect, such as https://app.example; may be repeated
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = config::origin)]
    allow_origins: Vec<String>,
    /// How long registrations outlive their client's last link, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = config::SESSION_GRACE_MS,
          value_parser = whole(config::SESSION_GRACE_MS_RANGE))]
    session_grace_ms: u64,
    /// How often idle links are pinged, in milliseconds; three silent pings end a link
    #[arg(long, value_name = "MS", default_value_t = config::HEARTBEAT_MS,
          value_parser = whole(config::HEARTBEAT_MS_RANGE))]
    heartbeat_ms: u64,
    /// How long a new link may stay without a message, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = config::FIRST_MESSAGE_MS,
          value_parser = whole(config::FIRST_MESSAGE_MS_RANGE))]
    first_message_ms: u64,
    /// Changes kept for subscribers that come back, a number of them
    #[arg(long, value_name = "COUNT", default_value_t = config::HISTORY_CHANGES,
          value_parser = whole(config::HISTORY_CHANGES_RANGE))]
    history_changes: u64,
    /// Memory for those changes, in bytes; whichever bound is met first counts
    #[arg(long, value_name = "BYTES", default_value_t = config::HISTORY_BYTES,
          value_parser = whole(config::HISTORY_BYTES_RANGE))]
    history_bytes: u64,
    /// What may wait for one link, in bytes; a link over it reads too slowly and is closed
    #[arg(long, value_name = "BYTES", default_value_t = config::LINK_QUEUE_BYTES,
          value_parser = whole(config::LINK_QUEUE_BYTES_RANGE))]
    link_queue_bytes: u64,
    /// Links of clients at once, a number of them; further ones are refused with HTTP 503
    #[arg(long, value_name = "COUNT", default_value_t = config::MAX_CONNECTIONS,
          value_parser = whole(config::MAX_CONNECTIONS_RANGE))]
    max_connections: u64,
    /// Registrations of the cluster, a number of them; further ones are refused
    #[arg(long, value_name = "COUNT", default_value_t = config::MAX_REGISTRATIONS,
          value_parser = whole(config::MAX_REGISTRATIONS_RANGE))]
    max_registrations: u64,
    /// Threads that serve connections, a number of them; 0 means one per core
    #[arg(long, value_name = "COUNT", default_value_t = 0,
          value_parser = whole(config::THREADS_RANGE))]
    threads: u64,
}

impl Tunables {
    /// Puts the values into a server's configuration.
    pub(crate) fn apply(self, config: &mut Config) {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        config.tokens = self.tokens;
        config.allow_origins = self.allow_origins;
        config.session_grace = Duration::from_millis(self.session_grace_ms);
        config.heartbeat = Duration::from_millis(self.heartbeat_ms);
        config.first_message = Duration::from_millis(self.first_message_ms);
        config.history_changes = size(self.history_changes);
        config.history_bytes = size(self.history_bytes);
        config.link_queue_bytes = size(self.link_queue_bytes);
        config.max_connections = size(self.max_connections);
        config.max_registrations = size(self.max_registrations);
        config.threads = size(self.threads);
    }
}

/// Flags of the commands that talk to a cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClientArgs {
    /// Servers to try, by their WebSocket URLs; may be repeated
    #[arg(long = "server", value_name = "URL[,URL…]", value_delimiter = ',',
          value_parser = values::server,
          default_values = ["ws://127.0.0.1:7101/ws", "ws://127.0.0.1:7102/ws", "ws://127.0.0.1:7103/ws"])]
    pub(crate) servers: Vec<String>,
    /// Token that says who you are, where the servers ask for one (better given by the environment:
    /// other users of this machine can read command lines)
    #[arg(long, value_name = "TOKEN", value_parser = values::token)]
    pub(crate) token: Option<String>,
    /// How long to try, as a time such as 5s, 500ms, 2m or plain seconds
    #[arg(long = "timeout", value_name = "TIME", value_parser = values::timeout,
          default_value = "5s")]
    pub(crate) timeout_ms: Timeout,
    /// Answer with JSON, one object a line, on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
