//! What the tests need to drive Rollcall from outside: processes, clients and a model to compare with.
//!
//! Owns no expectation about Rollcall beyond the shape of a message; what must hold is in `tests/`.
//! Nothing here uses the code under test, except [`crowd`]: the clients speak the protocol on their own.

pub mod browser;
pub mod chance;
pub mod cluster;
pub mod command;
pub mod crowd;
pub mod disk;
pub mod fault;
pub mod http;
pub mod measuring;
pub mod model;
pub mod packaged;
pub mod proxy;
pub mod raw;
pub mod roaming;
pub mod server;
pub mod site;
pub mod strace;
pub mod tls;
pub mod wire;
pub mod witness;

use std::{
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// How long anything that is due may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The most that one message may have, in bytes (contract, section 2).
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A client id nobody else has.
pub fn random_client_id() -> String {
    let random = || std::hash::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// A number from the environment, for tests that have a longer form.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}
