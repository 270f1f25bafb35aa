//! WebSocket close codes and what each tells a client to do.

/// Why a server closes a link. 4000–4099 say "reconnect", 4100–4199 "do not reconnect unchanged".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The server shuts down: move to another.
    Shutdown = 1001,
    /// The WebSocket protocol was broken.
    Protocol = 1002,
    /// A binary frame came: messages are text.
    Binary = 1003,
    /// A text frame was not UTF-8.
    NotUtf8 = 1007,
    /// A message was larger than [`crate::limits::MESSAGE_BYTES`].
    TooLarge = 1009,
    /// The client read too slowly and its queue was full.
    SlowReader = 4000,
    /// The session of the link has ended.
    SessionEnded = 4001,
    /// This server is cut off from the cluster.
    CutOff = 4002,
    /// Nothing came from the client for too long.
    Idle = 4003,
    /// No valid token was shown.
    Unauthenticated = 4100,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// A few words for the close frame.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "server shuts down",
            Self::Protocol => "broken WebSocket protocol",
            Self::Binary => "messages are JSON in text frames",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLarge => "message over 256 KiB",
            Self::SlowReader => "read too slowly",
            Self::SessionEnded => "session ended",
            Self::CutOff => "server is cut off",
            Self::Idle => "idle",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// Whether a client that got close code `code` may connect again without a change (a new token,
/// a newer version).
#[must_use]
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 1002 | 1003 | 1007 | 1009 | 4100..=4199)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_whether_to_come_back() {
        for code in [1000, 1001, 1006, 1011, 1012, 4000, 4001, 4002, 4003, 4099, 4200] {
            assert!(may_reconnect(code), "{code}");
        }
        for code in [1002, 1003, 1007, 1009, CloseCode::Unauthenticated.code(), 4199] {
            assert!(!may_reconnect(code), "{code}");
        }
    }
}
