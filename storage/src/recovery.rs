//! What the files say: the newest snapshot that counts, and the records behind it.
//!
//! Segments are read from the newest one back to the first that begins at or before the snapshot's
//! last entry, and replayed from there. Entries that the snapshot stands for are skipped.
//!
//! What is found is what the records up to some point mean, none that was durable missing; of those
//! that say what may be forgotten it may know fewer, so the log may begin earlier and its snapshot be
//! an older one.

use std::collections::VecDeque;

use rollcall_replica::consensus::ids::{Boot, Index};
use rollcall_replica::consensus::journal::{Adopt, Base, Record, Stored};
use rollcall_replica::directory::Directory;
use rollcall_shared::id::NodeId;

use crate::backup;
use crate::fault::{Damage, Failed, OpenError, Refused};
use crate::folder::Folder;
use crate::frame::{self, At, FileKind, FrameKind};
use crate::names;
use crate::record::{self, End, Line, SegmentHead, SnapshotRef};
use crate::snapshot::{self, read_file};

/// What a folder holds.
#[derive(Debug)]
pub struct Recovered {
    /// The state.
    pub stored: Stored,
    /// What was cut off, because a crash came before it was written as a whole.
    pub cut: Option<Cut>,
    /// The segments that are needed, the oldest first.
    pub(crate) segments: VecDeque<Found>,
    /// The snapshot that counts.
    pub(crate) base: Option<SnapshotRef>,
    /// The number of the next snapshot.
    pub(crate) next_snapshot: u64,
}

/// A segment as it was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) head: SegmentHead,
    /// Its records, and where the frame of each begins.
    pub(crate) lines: Vec<(u64, Line)>,
    pub(crate) end: End,
    pub(crate) frames: u64,
    sealed: bool,
}

/// A segment that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    /// The last entry before it.
    pub(crate) last: Index,
    /// How many bytes of it are used.
    pub(crate) bytes: u64,
}

/// The unfinished end of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where it was cut, bytes from its beginning.
    pub offset: u64,
    /// What was there.
    pub what: String,
}

/// Reads a folder. Nothing in it is changed.
///
/// # Errors
/// [`OpenError`] says what is wrong with it.
pub fn recover<F: Folder>(folder: &F, node: NodeId) -> Result<Recovered, OpenError> {
    recover_with(folder, node, &InTurn)
}

/// How two things are done that do not wait for each other.
pub trait Together {
    /// Does both.
    fn run<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B);
}

/// One after the other.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl Together for InTurn {
    fn run<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        (one(), other())
    }
}

/// The same as [`recover`], with snapshot and journal read as `together` says.
///
/// # Errors
/// [`OpenError`] says what is wrong with the folder.
pub fn recover_with<F: Folder>(
    folder: &F,
    node: NodeId,
    together: &impl Together,
) -> Result<Recovered, OpenError> {
    let names = folder.names().map_err(Failed::new("read", "the folder"))?;
    let snapshots = names.iter().filter_map(|name| names::snapshot_number(name));
    let last_snapshot = snapshots.max();
    let Some(newest) = names.iter().filter_map(|name| names::journal_number(name)).max() else {
        if let Some(number) = last_snapshot {
            let what = "the journal that it belongs to is missing".into();
            return Err(Damage { file: names::snapshot(number), offset: 0, what }.into());
        }
        let (restored, readmitted) = (restored(folder, &names)?, is_readmitted(&names));
        let stored = Stored { restored, readmitted, ..Stored::empty(node) };
        return Ok(Recovered {
            stored,
            cut: None,
            segments: VecDeque::new(),
            base: None,
            next_snapshot: 1,
        });
    };
    let (newest, cut) = read_newest(folder, node, newest)?;
    // It names the snapshot that counts: one that an older segment names was durable before.
    let base = newest.snapshot();
    let owner = (node, newest.boot());
    let (of_segments, of_snapshot) = (folder.clone(), folder.clone());
    let (segments, snapshot) = together.run(
        move || read_segments(&of_segments, node, newest),
        move || base.map(|base| snapshot::read(&of_snapshot, base, owner)).transpose(),
    );
    let (segments, snapshot) = (segments?, snapshot?);
    let mut stored = Stored::empty(node);
    if let Some(snapshot) = snapshot {
        stored.log.install(snapshot);
    }
    let mut stored = replay(stored, &segments)?;
    if stored.log.cluster().is_none() {
        stored.restored = restored(folder, &names)?;
        stored.readmitted = is_readmitted(&names);
    }
    let next_snapshot = last_snapshot.max(base.map(|base| base.number)).map_or(1, |n| n + 1);
    Ok(Recovered { stored, cut, segments, base, next_snapshot })
}

fn is_readmitted(names: &[String]) -> bool {
    names.iter().any(|name| name == names::READMITTED)
}

/// What a restore put there for the beginning.
fn restored<F: Folder>(folder: &F, names: &[String]) -> Result<Option<Directory>, OpenError> {
    if !names.iter().any(|name| name == names::RESTORED) {
        return Ok(None);
    }
    let bytes = read_file(folder, names::RESTORED)?;
    let (_, directory) = backup::read(names::RESTORED, &bytes)?;
    Ok(Some(directory))
}

