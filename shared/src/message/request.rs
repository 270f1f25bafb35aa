//! What clients ask: the kinds of requests and their payloads.
//!
//! These types hold valid content only; the check happens in [`crate::codec`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Empty;
use crate::id::{Device, Prefix, Revision, SessionNumber, SubscriptionId, Username};
use crate::meta::Meta;

/// What a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// Opens or resumes the session.
    Hello,
    /// Registers an address.
    ConnectUser,
    /// Ends a registration.
    DisconnectUser,
    /// Looks up many names at one revision.
    GetUserAddress,
    /// Takes sequence numbers.
    GetSequenceNumber,
    /// Asks for who matches, then for every change.
    Subscribe,
    /// Ends a subscription.
    Unsubscribe,
    /// How this server sees the cluster; answered locally.
    GetStatus,
    /// Answered locally.
    Ping,
}

impl RequestKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::ConnectUser,
        Self::DisconnectUser,
        Self::GetUserAddress,
        Self::GetSequenceNumber,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::GetStatus,
        Self::Ping,
    ];

    /// The tag on the wire.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Hello => "Hello",
            Self::ConnectUser => "ConnectUser",
            Self::DisconnectUser => "DisconnectUser",
            Self::GetUserAddress => "GetUserAddress",
            Self::GetSequenceNumber => "GetSequenceNumber",
            Self::Subscribe => "Subscribe",
            Self::Unsubscribe => "Unsubscribe",
            Self::GetStatus => "GetStatus",
            Self::Ping => "Ping",
        }
    }

    /// The kind with this tag.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

    /// Whether it changes replicated state, and so is remembered for retries.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::ConnectUser | Self::DisconnectUser | Self::GetSequenceNumber)
    }
}

/// Payload of `Hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Who the client is, where the server asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The protocol versions the client speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<u32>>,
    /// The session of the last `Welcome` the client processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionNumber>,
}

/// The address in a `ConnectUser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ip {
    /// The one the server sees the client at.
    Observed,
    /// This one.
    Literal(IpAddr),
}

/// What [`Ip::Observed`] is on the wire.
pub const OBSERVED: &str = "observed";

impl Serialize for Ip {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Observed => serializer.serialize_str(OBSERVED),
            Self::Literal(ip) => serializer.collect_str(ip),
        }
    }
}

/// Payload of `ConnectUser`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectUser {
    /// Who appears.
    pub username: Username,
    /// Where to reach it.
    pub ip: Ip,
    /// The port there, 1 … 65535.
    pub port: u16,
    /// Which of the user's devices.
    pub device: Device,
    /// What the application keeps with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
}

/// Payload of `DisconnectUser`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisconnectUser {
    /// Who leaves.
    pub username: Username,
    /// Which of the user's devices.
    pub device: Device,
}

/// Payload of `GetUserAddress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GetUserAddress {
    /// Whom to look up, 1 … 1000 names.
    pub usernames: Vec<Username>,
}

/// Payload of `GetSequenceNumber`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GetSequenceNumber {
    /// How many numbers to take, 1 … 10,000.
    pub count: u32,
}

/// Whom a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// These users, 1 … 1000 names.
    Usernames(Vec<Username>),
    /// Users whose name begins with this.
    Prefix(Prefix),
    /// Everyone.
    All,
}

impl Filter {
    /// Whether it is about `username`.
    #[must_use]
    pub fn matches(&self, username: &Username) -> bool {
        match self {
            Self::Usernames(names) => names.contains(username),
            Self::Prefix(prefix) => username.as_str().starts_with(prefix.as_str()),
            Self::All => true,
        }
    }
}

/// Payload of `Subscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Whom it is about.
    pub filter: Filter,
    /// The revision after which changes are wanted, instead of the present set.
    pub since: Option<Revision>,
}

impl Serialize for Subscribe {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        match &self.filter {
            Filter::Usernames(names) => map.serialize_entry("usernames", names)?,
            Filter::Prefix(prefix) => map.serialize_entry("prefix", prefix)?,
            Filter::All => map.serialize_entry("all", &true)?,
        }
        if let Some(since) = self.since {
            map.serialize_entry("since", &since)?;
        }
        map.end()
    }
}

/// Payload of `Unsubscribe` and `Unsubscribed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// Which subscription of the link.
    pub subscription: SubscriptionId,
}

/// A request with its valid payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`RequestKind::Hello`].
    Hello(Hello),
    /// See [`RequestKind::ConnectUser`].
    ConnectUser(ConnectUser),
    /// See [`RequestKind::DisconnectUser`].
    DisconnectUser(DisconnectUser),
    /// See [`RequestKind::GetUserAddress`].
    GetUserAddress(GetUserAddress),
    /// See [`RequestKind::GetSequenceNumber`].
    GetSequenceNumber(GetSequenceNumber),
    /// See [`RequestKind::Subscribe`].
    Subscribe(Subscribe),
    /// See [`RequestKind::Unsubscribe`].
    Unsubscribe(Unsubscribe),
    /// See [`RequestKind::GetStatus`].
    GetStatus,
    /// See [`RequestKind::Ping`].
    Ping,
}

impl Request {
    /// What it asks.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Hello(_) => RequestKind::Hello,
            Self::ConnectUser(_) => RequestKind::ConnectUser,
            Self::DisconnectUser(_) => RequestKind::DisconnectUser,
            Self::GetUserAddress(_) => RequestKind::GetUserAddress,
            Self::GetSequenceNumber(_) => RequestKind::GetSequenceNumber,
            Self::Subscribe(_) => RequestKind::Subscribe,
            Self::Unsubscribe(_) => RequestKind::Unsubscribe,
            Self::GetStatus => RequestKind::GetStatus,
            Self::Ping => RequestKind::Ping,
        }
    }
}

/// Serializes as its payload.
impl Serialize for Request {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hello(payload) => payload.serialize(serializer),
            Self::ConnectUser(payload) => payload.serialize(serializer),
            Self::DisconnectUser(payload) => payload.serialize(serializer),
            Self::GetUserAddress(payload) => payload.serialize(serializer),
            Self::GetSequenceNumber(payload) => payload.serialize(serializer),
            Self::Subscribe(payload) => payload.serialize(serializer),
            Self::Unsubscribe(payload) => payload.serialize(serializer),
            Self::GetStatus | Self::Ping => Empty {}.serialize(serializer),
        }
    }
}
