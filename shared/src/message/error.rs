//! `Error`: why a request was not carried out, and whether to try again.

use serde::{Deserialize, Serialize};

/// Payload of `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The field of the payload at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How long to wait before a retry, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error that names no field.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry = code.is_retryable();
        Self { code, message: message.into(), retry, field: None, retry_after_ms: None }
    }

    /// A fault in `field` of a payload.
    pub fn in_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(ErrorCode::InvalidArgument, message);
        Self { field: Some(field.into()), ..error }
    }
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a JSON object, no string `type`, or a request without an integer `id`.
    Malformed,
    /// The type is not one of a request.
    UnknownType,
    /// A fault in the payload, or a wrong origin.
    InvalidArgument,
    /// `meta` is over its limit.
    TooLarge,
    /// Another principal holds the registration.
    UsernameTaken,
    /// Another session holds the registration.
    NotOwner,
    /// There is no such registration or subscription.
    NotFound,
    /// The server wants a valid token first.
    Unauthenticated,
    /// The principal may not do this.
    Forbidden,
    /// Too many requests; not applied.
    RateLimited,
    /// The server or a bound is full; not applied.
    Overloaded,
    /// The server cannot answer now; not applied.
    NoQuorum,
    /// The write may or may not have been applied: retry the same request to learn which.
    OutcomeUnknown,
    /// The request is older than the window of remembered writes.
    StaleRequest,
    /// A bug of the server.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::UnknownType,
        Self::InvalidArgument,
        Self::TooLarge,
        Self::UsernameTaken,
        Self::NotOwner,
        Self::NotFound,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RateLimited,
        Self::Overloaded,
        Self::NoQuorum,
        Self::OutcomeUnknown,
        Self::StaleRequest,
        Self::Internal,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::InvalidArgument => "invalid_argument",
            Self::TooLarge => "too_large",
            Self::UsernameTaken => "username_taken",
            Self::NotOwner => "not_owner",
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::NoQuorum => "no_quorum",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::StaleRequest => "stale_request",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::NoQuorum | Self::Overloaded | Self::RateLimited | Self::OutcomeUnknown)
    }
}
