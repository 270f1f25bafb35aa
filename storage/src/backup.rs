//! A backup: the replicated state as a file of its own, to be kept elsewhere.
//!
//! It is whole or refused. A restore puts it, with a sequence that goes on far enough ahead, into an
//! empty folder, where it waits for a cluster to begin with it.

use rollcall_replica::consensus::ids::{ClusterId, Index};
use rollcall_replica::directory::{Bounds, Directory};
use rollcall_shared::id::Revision;
use serde::{Deserialize, Serialize};

use crate::fault::{Failed, OpenError};
use crate::folder::Folder;
use crate::frame::FileKind;
use crate::names;
use crate::snapshot::{Encoder, Pieces, read_pieces};

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The life of the cluster.
    pub cluster: ClusterId,
    /// The last entry it contains.
    pub index: Index,
    /// The revision it is true at.
    pub revision: Revision,
    /// The next sequence number.
    pub next_number: u64,
    /// When it was taken, milliseconds since 1970 by the clock of the server it was taken from.
    pub taken_at: u64,
}

/// The bytes of a backup, part by part: about 128 KiB each. `salt` is random.
pub fn encode(
    salt: u64,
    head: &Backup,
    directory: Directory,
) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut encoder = Encoder::new(FileKind::Backup, salt, head);
    std::iter::from_fn(move || encoder.poll(&directory))
}

/// Reads a backup; `name` is its name in errors.
///
/// # Errors
/// It is damaged, no backup, or of a newer version.
pub fn read(name: &str, bytes: &[u8], bounds: Bounds) -> Result<(Backup, Directory), OpenError> {
    read_pieces(name, FileKind::Backup, bytes, bounds)
}

/// Puts what a cluster is to begin with into a folder that holds nothing of a server. The sequence
/// goes on from `head.next_number`. Durable when it returns.
///
/// # Errors
/// The disk fails.
pub fn restore<F: Folder>(
    folder: &F,
    salt: u64,
    head: &Backup,
    directory: Directory,
) -> Result<(), Failed> {
    let directory = directory.with_numbers_from(head.next_number);
    let name = names::NEXT.to_owned();
    let file = folder.create(&name).map_err(Failed::new("create", &name))?;
    let mut pieces = Pieces::new(file, name, Encoder::new(FileKind::Backup, salt, head));
    while !pieces.step(&directory)? {}
    let rename = folder.rename(names::NEXT, names::RESTORED);
    rename.map_err(Failed::new("rename", names::NEXT))?;
    folder.sync().map_err(Failed::new("sync", "the folder"))
}
