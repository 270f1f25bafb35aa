//! What may go wrong in a run, and how often: drawn from the seed, some of everything or much of one
//! kind.

use std::time::Duration;

use rollcall_replica::Config as ReplicaConfig;
use rollcall_replica::consensus::config::{Config, Timings};
use rollcall_storage::Settings;

use crate::random::Random;

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Some of everything.
    General,
    /// Clients that come and go, short grace, changing leaders (R29–R35).
    Sessions,
    /// Crashes and lost disks before the cluster serves anyone (R26).
    FirstStart,
    /// Snapshots of few entries, and servers that are behind for long.
    Snapshots,
    /// Shutdowns (R24).
    HandOver,
    /// Disks that are lost again and again once the cluster runs (R27, R28).
    LostDisks,
    /// Links that break all the time and disks slower than elections are tried again (R8).
    Liveness,
    /// A leader that keeps a few servers and loses the rest; quick changes of leader (R15–R19).
    Leases,
}

impl Kind {
    /// All kinds, and what a person calls them.
    pub const ALL: [(&str, Self); 8] = [
        ("general", Self::General),
        ("sessions", Self::Sessions),
        ("first-start", Self::FirstStart),
        ("snapshots", Self::Snapshots),
        ("hand-over", Self::HandOver),
        ("lost-disks", Self::LostDisks),
        ("liveness", Self::Liveness),
        ("leases", Self::Leases),
    ];
}

/// The conditions of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From which all else follows.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// How many servers.
    pub members: u32,
    /// How many clients.
    pub clients: u32,
    /// How many subscribers.
    pub watchers: u32,
    /// How many changes a server keeps for subscribers that resume.
    pub history: usize,
    /// How long things break, in microseconds of simulated time.
    pub break_for: u64,
    /// The longest time of a message on its way.
    pub delay: u64,
    /// The longest time of an fsync.
    pub fsync: u64,
    /// Whether a crash loses the disk.
    pub in_memory: bool,
    /// How large the files of the storage get: so small that segments are often full and snapshots
    /// often due.
    pub storage: Settings,
    /// Of the disks that are to be lost, one in so many is damaged instead.
    pub rot: u64,
    /// How often each kind of trouble comes: once in so many milliseconds, or never (0).
    pub troubles: Troubles,
    /// One message in so many is lost, doubled or swapped with the next on its link, or none (0).
    pub damage: u64,
    /// One output in so many is the last of its process, or none (0).
    pub crash_within: u64,
    /// A client drops its link instead of asking once in so many times.
    pub drops: u64,
    /// After how many entries a snapshot is taken.
    pub snapshot_every: u64,
    /// How many bytes a piece of one has, where one server copies it from another.
    pub piece_bytes: usize,
    /// How many committed entries a server applies before it looks at what else has happened.
    pub apply_at_once: u64,
    /// How long the protocol waits.
    pub timings: Timings,
    /// How far clocks differ in rate, in parts per million, either way.
    pub drift: u64,
    /// What is tried when all is well again: drawn in the run.
    pub trial: u64,
}

/// Mean times between troubles, in milliseconds; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    /// A server crashes and restarts later.
    pub crash: u64,
    /// A server is suspended for a while.
    pub pause: u64,
    /// Servers are cut from one another, in any shape.
    pub cut: u64,
    /// All cuts heal.
    pub heal: u64,
    /// A link breaks and is dialled again.
    pub flap: u64,
    /// A server loses its disk in a crash.
    pub lose_disk: u64,
    /// A server is asked to shut down; it is started again later.
    pub shutdown: u64,
    /// All disks are slow for a while.
    pub slow_disks: u64,
    /// A record cannot be stored: the process must end; its disk keeps what was durable.
    pub failed_disk: u64,
    /// A disk has no more room for a while.
    pub full_disk: u64,
}

impl Plan {
    /// The plan of `seed`, of any kind, for `members` servers or any number from 1 to 7.
    #[must_use]
    pub fn new(seed: u64, members: Option<u32>) -> Self {
        let kind = match Random::new(!seed).below(14) {
            0 => Kind::Sessions,
            1 => Kind::FirstStart,
            2 => Kind::Snapshots,
            3 => Kind::HandOver,
            4 => Kind::LostDisks,
            5 => Kind::Liveness,
            6 => Kind::Leases,
            _ => Kind::General,
        };
        Self::directed(kind, seed, members)
    }

