//! A folder in memory that forgets in a crash what was not synced: for the simulator and for tests.
//!
//! It is as mean as a file system may be. Of the writes that were not synced any sectors may be there
//! after a crash; of the names that were not synced, those up to any point.

use std::collections::BTreeMap;
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
            }
            let mut names = std::mem::take(&mut state.durable_names);
            for renaming in state.renames.drain(..).take_while(|_| keeps()) {
                apply(&mut names, &renaming);
            }
            state.inodes.retain(|inode, _| names.values().any(|known| known == inode));
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
            state.inodes.insert(inode, Inode { content, durable, unsynced: Vec::new() });
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
            io::Result::Ok(state.create(name))
        })?;
        Ok(MemoryFile { folder: self.clone(), inode })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let inode = self.with(|state| state.names.get(name).copied());
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
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
    fn change(&self, change: Change) -> io::Result<()> {
        self.folder.with(|state| {
            state.operate()?;
            let (used, room) = (state.bytes(), state.room);
            let inode = state.inode(self.inode)?;
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
            Ok(())
        })
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
            state.operate()?;
            let inode = state.inode(self.inode)?;
            inode.settle(&mut || true);
            Ok(())
        })
    }
}
