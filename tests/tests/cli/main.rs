//! The `rollcall` command from outside: exit statuses, JSON and text, settings and where they come from.
//!
//! Each test runs the binary as a user would, against a server of its own. What the protocol does is
//! the wire tests' business; here it is enough that each command reaches it.

mod backup;
mod bench;
mod cluster;
mod commands;
mod data;
mod no_quorum;
mod settings;
mod usage;
