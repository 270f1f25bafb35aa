//! A change on its way to subscribers: encoded once, whoever gets it.
//!
//! The text of a push differs between links only in the subscription's number, and most links have
//! few; so the rest is encoded once per server, and the whole frame once per shard and number.

use std::sync::{Arc, OnceLock};

use rollcall_replica::history::Kept;
use rollcall_replica::{Change, Event};
use rollcall_shared::id::SubscriptionId;
use rollcall_shared::message::tag;
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A change and its encoded form, made when the first subscriber needs it. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Announcement(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    change: Change,
    body: OnceLock<Box<str>>,
}

impl Announcement {
    pub(crate) fn new(change: Change) -> Self {
        Self(Arc::new(Inner { change, body: OnceLock::new() }))
    }

    /// The frame for subscription `number` of a link.
    pub(crate) fn frame(&self, origin: &str, number: SubscriptionId) -> Utf8Bytes {
        let Inner { change, body: encoded } = &*self.0;
        let tag = match change.event {
            Event::Connected(_) => tag::USER_CONNECTED,
            Event::Updated(_) => tag::USER_UPDATED,
            Event::Disconnected { .. } => tag::USER_DISCONNECTED,
        };
        let body = encoded.get_or_init(|| body(change));
        let mut text = String::with_capacity(96 + origin.len() + body.len());
        text.push_str(r#"{"type":""#);
        text.push_str(tag);
        text.push_str(r#"","origin":""#);
        text.push_str(origin);
        text.push_str(r#"","payload":{"subscription":"#);
        text.push_str(&number.0.to_string());
        text.push(',');
        text.push_str(body);
        text.push('}');
        text.into()
    }
}

impl Kept for Announcement {
    fn change(&self) -> &Change {
        &self.0.change
    }

    fn memory_bytes(&self) -> usize {
        // The encoded form repeats the change with the names of its fields around it.
        2 * self.0.change.memory_bytes() + ENCODED_BYTES
    }
}

/// The payload from the field after `subscription` to the closing brace.
fn body(change: &Change) -> Box<str> {
    #[derive(Serialize)]
    struct Body<'a> {
        username: &'a str,
        device: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        ip: Option<std::net::IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<&'a rollcall_shared::meta::Meta>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<rollcall_shared::message::Reason>,
        revision: u64,
        online: bool,
    }
    let (registration, reason, online) = match &change.event {
        Event::Connected(registration) | Event::Updated(registration) => {
            (Some(registration), None, true)
        }
        Event::Disconnected { reason, online } => (None, Some(*reason), *online),
    };
    let body = Body {
        username: change.username.as_str(),
        device: change.device.as_str(),
        ip: registration.map(|registration| registration.ip),
        port: registration.map(|registration| registration.port),
        meta: registration.and_then(|registration| registration.meta.as_ref()),
        reason,
        revision: change.revision.0,
        online,
    };
    let text = serde_json::to_string(&body).expect("a body has string keys and no failing parts");
    text[1..].into()
}

/// The names of the fields, the numbers and the heads of the two allocations.
const ENCODED_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use rollcall_shared::id::{Device, Revision, Username};
    use rollcall_shared::message::{self, Reason};

    use super::*;

    fn change() -> Change {
        Change {
            revision: Revision(7),
            username: Username::new("a\"b").unwrap(),
            device: Device::default(),
            event: Event::Disconnected { reason: Reason::Left, online: true },
        }
    }

    #[test]
    fn a_change_is_encoded_once_whoever_gets_it() {
        let announcement = Announcement::new(change());
        assert!(announcement.0.body.get().is_none(), "nobody has asked");
        let other_shard = announcement.clone();
        announcement.frame("server/3", SubscriptionId(1));
        let encoded = announcement.0.body.get().unwrap().as_ptr();
        other_shard.frame("server/3", SubscriptionId(2));
        assert_eq!(other_shard.0.body.get().unwrap().as_ptr(), encoded);
    }

    #[test]
    fn the_frame_is_the_message_of_the_contract() {
        let frame = Announcement::new(change()).frame("server/3", SubscriptionId(12));
        let envelope: message::Envelope<'_, message::Change> =
            serde_json::from_str(&frame).unwrap();
        assert_eq!(envelope.r#type, "UserDisconnected");
        assert_eq!(envelope.origin, Some("server/3"));
        assert_eq!(envelope.id, None);
        assert_eq!(envelope.payload.subscription, SubscriptionId(12));
        assert_eq!(envelope.payload.username.as_str(), "a\"b");
        assert_eq!(envelope.payload.reason, Some(Reason::Left));
        assert!(envelope.payload.online);
    }
}
