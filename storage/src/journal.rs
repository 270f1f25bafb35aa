//! The journal as it is written: records gather to a group, a group is one frame, and one sync makes
//! it durable.
//!
//! Owns when a segment is full, when a snapshot is due and which files are needed no more; who runs
//! it decides on which thread. Every call does all it has to do before it returns.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rollcall_replica::consensus::ids::{Index, Lsn};
use rollcall_replica::consensus::journal::{Adopt, Base, Record, Stored};
use rollcall_replica::consensus::log::{Op, Snapshot};
use rollcall_shared::id::NodeId;

use crate::fault::{Failed, OpenError};
use crate::folder::Folder;
use crate::frame::{self, FrameKind};
use crate::names;
use crate::record::{Line, SegmentHead, SnapshotRef, State};
use crate::recovery::{Cut, Found, Kept, Recovered, recover};
use crate::salts::Salts;
use crate::segment::{self, Segment};
use crate::snapshot::{SnapshotJob, SnapshotWriter, Written};

/// How large things get.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The room of a segment, bytes. One that has to take a larger group is larger.
    pub segment_bytes: u64,
    /// A snapshot is due after that many bytes of records, or as many as the last snapshot has,
    /// whichever is more: so what is written for snapshots is no more than what is written anyhow.
    pub snapshot_after: u64,
    /// When a journal is opened, the last segments that have that many bytes together are written
    /// anew as one: so starts do not leave ever more of them.
    pub rewrite_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, snapshot_after: 64 << 20, rewrite_bytes: 4 << 20 }
    }
}

/// A journal that is being written.
pub struct Journal<F: Folder> {
    folder: F,
    settings: Settings,
    salts: Salts,
    /// What all records together mean, those that are not durable included.
    stored: Stored,
    /// The state before the first record of the group that gathers.
    before: State,
    segment: Segment<F::File>,
    /// All segments that are needed, the oldest first; the last one is the one that is written to.
    segments: VecDeque<Kept>,
    spare: Option<F::File>,
    /// The records that gather.
    group: Vec<u8>,
    /// The last record that was given, that is written, that is durable.
    given: Lsn,
    written: Lsn,
    durable: Lsn,
    /// Whether something is written and not synced.
    unsynced: bool,
    snapshots: Snapshots,
    obsolete: Vec<String>,
}

/// What is known of snapshots.
struct Snapshots {
    /// The one that counts.
    base: Option<SnapshotRef>,
    /// One that counts when what is written is durable.
    written: Option<SnapshotRef>,
    /// One that counts when what gathers is durable.
    gathered: Option<SnapshotRef>,
    /// One that may be written once the record at this place is durable.
    newest: Option<(Lsn, Arc<Snapshot>)>,
    /// The one that is being written.
    writing: Option<u64>,
    /// The files there are.
    files: BTreeSet<u64>,
    next: u64,
}

impl<F: Folder> Journal<F> {
    /// Opens the journal of a server, or begins one in an empty folder. `seed` is random.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the folder. Nothing in it has changed then, except where
    /// the disk failed.
    pub fn open(
        folder: F,
        node: NodeId,
        settings: Settings,
        seed: u64,
    ) -> Result<(Self, Stored, Option<Cut>), OpenError> {
        let recovered = recover(&folder, node)?;
        Ok(Self::go_on(folder, recovered, settings, seed)?)
    }

