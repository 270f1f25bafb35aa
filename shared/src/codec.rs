//! Text to message and back: what each kind of bad text deserves.
//!
//! Owns the order of the checks and the fault each reports; the types are [`crate::message`]'s.

pub mod ask;
pub mod ip;
pub mod json;
pub mod reply;
#[cfg(feature = "server")]
pub mod request;

use serde::Serialize;

use crate::id::RequestId;
use crate::message::Envelope;

/// The text of a message.
///
/// # Panics
/// Never for the types of [`crate::message`]: they serialize to JSON without a fault.
pub fn encode<P: Serialize>(
    r#type: &str,
    origin: Option<&str>,
    id: Option<RequestId>,
    payload: &P,
) -> String {
    serde_json::to_string(&Envelope { r#type, origin, id, payload })
        .expect("message types have string keys and no failing serializers")
}
