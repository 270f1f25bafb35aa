//! The bounds of the protocol, each with its unit, and how they relate.
//!
//! Does not own what a server may configure (its own `config`).

/// The most bytes of one message, in either direction.
pub const MESSAGE_BYTES: usize = 256 * 1024;
/// The most bytes of a username or prefix.
pub const USERNAME_BYTES: usize = 128;
/// The most bytes of a device name.
pub const DEVICE_BYTES: usize = 64;
/// The most characters of a client id.
pub const CLIENT_ID_BYTES: usize = 64;
/// The most bytes of `meta` in compact form.
pub const META_BYTES: usize = 1024;
/// The deepest nesting of `meta`, so that every client's parser can read what another one wrote.
pub const META_DEPTH: usize = 32;
/// The most usernames of one lookup or subscription.
pub const USERNAMES: usize = 1000;
/// The most sequence numbers of one request.
pub const SEQUENCE_COUNT: u32 = 10_000;
/// How many writes of a session the cluster remembers, and how many a client may have from the
/// oldest unanswered to the newest.
pub const WINDOW: usize = 64;
/// The largest request id: 2^53−1, the largest integer every JSON reader keeps exactly.
pub const REQUEST_ID: u64 = (1 << 53) - 1;
/// The most devices of one user. Without tokens anyone may add one, so there must be an end.
pub const DEVICES: usize = 1000;
/// The most subscriptions of one link.
pub const SUBSCRIPTIONS: usize = 1024;
/// The most usernames of all subscriptions of a link together; each takes room in an index.
pub const SUBSCRIBED_USERNAMES: usize = 65_536;
/// The most bytes of a token.
pub const TOKEN_BYTES: usize = 8 * 1024;

// A lookup of the most and longest names fits one message even if every byte is escaped to two.
const _: () = assert!(USERNAMES * (2 * USERNAME_BYTES + 3) + 1024 <= MESSAGE_BYTES);
// One registration, escaped, fits many times into one part of a large answer.
const _: () =
    assert!(8 * (META_BYTES + 2 * (USERNAME_BYTES + DEVICE_BYTES) + 256) <= MESSAGE_BYTES);
