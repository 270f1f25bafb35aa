//! How long to wait before trying again: exponential with full jitter.
//!
//! Owns the arithmetic and the small generator behind the jitter; who waits for what is decided by
//! the session.

use std::time::Duration;

/// The delays between attempts, from `min` to `max`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        // A delay of nothing would turn a dead server into a busy loop.
        let min = min.max(SHORTEST);
        Self { min, max: max.max(min) }
    }

    /// The delay after `failures` failures in a row: anything from `min` to the smaller of `max`
    /// and `min` doubled once per failure. All of that range is used, so that many clients of a
    /// lost server do not come back in step.
    pub(super) fn delay(&self, failures: u32, random: &mut Random) -> Duration {
        let cap = self.min.saturating_mul(1 << failures.clamp(1, 16)).min(self.max);
        let spread = (cap - self.min).as_micros() as u64;
        self.min + Duration::from_micros(random.below(spread + 1))
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }
}

const SHORTEST: Duration = Duration::from_millis(1);

/// A small seeded generator (splitmix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The bias of a remainder is far below what jitter could notice.
        self.next() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(failures: u32) -> (Duration, Duration) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut random = Random::new(7);
        let delays: Vec<_> = (0..2000).map(|_| backoff.delay(failures, &mut random)).collect();
        (*delays.iter().min().unwrap(), *delays.iter().max().unwrap())
    }

    #[test]
    fn doubles_up_to_the_longest() {
        for (failures, cap_ms) in [(0, 200), (1, 200), (2, 400), (5, 3200), (6, 5000), (90, 5000)] {
            let (least, most) = range(failures);
            let cap = Duration::from_millis(cap_ms);
            assert!(least >= Duration::from_millis(100) && least < cap / 2 + cap / 8);
            assert!(most <= cap && most > cap - cap / 8, "{failures}: {most:?}");
        }
    }

    #[test]
    fn bounds_in_the_wrong_order_do_no_harm() {
        let backoff = Backoff::new(Duration::from_secs(9), Duration::ZERO);
        let delay = backoff.delay(3, &mut Random::new(1));
        assert_eq!(delay, Duration::from_secs(9));
        let delay = Backoff::new(Duration::ZERO, Duration::ZERO).delay(3, &mut Random::new(1));
        assert_eq!(delay, SHORTEST);
    }
}
