//! What a client reads: the outer object of a message, and of its payloads what the session itself
//! needs.
//!
//! Payloads stay raw JSON text here, so that each driver turns them into what its language likes.
//! Fields that a client does not need are not asked for: a newer server may leave them out.

use std::borrow::Cow;
use std::net::IpAddr;

use super::json::{Read, members};
use crate::id::{
    ClientId, Device, NodeId, RequestId, Revision, SessionNumber, SubscriptionId, Username,
};
use crate::message::{Address, Change, ErrorCode, Reason, SessionReplaced, User};
use crate::meta::Meta;

/// A message from a server, its payload unread.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// What it is, one of [`crate::message::tag`].
    pub r#type: Cow<'a, str>,
    /// The server that sent it.
    pub origin: Option<Cow<'a, str>>,
    /// The request it answers; a push has none.
    pub id: Option<RequestId>,
    /// The JSON text of the payload, `{}` where it was left out.
    pub payload: &'a str,
}

impl<'a> Incoming<'a> {
    /// Reads the outer object.
    #[must_use]
    pub fn decode(text: &'a str) -> Option<Self> {
        let (mut kind, mut origin, mut id, mut payload) = (None, None, None, "{}");
        members(text, &mut |key, value| {
            match key {
                "type" => kind = Some(Cow::read(value)?),
                "origin" => origin = Option::read(value)?,
                "id" => id = Option::read(value)?,
                "payload" => payload = value,
                _ => {}
            }
            Some(())
        })?;
        Some(Self { r#type: kind?, origin, id, payload })
    }

    /// The payload as a `T`.
    #[must_use]
    pub fn read<T: Read<'a>>(&self) -> Option<T> {
        T::read(self.payload)
    }
}

/// Of `Welcome`: what decides how the session goes on.
#[derive(Debug)]
pub struct Greeting {
    /// The server that says it.
    pub node: NodeId,
    /// This life of the cluster.
    pub cluster: String,
    /// This life of the session.
    pub session: SessionNumber,
    /// Above every request id applied so far.
    pub next_id: RequestId,
    /// All servers of the cluster.
    pub members: Vec<Member>,
    /// How often the server pings, in milliseconds.
    pub heartbeat_ms: u64,
}

impl Read<'_> for Greeting {
    fn read(text: &str) -> Option<Self> {
        let (mut node, mut cluster, mut session) = (None, None, None);
        let (mut next_id, mut list, mut heartbeat_ms) = (None, Vec::new(), None);
        members(text, &mut |key, value| {
            match key {
                "cluster" => cluster = Some(Read::read(value)?),
                "session" => session = Some(Read::read(value)?),
                "node" => node = Some(Read::read(value)?),
                "next_id" => next_id = Some(Read::read(value)?),
                "members" => list = Read::read(value)?,
                "heartbeat_ms" => heartbeat_ms = Some(Read::read(value)?),
                _ => {}
            }
            Some(())
        })?;
        Some(Self {
            cluster: cluster?,
            session: session?,
            node: node?,
            next_id: next_id?,
            members: list,
            heartbeat_ms: heartbeat_ms?,
        })
    }
}

/// Of a member of the cluster: who it is, and its WebSocket URL for clients.
#[derive(Debug)]
pub struct Member {
    /// Which server.
    pub node: NodeId,
    /// Where clients reach it.
    pub url: String,
}

impl Read<'_> for Member {
    fn read(text: &str) -> Option<Self> {
        let (mut node, mut url) = (None, None);
        members(text, &mut |key, value| {
            match key {
                "node" => node = Some(Read::read(value)?),
                "url" => url = Some(Read::read(value)?),
                _ => {}
            }
            Some(())
        })?;
        Some(Self { node: node?, url: url? })
    }
}

impl Read<'_> for NodeId {
    fn read(text: &str) -> Option<Self> {
        u32::try_from(u64::read(text)?).ok().map(Self)
    }
}

/// A part of a large answer: `Subscribed` and `UserAddress` alike, and the `Users` after them.
#[derive(Debug, Default)]
pub struct Part {
    /// The number of the subscription, in `Subscribed`.
    pub subscription: Option<SubscriptionId>,
    /// What it is true at, in the first part.
    pub revision: Option<Revision>,
    /// Whether the changes after `since` follow, in `Subscribed`.
    pub recovered: Option<bool>,
    /// Who is there.
    pub users: Vec<User>,
    /// Who is not, in `UserAddress`.
    pub unknown: Vec<Username>,
    /// Whether another part follows.
    pub more: bool,
}

impl Read<'_> for Part {
    fn read(text: &str) -> Option<Self> {
        let mut part = Self::default();
        members(text, &mut |key, value| {
            match key {
                "subscription" => part.subscription = Read::read(value)?,
                "revision" => part.revision = Read::read(value)?,
                "recovered" => part.recovered = Read::read(value)?,
                "users" => part.users = Read::read(value)?,
                "unknown" => part.unknown = Read::read(value)?,
                "more" => part.more = Read::read(value)?,
                _ => {}
            }
            Some(())
        })?;
        Some(part)
    }
}

/// Whether parts follow, without reading the rest.
#[derive(Debug)]
pub struct More(pub bool);

impl Read<'_> for More {
    fn read(text: &str) -> Option<Self> {
        let mut more = false;
        members(text, &mut |key, value| {
            if key == "more" {
                more = Read::read(value)?;
            }
            Some(())
        })?;
        Some(Self(more))
    }
}

