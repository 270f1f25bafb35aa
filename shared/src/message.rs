//! The messages of the protocol, version 1: what travels between clients and servers.
//!
//! Owns the types and their JSON form (the contract's sections 3 and 4); how bytes become one of
//! them, and which error a bad one deserves, is [`crate::codec`]'s. A tag, once used, is never
//! given another meaning.

mod error;
mod push;
mod reply;
mod request;
mod status;

use serde::{Deserialize, Serialize};

pub use error::{Error, ErrorCode};
pub use push::{Change, GoingAway, Reason, SessionReplaced};
pub use reply::{
    Address, Endpoint, Limits, Member, Registered, SequenceNumber, Subscribed, User, UserAddress,
    Users, Welcome,
};
pub use request::{
    ConnectUser, DisconnectUser, Filter, GetSequenceNumber, GetUserAddress, Hello, Ip, OBSERVED,
    Request, RequestKind, Subscribe, Unsubscribe,
};
pub use status::{MemberState, MemberStatus, Role, Status};

use crate::id::RequestId;

/// The version of the protocol these messages belong to.
pub const VERSION: u32 = 1;
/// The WebSocket subprotocol of [`VERSION`].
pub const SUBPROTOCOL: &str = "rollcall.v1.json";

/// The outer object of every message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<'a, P> {
    /// What the message is: one of the tags of [`RequestKind`], [`tag`].
    pub r#type: &'a str,
    /// Who sent it: `client/<client id>` or `server/<node id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'a str>,
    /// The number of the request; a push has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// What the type says.
    pub payload: P,
}

/// Tags of what servers send.
pub mod tag {
    /// Answer to `Hello`: [`super::Welcome`].
    pub const WELCOME: &str = "Welcome";
    /// Answer to `ConnectUser`: [`super::Registered`].
    pub const CONNECTED: &str = "Connected";
    /// Answer to `DisconnectUser`: [`super::Registered`].
    pub const DISCONNECTED: &str = "Disconnected";
    /// Answer to `GetUserAddress`: [`super::UserAddress`].
    pub const USER_ADDRESS: &str = "UserAddress";
    /// A further part of `UserAddress` or `Subscribed`: [`super::Users`].
    pub const USERS: &str = "Users";
    /// Answer to `GetSequenceNumber`: [`super::SequenceNumber`].
    pub const SEQUENCE_NUMBER: &str = "SequenceNumber";
    /// Answer to `Subscribe`: [`super::Subscribed`].
    pub const SUBSCRIBED: &str = "Subscribed";
    /// Answer to `Unsubscribe`: [`super::Unsubscribe`].
    pub const UNSUBSCRIBED: &str = "Unsubscribed";
    /// Answer to `GetStatus`: [`super::Status`].
    pub const STATUS: &str = "Status";
    /// Answer to `Ping`: [`super::Empty`].
    pub const PONG: &str = "Pong";
    /// A request was not carried out, or a message not understood: [`super::Error`].
    pub const ERROR: &str = "Error";

    /// A device appeared: [`super::Change`].
    pub const USER_CONNECTED: &str = "UserConnected";
    /// A device changed its address, meta or session: [`super::Change`].
    pub const USER_UPDATED: &str = "UserUpdated";
    /// A device is gone: [`super::Change`].
    pub const USER_DISCONNECTED: &str = "UserDisconnected";
    /// Another session took over a registration of this one: [`super::SessionReplaced`].
    pub const SESSION_REPLACED: &str = "SessionReplaced";
    /// This server shuts down: [`super::GoingAway`].
    pub const GOING_AWAY: &str = "GoingAway";
}

/// A payload without content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}
