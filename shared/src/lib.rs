//! What every part of Rollcall agrees on: identifiers, limits, messages, close codes, and the
//! client session as a pure state machine.
//!
//! Owns no socket, clock, thread or randomness: time and seeds are arguments, so the same code
//! runs in the server, in a native client, in a browser and under test.

#![warn(missing_docs)]

pub mod close;
pub mod codec;
pub mod id;
pub mod limits;
pub mod message;
pub mod meta;
pub mod order;
pub mod session;
pub mod time;