impl Found {
    /// The identity of the stored state, which its first record gives it.
    fn boot(&self) -> Option<Boot> {
        let of_line = |line: &(u64, Line)| match line.1 {
            Line::Boot(boot) => Some(boot),
            _ => None,
        };
        self.head.state.boot.or_else(|| self.lines.iter().find_map(of_line))
    }

    /// The last snapshot that it says counts.
    fn snapshot(&self) -> Option<SnapshotRef> {
        let newest = self.lines.iter().rev().find_map(|(_, line)| match line {
            Line::Base(snapshot) | Line::AdoptSnapshot { snapshot, .. } => Some(*snapshot),
            _ => None,
        });
        newest.or(self.head.snapshot)
    }

    pub(crate) const fn kept(&self) -> Kept {
        Kept { number: self.head.number, last: self.head.state.last, bytes: self.end.offset }
    }

    fn name(&self) -> String {
        names::journal(self.head.number)
    }
}

/// The newest segment, and what was cut off from it.
fn read_newest<F: Folder>(
    folder: &F,
    node: NodeId,
    number: u64,
) -> Result<(Found, Option<Cut>), OpenError> {
    let (newest, cut) = read_segment(folder, node, number, None)?;
    if newest.sealed {
        let what = "the journal goes on in a newer file, and that is missing".into();
        return Err(Damage { file: newest.name(), offset: newest.end.offset, what }.into());
    }
    Ok((newest, cut))
}

/// The segments that are needed, the oldest first.
fn read_segments<F: Folder>(
    folder: &F,
    node: NodeId,
    newest: Found,
) -> Result<VecDeque<Found>, OpenError> {
    let index = newest.snapshot().map_or(Index(0), |snapshot| snapshot.index);
    let mut segments = VecDeque::from([newest]);
    while let Some(first) = segments.front()
        && first.head.state.last > index
    {
        let Some(end) = first.head.previous else {
            let what = "it goes on from a segment that it does not name".into();
            return Err(Damage { file: first.name(), offset: 0, what }.into());
        };
        let (segment, _) = read_segment(folder, node, end.number, Some(end))?;
        segments.push_front(segment);
    }
    Ok(segments)
}

/// Reads a segment. What it ends with is known for all but the newest.
fn read_segment<F: Folder>(
    folder: &F,
    node: NodeId,
    number: u64,
    end: Option<End>,
) -> Result<(Found, Option<Cut>), OpenError> {
    let name = names::journal(number);
    let mut bytes = read_file(folder, &name)?;
    let salt = frame::read_preamble(&name, FileKind::Journal, &bytes)?;
    let damage = |offset: usize, what: &str| {
        OpenError::from(Damage { file: name.clone(), offset: offset as u64, what: what.into() })
    };
    let (head, mut offset) = match frame::read(&bytes, salt, frame::PREAMBLE) {
        At::Frame(frame) if (frame.kind, frame.number) == (FrameKind::Head, 0) => {
            let head: SegmentHead = postcard::from_bytes(frame.content)
                .map_err(|_| damage(frame::PREAMBLE, "its head says nothing that is known"))?;
            (head, frame.next)
        }
        At::Frame(_) => return Err(damage(frame::PREAMBLE, "it has no head")),
        At::Nothing => return Err(damage(frame::PREAMBLE, "it is empty")),
        At::Broken(what) => return Err(damage(frame::PREAMBLE, what)),
    };
    if head.node != node {
        return Err(Refused::WrongServer { found: head.node, expected: node }.into());
    }
    if head.number != number || end.is_some_and(|end| end.salt != salt) {
        return Err(Refused::Mixed { file: name }.into());
    }
    if let Some(end) = end {
        let until = usize::try_from(end.offset).unwrap_or(usize::MAX);
        if bytes.len() < until {
            return Err(damage(bytes.len(), "it ends too early"));
        }
        bytes.truncate(until);
    }
    let (mut lines, mut frames, mut sealed, mut cut) = (Vec::new(), 1, false, None);
    while offset < bytes.len() && !sealed {
        let frame = match frame::read(&bytes, salt, offset) {
            At::Frame(frame) if frame.number == frames => frame,
            At::Frame(_) => return Err(damage(offset, "a frame is missing before it")),
            At::Nothing if end.is_none() => break,
            At::Nothing => return Err(damage(offset, "it ends too early")),
            // Groups are written one after the other is durable: what comes before one that is whole
            // was so once.
            At::Broken(what)
                if end.is_some() || frame::find(&bytes, salt, offset, frames + 1).is_some() =>
            {
                return Err(damage(offset, what));
            }
            At::Broken(what) => {
                let offset = offset as u64;
                cut = Some(Cut { file: name.clone(), offset, what: what.into() });
                break;
            }
        };
        match frame.kind {
            FrameKind::Group => {
                for line in record::lines(frame.content) {
                    lines.push((offset as u64, line.map_err(|what| damage(offset, what))?));
                }
            }
            FrameKind::Seal if end.is_none() => sealed = true,
            _ => return Err(damage(offset, "a frame is where it does not belong")),
        }
        (offset, frames) = (frame.next, frames + 1);
    }
    if end.is_none() && !sealed && (bytes.len() as u64) < head.bytes {
        let what = format!("it has {} bytes instead of {}", bytes.len(), head.bytes);
        return Err(damage(bytes.len(), &what));
    }
    let end = end.unwrap_or(End { number, salt, offset: offset as u64 });
    Ok((Found { head, lines, end, frames, sealed }, cut))
}

