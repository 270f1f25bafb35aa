//! Every order of events, within bounds: model checking of the consensus core.
//!
//! The servers in the model are [`rollcall_replica::consensus::Consensus`], the very code that
//! production runs. What a run of it may meet is explored whole: any server may try to lead at any
//! time, any message may be late for ever, links break, processes and disks are lost, each at most
//! as often as [`Bounds`] says. In every state the safety properties of [`truth`] hold.
//!
//! Leases are set to nothing here, so time has no meaning in the model; leases, sessions and
//! snapshots are held to their rules by the simulator in `tests/simulation`. Owns no rule of the
//! protocol.

pub mod bounds;
pub mod model;
pub mod script;
pub mod server;
pub mod truth;
pub mod walk;

pub use bounds::Bounds;
pub use model::{Action, Cluster, State};
