//! Which servers there are, by which URLs each is reached, and when it is tried.
//!
//! Owns no link: who is linked is told. A server is known by its number; a URL whose server has not
//! spoken yet is an entry of its own, and may turn out to be another name of a known one.

use std::sync::Arc;

use super::event::LinkId;
use crate::codec::reply::Member;
use crate::id::NodeId;
use crate::time::Instant;

/// All servers that are worth a link.
#[derive(Debug)]
pub(super) struct Servers {
    all: Vec<Server>,
    /// How many members were named to it that it did not know.
    learned: u32,
}

/// A server, or a URL of which nobody knows yet whose it is.
#[derive(Debug)]
pub(super) struct Server {
    node: Option<NodeId>,
    /// It was a member and is none any more.
    removed: bool,
    /// Where it is reached; the first is tried next.
    urls: Vec<Arc<str>>,
    /// Those of them that the application named; they are never forgotten.
    seeds: Vec<Arc<str>>,
    /// The link to it, open or being opened.
    pub(super) link: Option<LinkId>,
    /// Links in a row that came to nothing.
    failures: u32,
    /// Before then it is not tried.
    retry_at: Instant,
}

impl Server {
    fn new(url: &str, seed: bool) -> Self {
        let (node, removed, link, retry_at) = Default::default();
        let urls = vec![Arc::from(url)];
        let seeds = if seed { urls.clone() } else { Vec::new() };
        Self { node, removed, urls, seeds, link, failures: 0, retry_at }
    }

    /// Where to reach it now.
    pub(super) fn url(&self) -> &Arc<str> {
        &self.urls[0]
    }

    fn has_url(&self, url: &str) -> bool {
        self.urls.iter().any(|known| **known == *url)
    }

    /// It has another name, which is tried after the present one. Of too many that is forgotten which
    /// failed last.
    fn add_url(&mut self, url: &str) {
        if self.has_url(url) {
            return;
        }
        if self.urls.len() >= MOST_URLS + self.seeds.len() {
            let is_seed = |url: &Arc<str>| self.seeds.contains(url);
            if let Some(at) = self.urls.iter().rposition(|url| !is_seed(url)) {
                self.urls.remove(at);
            }
        }
        self.urls.insert(1, Arc::from(url));
    }

    /// A link turned out to lead here. Returns the one that is not wanted then, if there are two.
    fn take_link(
        &mut self,
        link: Option<LinkId>,
        in_use: &impl Fn(LinkId) -> bool,
    ) -> Option<LinkId> {
        match self.link {
            Some(older) if in_use(older) => link,
            older => {
                self.link = link;
                older
            }
        }
    }
}

