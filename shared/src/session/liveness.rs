//! Whether the other side of a link is still there, judged by what arrives.
//!
//! Owns the heartbeat of one link. Time may jump: a background tab runs its timers once a minute
//! and a laptop sleeps, so a deadline that passed unseen asks first and judges after a grace.

use std::time::Duration;

use crate::time::Instant;

/// The heartbeat of one link.
#[derive(Debug)]
pub(super) struct Liveness {
    heartbeat: Duration,
    heard: Instant,
    /// When a sign of life was asked for, since something arrived.
    asked: Option<Instant>,
    /// After a wake-up: until when an answer may take.
    grace: Option<Instant>,
    /// Wake-ups in a row without an answer in between.
    wakes: u32,
}

/// What a passed deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has not passed.
    Wait,
    /// Ask whether anyone is there.
    Ask,
    /// Nobody is.
    Dead,
}

impl Liveness {
    pub(super) fn new(heartbeat: Duration, now: Instant) -> Self {
        Self {
            heartbeat: heartbeat.clamp(SHORTEST, LONGEST),
            heard: now,
            asked: None,
            grace: None,
            wakes: 0,
        }
    }

    /// Something arrived.
    pub(super) fn handle_heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
        self.grace = None;
        self.wakes = 0;
    }

    pub(super) fn deadline(&self) -> Instant {
        match (self.grace, self.asked) {
            (Some(grace), _) => grace,
            // A timer that fired somewhat late leaves time for the answer.
            (None, Some(asked)) => {
                (self.heard + self.heartbeat * MISSED).max(asked + self.heartbeat)
            }
            (None, None) => self.heard + self.heartbeat,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Verdict {
        if now < self.deadline() {
            return Verdict::Wait;
        }
        if self.asked.is_some() {
            return Verdict::Dead;
        }
        self.asked = Some(now);
        Verdict::Ask
    }

    /// The driver slept, or the application says that the network may have changed: ask now, and
    /// wait no longer than a short grace. Messages reach a page whose timers are throttled, so
    /// that the second sleep through a grace without a word is no excuse any more.
    pub(super) fn handle_wake(&mut self, now: Instant) -> Verdict {
        if self.wakes >= WAKES {
            return Verdict::Dead;
        }
        self.wakes += 1;
        self.asked = Some(now);
        self.grace = Some(now + GRACE);
        Verdict::Ask
    }

    /// Whether an answer to a wake-up is awaited, or something came within a second.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.is_asked() || now.since(self.heard) < GRACE
    }

    /// Whether an answer to a wake-up is awaited.
    pub(super) fn is_asked(&self) -> bool {
        self.grace.is_some()
    }
}

/// How many heartbeats of silence end a link.
const MISSED: u32 = 3;
/// How long the answer to a wake-up may take.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How many wake-ups in a row may go unanswered.
const WAKES: u32 = 2;
/// Bounds of what a server may ask for as heartbeat.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn liveness() -> Liveness {
        Liveness::new(Duration::from_secs(5), at(0))
    }

    #[test]
    fn silence_is_asked_about_then_judged() {
        let mut link = liveness();
        assert_eq!(link.handle_timeout(at(4999)), Verdict::Wait);
        assert_eq!(link.handle_timeout(at(5000)), Verdict::Ask);
        assert_eq!(link.deadline(), at(15_000));
        link.handle_heard(at(5010));
        assert_eq!(link.handle_timeout(at(10_009)), Verdict::Wait);
        assert_eq!(link.handle_timeout(at(10_010)), Verdict::Ask);
        assert_eq!(link.handle_timeout(at(20_010)), Verdict::Dead);
    }

    #[test]
    fn a_sleeper_gets_a_grace() {
        let mut link = liveness();
        assert_eq!(link.handle_wake(at(60_000)), Verdict::Ask);
        assert_eq!(link.handle_timeout(at(60_999)), Verdict::Wait);
        link.handle_heard(at(60_999));
        assert_eq!(link.deadline(), at(65_999));
        assert_eq!(link.handle_wake(at(120_000)), Verdict::Ask);
        assert_eq!(link.handle_timeout(at(121_000)), Verdict::Dead);
    }

    #[test]
    fn a_throttled_page_ends_a_dead_link_too() {
        let mut link = liveness();
        assert_eq!(link.handle_wake(at(60_000)), Verdict::Ask);
        assert_eq!(link.handle_wake(at(120_000)), Verdict::Ask);
        assert_eq!(link.handle_wake(at(180_000)), Verdict::Dead);
    }
}
