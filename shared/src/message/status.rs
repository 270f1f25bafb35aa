//! `Status`: how one server sees itself and the cluster.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Revision};

/// What a server is within its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It follows a leader.
    Follower,
    /// It asks to lead.
    Candidate,
    /// It holds no state and waits to be admitted.
    Blank,
}

impl Role {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Blank => "blank",
        }
    }
}

/// A server as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its id.
    pub node: NodeId,
    /// Where clients reach it, as a WebSocket URL.
    pub url: String,
    /// What is known of it.
    pub state: MemberState,
    /// What it is, where it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The highest epoch it knows of, where it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many entries of the leader's log it had not received yet, where the leader has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Client links of it, where it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u64>,
}

/// What one server knows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It is linked to the server that says so, and heard from.
    Up,
    /// It is not.
    Down,
}

/// Payload of `Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server that answers.
    pub node: NodeId,
    /// This life of the cluster; empty while the server does not know it.
    pub cluster: String,
    /// What the server is.
    pub role: Role,
    /// The leader, while known.
    pub leader: Option<NodeId>,
    /// The number of the leadership.
    pub epoch: u64,
    /// Whether the server would answer lookups by itself now.
    pub readable: bool,
    /// The last entry of the log that the server knows to be committed.
    pub commit: u64,
    /// The revision of the server's state.
    pub revision: Revision,
    /// All servers.
    pub members: Vec<MemberStatus>,
    /// The version of the software.
    pub version: String,
    /// How long the server has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Client links of this server.
    pub connections: u64,
    /// Live sessions of the cluster.
    pub sessions: u64,
    /// Registrations of the cluster.
    pub registrations: u64,
    /// Users with a registration.
    pub users: u64,
    /// Subscriptions of this server's links.
    pub subscriptions: u64,
}
