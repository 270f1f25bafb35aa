//! What a session tells its driver: outputs, events, states and failures.

use std::fmt;
use std::sync::Arc;

use crate::id::{Device, Username};
use crate::message::{Change, ErrorCode, tag};
use crate::time::Instant;

/// A WebSocket, for the driver to open and close. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Something the application asked for and gets exactly one [`Event::Done`] for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A subscription as the application sees it: the same one over all links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Get a token and hand it to [`super::Session::handle_token`].
    Token {
        /// The link it is for.
        link: LinkId,
    },
    /// Open a WebSocket.
    Open {
        /// Its name from now on.
        link: LinkId,
        /// Where.
        url: Arc<str>,
    },
    /// Send a text message.
    Send {
        /// On this link.
        link: LinkId,
        /// The message.
        text: String,
    },
    /// Close a WebSocket; nothing more will be said of it, nor need be.
    Close {
        /// Which.
        link: LinkId,
        /// The close code, 1000 or 3000 … 4999.
        code: u16,
    },
    /// Tell the application.
    Event(Event),
}

/// What the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session entered another state.
    State {
        /// The present one.
        state: State,
        /// The one before.
        previous: State,
        /// When it tries again, in [`State::Disconnected`].
        retry_at: Option<Instant>,
    },
    /// A call came to its end. It happens once per call.
    Done {
        /// Which.
        call: CallId,
        /// The reply's payload as JSON text, or why there is none.
        result: Result<String, Error>,
    },
    /// Who is there changed.
    Change {
        /// For whom to know.
        watch: WatchId,
        /// How.
        change: WatchChange,
    },
    /// The changes in between were lost and the present set was compared with the last one: the
    /// [`Event::Change`]s that follow are the differences.
    Resync {
        /// Of which watch.
        watch: WatchId,
    },
    /// The cluster refuses a subscription it once granted: no change of it will come.
    WatchEnded {
        /// Which.
        watch: WatchId,
        /// Why.
        error: Error,
    },
    /// The session lives on at another server.
    Failover {
        /// The URL of the server before.
        from: Arc<str>,
        /// The URL of the present one.
        to: Arc<str>,
        /// What happened to the link before, in a few words.
        reason: String,
    },
    /// Another session of the same principal took a registration over: it is held no more.
    SessionReplaced {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
    },
    /// A registration ended with its session, or was in doubt, and was made again.
    RegistrationRenewed {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
    },
    /// A registration ended with its session, and the cluster refused to take it again.
    RegistrationLost {
        /// Whose.
        username: Username,
        /// Of which device.
        device: Device,
        /// The refusal.
        error: Error,
    },
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It opens a link.
    Connecting,
    /// A server has welcomed it.
    Connected,
    /// It waits before it tries again.
    Disconnected,
    /// It has ended for good.
    Closed,
}

impl State {
    /// The name of the state, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
        }
    }
}

/// A change, and what kind of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchChange {
    /// What happened.
    pub kind: ChangeKind,
    /// To whom. `subscription` is the number of the watch.
    pub change: Change,
    /// The server that told, as in a message.
    pub origin: Arc<str>,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It appeared.
    Connected,
    /// It was there and is reached differently.
    Updated,
    /// It is gone.
    Disconnected,
}

impl ChangeKind {
    /// The type of the message that tells it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Connected => tag::USER_CONNECTED,
            Self::Updated => tag::USER_UPDATED,
            Self::Disconnected => tag::USER_DISCONNECTED,
        }
    }

    /// The kind told by a message of this type.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        [Self::Connected, Self::Updated, Self::Disconnected]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub message: String,
    /// The field of the request at fault.
    pub field: Option<String>,
}

impl Error {
    /// A failure with this code.
    #[must_use]
    pub fn new(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned(), field: None }
    }

    /// A fault in `field` of what the application asked for.
    #[must_use]
    pub fn invalid(field: &str, message: String) -> Self {
        Self {
            code: Code::Refused(ErrorCode::InvalidArgument),
            message,
            field: Some(field.to_owned()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        f.write_str(": ")?;
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What kind of failure it was: the cluster's answer, or that there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The cluster said no.
    Refused(ErrorCode),
    /// The request was sent and no answer came in time; a write may have been applied.
    Timeout,
    /// The session is closed.
    Closed,
    /// No server could be reached in time; the request was not sent.
    Unreachable,
}

impl Code {
    /// The code as text, as the contract writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(code) => code.as_str(),
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Unreachable => "unreachable",
        }
    }
}
