//! The server of Rollcall: sockets, threads, HTTP and metrics around the pure `replica`.
//!
//! A request's way: a connection belongs to one *shard* (a thread). The shard frames, parses and
//! answers lookups itself from the published state; what only the owner of the replicated state can
//! do goes to the *node* (another thread) in one batch per wake-up, and comes back in one batch.
//! `docs/architecture.md` draws the picture.
//!
//! Owns no decision of the protocol: those are `rollcall-replica`'s.

mod answer;
mod assets;
mod backup_key;
mod clock;
mod complaints;
pub mod config;
mod context;
pub mod data;
mod http;
mod link;
mod metered;
mod metrics;
mod node;
mod peers;
mod principals;
mod push;
mod server;
mod shard;
mod storage;
mod subscriptions;

pub use config::Config;
pub use principals::TokensError;
pub use server::{RunError, Server, StartError};
pub use storage::FolderError;
