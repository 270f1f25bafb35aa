//! A server and its folder, life after life, with all that happens on the way: what the tests of the
//! journal are made of.

mod damage;
mod faults;
mod folders;
mod growth;
mod lives;

use std::collections::BTreeMap;

use super::*;
use rollcall_replica::consensus::ids::Index;

use crate::memory::{Memory, MemoryFile};
use crate::testing::{NODE, Random, Server, difference, prefix};

/// A server and its folder. What it was given is known to the end of the next start.
struct Run {
    folder: Memory,
    server: Server,
    random: Random,
    salts: Random,
    settings: Settings,
    /// What the last start found, what was given since, and how much of that is durable.
    start: Stored,
    given: Vec<Record>,
    durable: usize,
    /// Where the snapshot is that is known to count.
    noted: Index,
}

/// One life of its journal.
struct Life {
    journal: Journal<Memory>,
    writer: Option<SnapshotWriter<Memory>>,
    written: Option<Written>,
    spare: Option<MemoryFile>,
}

impl Run {
    fn new(seed: u64, settings: Settings) -> Self {
        Self {
            folder: Memory::default(),
            server: Server::new(seed),
            random: Random::new(!seed),
            salts: Random::new(seed << 1),
            settings,
            start: Stored::empty(NODE),
            given: Vec::new(),
            durable: 0,
            noted: Index(0),
        }
    }

    /// Small files of all sizes.
    fn random(seed: u64) -> Self {
        let mut random = Random::new(seed.rotate_left(32));
        let settings = Settings {
            segment_bytes: random.pick(&[1000, 4096, 4096, 16384]),
            snapshot_after: random.pick(&[500, 2000, 8192]),
            rewrite_bytes: random.pick(&[0, 0, 1000, 2000, 8192]),
        };
        Self::new(seed, settings)
    }

    /// Starts, and compares what is found with what was given before.
    fn open(&mut self) -> Result<Life, OpenError> {
        let (journal, stored, _) = open(&self.folder, self.settings, self.salts.seed())?;
        self.check(&stored);
        self.server.restart(stored.clone());
        (self.start, self.given, self.durable) = (stored, Vec::new(), 0);
        Ok(Life { journal, writer: None, written: None, spare: None })
    }

    /// Whether this is what was given, up to some point that is not before what is durable.
    fn check(&self, found: &Stored) {
        let Self { server, start, given, durable, noted, .. } = self;
        let checked = prefix(found, start, given, *durable, &server.snapshots);
        checked.unwrap_or_else(|why| panic!("{why}"));
        assert!(found.log.snapshot_index() >= *noted, "an older snapshot than {noted}");
    }

    /// Gives the next record.
    fn give(&mut self, life: &mut Life) -> Result<(), Failed> {
        let record = self.server.record();
        self.given.push(record.clone());
        life.journal.append(record)
    }

    fn sync(&mut self, life: &mut Life) -> Result<(), Failed> {
        let durable = life.journal.sync()?;
        assert_eq!(durable, life.journal.durable());
        self.durable = usize::try_from(durable.0).unwrap();
        if let Some(base) = life.journal.snapshots.base {
            self.noted = base.index;
        }
        Ok(())
    }

    /// Does one thing or another.
    fn step(&mut self, life: &mut Life) -> Result<(), Failed> {
        match self.random.below(24) {
            0..12 => self.give(life)?,
            12..17 if life.journal.unsynced => self.sync(life)?,
            12..17 => {
                life.journal.write()?;
                if self.random.one_in(2) {
                    self.sync(life)?;
                }
            }
            17 => life.journal.mark()?,
            18..21 => self.step_snapshot(life)?,
            21 => match life.spare.take() {
                Some(spare) => life.journal.offer_spare(spare),
                None if life.journal.wants_spare() => {
                    life.spare = Some(Journal::make_spare(&self.folder, self.settings, || {})?);
                }
                None => {}
            },
            _ => {
                let (now, later) =
                    life.journal.take_obsolete().into_iter().partition(|_| self.random.one_in(2));
                let _: &Vec<String> = &now;
                for name in now {
                    self.folder.remove(&name).map_err(Failed::new("remove", name))?;
                }
                life.journal.keep_obsolete(later);
            }
        }
        Ok(())
    }

    fn step_snapshot(&mut self, life: &mut Life) -> Result<(), Failed> {
        if let Some(written) = life.written.take() {
            life.journal.snapshot_written(written);
        } else if let Some(mut writer) = life.writer.take() {
            if self.random.one_in(20) {
                writer.give_up()?;
                life.journal.snapshot_given_up();
                return Ok(());
            }
            life.written = writer.step()?;
            life.writer = Some(writer).filter(|_| life.written.is_none());
        } else if let Some(job) = life.journal.poll_snapshot() {
            life.writer = Some(SnapshotWriter::new(self.folder.clone(), job)?);
        }
        Ok(())
    }

    /// Makes all durable and leaves a mark.
    fn finish(&mut self, life: &mut Life) -> Result<(), Failed> {
        self.sync(life)?;
        life.journal.write()?;
        self.sync(life)?;
        life.journal.mark()
    }

    /// The power fails.
    fn crash(&mut self) {
        let random = &mut self.random;
        match random.below(4) {
            0 => self.folder.crash(|| true),
            1 => self.folder.crash(|| false),
            2 => self.folder.crash(|| random.one_in(2)),
            _ => self.folder.crash(|| !random.one_in(6)),
        }
    }
}

fn open(
    folder: &Memory,
    settings: Settings,
    seed: u64,
) -> Result<(Journal<Memory>, Stored, Option<Cut>), OpenError> {
    Journal::open(folder.clone(), NODE, settings, seed)
}

fn found(folder: &Memory) -> Result<Recovered, OpenError> {
    recover(folder, NODE)
}

fn contents(folder: &Memory) -> BTreeMap<String, Vec<u8>> {
    let names = folder.names().unwrap();
    names.into_iter().map(|name| (name.clone(), folder.content(&name))).collect()
}
