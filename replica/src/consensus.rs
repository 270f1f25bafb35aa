//! How servers agree on one log: election, replication, leases and admission (R0–R28), as a state
//! machine without clock, I/O or randomness of its own.
//!
//! Owns what is in the log and how far it is committed; what its commands do is
//! [`Directory`](crate::Directory)'s, and what clients are told is [`Replica`](crate::Replica)'s.
//!
//! After each input, take outputs from `poll_output` until there is none, then arm a timer for
//! `poll_timeout`. Outputs are in order: what a link is to carry, and what is to be stored, goes out
//! in the order in which it is polled.

pub mod admissions;
pub mod config;
pub mod ids;
pub mod journal;
pub mod log;
pub mod message;
pub mod quorum;
