//! What a client tells without being asked.

use std::time::Duration;

use rollcall_shared::id::{Device, Username};

use crate::{Error, State};

/// Something about the client's session that an application may want to show or to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session entered another state.
    State {
        /// The present one.
        state: State,
        /// The one before.
        previous: State,
        /// How long until it tries again, while disconnected.
        retry_in: Option<Duration>,
    },
    /// Another server serves this client now.
    Failover {
        /// The URL of the one before.
        from: String,
        /// The URL of the present one.
        to: String,
        /// What happened to the link before.
        reason: String,
    },
    /// A watch missed changes; the differences follow on its stream.
    Resync,
    /// Another session of the same principal took over a registration: this client holds it no
    /// more.
    SessionReplaced {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
    },
    /// A registration had ended with its session, and was made again: others saw it go and come.
    RegistrationRenewed {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
    },
    /// A registration ended with its session and the cluster refused it afterwards: this client
    /// holds it no more.
    RegistrationLost {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
        /// The refusal.
        error: Error,
    },
}
