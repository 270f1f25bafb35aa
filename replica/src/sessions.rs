//! Sessions of clients across servers (section 7 of the replication design).

pub mod message;
