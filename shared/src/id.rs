//! Identifiers: each its own type, valid by construction.
//!
//! Owns the rules for names and numbers of the contract (its sections 3 and 4); does not own what
//! they are used for.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// Why a text is not a valid identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// It has no character.
    Empty,
    /// It has more bytes than `limit`.
    TooLong {
        /// The most bytes allowed.
        limit: usize,
    },
    /// It has a character that is not allowed, such as a space or a control character.
    Character(char),
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { limit } => write!(f, "is longer than {limit} bytes"),
            Self::Character(c) => write!(f, "contains {c:?}, which is not allowed"),
        }
    }
}

impl std::error::Error for InvalidName {}

/// A shared, immutable text that passed the check of its type.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// [`InvalidName`] says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), InvalidName> = $check;
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

name!(
    /// A user's name: 1–128 bytes of UTF-8 without control characters or white space, compared
    /// bytewise.
    Username,
    |text| visible(text, limits::USERNAME_BYTES)
);

name!(
    /// One of a user's devices: as a username, with at most 64 bytes.
    Device,
    |text| visible(text, limits::DEVICE_BYTES)
);

name!(
    /// The first bytes of the usernames a subscription is about: as a username.
    Prefix,
    |text| visible(text, limits::USERNAME_BYTES)
);

name!(
    /// A client's identity, chosen by it at random: 1–64 of `A-Z a-z 0-9 . _ -`. It names the
    /// client's session and is a secret: whoever knows it can act as that client.
    ClientId,
    |text| {
        bounded(text, limits::CLIENT_ID_BYTES)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        first_bad(text, |c| !allowed(c))
    }
);

name!(
    /// Who a client is, as its token says: the token's `sub`.
    Subject,
    |text| visible(text, limits::USERNAME_BYTES)
);

impl Device {
    /// The device of a registration that names none.
    pub const DEFAULT: &'static str = "default";
}

impl Default for Device {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

fn visible(text: &str, limit: usize) -> Result<(), InvalidName> {
    bounded(text, limit)?;
    first_bad(text, |c| c.is_control() || c.is_whitespace())
}

fn bounded(text: &str, limit: usize) -> Result<(), InvalidName> {
    match text.len() {
        0 => Err(InvalidName::Empty),
        n if n > limit => Err(InvalidName::TooLong { limit }),
        _ => Ok(()),
    }
}

fn first_bad(text: &str, bad: impl Fn(char) -> bool) -> Result<(), InvalidName> {
    text.chars().find(|&c| bad(c)).map_or(Ok(()), |c| Err(InvalidName::Character(c)))
}

/// A number with a meaning of its own.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A server of the cluster, 1 or more.
    NodeId(u32)
);
number!(
    /// The number of a request within its session, 1 … 2^53−1.
    RequestId(u64)
);
number!(
    /// The cluster's logical timestamp: each single change of the directory takes the next one.
    Revision(u64)
);
number!(
    /// A subscription within its link: 1, 2, ….
    SubscriptionId(u64)
);
number!(
    /// The number of one life of a client's session: it changes when the session ended and began
    /// anew. Opaque to clients.
    SessionNumber(u64)
);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_measured_in_bytes() {
        assert!(Username::new(&"é".repeat(64)).is_ok());
        assert_eq!(Username::new(&"é".repeat(65)), Err(InvalidName::TooLong { limit: 128 }));
        assert_eq!(Device::new(""), Err(InvalidName::Empty));
        assert_eq!(Device::new(&"d".repeat(65)), Err(InvalidName::TooLong { limit: 64 }));
    }

    #[test]
    fn names_refuse_what_cannot_be_seen() {
        for c in [' ', '\t', '\n', '\0', '\u{85}', '\u{a0}', '\u{3000}', '\u{7f}'] {
            assert_eq!(Username::new(&format!("a{c}b")), Err(InvalidName::Character(c)));
        }
        assert!(Username::new("名前").is_ok());
    }

    #[test]
    fn client_ids_have_their_own_alphabet() {
        assert!(ClientId::new("AZaz09._-").is_ok());
        assert_eq!(ClientId::new("a/b"), Err(InvalidName::Character('/')));
        assert_eq!(ClientId::new(&"x".repeat(65)), Err(InvalidName::TooLong { limit: 64 }));
    }
}