/// Payload of `Error`. A code that this version does not know is `internal`.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The field of the payload at fault.
    pub field: Option<String>,
    /// How long to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Read<'_> for Refusal {
    fn read(text: &str) -> Option<Self> {
        let (mut code, mut message, mut retry) = (None, String::new(), false);
        let (mut field, mut retry_after_ms) = (None, None);
        members(text, &mut |key, value| {
            match key {
                "code" => code = Some(Cow::read(value)?),
                "message" => message = Read::read(value)?,
                "retry" => retry = Read::read(value)?,
                "field" => field = Read::read(value)?,
                "retry_after_ms" => retry_after_ms = Read::read(value)?,
                _ => {}
            }
            Some(())
        })?;
        let code = code?;
        let known = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code);
        let code = known.unwrap_or(ErrorCode::Internal);
        Some(Self { code, message, retry, field, retry_after_ms })
    }
}

impl Read<'_> for User {
    fn read(text: &str) -> Option<Self> {
        let (mut username, mut addresses) = (None, Vec::new());
        members(text, &mut |key, value| {
            match key {
                "username" => username = Some(Read::read(value)?),
                "addresses" => addresses = Read::read(value)?,
                _ => {}
            }
            Some(())
        })?;
        Some(Self { username: username?, addresses })
    }
}

impl Read<'_> for Address {
    fn read(text: &str) -> Option<Self> {
        let place = Place::read(text)?;
        Some(Self {
            device: place.device?,
            ip: place.ip?,
            port: place.port?,
            meta: place.meta,
            revision: place.revision?,
        })
    }
}

impl Read<'_> for Change {
    fn read(text: &str) -> Option<Self> {
        let place = Place::read(text)?;
        Some(Self {
            subscription: place.subscription?,
            username: place.username?,
            device: place.device?,
            ip: place.ip,
            port: place.port,
            meta: place.meta,
            reason: place.reason,
            revision: place.revision?,
            online: place.online?,
        })
    }
}

impl Read<'_> for SessionReplaced {
    fn read(text: &str) -> Option<Self> {
        let place = Place::read(text)?;
        Some(Self { username: place.username?, device: place.device? })
    }
}

/// What messages say of a device, each some of it.
#[derive(Default)]
struct Place {
    subscription: Option<SubscriptionId>,
    username: Option<Username>,
    device: Option<Device>,
    ip: Option<IpAddr>,
    port: Option<u16>,
    meta: Option<Meta>,
    reason: Option<Reason>,
    revision: Option<Revision>,
    online: Option<bool>,
}

impl Read<'_> for Place {
    fn read(text: &str) -> Option<Self> {
        let mut place = Self::default();
        members(text, &mut |key, value| {
            match key {
                "subscription" => place.subscription = Read::read(value)?,
                "username" => place.username = Read::read(value)?,
                "device" => place.device = Read::read(value)?,
                "ip" => place.ip = Read::read(value)?,
                "port" => place.port = Read::read(value)?,
                "meta" => place.meta = Read::read(value)?,
                "reason" => place.reason = Read::read(value)?,
                "revision" => place.revision = Read::read(value)?,
                "online" => place.online = Read::read(value)?,
                _ => {}
            }
            Some(())
        })?;
        Some(place)
    }
}

/// Taken as it is: the server has checked it.
impl Read<'_> for Meta {
    fn read(text: &str) -> Option<Self> {
        Some(Self::trusted(text))
    }
}

impl Read<'_> for Reason {
    fn read(text: &str) -> Option<Self> {
        match text {
            r#""left""# => Some(Self::Left),
            r#""expired""# => Some(Self::Expired),
            _ => None,
        }
    }
}

macro_rules! read {
    (name $($name:ty),*) => {$(
        impl Read<'_> for $name {
            fn read(text: &str) -> Option<Self> {
                Self::new(&Cow::read(text)?).ok()
            }
        }
    )*};
    (number $($name:ident),*) => {$(
        impl Read<'_> for $name {
            fn read(text: &str) -> Option<Self> {
                u64::read(text).map(Self)
            }
        }
    )*};
}

read!(name Username, Device, ClientId);
read!(number RequestId, Revision, SessionNumber, SubscriptionId);

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
        assert_eq!(message.payload, r#"{"x":1}"#);
    }

    #[test]
    fn bad_text_is_nothing_rather_than_a_panic() {
        for text in ["", "[]", "{", r#"{"type":1}"#, r#"{"type":"a","id":-1}"#, "null", "{}"] {
            assert!(Incoming::decode(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_internal() {
        let refusal = Refusal::read(r#"{"code":"on_fire"}"#).unwrap();
        assert_eq!(refusal.code, ErrorCode::Internal);
    }

    #[test]
    fn reads_what_servers_write() {
        let user: User = serde_json::from_str(
            r#"{"username":"é","addresses":[
                {"device":"tv","ip":"::1","port":9,"meta":{"a":[1.5,"\""]},"revision":3}]}"#,
        )
        .unwrap();
        let text = serde_json::to_string(&user).unwrap();
        assert_eq!(User::read(&text), Some(user));
        let change: Change = serde_json::from_str(
            r#"{"subscription":1,"username":"a","device":"b","ip":"10.0.0.1","port":7,
                "revision":9,"online":true}"#,
        )
        .unwrap();
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(Change::read(&text), Some(change));
        let gone = r#"{"subscription":1,"username":"a","device":"b","reason":"expired",
            "revision":9,"online":false}"#;
        assert_eq!(Change::read(gone), serde_json::from_str(gone).ok());
    }
}
