//! Where a server's records go, so that it finds them when it starts again.
//!
//! A storage takes records in their order and says, later or at once, up to which they are durable;
//! what that allows to be said to others is decided by the replica. Owns the interface; [`disk`]
//! keeps records in a folder, [`memory`] forgets them.

mod disk;
mod folder;
mod keeper;
mod memory;
mod writer;

use std::task::{Context, Poll};

use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::consensus::journal::Record;

pub(crate) use disk::{Disk, Opened, read};
pub use folder::FolderError;
pub(crate) use folder::lock_folder;
pub(crate) use memory::Memory;

/// Takes records and makes them durable.
pub(crate) trait Storage: Send {
    /// Takes the next record. It must not block: what takes long is done elsewhere, and what waits
    /// for that is done together.
    fn store(&mut self, record: Record);

    /// Up to which record all are durable, each time there are more; records are numbered 1, 2, …
    ///
    /// # Errors
    /// Ready with [`StorageFailed`] where a record could not be stored; nothing is asked after that.
    fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lsn, StorageFailed>>;
}

/// A record could not be stored, and what the disk has now is not known. The log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StorageFailed;
