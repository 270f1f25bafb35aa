//! What may go wrong in a run, and how often: drawn from the seed.

use std::time::Duration;

use rollcall_replica::consensus::config::Timings;

use crate::random::Random;

/// The conditions of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From which all else follows.
    pub seed: u64,
    /// How many servers.
    pub members: u32,
    /// How many clients.
    pub clients: u32,
    /// How long things break, in microseconds of simulated time.
    pub break_for: u64,
    /// The longest time of a message on its way.
    pub delay: u64,
    /// The longest time of an fsync.
    pub fsync: u64,
    /// Whether a crash loses the disk.
    pub in_memory: bool,
    /// How often each kind of trouble comes: once in so many milliseconds, or never (0).
    pub troubles: Troubles,
    /// One message in so many is lost, doubled or swapped with the next on its link, or none (0).
    pub damage: u64,
    /// One output in so many is the last of its process, or none (0).
    pub crash_within: u64,
    /// After how many entries a snapshot is taken.
    pub snapshot_every: u64,
    /// How long the protocol waits.
    pub timings: Timings,
    /// How far clocks differ in rate, in parts per million, either way.
    pub drift: u64,
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
}

impl Plan {
    /// The plan of `seed`, for `members` servers or any number from 1 to 7.
    #[must_use]
    pub fn new(seed: u64, members: Option<u32>) -> Self {
        let mut random = Random::new(seed);
        // Small clusters have the most interesting ties; large ones are slow to simulate.
        let sizes = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 7];
        let drawn = *random.pick(&sizes).unwrap_or(&3);
        let often = |random: &mut Random, mean: u64, odds: u64| {
            if random.one_in(odds) { random.between(mean / 3, mean * 3) } else { 0 }
        };
        let troubles = Troubles {
            crash: often(&mut random, 1_200, 2),
            pause: often(&mut random, 1_500, 3),
            cut: often(&mut random, 700, 2),
            heal: random.between(300, 1_500),
            flap: often(&mut random, 400, 3),
            lose_disk: often(&mut random, 4_000, 6),
            shutdown: often(&mut random, 2_500, 4),
            slow_disks: often(&mut random, 3_000, 4),
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
            members: members.unwrap_or(drawn),
            clients: random.between(1, 5).try_into().unwrap_or(1),
            break_for: random.between(1_000, 6_000) * 1_000,
            delay: *random.pick(&[200, 2_000, 20_000, 120_000]).unwrap_or(&200),
            fsync: *random.pick(&[1, 200, 5_000, 60_000, 250_000]).unwrap_or(&200),
            in_memory: random.one_in(12),
            troubles,
            damage: if random.one_in(4) { random.between(200, 5_000) } else { 0 },
            crash_within: if random.one_in(3) { random.between(300, 6_000) } else { 0 },
            snapshot_every: *random.pick(&[5, 20, 200, 32_768]).unwrap_or(&200),
            timings,
            drift: if random.one_in(2) { 4_900 } else { 0 },
        }
    }
}