    /// The plan of `seed` of one kind.
    #[must_use]
    pub fn directed(kind: Kind, seed: u64, members: Option<u32>) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Self::general(seed, members, &mut random);
        plan.kind = kind;
        match kind {
            Kind::General => {}
            Kind::Sessions => plan.of_sessions(&mut random),
            Kind::FirstStart => plan.of_first_start(&mut random),
            Kind::Snapshots => plan.of_snapshots(&mut random),
            Kind::HandOver => plan.of_hand_over(&mut random),
            Kind::LostDisks => plan.of_lost_disks(&mut random),
            Kind::Liveness => plan.of_liveness(&mut random),
            Kind::Leases => plan.of_leases(members, &mut random),
        }
        // Chance of its own: what is said of disks leaves the rest of the plan as it is.
        plan.of_disks(&mut Random::new(seed.rotate_left(32)));
        let steps = [1, 2, 7, 40, ReplicaConfig::APPLY_AT_ONCE];
        let mut random = Random::new(seed.rotate_left(48));
        plan.apply_at_once = *random.pick(&steps).unwrap_or(&1);
        plan.of_copies(&mut Random::new(seed.rotate_left(16)));
        plan
    }

    fn general(seed: u64, members: Option<u32>, random: &mut Random) -> Self {
        // Small clusters have the most interesting ties; large ones are slow to simulate.
        let sizes = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 7];
        let drawn = *random.pick(&sizes).unwrap_or(&3);
        let troubles = Troubles {
            crash: often(random, 1_200, 2),
            pause: often(random, 1_500, 3),
            cut: often(random, 700, 2),
            heal: random.between(300, 1_500),
            flap: often(random, 400, 3),
            lose_disk: often(random, 4_000, 6),
            shutdown: often(random, 2_500, 4),
            slow_disks: often(random, 3_000, 4),
            failed_disk: often(random, 2_500, 5),
            full_disk: 0,
        };
        let millis = Duration::from_millis;
        let quick = random.one_in(2);
        let timings = Timings {
            // Sessions must be able to end within a run; the relations of the defaults stay.
            grace: millis(if quick { 600 } else { 2_500 }),
            cutoff: millis(900),
            cutoff_wait: millis(1_500),
            ..Timings::default()
        };
        Self {
            seed,
            kind: Kind::General,
            members: members.unwrap_or(drawn),
            clients: random.between(1, 5).try_into().unwrap_or(1),
            watchers: random.between(0, 2).try_into().unwrap_or(1),
            history: *random.pick(&[2, 8, 40]).unwrap_or(&8),
            break_for: random.between(1_000, 6_000) * 1_000,
            delay: *random.pick(&[200, 2_000, 20_000, 120_000]).unwrap_or(&200),
            fsync: *random.pick(&[1, 200, 5_000, 60_000, 250_000]).unwrap_or(&200),
            in_memory: random.one_in(12),
            storage: Settings::default(),
            rot: 0,
            troubles,
            damage: if random.one_in(4) { random.between(200, 5_000) } else { 0 },
            crash_within: if random.one_in(3) { random.between(300, 6_000) } else { 0 },
            drops: 25,
            snapshot_every: *random.pick(&[5, 20, 200, 32_768]).unwrap_or(&200),
            piece_bytes: Config::PIECE_BYTES,
            apply_at_once: ReplicaConfig::APPLY_AT_ONCE,
            timings,
            // The design allows 1 % either way.
            drift: if random.one_in(2) { 9_900 } else { 0 },
            trial: random.any(),
        }
    }

    fn of_disks(&mut self, random: &mut Random) {
        // About as often small as large.
        let mut size = |doublings| (2_u64 << 10 << random.below(doublings)) + random.below(512);
        let (segment_bytes, snapshot_after) = (size(4), size(5));
        let rewrite_bytes = if random.one_in(2) { random.below(8 << 10) } else { 0 };
        self.storage = Settings { segment_bytes, snapshot_after, rewrite_bytes };
        self.rot = random.between(2, 4);
        if !matches!(self.kind, Kind::FirstStart | Kind::Sessions | Kind::Leases) {
            self.troubles.full_disk = often(random, 3_000, 4);
        }
    }

    /// Mostly so small pieces that a snapshot of a few clients has many, down to one item each.
    fn of_copies(&mut self, random: &mut Random) {
        let sizes = [0, 700, 1_024, 4_096, Config::PIECE_BYTES];
        self.piece_bytes = *random.pick(&sizes).unwrap_or(&0);
        if self.kind == Kind::Snapshots && random.one_in(2) {
            // So slow that copies take as long as links and leaders last.
            self.delay = *random.pick(&[5_000, 20_000]).unwrap_or(&5_000);
            self.troubles.flap = random.between(50, 400);
        }
    }

    fn of_leases(&mut self, members: Option<u32>, random: &mut Random) {
        self.members = members.unwrap_or_else(|| *random.pick(&[3, 4, 5, 5, 6, 7]).unwrap_or(&5));
        (self.clients, self.drops) = (random.between(4, 8).try_into().unwrap_or(4), 200);
        self.delay = *random.pick(&[200, 2_000, 20_000, 60_000]).unwrap_or(&2_000);
        self.fsync = *random.pick(&[1, 200, 20_000]).unwrap_or(&200);
        (self.in_memory, self.damage, self.crash_within) = (false, 0, 0);
        self.troubles = Troubles {
            pause: often(random, 600, 3),
            cut: random.between(150, 700),
            heal: random.between(200, 900),
            flap: often(random, 200, 2),
            shutdown: often(random, 400, 2),
            ..Troubles::default()
        };
    }

    fn of_sessions(&mut self, random: &mut Random) {
        self.clients = random.between(4, 8).try_into().unwrap_or(4);
        self.drops = random.between(3, 8);
        self.break_for = random.between(3_000, 8_000) * 1_000;
        self.timings.grace = Duration::from_millis(*random.pick(&[50, 200, 600]).unwrap_or(&200));
        (self.delay, self.fsync) = (*random.pick(&[200, 5_000, 20_000]).unwrap_or(&200), 200);
        self.in_memory = false;
        self.troubles = Troubles {
            crash: often(random, 800, 2),
            pause: often(random, 1_000, 2),
            cut: often(random, 1_000, 2),
            heal: random.between(500, 3_000),
            flap: often(random, 400, 2),
            shutdown: often(random, 1_200, 2),
            ..Troubles::default()
        };
    }

    fn of_first_start(&mut self, random: &mut Random) {
        self.break_for = random.between(500, 2_500) * 1_000;
        self.in_memory = random.one_in(3);
        self.crash_within = random.between(10, 200);
        self.troubles = Troubles {
            crash: often(random, 200, 2),
            cut: often(random, 400, 3),
            heal: random.between(100, 800),
            flap: often(random, 150, 3),
            lose_disk: often(random, 300, 2),
            slow_disks: often(random, 800, 3),
            ..Troubles::default()
        };
    }

    fn of_snapshots(&mut self, random: &mut Random) {
        self.snapshot_every = random.between(1, 6);
        self.clients = random.between(3, 6).try_into().unwrap_or(3);
        (self.delay, self.fsync) = (*random.pick(&[200, 5_000]).unwrap_or(&200), 200);
        self.troubles.cut = random.between(200, 800);
        self.troubles.heal = random.between(800, 3_000);
        self.troubles.lose_disk = often(random, 1_500, 3);
    }

    fn of_hand_over(&mut self, random: &mut Random) {
        self.troubles.shutdown = random.between(100, 500);
        self.in_memory = false;
        self.delay = *random.pick(&[200, 2_000, 20_000]).unwrap_or(&200);
    }

    fn of_lost_disks(&mut self, random: &mut Random) {
        self.troubles.lose_disk = random.between(300, 1_500);
        self.troubles.crash = often(random, 500, 2);
        self.in_memory = random.one_in(4);
        self.crash_within = if random.one_in(2) { random.between(50, 1_000) } else { 0 };
        self.delay = *random.pick(&[200, 2_000, 20_000]).unwrap_or(&200);
        self.fsync = *random.pick(&[200, 5_000, 60_000]).unwrap_or(&200);
    }

    fn of_liveness(&mut self, random: &mut Random) {
        self.troubles.flap = random.between(20, 150);
        self.troubles.slow_disks = often(random, 500, 2);
        self.fsync = *random.pick(&[5_000, 60_000, 250_000]).unwrap_or(&60_000);
        self.delay = *random.pick(&[2_000, 20_000, 120_000]).unwrap_or(&2_000);
    }
}

/// Once in `odds` times, a mean time of about `mean`; else never.
const fn often(random: &mut Random, mean: u64, odds: u64) -> u64 {
    if random.one_in(odds) { random.between(mean / 3, mean * 3) } else { 0 }
}
