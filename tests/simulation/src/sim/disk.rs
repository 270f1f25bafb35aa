//! A server's disk: files that the storage of production writes, in a folder in memory that forgets
//! in a crash, and beside them a plain model of what must be found there.
//!
//! Owns what was given, what is durable and what may be. What is done beside the journal is
//! `keeper`'s, what a start and a crash mean to a run is `storing`'s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rollcall_replica::consensus::ids::{Index, Lsn};
use rollcall_replica::consensus::journal::{Base, Record, Stored};
use rollcall_replica::consensus::log::Snapshot;
use rollcall_shared::id::NodeId;
use rollcall_storage::memory::Memory;
use rollcall_storage::{
    Cut, Failed, Folder as _, Journal, OpenError, Recovered, Settings, recover,
};

use super::keeper::Keeper;
use super::plan::Plan;
use crate::invariants::{Given, same};
use crate::random::Random;

/// The files, and what they must mean.
pub(super) struct Disk {
    /// What is durable while a process runs; what a start would find while none does.
    pub(super) durable: Stored,
    /// The records given that are not durable, the first ones of which are being synced.
    waiting: VecDeque<Record>,
    /// How many records were given and are durable, of this process.
    given: u64,
    done: u64,
    /// How many records the fsync in flight covers, and whether it has anything to write.
    syncing: Option<(usize, bool)>,
    pub(super) folder: Memory,
    pub(super) settings: Settings,
    /// Chance of its own, so that what a disk does leaves that of the rest alone.
    pub(super) random: Random,
    pub(super) journal: Option<Journal<Memory>>,
    pub(super) keeper: Keeper,
    /// An operation has failed: nothing more is done.
    pub(super) broken: bool,
    /// Operations fail, now or soon; or there is no room.
    fails: bool,
    full: bool,
    /// A process was killed, but not its machine: what it wrote and did not sync is seen, and gone if
    /// the power fails before the next one has opened the folder. So much was durable, so much not.
    doubt: Option<(Stored, VecDeque<Record>)>,
    pub(super) killed: bool,
    /// The last process ended after something had failed, or might have.
    gave_up: bool,
    /// The records of the last group, and whether there is a mark behind it.
    last_group: Vec<Record>,
    marked: bool,
    /// The snapshots given, whose files may be found.
    snapshots: BTreeMap<Index, Arc<Snapshot>>,
}

/// What an fsync has made durable.
pub(super) struct Synced {
    /// As the storage says.
    pub(super) through: Lsn,
    /// As the model says.
    pub(super) expected: Lsn,
    /// Whether another fsync has begun.
    pub(super) again: bool,
}

impl Disk {
    pub(super) fn new(node: u32, plan: &Plan) -> Self {
        let (waiting, syncing, folder, journal, keeper) = Default::default();
        let (doubt, last_group, snapshots) = Default::default();
        Self {
            durable: Stored::empty(NodeId(node)),
            waiting,
            given: 0,
            done: 0,
            syncing,
            folder,
            settings: plan.storage,
            random: Random::new(plan.seed.rotate_left(24) ^ u64::from(node)),
            journal,
            keeper,
            broken: false,
            fails: false,
            full: false,
            doubt,
            killed: false,
            gave_up: false,
            last_group,
            marked: false,
            snapshots,
        }
    }

    /// A record comes; whether an fsync has begun.
    pub(super) fn write(&mut self, record: Record) -> Result<bool, Failed> {
        self.given += 1;
        self.remember(&record);
        self.waiting.push_back(record.clone());
        if let Some(journal) = self.journal.as_mut().filter(|_| !self.broken) {
            journal.append(record)?;
        }
        self.begin()
    }

    fn remember(&mut self, record: &Record) {
        let snapshot = match record {
            Record::Compact { snapshot, .. } => snapshot,
            Record::Adopt(adopt) => match &adopt.base {
                Base::Snapshot(snapshot) => snapshot,
                Base::Keep(_) => return,
            },
            _ => return,
        };
        self.snapshots.insert(snapshot.index, Arc::clone(snapshot));
    }

    /// Begins an fsync of all that waits, if none is in flight.
    fn begin(&mut self) -> Result<bool, Failed> {
        let Some(journal) = self.journal.as_mut().filter(|_| !self.broken) else {
            return Ok(false);
        };
        if self.syncing.is_some() || self.waiting.is_empty() {
            return Ok(false);
        }
        let before = self.folder.operations();
        let wrote = journal.gathered() > 0;
        self.syncing = Some((self.waiting.len(), wrote));
        // The next group takes the place of a mark.
        self.marked &= !wrote;
        journal.write()?;
        // A group is one write; a new segment takes more.
        if self.folder.operations() > before + 1 {
            self.keeper.rolled += 1;
        }
        Ok(true)
    }

    /// The time of the fsync is over. `None` where the disk has failed before.
    pub(super) fn synced(&mut self) -> Result<Option<Synced>, Failed> {
        let Some(journal) = self.journal.as_mut().filter(|_| !self.broken) else {
            return Ok(None);
        };
        let through = journal.sync()?;
        let (count, wrote) = self.syncing.take().unwrap_or_default();
        let group = self.waiting.drain(..count);
        if wrote {
            self.last_group.clear();
            self.marked = false;
        }
        for record in group {
            self.durable.apply(&record);
            self.done += 1;
            if wrote {
                self.last_group.push(record);
            }
        }
        let expected = Lsn(self.done);
        let again = self.begin()?;
        if !again && self.random.one_in(2) {
            self.mark()?;
        }
        Ok(Some(Synced { through, expected, again }))
    }

