//! Which servers there are, and whose turn it is.

use std::sync::Arc;

/// The servers the application named, then those the cluster named, each once.
#[derive(Debug)]
pub(super) struct Servers {
    urls: Vec<Arc<str>>,
    seeds: usize,
    turn: usize,
}

impl Servers {
    pub(super) fn new(seeds: &[String]) -> Self {
        let mut urls: Vec<Arc<str>> = Vec::new();
        for seed in seeds {
            push_new(&mut urls, seed);
        }
        Self { seeds: urls.len(), urls, turn: 0 }
    }

    /// The server to try now; none if the application named none.
    pub(super) fn current(&self) -> Option<&Arc<str>> {
        self.urls.get(self.turn)
    }

    /// It is the next one's turn.
    pub(super) fn advance(&mut self) {
        self.turn = (self.turn + 1) % self.urls.len().max(1);
    }

    /// Whether there is more than one.
    pub(super) fn has_others(&self) -> bool {
        self.urls.len() > 1
    }

    /// Takes the members a `Welcome` named in place of those an earlier one did. Whose turn it is
    /// stays.
    pub(super) fn learn<'a>(&mut self, members: impl Iterator<Item = &'a str>) {
        let current = self.current().cloned();
        self.urls.truncate(self.seeds);
        for member in members.take(MOST_MEMBERS) {
            push_new(&mut self.urls, member);
        }
        if let Some(current) = current {
            let known = self.urls.iter().position(|url| *url == current);
            self.turn = known.unwrap_or(0);
        }
    }
}

fn push_new(urls: &mut Vec<Arc<str>>, url: &str) {
    if !urls.iter().any(|known| **known == *url) {
        urls.push(Arc::from(url));
    }
}

/// How many members a `Welcome` may name; a cluster is small.
const MOST_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_turns_over_seeds_then_members() {
        let mut servers = Servers::new(&["a".into(), "b".into(), "a".into()]);
        servers.advance();
        servers.learn(["b", "c", "d"].into_iter());
        let mut turns = Vec::new();
        for _ in 0..5 {
            turns.push(servers.current().unwrap().to_string());
            servers.advance();
        }
        assert_eq!(turns, ["b", "c", "d", "a", "b"]);
    }

    #[test]
    fn a_member_that_left_loses_its_turn() {
        let mut servers = Servers::new(&["a".into()]);
        servers.learn(["b"].into_iter());
        servers.advance();
        servers.learn(["c"].into_iter());
        assert_eq!(servers.current().unwrap().as_ref(), "a");
        assert!(servers.has_others());
    }

    #[test]
    fn none_is_none() {
        let mut servers = Servers::new(&[]);
        servers.advance();
        assert!(servers.current().is_none());
    }
}
