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

/// A server as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its id.
    pub node: NodeId,
    /// Where clients reach it, as a WebSocket URL.
    pub url: String,
    /// What is known of it.
    pub state: MemberState,
}

/// What one server knows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It is heard from.
    Up,
    /// It is not heard from.
    Down,
}

/// Payload of `Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server that answers.
    pub node: NodeId,
    /// This life of the cluster.
    pub cluster: String,
    /// What the server is.
    pub role: Role,
    /// The leader, while known.
    pub leader: Option<NodeId>,
    /// The number of the leadership.
    pub epoch: u64,
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
