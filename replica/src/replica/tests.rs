//! Scenarios of the replica: `alone` as transcripts of one server, `cluster` of several.

mod alone;
mod cluster;
