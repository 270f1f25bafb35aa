//! What is done to a data folder while no server uses it.
//!
//! Owns none of its format, which is `rollcall-storage`'s.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rollcall_replica::Directory;
use rollcall_shared::id::{NodeId, Revision};
use rollcall_storage::backup::{self, Backup};
use rollcall_storage::{Failed, Folder as _, OpenError};

use crate::clock;
use crate::storage::{FolderError, lock_folder};

/// Why nothing was done to a folder.
#[derive(Debug)]
pub enum DataError {
    /// The folder cannot be used.
    Folder(FolderError),
    /// There is none, or nothing of a server is in it.
    Empty(PathBuf),
    /// Nothing is wrong with it.
    Sound(PathBuf),
    /// It is not for this server, or of a newer version.
    Refused(PathBuf, OpenError),
    /// It holds the data of a server already.
    Taken(PathBuf),
    /// The sequence would go back to this number.
    Back(u64),
    /// There are more numbers than there can be.
    NumbersEnd,
    /// A backup cannot be used.
    Backup(OpenError),
    /// The system refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(why) => why.fmt(f),
            Self::Empty(path) => {
                write!(f, "{} holds nothing of a server: name its --data-dir", path.display())
            }
            Self::Sound(path) => write!(
                f,
                "{} is not damaged: start the server with it. To give it up all the same, move it \
                 away",
                path.display()
            ),
            Self::Refused(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Taken(path) => write!(
                f,
                "{} holds the data of a server: restore into an empty folder, or move that away",
                path.display()
            ),
            Self::Back(next) => write!(
                f,
                "the sequence cannot go back: at the backup the next number was {next}, so \
                 --next-number must be that or more"
            ),
            Self::NumbersEnd => {
                write!(f, "the sequence ends at {NUMBERS_END}: say --next-number")
            }
            Self::Backup(why) => why.fmt(f),
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for DataError {}

/// Moves what a damaged folder holds aside, so that its server starts blank and copies its state from
/// the others. Returns what was wrong, and where the files are now.
///
/// # Errors
/// [`DataError`] says why nothing was moved; a folder that is sound, or cannot be read for another
/// reason, is left as it is.
pub fn set_aside(path: &Path, node: NodeId) -> Result<(OpenError, PathBuf), DataError> {
    if !path.is_dir() {
        return Err(DataError::Empty(path.to_owned()));
    }
    let folder = lock_folder(path).map_err(DataError::Folder)?;
    let failed = |why| DataError::Io(path.to_owned(), why);
    let names = folder.names().map_err(failed)?;
    if backup::is_empty(&names) {
        return Err(DataError::Empty(path.to_owned()));
    }
    let why = match rollcall_storage::recover(&folder, node) {
        Ok(_) => return Err(DataError::Sound(path.to_owned())),
        Err(why) if is_damage(&why) => why,
        Err(why) => return Err(DataError::Refused(path.to_owned(), why)),
    };
    let refused = |why: Failed| DataError::Refused(path.to_owned(), why.into());
    backup::give_up(&folder).map_err(refused)?;
    let aside = path.join(format!("damaged-{}", clock::unix_millis()));
    fs::DirBuilder::new().mode(0o700).create(&aside).map_err(failed)?;
    for name in backup::in_order_of_removal(&names) {
        fs::rename(path.join(&name), aside.join(&name)).map_err(failed)?;
        folder.sync().map_err(failed)?;
    }
    Ok((why, aside))
}

/// Whether the disk gives back something else than was written, or nothing at all.
fn is_damage(why: &OpenError) -> bool {
    match why {
        OpenError::Damage(_) => true,
        OpenError::Failed(failed) => failed.why.raw_os_error() == Some(EIO),
        OpenError::Refused(_) => false,
    }
}

/// The number by which the system says that a disk cannot be read.
const EIO: i32 = 5;

/// What a backup holds in short.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What it is of.
    pub head: Backup,
    /// How many users are online in it.
    pub users: usize,
    /// Its length.
    pub bytes: u64,
}

/// A backup that is being written, beside the file that it will be.
#[derive(Debug)]
pub struct Unfinished {
    file: fs::File,
    /// Where it is, until it is finished.
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// Begins a backup that is to be at `target`.
    ///
    /// # Errors
    /// No file can be made there.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut name = name.to_owned();
        // Another one may be on its way to the same name.
        name.push(format!(".unfinished-{:08x}", u32::from_le_bytes(random)));
        let path = target.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        let options = options.create_new(true).read(true).write(true);
        // The ids by which clients are known are in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
        Ok(Self { file: options.open(&path)?, path, target: target.to_owned() })
    }

