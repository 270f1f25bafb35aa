//! One change of the directory: what subscriptions are told.
//!
//! All that a push says is computed when the command is applied and kept here (R36), so that every
//! server says the same, now and to those who resume later.

use std::sync::Arc;

use rollcall_shared::id::{Device, Revision, Username};
use rollcall_shared::message::Reason;

use super::Registration;

/// A change, at its own revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, in the order of all changes.
    pub revision: Revision,
    /// Whose.
    pub username: Username,
    /// Which device.
    pub device: Device,
    /// What happened.
    pub event: Event,
}

/// What happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It appeared.
    Connected(Arc<Registration>),
    /// It was there and changed its address, meta or session.
    Updated(Arc<Registration>),
    /// It is gone.
    Disconnected {
        /// Why.
        reason: Reason,
        /// Whether another device of the user is left.
        online: bool,
    },
}

impl Change {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let meta = match &self.event {
            Event::Connected(registration) | Event::Updated(registration) => {
                registration.meta.as_ref().map_or(0, |meta| meta.as_str().len())
            }
            Event::Disconnected { .. } => 0,
        };
        FIXED_BYTES + self.username.as_str().len() + self.device.as_str().len() + meta
    }
}

/// The change itself, its registration, and the heads of their shared texts.
const FIXED_BYTES: usize = size_of::<Change>() + size_of::<Registration>() + 6 * 16;