    fn mark(&mut self) -> Result<(), Failed> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let before = self.folder.operations();
        journal.mark()?;
        self.marked |= self.folder.operations() > before;
        Ok(())
    }

    /// Opens the journal: what it says is stored, and what was cut off.
    pub(super) fn open(&mut self) -> Result<(Stored, Option<Cut>), OpenError> {
        let (folder, node) = (self.folder.clone(), self.durable.node);
        let seed = self.random.any();
        let (journal, stored, cut) = Journal::open(folder, node, self.settings, seed)?;
        self.journal = Some(journal);
        Ok((stored, cut))
    }

    /// The folder was opened, and this was found: all of it is durable now.
    pub(super) fn opened(&mut self, stored: &Stored) {
        self.durable = stored.clone();
        self.waiting.clear();
        (self.given, self.done, self.syncing) = (0, 0, None);
        self.doubt = None;
        self.last_group.clear();
        self.marked = false;
        let base = stored.log.snapshot_index();
        self.snapshots.retain(|index, _| *index >= base);
    }

    /// The process is gone, and with it what fails. Its machine may lose its power, or go on.
    pub(super) fn crash(&mut self, power: bool) {
        (self.journal, self.keeper) = Default::default();
        self.gave_up = self.broken || self.fails;
        (self.broken, self.fails) = (false, false);
        self.folder.fail_at(None);
        self.killed = !power && self.random.one_in(4);
        if !self.killed {
            self.lose_power();
        }
    }

    /// Of what was not synced all, nothing or anything is there.
    fn lose_power(&mut self) {
        let Self { folder, random, .. } = self;
        let draw = random.below(4);
        // A mark is not synced.
        self.marked &= draw == 0;
        match draw {
            0 => folder.crash(|| true),
            1 => folder.crash(|| false),
            _ => {
                let odds = *random.pick(&[2, 2, 8]).unwrap_or(&2);
                let mostly = random.one_in(2);
                folder.crash(|| random.one_in(odds) != mostly);
            }
        }
    }

    /// What a start would find.
    pub(super) fn look(&self) -> Result<Recovered, OpenError> {
        // To open a file makes it durable. What a sync could not write is seen in it until then.
        let copy = (self.killed && !self.gave_up).then(|| self.folder.copy());
        recover(copy.as_ref().unwrap_or(&self.folder), self.durable.node)
    }

    /// What must be found after a crash, and what may.
    pub(super) fn must_have(&self) -> Given<'_> {
        let given = self.doubt.as_ref().map(|(durable, waiting)| (durable, waiting));
        let (durable, waiting) = given.unwrap_or((&self.durable, &self.waiting));
        Given { durable, waiting: Some(waiting), snapshots: &self.snapshots }
    }

    /// What must be found by a start, since it was found after the crash.
    pub(super) const fn must_still_have(&self) -> Given<'_> {
        Given { durable: &self.durable, waiting: None, snapshots: &self.snapshots }
    }

    /// After a crash there is this.
    pub(super) fn is_left_with(&mut self, found: Stored) {
        let flying = match self.syncing.take() {
            Some((count, true)) if same(&self.durable, &found).is_err() => count,
            _ => 0,
        };
        if flying > 0 {
            self.last_group = self.waiting.iter().take(flying).cloned().collect();
            self.marked = false;
        }
        let durable = std::mem::replace(&mut self.durable, found);
        let waiting = std::mem::take(&mut self.waiting);
        if self.killed {
            self.doubt.get_or_insert((durable, waiting));
        } else {
            self.doubt = None;
        }
    }

    /// The records that may be gone where the end of the journal is broken: nothing behind them says
    /// that they were ever whole.
    pub(super) fn unproven(&self) -> &[Record] {
        if self.marked { &[] } else { &self.last_group }
    }

    /// All is gone.
    pub(super) fn lose(&mut self) {
        let (durable, folder) = (Stored::empty(self.durable.node), Memory::default());
        (self.durable, self.folder) = (durable, folder);
        self.waiting.clear();
        self.syncing = None;
        self.doubt = None;
        self.last_group.clear();
        self.snapshots.clear();
        self.full = false;
    }

    /// From one of the next operations on, all fail until the process has ended.
    pub(super) fn fail_within(&mut self, operations: u64) {
        let at = self.folder.operations() + self.random.between(1, operations);
        self.folder.fail_at(Some(at));
        self.fails = true;
    }

    /// Nothing fails any more.
    pub(super) fn stop_failing(&mut self) {
        self.folder.fail_at(None);
        self.fails = false;
    }

    /// There is room for a little more, and for nothing beyond.
    pub(super) fn fill(&mut self) {
        let room = self.folder.bytes() + self.random.below(8 << 10);
        self.folder.set_room(Some(room));
        self.full = true;
    }

    /// There is room again.
    pub(super) fn make_room(&mut self) {
        self.folder.set_room(None);
        self.full = false;
    }

    /// Whether an operation may fail without a fault of the storage.
    pub(super) const fn may_fail(&self) -> bool {
        self.fails || self.full
    }

    /// All files.
    pub(super) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.folder.names().unwrap_or_default();
        names.into_iter().map(|name| (name.clone(), self.folder.content(&name))).collect()
    }

    /// Flips a bit of a file or cuts off its end; which one.
    pub(super) fn damage(&mut self) -> Option<String> {
        let names = self.folder.names().ok()?;
        let name = self.random.pick(&names)?.clone();
        let mut content = self.folder.content(&name);
        let at = usize::try_from(self.random.below(content.len() as u64)).unwrap_or(0);
        if content.is_empty() || self.random.one_in(4) {
            content.truncate(at);
        } else {
            // Most of a file is room to come: something is where nothing is seldom.
            let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let at = if self.random.one_in(4) { at } else { at % used.max(1) };
            content[at] ^= 1 << self.random.below(8);
        }
        self.folder.put(&name, content);
        Some(name)
    }
}
