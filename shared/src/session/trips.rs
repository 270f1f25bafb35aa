//! How long answers take on one link, and so how long one is waited for before another server is
//! asked.
//!
//! The estimate is that of TCP's retransmission timer (RFC 6298): a smoothed mean and four times the
//! smoothed deviation. Late answers count too, whoever answered first, so that servers under load
//! are not asked twice for long.

use std::time::Duration;

use crate::id::RequestId;
use crate::time::Instant;

/// The round trips of one link.
#[derive(Debug, Default)]
pub(super) struct Trips {
    /// In microseconds, both.
    smoothed: Option<u64>,
    deviation: u64,
    /// What was sent and not answered yet, in the order of sending.
    awaited: Vec<(RequestId, Instant)>,
    /// The way there and back alone: what the server answers by itself, the last few times.
    ways: [Option<Duration>; WAYS],
    /// How many were measured before.
    measured: usize,
}

impl Trips {
    /// A request was sent.
    pub(super) fn sent(&mut self, id: RequestId, now: Instant) {
        if self.awaited.len() == AWAITED {
            self.awaited.remove(0);
        }
        self.awaited.push((id, now));
    }

    /// Its answer came, or the first part of it.
    pub(super) fn answered(&mut self, id: RequestId, now: Instant) {
        let Some(at) = self.awaited.iter().position(|(known, _)| *known == id) else {
            return;
        };
        let (_, sent) = self.awaited.remove(at);
        let took = now.as_micros().saturating_sub(sent.as_micros());
        match self.smoothed {
            None => (self.smoothed, self.deviation) = (Some(took), took / 2),
            Some(mean) => {
                self.deviation = (self.deviation * 3 + took.abs_diff(mean)) / 4;
                self.smoothed = Some((mean * 7 + took) / 8);
            }
        }
    }

    /// What the server answers by itself took so long.
    pub(super) fn measured(&mut self, took: Duration) {
        self.ways[self.measured % WAYS] = Some(took);
        self.measured += 1;
    }

    /// How far the server is, once known: the least of the last few times, as one alone may have met a
    /// busy moment.
    pub(super) fn distance(&self) -> Option<Duration> {
        self.ways.iter().flatten().min().copied()
    }

    /// How long an answer is waited for.
    pub(super) fn patience(&self) -> Duration {
        match self.smoothed {
            Some(mean) => Duration::from_micros(mean + self.deviation * 4).clamp(SHORTEST, LONGEST),
            None => LONGEST,
        }
    }
}

/// The shortest time before another server is asked. A change of the leader takes less.
pub(super) const SHORTEST: Duration = Duration::from_millis(250);
/// The longest time before another server is asked: each of three can be asked within a call's default
/// timeout.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// How many measurements of the way count.
const WAYS: usize = 3;
/// The most requests whose times are kept.
const AWAITED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn trips(times_ms: &[u64]) -> Trips {
        let mut trips = Trips::default();
        for (id, took) in times_ms.iter().enumerate() {
            let id = RequestId(id as u64);
            trips.sent(id, Instant::from_millis(0));
            trips.answered(id, Instant::from_millis(*took));
        }
        trips
    }

    #[test]
    fn patience_has_bounds() {
        assert_eq!(trips(&[]).patience(), LONGEST, "nothing is known yet");
        assert_eq!(trips(&[1, 1, 1]).patience(), SHORTEST);
        assert_eq!(trips(&[9000; 9]).patience(), LONGEST);
    }

    #[test]
    fn slow_answers_are_waited_for() {
        let slow = trips(&[400; 30]);
        assert!(slow.patience() >= Duration::from_millis(400));
        assert!(slow.patience() < Duration::from_millis(450), "{slow:?}");
        let changed = trips(&[[1; 10].as_slice(), &[400; 60]].concat());
        assert!(changed.patience() < Duration::from_millis(450), "{changed:?}");
        let varied = trips(&[100, 400, 100, 400, 100, 400, 100, 400]);
        assert!(varied.patience() > Duration::from_millis(600), "{varied:?}");
    }

    #[test]
    fn what_is_not_awaited_is_not_measured() {
        let mut trips = Trips::default();
        for id in 0..=AWAITED as u64 {
            trips.sent(RequestId(id), Instant::from_millis(0));
        }
        trips.answered(RequestId(0), Instant::from_millis(5));
        assert_eq!(trips.smoothed, None, "it was too long ago");
        trips.answered(RequestId(1), Instant::from_millis(5));
        trips.answered(RequestId(1), Instant::from_millis(5000));
        assert_eq!(trips.smoothed, Some(5000), "a second copy says nothing");
    }

    #[test]
    fn a_busy_moment_makes_no_server_far() {
        let mut trips = Trips::default();
        assert_eq!(trips.distance(), None);
        for (took, distance) in [(4, 4), (400, 4), (400, 4), (400, 400), (5, 5)] {
            trips.measured(Duration::from_millis(took));
            assert_eq!(trips.distance(), Some(Duration::from_millis(distance)));
        }
    }
}
