//! Several servers as one system, on real processes and over real links, while servers die, stop,
//! are cut off and come back.
//!
//! Each module is a kind of fault or a promise; each test is one story with a cluster of its own.
//! Nearly all have a witness: clients that write, read and watch throughout, and check every answer.
//! When a leader changes is the servers' affair: no test minds one election more.

mod asking;
mod bad_peers;
mod copies;
mod crashes;
mod partitions;
mod pauses;
mod sessions;
mod shutdown;
mod sizes;
mod status;
mod storm;
mod subscriptions;
