//! The native client on real clusters, whose servers die, stop, are cut off and are restarted under it.
//!
//! What the session does in each case is tested with the session, against a model; here is whether all of
//! it holds together: client, sockets, servers. With pages beside it, and for minutes, it is tested in
//! `end_to_end`.

mod failover;
mod herd;
mod homes;
mod names;
mod outages;
mod subscriptions;
