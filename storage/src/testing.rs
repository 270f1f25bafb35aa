//! What tests need: records as a server could give them, from a seed, and the comparison of what
//! comes back with what was given.
//!
//! Owns no test.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rollcall_replica::command::{Command, Generation, Principal, Write};
use rollcall_replica::consensus::admissions::Admissions;
use rollcall_replica::consensus::ids::{Boot, ClusterId, Epoch, Index};
use rollcall_replica::consensus::journal::{Adopt, Base, Record, Stored};
use rollcall_replica::consensus::log::{Entry, Init, Op, Snapshot};
use rollcall_replica::directory::{Bounds, Directory};
use rollcall_shared::id::{ClientId, Device, NodeId, RequestId, Revision, Username};
use rollcall_shared::meta::Meta;

use crate::salts::Salts;

/// Whose records they are.
pub(crate) const NODE: NodeId = NodeId(2);

/// Chance that is the same each time.
pub(crate) struct Random(Salts);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Salts::new(seed))
    }

    pub(crate) const fn seed(&mut self) -> u64 {
        self.0.next()
    }

    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0.next() % end
    }

    /// Once in so many times.
    pub(crate) const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("no slice is longer")]
    }
}

/// A server as its storage sees it: gives records, each of which follows from those before.
pub(crate) struct Server {
    pub(crate) random: Random,
    /// What all records together mean.
    pub(crate) stored: Stored,
    /// Entries up to here are committed, and this is what they make.
    commit: Index,
    directory: Directory,
    admissions: Admissions,
    /// The identity of the stored state to come.
    pub(crate) boot: Boot,
    /// All snapshots that there ever were.
    pub(crate) snapshots: Vec<Arc<Snapshot>>,
    requests: u64,
}

