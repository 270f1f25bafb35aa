//! The native client on real clusters, whose servers die, stop, are cut off and are restarted under it.
//!
//! What the session does in each case is tested with the session, against a model; here is whether all of
//! it holds together: client, sockets, servers.

mod callers;
mod failover;
mod homes;