    /// Gives it its name, if it is whole and on disk.
    ///
    /// # Errors
    /// It is not.
    pub fn finish(self) -> Result<Taken, DataError> {
        let io = |why| DataError::Io(self.path.clone(), why);
        self.file.sync_all().map_err(io)?;
        let (head, directory, bytes) = read(&self.path)?;
        fs::rename(&self.path, &self.target).map_err(io)?;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::File::open(parent.unwrap_or_else(|| Path::new("."))).map_err(io)?;
        parent.sync_all().map_err(io)?;
        Ok(Taken { head, users: directory.users().len(), bytes })
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has another name where it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

/// What a folder was given to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// How many users are online in it.
    pub users: usize,
    /// The revision of the backup; the cluster goes on above it.
    pub revision: Revision,
    /// The first number that will be handed out.
    pub next_number: u64,
}

/// Puts a backup into a folder that holds nothing of a server, which is made where there is none. A
/// cluster that begins with it hands out numbers from `next_number` on, or from one far enough ahead.
///
/// # Errors
/// [`DataError`] says why nothing was done.
pub fn restore(
    file: &Path,
    folder: &Path,
    next_number: Option<u64>,
) -> Result<Restored, DataError> {
    let (mut head, directory, _) = read(file)?;
    let revision = directory.revision();
    head.next_number = match next_number {
        Some(number) if number >= directory.next_number() => number,
        Some(_) => return Err(DataError::Back(directory.next_number())),
        None => ahead(directory.next_number(), clock::unix_millis().saturating_sub(head.taken_at))
            .ok_or(DataError::NumbersEnd)?,
    };
    let locked = lock_folder(folder).map_err(DataError::Folder)?;
    let io = |why| DataError::Io(folder.to_owned(), why);
    let names = locked.names().map_err(io)?;
    if !backup::is_empty(&names) {
        return Err(DataError::Taken(folder.to_owned()));
    }
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(|why| io(io::Error::other(why)))?;
    let (users, next_number) = (directory.users().len(), head.next_number);
    backup::restore(&locked, u64::from_le_bytes(salt), &head, directory)
        .map_err(|why| DataError::Refused(folder.to_owned(), why.into()))?;
    Ok(Restored { users, revision, next_number })
}

/// The number to go on from, where `next` was the next one so many milliseconds ago.
fn ahead(next: u64, age: u64) -> Option<u64> {
    let since = age.checked_mul(NUMBERS_PER_MILLISECOND)?;
    let number = next.checked_add(NUMBERS_AHEAD)?.checked_add(since)?;
    (number <= NUMBERS_END).then_some(number)
}

/// More numbers than a cluster hands out in a millisecond: twice as many as were ever seen, by clients
/// that took 10,000 with each request.
const NUMBERS_PER_MILLISECOND: u64 = 1_000_000;
/// How many numbers are left out at least: clocks may be off.
const NUMBERS_AHEAD: u64 = 1_000_000_000;
/// The highest number that every client can tell from the next one.
pub const NUMBERS_END: u64 = (1 << 53) - 1;

fn read(file: &Path) -> Result<(Backup, Directory, u64), DataError> {
    let bytes = fs::read(file).map_err(|why| DataError::Io(file.to_owned(), why))?;
    let (head, directory) =
        backup::read(&file.to_string_lossy(), &bytes).map_err(DataError::Backup)?;
    Ok((head, directory, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_goes_on_far_enough_ahead() {
        assert_eq!(ahead(8, 0), Some(1_000_000_008));
        assert_eq!(ahead(8, 3_600_000), Some(3_601_000_000_008));
        assert_eq!(ahead(NUMBERS_END, 0), None);
        assert_eq!(ahead(1, u64::MAX), None);
    }
}
