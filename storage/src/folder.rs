//! The folder as the journal sees it: files by name, and what makes them durable.
//!
//! Owns the interface only. What it promises is what a POSIX file system promises at worst: what was
//! written or renamed and not synced may be there after a crash, or not, or in part.

use std::io;

/// A folder of files. Clones are the same folder.
pub trait Folder: Clone + Send + 'static {
    /// An open file.
    type File: File;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// An empty file with this name, in place of one that there may be. It is durable under its name
    /// only after [`Folder::sync`].
    ///
    /// # Errors
    /// It cannot be made.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// The file with this name. What can be read from it is durable, whatever a process that was
    /// killed, or that gave up after a sync that failed, has left unsynced.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in place of one that has it. Durable after [`Folder::sync`].
    ///
    /// # Errors
    /// It cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Folder::sync`].
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// Which names are durable is not known then.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "an empty file is a short one")]
pub trait File: Send {
    /// How long it is, bytes.
    ///
    /// # Errors
    /// That cannot be told.
    fn len(&self) -> io::Result<u64>;

    /// Makes it this long with room for all of it: what is new reads as zeros.
    ///
    /// # Errors
    /// There is no room.
    fn allocate(&mut self, bytes: u64) -> io::Result<()>;

    /// Cuts off what is behind.
    ///
    /// # Errors
    /// That is not possible.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// It cannot be read, or is not that long.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all `bytes` at `offset`. Durable after [`File::sync`].
    ///
    /// # Errors
    /// What is there then is not known.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What is durable then is not known; to try again proves nothing.
    fn sync(&mut self) -> io::Result<()>;
}
