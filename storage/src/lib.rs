//! What a server keeps on disk, and how it finds it again: a journal of records in segments, and
//! snapshots in place of what is too old to be kept.
//!
//! Files, in one folder that belongs to one process at a time:
//!
//! - `journal-N`: a segment. It begins with the state before its first record, so that older ones
//!   can go. Groups of records follow, each one frame with a checksum and durable before the next
//!   one is written.
//! - `snapshot-N`: the replicated state after an entry. It counts once a record of the journal says
//!   so.
//! - `spare`: the next segment, made ahead so that no group waits for the room (`next` where there is
//!   none yet).
//! - `restored`: what a cluster is to begin with, put there by a restore; gone once it has begun.
//! - `readmitted`: what was here was damaged and given up; gone once all is copied from others.
//!
//! A frame that is not whole at the end of the newest segment was never durable: it is cut off. What
//! does not fit together anywhere else is [`Damage`], and nothing of the folder is used.
//!
//! Owns no file: all goes through [`Folder`], which is a real one in the server and a made-up one,
//! that loses what was not synced, in the simulator.

#![warn(missing_docs)]

pub mod backup;
mod fault;
pub mod folder;
mod frame;
mod journal;
pub mod memory;
mod names;
mod record;
mod recovery;
mod removal;
mod salts;
mod segment;
mod snapshot;
#[cfg(test)]
mod testing;

pub use fault::{Damage, Failed, OpenError, Refused};
pub use folder::{File, Folder};
pub use journal::{Journal, Settings};
pub use names::is_ours;
pub use recovery::{Cut, InTurn, Recovered, Together, recover, recover_with};
pub use removal::Removal;
pub use snapshot::{SnapshotJob, SnapshotWriter, Written};

/// The version of all files. A file of a higher one is refused.
pub const FORMAT: u32 = 1;
