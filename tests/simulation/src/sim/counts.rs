//! What happened in a run, counted: so that a person sees whether what should happen does.

use std::fmt;

/// Declares what is counted, and its words.
macro_rules! counted {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $name,)*
        }

        const WORDS: &[&str] = &[$($words),*];
    };
}

counted! {
    /// A process ended between two of its outputs, whyever.
    Crash: "crashes",
    /// A process was suspended.
    Pause: "pauses",
    /// Links were cut, in some shape.
    Cut: "cuts",
    /// One link broke.
    Flap: "broken links",
    /// A message was lost, doubled or swapped with one before it.
    Damage: "damaged messages",
    /// A disk was lost.
    LostDisk: "lost disks",
    /// All disks were slow for a while.
    SlowDisks: "slow spells",
    /// A record could not be stored.
    FailedDisk: "failed disks",
    /// A disk had no more room for a while.
    FullDisk: "full disks",
    /// An operation of a disk failed, and its process ended for it.
    FailedOperation: "failed operations",
    /// A process ended while it opened its journal.
    BrokenOpening: "openings broken off",
    /// A segment of a journal was full, and the next one begun.
    Roll: "segments rolled",
    /// A snapshot was written to a disk.
    SnapshotWritten: "snapshots written",
    /// The end of a journal was not whole, and was cut off.
    TornTail: "torn tails cut",
    /// A file was damaged while its server was down, and that was noticed.
    DamageFound: "damage found",
    /// It was not, and changed nothing.
    DamageHarmless: "harmless damage",
    /// It was cut off like a torn tail, since nothing said that this was ever whole.
    TailLost: "tails lost",
    /// The storage said something twice, late, or of a record it was never given.
    WrongSync: "wrong answers of disks",
    /// A process began to lead an epoch.
    Election: "elections",
    /// A server that lost its disk was admitted.
    Admission: "admissions",
    /// A server took a snapshot of its own state.
    Compaction: "snapshots taken",
    /// A server took over a snapshot of another one.
    Install: "snapshots installed",
    /// A server had more to apply than it does at once.
    Behind: "rounds with more to apply",
    /// A copy of a snapshot went on where an earlier one had been broken off.
    GoneOn: "copies gone on with",
    /// A server was asked to shut down.
    Shutdown: "shutdowns",
    /// A leader was asked to, and another server led the next epoch.
    HandOver: "hand-overs",
    /// A session was opened, for the first time or again.
    Opening: "sessions opened",
    /// A session expired.
    Expiry: "expiries",
    /// A write was answered.
    Write: "writes",
    /// A write was answered, and had been applied before the answer was asked for.
    Repeat: "repeats",
    /// A write was answered that it was not applied.
    NotApplied: "writes not applied",
    /// A read was answered.
    Read: "reads",
    /// Of them, by what the server had shown, without asking it.
    ReadAtOnce: "of them at once",
    /// A subscription began, and had seen nothing before.
    Subscription: "subscriptions",
    /// A subscription went on after what it had seen.
    Recovered: "resumed",
    /// A subscription began anew, since what it had seen was too old.
    NotRecovered: "not resumed",
    /// A subscription was overtaken by what is kept.
    Overtaken: "overtaken",
    /// A subscriber was told of a change.
    Push: "pushes",
    /// A split in halves was tried when all was well.
    Halves: "halves tried",
    /// A server that does not lead was cut off one way when all was well.
    OneWay: "one-way cuts tried",
    /// The leader was.
    LeaderOneWay: "one-way cuts of the leader",
    /// A cut was to be tried, and not all servers were in one epoch.
    NoTrial: "trials given up",
    /// Clients stayed away when all was well.
    Absence: "absences tried",
    /// A cluster began a second life.
    Rebirth: "second lives",
}

/// How often each happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; WORDS.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; WORDS.len()])
    }
}

impl Counts {
    /// It happened once more.
    pub const fn add(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    /// It happened so many times more.
    pub const fn add_all(&mut self, count: Count, times: u64) {
        self.0[count as usize] += times;
    }

    /// How often it happened.
    #[must_use]
    pub const fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// What never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let never = WORDS.iter().zip(self.0).filter(|(_, count)| *count == 0);
        never.map(|(words, _)| *words).collect()
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0) {
            *ours += theirs;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (words, count)) in WORDS.iter().zip(self.0).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {words}")?;
        }
        Ok(())
    }
}
