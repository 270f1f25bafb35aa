//! What servers send unasked, to subscriptions and links.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Device, Revision, SubscriptionId, Username};
use crate::meta::Meta;

/// Payload of a change: `UserConnected`, `UserUpdated` (with `ip`, `port`, `meta`) and
/// `UserDisconnected` (with `reason`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The subscription it belongs to.
    pub subscription: SubscriptionId,
    /// Whose.
    pub username: Username,
    /// Which device.
    pub device: Device,
    /// Where it is reached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The port there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the application keeps with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// Why it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The revision of the change.
    pub revision: Revision,
    /// Whether any device of the user is there after it.
    pub online: bool,
}

/// Why a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its client asked.
    Left,
    /// Its session ended.
    Expired,
}

/// Payload of `SessionReplaced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReplaced {
    /// Whose registration was taken over.
    pub username: Username,
    /// Of which device.
    pub device: Device,
}

/// Payload of `GoingAway`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingAway {
    /// Why, in a word.
    pub reason: String,
}