impl Server {
    /// One with an empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            stored: Stored::empty(NODE),
            commit: Index(0),
            directory: Directory::new(Revision(0), Bounds::default()),
            admissions: Admissions::default(),
            boot: Boot(!seed),
            snapshots: Vec::new(),
            requests: 0,
        }
    }

    /// Goes on from what it found stored.
    pub(crate) fn restart(&mut self, stored: Stored) {
        (self.commit, self.directory, self.admissions) = match stored.log.snapshot() {
            Some(snapshot) => {
                (snapshot.index, snapshot.directory.clone(), snapshot.admissions.clone())
            }
            None => {
                (Index(0), Directory::new(Revision(0), Bounds::default()), Admissions::default())
            }
        };
        self.stored = stored;
    }

    /// The next record.
    pub(crate) fn record(&mut self) -> Record {
        let record = self.choose();
        self.stored.apply(&record);
        record
    }

    fn choose(&mut self) -> Record {
        let Some(boot) = self.stored.boot else { return Record::Boot(self.boot) };
        if self.stored.log.cluster().is_none() {
            return self.first_log(boot);
        }
        if self.random.one_in(2) {
            self.advance();
        }
        match self.random.below(20) {
            0..=2 => self.promise(),
            3..=4 => self.adopt(),
            5 => self.adopt_snapshot(),
            6 if !self.stored.voter => Record::Voter,
            7..=9 if self.commit > self.stored.log.snapshot_index() => self.compact(),
            _ => {
                let (first, epoch) = (self.stored.log.last().next(), self.stored.established);
                Record::Append { first, entries: self.entries(first, epoch) }
            }
        }
    }

    /// What an empty server gives: it is in INIT or not, and gets it in one way or another.
    fn first_log(&mut self, boot: Boot) -> Record {
        let epoch = self.stored.established;
        let mine = if self.random.one_in(2) { boot } else { Boot(1) };
        let boots = vec![(NodeId(1), Boot(11)), (NODE, mine), (NodeId(3), Boot(33))];
        let init = Init {
            cluster: ClusterId(boot.0),
            boots,
            first_revision: Revision(1 << 40),
            restored: false,
            bounds: Bounds::default(),
        };
        let init = Arc::new(Entry { epoch: Epoch(0), op: Op::Init(init) });
        let risen = Epoch(epoch.0 + 1 + self.random.below(3));
        match self.random.below(5) {
            0..=1 => Record::Append { first: Index(1), entries: vec![init] },
            2 => {
                let mut entries = vec![init];
                entries.extend(self.entries(Index(2), risen));
                Record::Adopt(Adopt { epoch: risen, base: Base::Keep(Index(0)), entries })
            }
            3 => {
                let snapshot = self.snapshot_of(Index(0), vec![init]);
                self.take_snapshot(risen, snapshot)
            }
            // The log of a leader that is as empty.
            _ => {
                let (base, entries) = (Base::Keep(Index(0)), Vec::new());
                Record::Adopt(Adopt { epoch: risen, base, entries })
            }
        }
    }

    /// Commits some of what it holds.
    fn advance(&mut self) {
        let last = self.stored.log.last();
        let to = Index(self.commit.0 + self.random.below(last.0 - self.commit.0 + 1));
        while self.commit < to {
            let index = self.commit.next();
            let entry = self.stored.log.entry(index).expect("what is not committed is held");
            apply(&mut self.directory, &mut self.admissions, index, entry);
            self.commit = index;
        }
    }

    fn promise(&mut self) -> Record {
        Record::Promise(Epoch(self.stored.promised.0 + 1 + self.random.below(3)))
    }

    /// The epoch of a log that it may adopt.
    fn next_epoch(&mut self) -> Epoch {
        let Stored { established, promised, voter, .. } = self.stored;
        let most = if voter { promised } else { promised.max(Epoch(established.0 + 2)) };
        Epoch(established.0 + self.random.below(most.0 - established.0 + 1))
    }

    fn adopt(&mut self) -> Record {
        let epoch = self.next_epoch();
        let (from, last) =
            (self.commit.max(self.stored.log.first().previous()), self.stored.log.last());
        // The first entry of a log is INIT, and stays.
        let from = from.max(Index(1)).min(last);
        let keep = Index(from.0 + self.random.below(last.0 - from.0 + 1));
        let least = self.stored.log.epoch_at(keep).unwrap_or_default();
        let entries = if self.random.one_in(3) {
            Vec::new()
        } else {
            let between = Epoch(least.0 + self.random.below(epoch.0 - least.0 + 1));
            self.entries(keep.next(), between)
        };
        Record::Adopt(Adopt { epoch, base: Base::Keep(keep), entries })
    }

    /// A log that begins with a snapshot, whose entries this server has or never had.
    fn adopt_snapshot(&mut self) -> Record {
        let epoch = self.next_epoch();
        while self.commit == Index(0) {
            self.advance();
        }
        let count = self.random.below(6);
        let mut entries = Vec::new();
        for _ in 0..count {
            let first = Index(self.commit.0 + entries.len() as u64 + 1);
            entries.extend(self.entries(first, epoch));
        }
        let snapshot = self.snapshot_of(self.commit, entries);
        self.take_snapshot(epoch, snapshot)
    }

    fn take_snapshot(&mut self, epoch: Epoch, snapshot: Snapshot) -> Record {
        let snapshot = Arc::new(snapshot);
        self.snapshots.push(Arc::clone(&snapshot));
        self.commit = snapshot.index;
        self.directory = snapshot.directory.clone();
        self.admissions = snapshot.admissions.clone();
        let first = snapshot.index.next();
        let entries = if self.random.one_in(2) { self.entries(first, epoch) } else { Vec::new() };
        Record::Adopt(Adopt { epoch, base: Base::Snapshot(snapshot), entries })
    }

    /// What is committed, and then these entries.
    fn snapshot_of(&self, after: Index, entries: Vec<Arc<Entry>>) -> Snapshot {
        let (mut directory, mut admissions) = (self.directory.clone(), self.admissions.clone());
        let mut index = after;
        let mut epoch = self.stored.log.epoch_at(index).unwrap_or_default();
        let mut cluster = self.stored.log.cluster();
        for entry in entries {
            index = index.next();
            epoch = entry.epoch;
            if let Op::Init(init) = &entry.op {
                cluster = Some(init.cluster);
            }
            apply(&mut directory, &mut admissions, index, &entry);
        }
        let cluster = cluster.expect("a log with entries has its INIT");
        Snapshot { index, epoch, cluster, admissions, directory }
    }

    fn compact(&mut self) -> Record {
        let snapshot = Arc::new(self.snapshot_of(self.commit, Vec::new()));
        self.snapshots.push(Arc::clone(&snapshot));
        let keep = Index(self.commit.0.saturating_sub(self.random.below(6)));
        Record::Compact { snapshot, keep }
    }

    fn entries(&mut self, first: Index, epoch: Epoch) -> Vec<Arc<Entry>> {
        let count = 1 + self.random.below(6);
        (0..count)
            .map(|offset| {
                let op = self.op(Index(first.0 + offset));
                Arc::new(Entry { epoch, op })
            })
            .collect()
    }

    fn op(&mut self, index: Index) -> Op {
        let client = ClientId::new(&format!("client-{}", self.random.below(20))).unwrap();
        Op::Command(match self.random.below(10) {
            0..=2 => Command::Begin,
            3..=4 => Command::Open { principal: Principal::Client(client.clone()), client },
            5 => return Op::Admit { node: NodeId(3), boot: Boot(index.0 << 8) },
            _ => {
                self.requests += 1;
                let live = self.directory.live_session(&client);
                let generation = live.map_or(Generation(index.0), |(generation, _)| generation);
                let request = RequestId(self.requests);
                let write = self.write();
                Command::Write { client, generation, request, write }
            }
        })
    }

    fn write(&mut self) -> Write {
        let username = Username::new(&format!("user-{}", self.random.below(30))).unwrap();
        let device = Device::default();
        match self.random.below(5) {
            0 => Write::Disconnect { username, device },
            1 => Write::Sequence { count: 3 },
            _ => {
                let length = self.random.pick(&[0, 0, 10, 100, 900]);
                let note = format!("{{\"note\":\"{}\"}}", "x".repeat(length));
                let meta = (length > 0).then(|| Meta::new(&note).unwrap());
                let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
                Write::Connect { username, device, ip, port: 7000, meta }
            }
        }
    }
}