/// What the records of the segments make of a state whose log is the snapshot's.
fn replay(stored: Stored, segments: &VecDeque<Found>) -> Result<Stored, OpenError> {
    let Some(first) = segments.front() else { return Ok(stored) };
    let mut replay = Replay::new(stored, &first.head);
    for segment in segments {
        for (offset, line) in &segment.lines {
            let fault = |what: &str| Damage {
                file: segment.name(),
                offset: *offset,
                what: format!("its records do not fit together: {what}"),
            };
            replay.take(line).map_err(fault)?;
        }
    }
    replay.finish().map_err(|what| {
        let file = segments.back().map_or_else(String::new, Found::name);
        Damage { file, offset: 0, what: what.into() }.into()
    })
}

/// A state on its way through the records. Its log begins behind the snapshot, wherever the records
/// begin.
struct Replay {
    stored: Stored,
    /// The last entry that the snapshot stands for.
    base: Index,
    /// The last entry of the log as it was then.
    last: Index,
}

impl Replay {
    fn new(mut stored: Stored, head: &SegmentHead) -> Self {
        let state = &head.state;
        stored.boot = state.boot;
        stored.promised = state.promised;
        stored.established = state.established;
        stored.pending = state.pending.clone();
        stored.voter = state.voter;
        let base = stored.log.snapshot_index();
        Self { stored, base, last: state.last }
    }

    fn take(&mut self, line: &Line) -> Result<(), &'static str> {
        let record = match line {
            Line::Boot(boot) => Record::Boot(*boot),
            Line::Promise(epoch) if *epoch > self.stored.promised => Record::Promise(*epoch),
            Line::Promise(_) => return Err("a promise does not rise"),
            Line::Append { first, entries } => {
                if *first != self.last.next() {
                    return Err("entries are missing");
                }
                self.last = Index(self.last.0 + entries.len() as u64);
                let skip = self.skipped(*first, entries.len());
                if skip == entries.len() {
                    return Ok(());
                }
                let first = Index(first.0 + skip as u64);
                Record::Append { first, entries: entries[skip..].to_vec() }
            }
            Line::Adopt { epoch, keep, entries } => {
                if *keep > self.last {
                    return Err("a log goes on from what it does not have");
                }
                return self.adopt(*epoch, *keep, entries);
            }
            Line::AdoptSnapshot { epoch, snapshot, entries } => {
                return self.adopt(*epoch, snapshot.index, entries);
            }
            Line::Voter => Record::Voter,
            Line::Base(_) => return Ok(()),
        };
        self.stored.apply(&record);
        Ok(())
    }

    fn adopt(
        &mut self,
        epoch: rollcall_replica::consensus::ids::Epoch,
        keep: Index,
        entries: &[std::sync::Arc<rollcall_replica::consensus::log::Entry>],
    ) -> Result<(), &'static str> {
        let promised = epoch <= self.stored.promised || !self.stored.voter;
        if epoch < self.stored.established || !promised {
            return Err("a log of an epoch that was not promised");
        }
        self.last = Index(keep.0 + entries.len() as u64);
        let entries = entries[self.skipped(keep.next(), entries.len())..].to_vec();
        // Before the snapshot there is nothing to be kept or cut off.
        let last = keep.max(self.base);
        let voter = self.stored.voter;
        let (base, none) = (Base::Keep(last), Vec::new());
        self.stored.apply(&Record::Adopt(Adopt { epoch, base, entries: none }));
        // The snapshot is there from the first record on, but says only at the end who votes.
        self.stored.voter = voter;
        self.stored.apply(&Record::Append { first: last.next(), entries });
        Ok(())
    }

    /// How many of the entries from `first` on the snapshot stands for.
    fn skipped(&self, first: Index, count: usize) -> usize {
        let before = self.base.next().0.saturating_sub(first.0);
        usize::try_from(before).unwrap_or(usize::MAX).min(count)
    }

    fn finish(mut self) -> Result<Stored, &'static str> {
        if self.last < self.base {
            return Err("its log ends before its snapshot");
        }
        // A snapshot that contains the INIT which names this server's boot makes a voter (R26).
        if let Some((snapshot, boot)) = self.stored.log.snapshot().zip(self.stored.boot) {
            let named = snapshot.admissions.at(self.stored.node, Index(1));
            self.stored.voter |= named == Some((Index(1), boot));
        }
        Ok(self.stored)
    }
}