    /// Goes on with what [`recover`] has found in the same folder. `seed` is random.
    ///
    /// # Errors
    /// The disk fails.
    pub fn go_on(
        folder: F,
        recovered: Recovered,
        settings: Settings,
        seed: u64,
    ) -> Result<(Self, Stored, Option<Cut>), Failed> {
        // What a process that was killed has written is there, but perhaps not durable.
        folder.sync().map_err(Failed::new("sync", "the folder"))?;
        let Recovered { stored, cut, segments: mut found, base, next_snapshot } = recovered;
        let node = stored.node;
        let number = found.back().map_or(1, |newest| newest.end.number + 1);
        let mut left = settings.rewrite_bytes;
        let mut anew = VecDeque::new();
        while let Some(last) = found.pop_back_if(|last| last.end.offset <= left) {
            left -= last.end.offset;
            anew.push_front(last);
        }
        let (state, group) = beginning(&stored, !found.is_empty(), &anew);
        let (last, previous) = (state.last, found.back().map(|found| found.end));
        let head = SegmentHead { node, number, bytes: 0, previous, state, snapshot: base };
        let mut salts = Salts::new(seed);
        let room = settings.segment_bytes;
        let segment = segment::make(&folder, None, room, salts.next(), head, &group, 0)?;
        if let Some(found) = found.back() {
            segment::seal(&folder, found)?;
        }
        let mut segments: VecDeque<_> = found.iter().map(Found::kept).collect();
        segments.push_back(Kept { number, last, bytes: segment.used() });
        let files = base.iter().map(|base| base.number).collect();
        let (written, gathered, newest, writing) = Default::default();
        let snapshots =
            Snapshots { base, written, gathered, newest, writing, files, next: next_snapshot };
        let journal = Self {
            before: State::of(&stored),
            folder,
            settings,
            salts,
            stored: Stored { restored: None, ..stored.clone() },
            segment,
            segments,
            spare: None,
            group: Vec::new(),
            given: Lsn(0),
            written: Lsn(0),
            durable: Lsn(0),
            unsynced: false,
            snapshots,
            obsolete: Vec::new(),
        };
        journal.remove_leftovers()?;
        Ok((journal, stored, cut))
    }

    /// Takes the next record, to be written with the group. A snapshot that it adopts is written and
    /// durable when this returns.
    ///
    /// # Errors
    /// The disk fails.
    pub fn append(&mut self, record: Record) -> Result<(), Failed> {
        self.append_in_steps(record, || {})
    }

    /// The same, for one who watches that the disk goes on: says `progress` between the steps of a
    /// snapshot.
    ///
    /// # Errors
    /// The disk fails.
    pub fn append_in_steps(
        &mut self,
        record: Record,
        progress: impl FnMut(),
    ) -> Result<(), Failed> {
        self.given = Lsn(self.given.0 + 1);
        if self.group.is_empty() {
            self.before = State::of(&self.stored);
        }
        self.stored.apply(&record);
        let mut staged = None;
        match &record {
            Record::Adopt(Adopt { base: Base::Snapshot(snapshot), .. }) => {
                staged = Some(self.stage(snapshot, progress)?);
                self.snapshots.gathered = staged;
                self.snapshots.newest = None;
            }
            Record::Compact { snapshot, .. } => {
                self.snapshots.newest = Some((self.given, Arc::clone(snapshot)));
            }
            _ => {}
        }
        if let Some(line) = Line::new(record, staged) {
            line.push(&mut self.group);
        }
        Ok(())
    }

    /// How many bytes have gathered.
    #[must_use]
    pub const fn gathered(&self) -> usize {
        self.group.len()
    }

    /// Writes the group that has gathered.
    ///
    /// # Errors
    /// The disk fails.
    ///
    /// # Panics
    /// When the group before was not synced: only one at a time may be left unfinished by a crash.
    pub fn write(&mut self) -> Result<(), Failed> {
        assert!(!self.unsynced, "one group after the other is made durable");
        if !self.group.is_empty() {
            let size = frame::size(self.group.len()) as u64;
            if !self.segment.has_room(size) {
                self.roll(size)?;
            }
            self.segment.push(FrameKind::Group, &self.group)?;
            self.group.clear();
            self.unsynced = true;
        }
        self.written = self.given;
        if let Some(snapshot) = self.snapshots.gathered.take() {
            self.snapshots.written = Some(snapshot);
        }
        Ok(())
    }

    /// Makes what is written durable; up to which record all is durable now.
    ///
    /// # Errors
    /// The disk fails; what is durable is not known then.
    pub fn sync(&mut self) -> Result<Lsn, Failed> {
        if self.unsynced {
            self.segment.sync()?;
            self.unsynced = false;
            if let Some(last) = self.segments.back_mut() {
                last.bytes = self.segment.used();
            }
        }
        self.durable = self.written;
        if let Some(snapshot) = self.snapshots.written.take() {
            self.snapshots.base = Some(snapshot);
            self.forget(snapshot);
        }
        Ok(self.durable)
    }

