//! What servers answer, errors and `Status` apart.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{
    ClientId, Device, NodeId, RequestId, Revision, SessionNumber, SubscriptionId, Username,
};
use crate::limits;
use crate::meta::Meta;

/// A network address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The IP address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// A server of the cluster, as `Welcome` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Where clients reach it, as a WebSocket URL.
    pub url: String,
}

/// The bounds a client must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Writes from the oldest unanswered to the newest.
    pub window: u32,
    /// Bytes of a message.
    pub message_bytes: u32,
    /// Usernames of a lookup or subscription.
    pub usernames: u32,
    /// Numbers of one `GetSequenceNumber`.
    pub sequence_count: u32,
    /// Bytes of `meta` in compact form.
    pub meta_bytes: u32,
    /// Subscriptions of a link.
    pub subscriptions: u32,
    /// Devices of a user.
    pub devices: u32,
}

impl Limits {
    /// The limits of this version of the protocol.
    pub const V1: Self = Self {
        window: limits::WINDOW as u32,
        message_bytes: limits::MESSAGE_BYTES as u32,
        usernames: limits::USERNAMES as u32,
        sequence_count: limits::SEQUENCE_COUNT,
        meta_bytes: limits::META_BYTES as u32,
        subscriptions: limits::SUBSCRIPTIONS as u32,
        devices: limits::DEVICES as u32,
    };
}

/// Payload of `Welcome`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The server that answers.
    pub node: NodeId,
    /// The client id of the link.
    pub client: ClientId,
    /// The protocol version of the link.
    pub version: u32,
    /// This life of the cluster: with another value revisions and numbers begin anew.
    pub cluster: String,
    /// This life of the session.
    pub session: SessionNumber,
    /// Whether the session named in `Hello` lives on, with its registrations.
    pub resumed: bool,
    /// Above every request id applied so far.
    pub next_id: RequestId,
    /// The address the server sees the client at.
    pub observed: Endpoint,
    /// The leader, while known.
    pub leader: Option<NodeId>,
    /// All servers of the cluster.
    pub members: Vec<Member>,
    /// What the client must keep to.
    pub limits: Limits,
    /// How long a session outlives its last link, in milliseconds.
    pub session_grace_ms: u64,
    /// How often the server pings, in milliseconds.
    pub heartbeat_ms: u64,
}

/// Payload of `Connected` and `Disconnected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Whose registration.
    pub username: Username,
    /// Of which device.
    pub device: Device,
    /// The revision of the change.
    pub revision: Revision,
}

/// Where one device of a user is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The device.
    pub device: Device,
    /// Its IP address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// What the application keeps with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// The revision of its last change.
    pub revision: Revision,
}

/// A user who is online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub username: Username,
    /// Where each device is reached, in order of device name.
    pub addresses: Vec<Address>,
}

/// Payload of `UserAddress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAddress {
    /// Who is online.
    pub users: Vec<User>,
    /// Who is not.
    pub unknown: Vec<Username>,
    /// The revision all of it is true at.
    pub revision: Revision,
    /// Whether `Users` with the rest follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

/// Payload of `Users`: a further part of a large answer. A user whose addresses did not fit one
/// part appears in the next one again, with the rest of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Further users.
    pub users: Vec<User>,
    /// Further names of nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Username>,
    /// Whether yet another part follows.
    pub more: bool,
}

/// Payload of `SequenceNumber`: the numbers `first` … `first + count − 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceNumber {
    /// The first number taken.
    pub first: u64,
    /// How many were taken.
    pub count: u32,
}

/// Payload of `Subscribed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The number of the subscription within its link.
    pub subscription: SubscriptionId,
    /// The revision `users` is true at, or `since` where it was recovered.
    pub revision: Revision,
    /// Whether the changes after `since` follow, in answer to a `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// Who matches; empty where it was recovered.
    pub users: Vec<User>,
    /// Whether `Users` with the rest follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
