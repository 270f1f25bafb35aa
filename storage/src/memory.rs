//! A folder in memory that forgets in a crash what was not synced: for the simulator and for tests.
//!
//! It is as mean as a file system may be. Of the writes that were not synced any sectors may be there
//! after a crash; of the names that were not synced, those up to any point. What a sync could not
//! write is lost, though it can be read until the file is opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::folder::{File, Folder};

/// The folder. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

/// A file in it.
#[derive(Debug)]
pub struct MemoryFile {
    folder: Memory,
    inode: u64,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    renames: Vec<Renaming>,
    next: u64,
    operations: u64,
    fails_at: Option<u64>,
    room: Option<u64>,
}

#[derive(Clone, Debug)]
enum Renaming {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many open files are this one: without a name it lives as long as they do.
    handles: usize,
}

#[derive(Debug)]
enum Change {
    Length(u64),
    Write { offset: u64, bytes: Vec<u8> },
}

impl Memory {
    /// The machine loses its power: what was not synced stays or goes, as `keeps` says each time. All
    /// open files are of no use any more.
    pub fn crash(&self, mut keeps: impl FnMut() -> bool) {
        self.with(|state| {
            for inode in state.inodes.values_mut() {
                inode.settle(&mut keeps);
                inode.content.clone_from(&inode.durable);
                inode.handles = 0;
            }
            let mut names = std::mem::take(&mut state.durable_names);
            for renaming in state.renames.drain(..).take_while(|_| keeps()) {
                apply(&mut names, &renaming);
            }
            // All have new numbers: what was open before finds nothing.
            let mut before = std::mem::take(&mut state.inodes);
            for inode in names.values_mut() {
                let kept = before.remove(inode).unwrap_or_default();
                state.next += 1;
                *inode = state.next;
                state.inodes.insert(*inode, kept);
            }
            state.durable_names.clone_from(&names);
            state.names = names;
        });
    }

    /// From the operation with this number on, all that changes something fails.
    pub fn fail_at(&self, operation: Option<u64>) {
        self.with(|state| state.fails_at = operation);
    }

    /// The most bytes that all files may have together.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.with(|state| state.room = bytes);
    }

    /// How many operations there were that change something.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.with(|state| state.operations)
    }

    /// How many bytes all files have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.with(|state| state.bytes())
    }

    /// The content of a file; empty if there is none.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.with(|state| {
            let inode = state.names.get(name).and_then(|inode| state.inodes.get(inode));
            inode.map_or_else(Vec::new, |inode| inode.content.clone())
        })
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        self.with(|state| {
            let inode = state.create(name);
            let durable = content.clone();
            state.inodes.insert(inode, Inode { content, durable, ..Inode::default() });
            state.sync_names();
        });
    }

    /// Another folder with the same files, all durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for name in self.names().unwrap_or_default() {
            copy.put(&name, self.content(&name));
        }
        copy
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn bytes(&self) -> u64 {
        let of = |inode| self.inodes.get(inode).map_or(0, |inode| inode.content.len() as u64);
        self.names.values().map(of).sum()
    }

    /// Counts an operation; whether it works.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fails_at {
            Some(at) if self.operations >= at => Err(io::Error::other("the disk is broken")),
            _ => Ok(()),
        }
    }

    fn create(&mut self, name: &str) -> u64 {
        self.next += 1;
        self.inodes.insert(self.next, Inode::default());
        let made = Renaming::Create(name.to_owned(), self.next);
        apply(&mut self.names, &made);
        self.renames.push(made);
        self.next
    }

    fn rename(&mut self, renaming: Renaming) -> io::Result<()> {
        self.operate()?;
        let (Renaming::Rename(name, _) | Renaming::Remove(name) | Renaming::Create(name, _)) =
            &renaming;
        if !self.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        apply(&mut self.names, &renaming);
        self.renames.push(renaming);
        Ok(())
    }

    fn sync_names(&mut self) {
        self.renames.clear();
        self.durable_names.clone_from(&self.names);
        self.sweep();
    }

    /// Forgets the files that have no name, may get none back in a crash, and are not open.
    fn sweep(&mut self) {
        let Self { inodes, names, durable_names, renames, .. } = self;
        let made = renames.iter().filter_map(|renaming| match renaming {
            Renaming::Create(_, inode) => Some(inode),
            Renaming::Rename(..) | Renaming::Remove(_) => None,
        });
        let named: BTreeSet<_> = names.values().chain(durable_names.values()).chain(made).collect();
        inodes.retain(|number, inode| inode.handles > 0 || named.contains(number));
    }

    /// Opens a file: what can be read of it is durable.
    fn open(&mut self, name: &str) -> io::Result<u64> {
        let number = self.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        self.operate()?;
        let inode = self.inode(number)?;
        inode.settle(&mut || true);
        inode.content.clone_from(&inode.durable);
        inode.handles += 1;
        Ok(number)
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::Error::other("the file was lost in a crash"))
    }
}

