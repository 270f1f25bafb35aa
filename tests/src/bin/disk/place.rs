//! Folders on the disk that is measured: made, copied, watched, and gone at the end.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{Result, million::Million};

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Bed {
    dir: TempDir,
    /// Made when it is needed first.
    million: OnceCell<Million>,
}

impl Bed {
    /// A new folder below `dir`, or beside this program.
    pub(crate) fn make(dir: Option<PathBuf>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let dir = match dir {
            Some(dir) => std::path::absolute(dir)?,
            None => program.parent().ok_or("this program lies in no folder")?.to_owned(),
        };
        let made = TempDir::with_prefix_in("disk-figures-", &dir);
        let made = made.map_err(|fault| format!("{}: {fault}", dir.display()))?;
        Ok(Self { dir: made, million: OnceCell::new() })
    }

    /// A new folder for somebody's data.
    pub(crate) fn folder(&self) -> Result<TempDir> {
        Ok(TempDir::with_prefix_in("data-", self.dir.path())?)
    }

    /// The folder with a million registrations.
    pub(crate) async fn million(&self) -> Result<&Million> {
        self.million.get_or_try_init(|| Million::make(self)).await
    }

    /// What it is on, as the system names it: device, kind of file system.
    fn disk(&self) -> Option<String> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let place = fs::canonicalize(self.dir.path()).ok()?;
        let of = |line: &str| {
            let mut fields = line.split(' ').map(str::to_owned);
            let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            place.starts_with(&point).then(|| (point.len(), format!("{device}, {kind}")))
        };
        // Of several mounted on the same point the last one is seen.
        Some(mounts.lines().filter_map(of).max_by_key(|(length, _)| *length)?.1)
    }
}

impl fmt::Display for Bed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk().unwrap_or_else(|| "a disk unknown".to_owned());
        write!(f, "data in {} on {disk}", self.dir.path().display())
    }
}

/// What is in a server's data folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Room taken on disk, bytes.
    pub(crate) room: u64,
    /// The names of segments of the journal.
    pub(crate) segments: Vec<String>,
    /// The numbers of snapshots, sorted, and how long each is, bytes.
    pub(crate) snapshots: Vec<(u64, u64)>,
}

impl Content {
    /// Looks.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let mut content = Self::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // A file may go at any time.
            let Ok(metadata) = entry.metadata() else { continue };
            content.room += metadata.blocks() * 512;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(number) = name.strip_prefix("snapshot-") {
                content.snapshots.push((number.parse()?, metadata.len()));
            } else if name.starts_with("journal-") {
                content.segments.push(name);
            }
        }
        content.snapshots.sort_unstable();
        Ok(content)
    }

    /// The number of the newest snapshot, finished or not; 0 where there is none.
    pub(crate) fn newest(&self) -> u64 {
        self.snapshots.last().map_or(0, |(number, _)| *number)
    }
}

/// Copies a folder's files into another folder, durable.
pub(crate) fn copy(from: &Path, to: &Path) -> Result {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target)?;
        fs::File::open(target)?.sync_all()?;
    }
    Ok(fs::File::open(to)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_and_looked_at() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for name in ["journal-0000000003", "snapshot-0000000007", "snapshot-0000000005", "lock"] {
            fs::write(from.path().join(name), vec![1; 5000]).unwrap();
        }
        copy(from.path(), to.path()).unwrap();
        let content = Content::of(to.path()).unwrap();
        assert_eq!(content.segments, ["journal-0000000003"]);
        assert_eq!(content.snapshots, [(5, 5000), (7, 5000)]);
        assert_eq!(content.newest(), 7);
        assert!(content.room >= 20_000, "{content:?}");
    }
}