fn apply(directory: &mut Directory, admissions: &mut Admissions, index: Index, entry: &Entry) {
    admissions.apply(index, entry);
    match &entry.op {
        Op::Init(init) => *directory = Directory::new(init.first_revision, Bounds::default()),
        Op::Command(command) => {
            directory.apply(index, command.clone(), &mut Vec::new());
        }
        Op::Admit { .. } => {}
    }
}

/// What is different in what was found, if it is not what these records mean. It may have forgotten
/// less.
pub(crate) fn difference(
    found: &Stored,
    meant: &Stored,
    snapshots: &[Arc<Snapshot>],
) -> Option<String> {
    fn facts(stored: &Stored) -> (NodeId, Option<Boot>, [Epoch; 2], &BTreeSet<Epoch>, bool, Index) {
        let Stored { node, boot, promised, established, ref pending, voter, ref log, .. } = *stored;
        (node, boot, [promised, established], pending, voter, log.last())
    }
    if facts(found) != facts(meant) {
        return Some(format!("{:?} instead of {:?}", facts(found), facts(meant)));
    }
    let (log, other) = (&found.log, &meant.log);
    if log.first().previous() != log.snapshot_index() {
        return Some(format!("it begins at {} behind {}", log.first(), log.snapshot_index()));
    }
    if log.snapshot_index() > other.snapshot_index() {
        let (ours, theirs) = (log.snapshot_index(), other.snapshot_index());
        return Some(format!("a snapshot at {ours} that comes after {theirs}"));
    }
    if !log.outline().is_valid() {
        return Some(format!("an outline that cannot be: {:?}", log.outline()));
    }
    let from = log.first().max(other.first()).previous();
    for index in (from.0..=log.last().0).map(Index) {
        if log.epoch_at(index) != other.epoch_at(index)
            || log.entry(index).is_none() && index > from
        {
            return Some(format!("another epoch at {index}"));
        }
        if let Some((ours, theirs)) = log.entry(index).zip(other.entry(index))
            && ours != theirs
        {
            return Some(format!("{ours:?} instead of {theirs:?} at {index}"));
        }
    }
    let snapshot = log.snapshot()?;
    if snapshots.iter().any(|known| same(known, snapshot)) {
        return None;
    }
    Some(format!("a snapshot at {} that never was", snapshot.index))
}

fn same(one: &Snapshot, other: &Snapshot) -> bool {
    fn facts(of: &Snapshot) -> (Index, Epoch, ClusterId, &Admissions, &Directory) {
        (of.index, of.epoch, of.cluster, &of.admissions, &of.directory)
    }
    facts(one) == facts(other)
}

/// The number of the first of these states on that was found: `start`, what the first record makes
/// of it, and so on. Those before `durable` do not count.
pub(crate) fn prefix(
    found: &Stored,
    start: &Stored,
    records: &[Record],
    durable: usize,
    snapshots: &[Arc<Snapshot>],
) -> Result<usize, String> {
    let mut meant = start.clone();
    let mut why = Vec::new();
    for (count, record) in std::iter::once(None).chain(records.iter().map(Some)).enumerate() {
        if let Some(record) = record {
            meant.apply(record);
        }
        if count >= durable {
            match difference(found, &meant, snapshots) {
                None => return Ok(count),
                Some(difference) => why.push(format!("{count}: {difference}")),
            }
        }
    }
    Err(format!("nothing that was given, of which {durable} were durable: {why:#?}"))
}