    /// Leaves a mark that all before it is durable, without making the mark so: what is broken before
    /// one was damaged, and not left unfinished by a crash. To be called after a sync when nothing
    /// more is to be written for now.
    ///
    /// # Errors
    /// The disk fails.
    pub fn mark(&mut self) -> Result<(), Failed> {
        if self.unsynced { Ok(()) } else { self.segment.mark() }
    }

    /// Whether [`Journal::offer_spare`] is of use.
    #[must_use]
    pub const fn wants_spare(&self) -> bool {
        self.spare.is_none()
    }

    /// Takes the file that [`Journal::make_spare`] has made, for the next segment.
    pub fn offer_spare(&mut self, file: F::File) {
        self.spare = Some(file);
    }

    /// Makes the file of a next segment ahead, on any thread; one at a time. Says `progress` between
    /// steps.
    ///
    /// # Errors
    /// The disk fails, or has no room.
    pub fn make_spare(
        folder: &F,
        settings: Settings,
        progress: impl FnMut(),
    ) -> Result<F::File, Failed> {
        segment::make_spare(folder, settings.segment_bytes, progress)
    }

    /// Removes what is there of a next segment that could not be made.
    ///
    /// # Errors
    /// There is nothing, or the disk fails.
    pub fn remove_spare(folder: &F) -> Result<(), Failed> {
        folder.remove(names::SPARE).map_err(Failed::new("remove", names::SPARE))
    }

    /// How many bytes of records there are behind the snapshot that counts.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// A snapshot that is to be written now, one at a time. [`SnapshotWriter`] does it, on any
    /// thread; [`Journal::snapshot_written`] takes it.
    pub fn poll_snapshot(&mut self) -> Option<SnapshotJob> {
        if self.snapshots.writing.is_some() || self.urgency() == 0 {
            return None;
        }
        let base = self.snapshots.last();
        let durable = self.durable;
        let may = |(lsn, snapshot): &mut (Lsn, Arc<Snapshot>)| {
            *lsn <= durable && base.is_none_or(|base| base.index < snapshot.index)
        };
        let (_, snapshot) = self.snapshots.newest.take_if(may)?;
        let job = self.job(snapshot);
        self.snapshots.writing = Some(job.number);
        Some(job)
    }

    /// How many times as much is written behind the last snapshot as makes a new one due.
    #[must_use]
    pub fn urgency(&self) -> u64 {
        let behind = self.bytes();
        let least = self.snapshots.base.map_or(0, |base| base.bytes);
        behind / self.settings.snapshot_after.max(least).max(1)
    }

    /// Counts on a snapshot once the next group is durable, if none that is newer has come meanwhile.
    pub fn snapshot_written(&mut self, written: Written) {
        let Written(snapshot) = written;
        self.snapshots.writing = None;
        self.snapshots.files.insert(snapshot.number);
        if self.snapshots.last().is_some_and(|last| last.index >= snapshot.index) {
            if let Some(base) = self.snapshots.base {
                self.forget(base);
            }
            return;
        }
        if self.group.is_empty() {
            self.before = State::of(&self.stored);
        }
        Line::Base(snapshot).push(&mut self.group);
        self.snapshots.gathered = Some(snapshot);
    }

    /// Takes in that the snapshot that was being written is not, for want of room: the next one that
    /// is due is tried.
    pub fn snapshot_given_up(&mut self) {
        self.snapshots.writing = None;
    }

    /// Files that are needed no more, to be removed by anyone.
    pub fn take_obsolete(&mut self) -> Vec<String> {
        std::mem::take(&mut self.obsolete)
    }

    /// Takes back what [`Journal::take_obsolete`] gave, where nobody could remove it yet.
    pub fn keep_obsolete(&mut self, names: Vec<String>) {
        self.obsolete.extend(names);
    }

    /// The folder it is in.
    #[must_use]
    pub const fn folder(&self) -> &F {
        &self.folder
    }

