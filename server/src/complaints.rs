//! Warnings that a stranger, or a misconfigured server, could repeat as often as it likes: the same
//! one is logged once in a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rollcall_shared::time::Instant;

use crate::clock;

/// What was complained of lately.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashMap<(&'static str, String), Instant>>);

impl Complaints {
    /// Logs what an operator must know, the same again only after [`AGAIN`]. Many different ones of
    /// one kind leave room for those of others.
    pub(crate) fn warn(&self, kind: &'static str, text: &str) {
        if self.is_news(clock::now(), kind, text) {
            tracing::warn!("{text}");
        } else {
            tracing::debug!("{text}");
        }
    }

    fn is_news(&self, now: Instant, kind: &'static str, text: &str) -> bool {
        let mut known = self.0.lock().expect("whoever holds it does not panic");
        known.retain(|_, at| now.since(*at) < AGAIN);
        let complaint = (kind, text.to_owned());
        let of_kind = known.keys().filter(|(known, _)| *known == kind).count();
        if of_kind >= MOST || known.contains_key(&complaint) {
            return false;
        }
        known.insert(complaint, now);
        true
    }
}

/// How long the same complaint is not logged again.
const AGAIN: Duration = Duration::from_secs(60);
/// Different complaints of one kind logged in that time.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_a_while_and_not_too_much_in_all() {
        let complaints = Complaints::default();
        let start = Instant::from_millis(1000);
        assert!(complaints.is_news(start, "k", "a"));
        assert!(!complaints.is_news(start, "k", "a"));
        assert!(complaints.is_news(start, "k", "b"));
        assert!(complaints.is_news(start + AGAIN, "k", "a"));
        let many = (0..1000).filter(|n| complaints.is_news(start + AGAIN, "k", &n.to_string()));
        assert_eq!(many.count(), MOST - 1);
        assert!(complaints.is_news(start + AGAIN, "other", "a"), "room for others is left");
    }
}
