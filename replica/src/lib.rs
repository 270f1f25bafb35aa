//! The replicated state of Rollcall and what drives it, as pure state machines.
//!
//! [`Directory`] is the state itself: commands go in, outcomes and changes come out, the same on
//! every server. [`Replica`] decides which commands there are: it knows the links of clients and of
//! other servers, and the time. [`History`] keeps the last changes for subscriptions that resume.
//!
//! Owns no socket, clock, thread, file or randomness; `rollcall-server` has those.

#![warn(missing_docs)]

pub mod command;
pub mod consensus;
pub mod directory;
pub mod fault;
pub mod handshake;
pub mod history;
mod replica;
pub mod sessions;
#[cfg(test)]
mod transcript;
pub mod wire;
#[cfg(test)]
mod world;

pub use directory::{Change, Directory, Event, Registration, User, Users};
pub use history::History;
pub use replica::{Config, Input, LinkId, NoSession, Output, Refused, Relayed, Replica};
