//! What a client reads: the outer object of a message, and of its payloads what the session itself
//! needs.
//!
//! Payloads stay raw JSON text here, so that each driver turns them into what its language likes.
//! Fields that a client does not need are not asked for: a newer server may leave them out.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::id::{RequestId, Revision, SessionNumber, SubscriptionId};
use crate::message::{ErrorCode, User};

/// A message from a server, its payload unread.
#[derive(Debug, Deserialize)]
pub struct Incoming<'a> {
    /// What it is, one of [`crate::message::tag`].
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    /// The server that sent it.
    #[serde(default)]
    pub origin: Option<String>,
    /// The request it answers; a push has none.
    #[serde(default)]
    pub id: Option<RequestId>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// Reads the outer object.
    #[must_use]
    pub fn decode(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The JSON text of the payload, `{}` where it was left out.
    #[must_use]
    pub fn payload(&self) -> &'a str {
        self.payload.map_or("{}", RawValue::get)
    }

    /// The payload as a `T`.
    #[must_use]
    pub fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.payload()).ok()
    }
}

/// Of `Welcome`: what decides how the session goes on.
#[derive(Debug, Deserialize)]
pub struct Greeting {
    /// This life of the cluster.
    pub cluster: String,
    /// This life of the session.
    pub session: SessionNumber,
    /// Whether the session that `Hello` named lives on.
    pub resumed: bool,
    /// Above every request id applied so far.
    pub next_id: RequestId,
    /// All servers of the cluster.
    #[serde(default)]
    pub members: Vec<MemberUrl>,
    /// How often the server pings, in milliseconds.
    pub heartbeat_ms: u64,
}

/// Of a member of the cluster: where it is.
#[derive(Debug, Deserialize)]
pub struct MemberUrl {
    /// Its WebSocket URL for clients.
    pub url: String,
}

/// A part of a large answer: `Subscribed` and `UserAddress` alike, and the `Users` after them.
#[derive(Debug, Deserialize)]
pub struct Part {
    /// The number of the subscription, in `Subscribed`.
    #[serde(default)]
    pub subscription: Option<SubscriptionId>,
    /// What it is true at, in the first part.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Whether the changes after `since` follow, in `Subscribed`.
    #[serde(default)]
    pub recovered: Option<bool>,
    /// Who is there.
    pub users: Vec<User>,
    /// Who is not, in `UserAddress`.
    #[serde(default)]
    pub unknown: Vec<crate::id::Username>,
    /// Whether another part follows.
    #[serde(default)]
    pub more: bool,
}

/// Whether parts follow, without reading the rest.
#[derive(Debug, Deserialize)]
pub struct More {
    /// Whether another part follows.
    #[serde(default)]
    pub more: bool,
}

/// Payload of `Error`, whatever its code.
#[derive(Debug, Deserialize)]
pub struct Refusal<'a> {
    /// What is wrong, for programs.
    #[serde(borrow)]
    code: Cow<'a, str>,
    /// What is wrong, for people.
    #[serde(default)]
    pub message: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retry: bool,
    /// The field of the payload at fault.
    #[serde(default)]
    pub field: Option<String>,
    /// How long to wait before a retry, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl Refusal<'_> {
    /// The code; one that this version does not know is `internal`.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::ALL
            .into_iter()
            .find(|code| code.as_str() == self.code)
            .unwrap_or(ErrorCode::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_needs_and_nothing_more() {
        let text = r#"{"type":"Pong","origin":"server\/2","id":7,"new":[1],"payload":{"x":1}}"#;
        let message = Incoming::decode(text).unwrap();
        assert_eq!(message.r#type, "Pong");
        assert_eq!(message.origin.as_deref(), Some("server/2"));
        assert_eq!(message.id, Some(RequestId(7)));
        assert_eq!(message.payload(), r#"{"x":1}"#);
    }

    #[test]
    fn bad_text_is_nothing_rather_than_a_panic() {
        for text in ["", "[]", "{", r#"{"type":1}"#, r#"{"type":"a","id":-1}"#, "null"] {
            assert!(Incoming::decode(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_internal() {
        let refusal: Refusal<'_> = serde_json::from_str(r#"{"code":"on_fire"}"#).unwrap();
        assert_eq!(refusal.code(), ErrorCode::Internal);
    }
}
