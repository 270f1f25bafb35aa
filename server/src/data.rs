//! What is done to a data folder while no server uses it.
//!
//! Owns none of its format, which is `rollcall-storage`'s.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rollcall_replica::directory::Bounds;
use rollcall_shared::id::NodeId;
use rollcall_storage::{Folder as _, OpenError};

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
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for DataError {}

/// Moves what a damaged folder holds aside, so that its server starts blank and copies its state from
/// the others. Returns what was wrong, and where the files are now.
///
/// # Errors
/// [`DataError`] says why nothing was moved; a sound folder is left as it is.
pub fn set_aside(path: &Path, node: NodeId) -> Result<(OpenError, PathBuf), DataError> {
    if !path.is_dir() {
        return Err(DataError::Empty(path.to_owned()));
    }
    let folder = lock_folder(path).map_err(DataError::Folder)?;
    let failed = |why| DataError::Io(path.to_owned(), why);
    let names = folder.names().map_err(failed)?;
    let ours: Vec<_> = names.iter().filter(|name| rollcall_storage::is_ours(name)).collect();
    if ours.is_empty() {
        return Err(DataError::Empty(path.to_owned()));
    }
    let why = match rollcall_storage::recover(&folder, node, Bounds::default()) {
        Ok(_) => return Err(DataError::Sound(path.to_owned())),
        Err(why @ OpenError::Refused(_)) => return Err(DataError::Refused(path.to_owned(), why)),
        Err(why) => why,
    };
    let aside = path.join(format!("damaged-{}", clock::unix_millis() / 1000));
    fs::create_dir(&aside).map_err(failed)?;
    for name in ours {
        fs::rename(path.join(name), aside.join(name)).map_err(failed)?;
    }
    folder.sync().map_err(failed)?;
    Ok((why, aside))
}
