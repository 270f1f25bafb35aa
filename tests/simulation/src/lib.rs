//! A made-up world for the replicas of a cluster: links, disks, clocks, processes and clients, all
//! from one seed, and the properties that must hold in it (section 11 of docs/replication.md).
//!
//! The servers in it are [`rollcall_replica::Replica`], the very code that production runs. A run
//! breaks things for a while and checks every property after every step; then it heals all and
//! demands progress. Equal seeds give equal runs, step by step.
//!
//! Owns no rule of the protocol.

pub mod invariants;
pub mod random;
pub mod sim;

pub use sim::{Count, Counts, Failure, Kind, Plan, Report, Sim};