    /// Up to which record all is durable.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    fn job(&mut self, snapshot: Arc<Snapshot>) -> SnapshotJob {
        let number = self.snapshots.next;
        self.snapshots.next += 1;
        let (node, boot) = (self.stored.node, self.stored.boot);
        SnapshotJob { number, salt: self.salts.next(), node, boot, snapshot }
    }

    /// Writes a snapshot that a log is to begin with.
    fn stage(
        &mut self,
        snapshot: &Arc<Snapshot>,
        mut progress: impl FnMut(),
    ) -> Result<SnapshotRef, Failed> {
        let job = self.job(Arc::clone(snapshot));
        let mut writer = SnapshotWriter::new(self.folder.clone(), job)?;
        loop {
            if let Some(Written(written)) = writer.step()? {
                self.snapshots.files.insert(written.number);
                return Ok(written);
            }
            progress();
        }
    }

    /// Goes on in a new segment that has room for a frame of `size` bytes.
    fn roll(&mut self, size: u64) -> Result<(), Failed> {
        let previous = self.segment.end();
        let (node, number) = (self.stored.node, previous.number + 1);
        let state = self.before.clone();
        let last = state.last;
        let snapshot = self.snapshots.base;
        let previous = Some(previous);
        let head = SegmentHead { node, number, bytes: 0, previous, state, snapshot };
        let room = self.settings.segment_bytes;
        let (spare, salt) = (self.spare.take(), self.salts.next());
        let segment = segment::make(&self.folder, spare, room, salt, head, &[], size)?;
        std::mem::replace(&mut self.segment, segment).seal()?;
        self.segments.push_back(Kept { number, last, bytes: self.segment.used() });
        Ok(())
    }

    /// What is not needed any more since this snapshot counts.
    fn forget(&mut self, base: SnapshotRef) {
        while self.segments.get(1).is_some_and(|second| second.last <= base.index) {
            let first = self.segments.pop_front();
            self.obsolete.extend(first.map(|first| names::journal(first.number)));
        }
        let keep = [Some(base), self.snapshots.written, self.snapshots.gathered];
        let keep = keep.map(|snapshot| snapshot.map(|snapshot| snapshot.number));
        let needless: Vec<_> =
            self.snapshots.files.extract_if(.., |number| !keep.contains(&Some(*number))).collect();
        self.obsolete.extend(needless.into_iter().map(names::snapshot));
    }

    fn remove_leftovers(&self) -> Result<(), Failed> {
        let mut needed: BTreeSet<_> =
            self.segments.iter().map(|segment| names::journal(segment.number)).collect();
        needed.extend(self.snapshots.files.iter().map(|number| names::snapshot(*number)));
        let begun = match self.stored.log.entry(Index(1)).map(|entry| &entry.op) {
            Some(Op::Init(init)) => init.restored,
            _ => false,
        };
        if self.stored.log.cluster().is_none() {
            needed.insert(names::READMITTED.to_owned());
        }
        if !begun {
            // What a cluster is to begin with is not ours to remove unless one has.
            needed.insert(names::RESTORED.to_owned());
        }
        let found = self.folder.names().map_err(Failed::new("read", "the folder"))?;
        for name in found.iter().filter(|name| names::is_ours(name) && !needed.contains(*name)) {
            self.folder.remove(name).map_err(Failed::new("remove", name))?;
        }
        Ok(())
    }
}

/// What a segment begins with: the state before its group, and that. `anew` is what the group is to
/// replace, and whether something is kept that is before it says `kept`.
fn beginning(stored: &Stored, kept: bool, anew: &VecDeque<Found>) -> (State, Vec<u8>) {
    let (mut state, mut group) = (State::of(stored), Vec::new());
    if !kept {
        let first = stored.log.first();
        let entries: Vec<_> = stored.log.entries(first, usize::MAX).cloned().collect();
        state.last = first.previous();
        if !entries.is_empty() {
            Line::Append { first, entries }.push(&mut group);
        }
    } else if let Some(first) = anew.front() {
        state = first.head.state.clone();
        anew.iter().flat_map(|found| &found.lines).for_each(|(_, line)| line.push(&mut group));
    }
    (state, group)
}

impl Snapshots {
    /// The one that will count when all is durable.
    fn last(&self) -> Option<SnapshotRef> {
        self.gathered.or(self.written).or(self.base)
    }
}

#[cfg(test)]
mod tests;