fn apply(names: &mut BTreeMap<String, u64>, renaming: &Renaming) {
    match renaming {
        Renaming::Create(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Renaming::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Renaming::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Inode {
    /// Keeps what of the unsynced changes `keeps` says.
    fn settle(&mut self, keeps: &mut impl FnMut() -> bool) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Length(bytes) if keeps() => set_length(&mut self.durable, bytes),
                Change::Length(_) => {}
                Change::Write { offset, bytes } => {
                    write_sectors(&mut self.durable, offset, &bytes, keeps);
                }
            }
        }
    }
}

/// Writes those sectors that are kept. What lies behind the end of the file makes it longer.
fn write_sectors(
    content: &mut Vec<u8>,
    offset: u64,
    bytes: &[u8],
    keeps: &mut impl FnMut() -> bool,
) {
    let (mut at, mut rest) = (to_usize(offset), bytes);
    while !rest.is_empty() {
        let (part, after) = rest.split_at((SECTOR - at % SECTOR).min(rest.len()));
        if keeps() {
            write(content, at, part);
        }
        (at, rest) = (at + part.len(), after);
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

fn set_length(content: &mut Vec<u8>, bytes: u64) {
    content.resize(to_usize(bytes), 0);
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;

impl Folder for Memory {
    type File = MemoryFile;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|state| state.names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let inode = self.with(|state| {
            state.operate()?;
            let number = state.create(name);
            state.inode(number)?.handles += 1;
            io::Result::Ok(number)
        })?;
        Ok(MemoryFile { folder: self.clone(), inode })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let inode = self.with(|state| state.open(name))?;
        Ok(MemoryFile { folder: self.clone(), inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| state.rename(Renaming::Rename(from.to_owned(), to.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| state.rename(Renaming::Remove(name.to_owned())))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state| {
            state.operate()?;
            state.sync_names();
            Ok(())
        })
    }
}

impl MemoryFile {
    fn change(&self, mut change: Change) -> io::Result<()> {
        self.folder.with(|state| {
            let (works, used, room) = (state.operate(), state.bytes(), state.room);
            let inode = state.inode(self.inode)?;
            if works.is_err() {
                // What fails may be done in part.
                match &mut change {
                    Change::Length(_) => return works,
                    Change::Write { bytes, .. } => bytes.truncate(bytes.len() / 2),
                }
            }
            let end = match &change {
                Change::Length(bytes) => *bytes,
                Change::Write { offset, bytes } => offset + bytes.len() as u64,
            };
            let more = end.saturating_sub(inode.content.len() as u64);
            if room.is_some_and(|room| used + more > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            match &change {
                Change::Length(bytes) => set_length(&mut inode.content, *bytes),
                Change::Write { offset, bytes } => {
                    write(&mut inode.content, to_usize(*offset), bytes);
                }
            }
            inode.unsynced.push(change);
            works
        })
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.folder.with(|state| {
            if let Some(inode) = state.inodes.get_mut(&self.inode) {
                inode.handles -= 1;
                state.sweep();
            }
        });
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.folder.with(|state| Ok(state.inode(self.inode)?.content.len() as u64))
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(bytes))
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(bytes))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.folder.with(|state| {
            let content = &state.inode(self.inode)?.content;
            let at = to_usize(offset);
            let part = content.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(part);
            Ok(())
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.with(|state| {
            let works = state.operate();
            let inode = state.inode(self.inode)?;
            match works {
                Ok(()) => inode.settle(&mut || true),
                // The system does not try again.
                Err(_) => inode.unsynced.clear(),
            }
            works
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file `a` that has these bytes, durable.
    fn folder(bytes: &[u8]) -> (Memory, MemoryFile) {
        let folder = Memory::default();
        let mut file = folder.create("a").unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync().unwrap();
        folder.sync().unwrap();
        (folder, file)
    }

    #[test]
    fn a_crash_forgets_what_was_not_synced() {
        let (folder, mut file) = folder(b"old");
        file.write_at(0, b"newer").unwrap();
        assert_eq!(folder.content("a"), b"newer");
        folder.crash(|| false);
        assert_eq!(folder.content("a"), b"old");
        assert!(file.write_at(0, b"late").is_err(), "it was open before");
        let (folder, mut file) = self::folder(b"old");
        file.write_at(0, b"newer").unwrap();
        file.sync().unwrap();
        folder.crash(|| false);
        assert_eq!(folder.content("a"), b"newer");
    }

    #[test]
    fn sectors_are_kept_one_by_one() {
        let (folder, mut file) = folder(&[1; 3 * SECTOR]);
        file.write_at(100, &[2; 2 * SECTOR]).unwrap();
        let mut sector = 0;
        folder.crash(|| {
            sector += 1;
            sector == 2
        });
        let content = folder.content("a");
        let second = SECTOR..2 * SECTOR;
        assert!((0..content.len()).all(|at| (content[at] == 2) == second.contains(&at)));
    }

    #[test]
    fn names_are_kept_in_order() {
        for kept in 0..4 {
            let (folder, _) = folder(b"old");
            let mut file = folder.create("b").unwrap();
            file.write_at(0, b"new").unwrap();
            file.sync().unwrap();
            folder.rename("b", "a").unwrap();
            folder.remove("a").unwrap();
            let mut left = kept;
            folder.crash(|| {
                left -= 1;
                left >= 0
            });
            let expected: &[(&str, &[u8])] = match kept {
                0 => &[("a", b"old")],
                1 => &[("a", b"old"), ("b", b"new")],
                2 => &[("a", b"new")],
                _ => &[],
            };
            let names = folder.names().unwrap();
            assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            assert!(expected.iter().all(|(name, content)| folder.content(name) == *content));
        }
    }

    #[test]
    fn what_a_sync_could_not_write_is_gone_when_it_is_opened_again() {
        let (folder, mut file) = folder(b"old");
        file.write_at(0, b"new").unwrap();
        folder.fail_at(Some(folder.operations()));
        assert!(file.sync().is_err());
        folder.fail_at(None);
        assert_eq!(folder.content("a"), b"new");
        file.write_at(3, b"!").unwrap();
        file.sync().unwrap();
        folder.open("a").unwrap();
        assert_eq!(folder.content("a"), b"old!");
    }

    #[test]
    fn what_is_opened_is_durable() {
        let (folder, mut file) = folder(b"old");
        file.write_at(0, b"new").unwrap();
        folder.open("a").unwrap();
        folder.crash(|| false);
        assert_eq!(folder.content("a"), b"new");
    }

    #[test]
    fn a_write_without_room_fails() {
        let (folder, mut file) = folder(b"old");
        folder.set_room(Some(5));
        let full = file.write_at(3, b"new").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.write_at(3, b"ok").unwrap();
        assert_eq!(folder.bytes(), 5);
    }

    #[test]
    fn files_without_a_name_go_with_the_last_that_has_them_open() {
        let (folder, file) = folder(b"old");
        let count = || folder.with(|state| state.inodes.len());
        folder.remove("a").unwrap();
        folder.sync().unwrap();
        assert_eq!((count(), file.len().unwrap()), (1, 3));
        drop(file);
        assert_eq!(count(), 0);
    }
}
