//! A folder on disk, used by one process at a time.
//!
//! What is read from a file was made durable before: a process that was killed may have left in the
//! system's memory what never reached the disk.

use std::fmt;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollcall_storage::{File, Folder};

/// A folder that this process has locked. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct DiskFolder(Arc<Locked>);

#[derive(Debug)]
struct Locked {
    path: PathBuf,
    /// The folder itself, to sync its names.
    names: fs::File,
    /// Unlocked when it is dropped, or with the end of the process.
    _lock: fs::File,
}

/// A file in it.
#[derive(Debug)]
pub(crate) struct DiskFile(fs::File);

/// Why a folder cannot be used at all.
#[derive(Debug)]
pub enum FolderError {
    /// It cannot be made or opened.
    Unusable(PathBuf, io::Error),
    /// Another process uses it; which one, if it says so.
    InUse(PathBuf, Option<u32>),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(path, why) => {
                write!(f, "cannot use the folder {}: {why}", path.display())
            }
            Self::InUse(path, process) => {
                write!(f, "the folder {} is in use by another process", path.display())?;
                if let Some(process) = process {
                    write!(f, " (pid {process})")?;
                }
                f.write_str(": a folder belongs to one server. Choose another --data-dir")
            }
        }
    }
}

impl std::error::Error for FolderError {}

/// Makes the folder if there is none, and locks it for as long as the result lives.
///
/// # Errors
/// [`FolderError`] says what stands against it.
pub(crate) fn lock_folder(path: &Path) -> Result<DiskFolder, FolderError> {
    let unusable = |why| FolderError::Unusable(path.to_owned(), why);
    make_folder(path).map_err(unusable)?;
    let names = fs::File::open(path).map_err(unusable)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let mut lock = options.open(path.join(LOCK)).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut said = String::new();
            // Who it is matters less than that it is somebody.
            let _ = lock.read_to_string(&mut said);
            return Err(FolderError::InUse(path.to_owned(), said.trim().parse().ok()));
        }
        Err(TryLockError::Error(why)) => return Err(unusable(why)),
    }
    let says = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    says.map_err(unusable)?;
    Ok(DiskFolder(Arc::new(Locked { path: path.to_owned(), names, _lock: lock })))
}

/// Makes a folder, durable in the one that holds it.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // What is in it is between this server and its clients.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

/// The file that is locked. It holds the id of the process that did.
const LOCK: &str = "lock";

impl DiskFolder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }
}

impl Folder for DiskFolder {
    type File = DiskFile;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0.path)? {
            // What has no name in UTF-8 is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).read(true).write(true).mode(0o600);
        Ok(DiskFile(options.open(self.at(name))?))
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        let file = OpenOptions::new().read(true).write(true).open(self.at(name))?;
        file.sync_all()?;
        // After a sync that failed the system may show what it never wrote: read the disk itself.
        forget_cached(&file);
        Ok(DiskFile(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.names.sync_all()
    }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        reserve(&self.0, bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems give no room ahead; a full disk is then noticed when it is written to.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        reserved => Ok(reserved?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}

#[cfg(target_os = "linux")]
fn forget_cached(file: &fs::File) {
    // A wish: where it is not granted, what is cached is read.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(_: &fs::File) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let place = std::env::temp_dir().join(format!("rollcall-lock-{}", std::process::id()));
        let first = lock_folder(&place).unwrap();
        let second = lock_folder(&place).unwrap_err().to_string();
        let process = std::process::id();
        assert!(second.contains(&format!("in use by another process (pid {process})")), "{second}");
        drop(first);
        lock_folder(&place).unwrap();
        fs::remove_dir_all(&place).unwrap();
    }
}