impl Servers {
    /// Those the application named, to be tried in order from the one at `first` on.
    pub(super) fn new(seeds: &[String], first: usize) -> Self {
        let mut servers: Vec<Server> = Vec::new();
        for seed in seeds {
            if !servers.iter().any(|known| known.has_url(seed)) {
                servers.push(Server::new(seed, true));
            }
        }
        let first = first % servers.len().max(1);
        servers.rotate_left(first);
        Self { all: servers, learned: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The next server to open a link to by `now`; `reached` says whether some server serves this
    /// client already.
    pub(super) fn next_due(&mut self, now: Instant, reached: bool) -> Option<&mut Server> {
        let spare = self.needs_spare(reached);
        let due = |it: &Server| it.is_wanted(spare) && it.retry_at <= now;
        self.all.iter_mut().filter(|it| due(it)).min_by_key(|it| it.retry_at)
    }

    /// When the next server is to be tried.
    pub(super) fn next_retry(&self, reached: bool) -> Option<Instant> {
        let spare = self.needs_spare(reached);
        self.all.iter().filter(|it| it.is_wanted(spare)).map(|it| it.retry_at).min()
    }

    /// Whether URLs are tried too of which nobody knows whose they are: where no server is reached, or
    /// not each by the URL that the cluster names.
    fn needs_spare(&self, reached: bool) -> bool {
        let lost = |it: &Server| it.is_wanted(false) && it.failures > 0;
        !reached || self.all.iter().any(lost)
    }

    /// The link to a server was lost or never came about. Returns how many in a row that is;
    /// [`Servers::retry`] says when it is tried again.
    pub(super) fn lost(&mut self, link: LinkId, was_steady: bool) -> u32 {
        let Some(server) = self.all.iter_mut().find(|it| it.link == Some(link)) else {
            return 1;
        };
        server.failures = if was_steady { 1 } else { server.failures.saturating_add(1) };
        if !was_steady {
            server.urls.rotate_left(1);
        }
        server.failures
    }

    /// The server of a link that is gone is tried again at this time.
    pub(super) fn retry(&mut self, link: LinkId, at: Instant) {
        if let Some(server) = self.all.iter_mut().find(|it| it.link == Some(link)) {
            (server.link, server.retry_at) = (None, at);
        }
    }

    /// No server is tried later than this: none serves, or the network may be another one.
    pub(super) fn retry_all(&mut self, at: Instant) {
        for server in &mut self.all {
            server.retry_at = server.retry_at.min(at);
        }
    }

    /// Takes in what the `Welcome` on a link says: whose link it is, and who else there is. Returns
    /// links that are not wanted any more, never `home`; `in_use` says whether a link is one that serves.
    /// A URL that leads elsewhere than the cluster says is tried again at `later`.
    pub(super) fn learn(
        &mut self,
        link: LinkId,
        node: NodeId,
        members: &[Member],
        later: Instant,
        home: Option<LinkId>,
        in_use: impl Fn(LinkId) -> bool,
    ) -> Vec<LinkId> {
        let members = &members[..members.len().min(MOST_MEMBERS)];
        let is_member = |node| members.iter().any(|member| member.node == node);
        let mut unwanted = Vec::new();
        if let Some(at) = self.all.iter().position(|it| it.link == Some(link)) {
            let meant = self.all[at].node.filter(|meant| *meant != node && is_member(*meant));
            match self.all.iter().position(|it| it.node == Some(node)) {
                Some(other) if meant.is_some() => {
                    // As behind a load balancer: it would lead astray again and again.
                    self.all[at].link = None;
                    self.all[at].failures = self.all[at].failures.saturating_add(1);
                    self.all[at].retry_at = later;
                    self.all[at].urls.rotate_left(1);
                    unwanted.extend(self.all[other].take_link(Some(link), &in_use));
                }
                Some(other) if other != at => unwanted.extend(self.merge(at, other, &in_use)),
                _ => self.all[at].node = Some(node),
            }
        }
        for member in members {
            let known = self.all.iter().position(|it| it.node == Some(member.node));
            let named = self.all.iter().position(|it| it.has_url(&member.url));
            let named = named.filter(|at| self.all[*at].node.is_none());
            match known.or(named) {
                Some(at) => {
                    self.all[at].node = Some(member.node);
                    self.all[at].add_url(&member.url);
                }
                None => {
                    let mut server = Server::new(&member.url, false);
                    server.node = Some(member.node);
                    self.learned = self.learned.saturating_add(1);
                    if self.learned > MOST_LEARNED {
                        server.retry_at = later; // Somebody names ever new ones.
                    }
                    self.all.push(server);
                }
            }
        }
        if members.is_empty() {
            return unwanted;
        }
        self.all.retain_mut(|it| {
            it.removed = it.link != Some(link) && !it.node.is_none_or(is_member);
            // The home serves on until it ends by itself, or another takes its place.
            let is_home = home.is_some() && it.link == home;
            let stays = !it.removed || is_home || !it.seeds.is_empty();
            if !stays {
                unwanted.extend(it.link);
            }
            stays
        });
        unwanted
    }

    /// An entry turned out to be another name of the server of a second one. Returns the link that is
    /// not wanted then.
    fn merge(
        &mut self,
        at: usize,
        other: usize,
        in_use: &impl Fn(LinkId) -> bool,
    ) -> Option<LinkId> {
        let it = self.all.remove(at);
        let known = &mut self.all[other - usize::from(other > at)];
        known.seeds.extend(it.seeds);
        for url in &it.urls {
            known.add_url(url);
        }
        let unwanted = known.take_link(it.link, in_use);
        if known.link == it.link {
            // What works is tried first the next time too.
            let works = known.urls.iter().position(|url| *url == it.urls[0]);
            known.urls.rotate_left(works.unwrap_or(0));
        }
        unwanted
    }
}

impl Server {
    fn is_wanted(&self, spare: bool) -> bool {
        self.link.is_none() && ((self.node.is_some() && !self.removed) || spare)
    }
}

/// How many members may be new in the life of a session before further ones have to wait.
const MOST_LEARNED: u32 = 32;
/// How many members a `Welcome` may name; a cluster has at most seven.
const MOST_MEMBERS: usize = 8;
/// How many names of one server are remembered.
const MOST_URLS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn servers(seeds: &str) -> Servers {
        let seeds: Vec<String> = seeds.split_whitespace().map(str::to_owned).collect();
        Servers::new(&seeds, 0)
    }

    fn members(named: &[(u32, &str)]) -> Vec<Member> {
        let member =
            |(node, url): &(u32, &str)| Member { node: NodeId(*node), url: (*url).to_owned() };
        named.iter().map(member).collect()
    }

    /// Opens a link to the next that is due.
    fn open(servers: &mut Servers, link: u64, now: u64, reached: bool) -> Option<String> {
        let server = servers.next_due(at(now), reached)?;
        server.link = Some(LinkId(link));
        Some(server.url().to_string())
    }

    /// The server of a link has welcomed; all links up to this number serve, the first is the home.
    fn learn(servers: &mut Servers, link: u64, node: u32, named: &[(u32, &str)]) -> Vec<u64> {
        let home = Some(LinkId(1));
        let serves = |it: LinkId| it.0 <= link;
        let later = at(5000);
        let unwanted =
            servers.learn(LinkId(link), NodeId(node), &members(named), later, home, serves);
        unwanted.into_iter().map(|link| link.0).collect()
    }

    fn lose(servers: &mut Servers, link: u64, was_steady: bool, retry_at: u64) -> u32 {
        let failures = servers.lost(LinkId(link), was_steady);
        servers.retry(LinkId(link), at(retry_at));
        failures
    }

    #[test]
    fn seeds_are_tried_in_order_from_any_on_and_each_once() {
        let seeds = ["a", "b", "a", "c"].map(str::to_owned);
        let mut servers = Servers::new(&seeds, 4);
        let order: Vec<_> = (1..5).map(|link| open(&mut servers, link, 0, false)).collect();
        assert_eq!(order, [Some("b".into()), Some("c".into()), Some("a".into()), None]);
        assert!(Servers::new(&[], 9).is_empty());
    }

    #[test]
    fn who_waited_longest_is_tried_first() {
        let mut servers = servers("a b");
        open(&mut servers, 1, 0, false);
        open(&mut servers, 2, 0, false);
        assert_eq!(lose(&mut servers, 1, false, 300), 1);
        assert_eq!(lose(&mut servers, 2, false, 200), 1);
        assert_eq!(servers.next_retry(false), Some(at(200)));
        assert_eq!(open(&mut servers, 3, 199, false), None);
        assert_eq!(open(&mut servers, 3, 400, false), Some("b".into()));
        assert_eq!(lose(&mut servers, 3, false, 900), 2, "twice in a row");
        assert_eq!(open(&mut servers, 4, 400, false), Some("a".into()));
        assert_eq!(lose(&mut servers, 4, true, 901), 1, "it stood for a while");
        servers.retry_all(at(500));
        assert_eq!(servers.next_retry(false), Some(at(500)));
        assert_eq!(lose(&mut servers, 99, false, 0), 1, "nobody's link");
    }

    #[test]
    fn members_are_wanted_and_unknown_seeds_only_in_need() {
        let mut servers = servers("a proxy");
        open(&mut servers, 1, 0, false);
        assert!(learn(&mut servers, 1, 1, &[(1, "a"), (2, "b")]).is_empty());
        assert_eq!(open(&mut servers, 2, 0, true), Some("b".into()));
        assert_eq!((open(&mut servers, 3, 0, true), servers.next_retry(true)), (None, None));
        assert_eq!(servers.next_retry(false), Some(at(0)));
        lose(&mut servers, 2, false, 100);
        assert_eq!(open(&mut servers, 3, 0, true), Some("proxy".into()));
        assert_eq!(open(&mut servers, 4, 100, true), Some("b".into()));
    }

    #[test]
    fn every_name_of_a_server_is_tried_the_one_that_works_first() {
        let mut servers = servers("a proxy");
        open(&mut servers, 1, 0, false);
        learn(&mut servers, 1, 1, &[(1, "a"), (2, "b")]);
        open(&mut servers, 2, 0, true);
        lose(&mut servers, 2, false, 100);
        open(&mut servers, 3, 0, true);
        assert!(learn(&mut servers, 3, 2, &[(1, "a"), (2, "b")]).is_empty());
        assert_eq!(servers.all.len(), 2);
        lose(&mut servers, 3, true, 200);
        assert_eq!(open(&mut servers, 4, 200, true), Some("proxy".into()));
        lose(&mut servers, 4, false, 300);
        assert_eq!(open(&mut servers, 5, 300, true), Some("b".into()));
        // A new name is tried next.
        learn(&mut servers, 1, 1, &[(1, "a"), (2, "b2")]);
        lose(&mut servers, 5, false, 400);
        assert_eq!(open(&mut servers, 6, 400, true), Some("b2".into()));
    }

    #[test]
    fn of_two_links_to_one_server_that_stays_which_serves() {
        let mut servers = servers("a b c");
        for link in 1..=3 {
            open(&mut servers, link, 0, false);
        }
        assert!(learn(&mut servers, 1, 1, &[]).is_empty());
        assert_eq!(learn(&mut servers, 2, 1, &[]), [2]);
        assert_eq!(servers.all.len(), 2);
        // The other one is being opened still: 4 leads there already.
        assert!(learn(&mut servers, 1, 1, &[(1, "a"), (3, "c")]).is_empty());
        let mut proxy = Server::new("proxy", true);
        proxy.link = Some(LinkId(2));
        servers.all.push(proxy);
        assert_eq!(learn(&mut servers, 2, 3, &[(1, "a"), (3, "c")]), [3]);
        let found = servers.all.iter().find(|it| it.node == Some(NodeId(3))).unwrap();
        assert_eq!((found.link, &**found.url()), (Some(LinkId(2)), "proxy"));
    }

    #[test]
    fn a_url_that_leads_astray_pauses() {
        let mut servers = servers("lb");
        open(&mut servers, 1, 0, false);
        let all = [(1, "lb"), (2, "lb")];
        learn(&mut servers, 1, 1, &all);
        assert_eq!(open(&mut servers, 2, 0, true), Some("lb".into()));
        assert_eq!(learn(&mut servers, 2, 1, &all), [2]);
        assert_eq!(open(&mut servers, 3, 4999, true), None);
        assert_eq!(open(&mut servers, 3, 5000, true), Some("lb".into()));
        assert!(learn(&mut servers, 3, 2, &all).is_empty());
        assert_eq!((servers.all.len(), servers.next_retry(true)), (2, None));
    }

    #[test]
    fn a_server_may_have_another_number_than_before() {
        let mut servers = servers("a");
        open(&mut servers, 1, 0, false);
        learn(&mut servers, 1, 1, &[(1, "a"), (2, "b")]);
        lose(&mut servers, 1, true, 0);
        open(&mut servers, 2, 0, true);
        learn(&mut servers, 2, 2, &[(1, "a"), (2, "b")]);
        assert_eq!(open(&mut servers, 3, 5000, true), Some("a".into()));
        assert!(learn(&mut servers, 3, 7, &[(7, "a"), (2, "b")]).is_empty());
        assert_eq!(servers.all.len(), 2);
        assert!(servers.all.iter().any(|it| it.node == Some(NodeId(7)) && it.link.is_some()));
    }

    #[test]
    fn who_was_removed_is_left_unless_it_is_home_or_a_seed() {
        let mut servers = servers("a s");
        open(&mut servers, 1, 0, false);
        let all = [(1, "a"), (2, "b"), (3, "s")];
        learn(&mut servers, 1, 1, &all);
        assert_eq!(open(&mut servers, 2, 0, true), Some("s".into()));
        assert_eq!(open(&mut servers, 3, 0, true), Some("b".into()));
        let mut fourth = Server::new("d", false);
        (fourth.node, fourth.link) = (Some(NodeId(4)), Some(LinkId(4)));
        servers.all.push(fourth);
        // All but that are removed.
        assert_eq!(learn(&mut servers, 4, 4, &[(4, "d")]), [3]);
        assert_eq!(servers.all.len(), 3);
        lose(&mut servers, 1, true, 0);
        assert_eq!(open(&mut servers, 5, 0, true), None);
        assert_eq!(open(&mut servers, 5, 0, false), Some("a".into()));
        // One that is a member again is wanted again.
        lose(&mut servers, 5, false, 0);
        learn(&mut servers, 4, 4, &[(4, "d"), (1, "a")]);
        assert_eq!(open(&mut servers, 6, 0, true), Some("a".into()));
    }

    #[test]
    fn a_home_that_was_removed_is_left_once_another_serves() {
        let mut servers = servers("s");
        let mut home = Server::new("h", false);
        (home.node, home.link) = (Some(NodeId(1)), Some(LinkId(1)));
        servers.all.push(home);
        open(&mut servers, 2, 0, true);
        assert!(learn(&mut servers, 2, 2, &[(2, "s")]).is_empty());
        let named = members(&[(2, "s")]);
        let home = Some(LinkId(2));
        let unwanted = servers.learn(LinkId(2), NodeId(2), &named, at(0), home, |_| true);
        assert_eq!((unwanted, servers.all.len()), (vec![LinkId(1)], 1));
    }

    #[test]
    fn little_is_remembered_and_seeds_always() {
        let mut servers = servers("a");
        open(&mut servers, 1, 0, false);
        for round in 0..100 {
            let name = format!("a{round}");
            learn(&mut servers, 1, 1, &[(1, &name)]);
            assert!(servers.all[0].has_url(&name), "the latest is known");
        }
        // A seed that turns out to be another name of it is kept like the first.
        servers.all.push(Server::new("proxy", true));
        open(&mut servers, 2, 0, false);
        assert_eq!(learn(&mut servers, 2, 1, &[(1, "a")]), [2]);
        for round in 100..200 {
            learn(&mut servers, 1, 1, &[(1, &format!("a{round}"))]);
        }
        let it = &servers.all[0];
        assert!(it.urls.len() <= 10 && it.has_url("a") && it.has_url("proxy"), "{it:?}");
        for round in 0..100 {
            let names: Vec<_> = (0..1000).map(|at| (2 + at + round * 7, "x")).collect();
            learn(&mut servers, 1, 1, &names);
            assert!(servers.all.len() <= MOST_MEMBERS + 1);
        }
    }
}
