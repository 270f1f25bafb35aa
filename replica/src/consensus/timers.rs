//! The timers of the protocol and the chance in them.
//!
//! Owns when each is due; what it means is said at each variant.

use std::time::Duration;

use rollcall_shared::time::Instant;

/// A timer. There is at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Time to say something: the leader's heartbeats, a candidate's PREPARE, a sign of life on
    /// links, and to look for links and leaderships that have gone silent.
    Beat,
    /// The leader or candidate that was heard of last counts as gone (R3).
    Suspect,
    /// Enough agree to an election, and the others had their time to answer (R5).
    Gather,
    /// An election did not succeed; it is tried again (R8).
    Retry,
    /// A lease that a commit waits for has ended (R13.2, R15).
    Commit,
    /// A server that shuts down has waited long enough for a successor (R24).
    Leave,
}

const TIMERS: [Timer; 6] =
    [Timer::Beat, Timer::Suspect, Timer::Gather, Timer::Retry, Timer::Commit, Timer::Leave];

/// When each timer is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers([Option<Instant>; TIMERS.len()]);

impl Timers {
    pub(super) const fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) const fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    /// The timers that run.
    pub(super) fn running(&self) -> impl Iterator<Item = Timer> + '_ {
        TIMERS.into_iter().filter(|&timer| self.is_set(timer))
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// A timer that is due by `now`; it does not run any more. The earliest comes first.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Timer> {
        let due = |&timer: &Timer| self.0[timer as usize].is_some_and(|at| at <= now);
        let timer = TIMERS.into_iter().filter(due).min_by_key(|&timer| self.0[timer as usize])?;
        self.stop(timer);
        Some(timer)
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014). Waits need no better ones.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A duration from zero to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % most.saturating_add(1).max(1))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Retry, Instant::from_millis(2));
        timers.set(Timer::Beat, Instant::from_millis(3));
        timers.set(Timer::Leave, Instant::from_millis(9));
        assert_eq!(timers.next(), Some(Instant::from_millis(2)));
        let now = Instant::from_millis(5);
        assert_eq!(timers.poll(now), Some(Timer::Retry));
        assert_eq!(timers.poll(now), Some(Timer::Beat));
        assert_eq!(timers.poll(now), None);
        assert!(timers.is_set(Timer::Leave));
    }

    #[test]
    fn random_waits_stay_within_their_bound() {
        let mut random = Random::new(7);
        let most = Duration::from_micros(3);
        let drawn: Vec<_> = (0..100).map(|_| random.up_to(most)).collect();
        assert!(drawn.iter().all(|d| *d <= most));
        assert!(drawn.contains(&Duration::ZERO) && drawn.contains(&most));
    }
}
