//! The index of a shard's live subscriptions: who must hear of a change, found at a cost that grows
//! with who must hear, not with all who listen.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use rollcall_replica::LinkId;
use rollcall_shared::id::{Prefix, SubscriptionId, Username};
use rollcall_shared::message::Filter;

use crate::link::Link;

type Key = (LinkId, SubscriptionId);
type Subscribers = BTreeMap<Key, Rc<Link>>;

/// Live subscriptions by what they are about.
#[derive(Default)]
pub(crate) struct Index {
    all: Subscribers,
    by_name: HashMap<Username, Subscribers>,
    by_prefix: HashMap<Prefix, Subscribers>,
    /// How many prefixes of each length there are: only those lengths are looked up.
    lengths: BTreeMap<usize, usize>,
}

impl Index {
    pub(crate) fn insert(&mut self, filter: &Filter, number: SubscriptionId, link: &Rc<Link>) {
        let key = (link.id(), number);
        match filter {
            Filter::All => {
                self.all.insert(key, Rc::clone(link));
            }
            Filter::Usernames(names) => {
                for name in names {
                    let subscribers = self.by_name.entry(name.clone()).or_default();
                    subscribers.insert(key, Rc::clone(link));
                }
            }
            Filter::Prefix(prefix) => {
                let subscribers = self.by_prefix.entry(prefix.clone()).or_default();
                if subscribers.is_empty() {
                    *self.lengths.entry(prefix.as_str().len()).or_default() += 1;
                }
                subscribers.insert(key, Rc::clone(link));
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: &Filter, number: SubscriptionId, link: LinkId) {
        let key = (link, number);
        match filter {
            Filter::All => {
                self.all.remove(&key);
            }
            Filter::Usernames(names) => {
                for name in names {
                    if let Some(subscribers) = self.by_name.get_mut(name) {
                        subscribers.remove(&key);
                        if subscribers.is_empty() {
                            self.by_name.remove(name);
                        }
                    }
                }
            }
            Filter::Prefix(prefix) => {
                let Some(subscribers) = self.by_prefix.get_mut(prefix) else { return };
                subscribers.remove(&key);
                if !subscribers.is_empty() {
                    return;
                }
                self.by_prefix.remove(prefix);
                let length = prefix.as_str().len();
                if let Some(count) = self.lengths.get_mut(&length) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&length);
                    }
                }
            }
        }
    }

    /// Calls `hears` for each live subscription that `username` matches.
    pub(crate) fn for_each_match(
        &self,
        username: &Username,
        mut hears: impl FnMut(&Rc<Link>, SubscriptionId),
    ) {
        for ((_, number), link) in self.places(username.as_str()).flatten().flatten() {
            hears(link, *number);
        }
    }

    /// Everywhere somebody could be who hears of `username`: one place for its name, one for each
    /// length a prefix has, one for all. Whoever is in them matches, so this is the whole cost.
    fn places<'a>(&'a self, username: &'a str) -> impl Iterator<Item = Option<&'a Subscribers>> {
        let by_name = std::iter::once(self.by_name.get(username));
        let of_length = |&length| self.by_prefix.get(username.get(..length)?);
        let by_prefix = self.lengths.keys().map(of_length);
        by_name.chain(by_prefix).chain([Some(&self.all)])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn filter() -> impl Strategy<Value = Filter> {
        let name = || "[abé]{1,3}".prop_map(|name| Username::new(&name).unwrap());
        prop_oneof![
            proptest::collection::btree_set(name(), 1..4)
                .prop_map(|names| Filter::Usernames(names.into_iter().collect())),
            "[abé]{1,3}".prop_map(|prefix| Filter::Prefix(Prefix::new(&prefix).unwrap())),
            Just(Filter::All),
        ]
    }

    fn links<const N: u64>() -> Vec<Rc<Link>> {
        let address = "127.0.0.1:1".parse().unwrap();
        (0..N).map(|n| Rc::new(Link::new(LinkId(n), address, address, 1))).collect()
    }

    #[test]
    fn a_change_costs_as_much_as_it_has_subscribers() {
        let links = links::<1>();
        let mut index = Index::default();
        let mut insert = |number: u64, filter| {
            index.insert(&filter, SubscriptionId(number), &links[0]);
        };
        let name = |text: &str| Filter::Usernames(vec![Username::new(text).unwrap()]);
        let prefix = |text: &str| Filter::Prefix(Prefix::new(text).unwrap());
        for n in 0..5_000 {
            insert(2 * n, name(&format!("user-{n:04}")));
            insert(2 * n + 1, prefix(&format!("team-{n:04}")));
        }
        insert(20_000, name("ann"));
        insert(20_001, prefix("an"));
        insert(20_002, Filter::All);
        // Of 10,003 subscriptions, three match, and four places are looked at: the name, prefixes
        // of two bytes, of nine, and all.
        for (username, places, matches) in [("ann", 4, 3), ("user-0007", 4, 2), ("nobody", 4, 1)] {
            let seen: Vec<_> = index.places(username).collect();
            assert_eq!(seen.len(), places, "{username}");
            let found: usize = seen.into_iter().flatten().map(BTreeMap::len).sum();
            assert_eq!(found, matches, "{username}");
        }
    }

    proptest! {
        /// The index finds exactly the subscriptions whose filter matches, and forgets all.
        #[test]
        fn finds_who_must_hear(
            steps in proptest::collection::vec((filter(), 0_usize..3, any::<bool>()), 1..40),
            name in "[abé]{1,4}",
        ) {
            let links = links::<3>();
            let name = Username::new(&name).unwrap();
            let mut index = Index::default();
            let mut live = BTreeMap::new();
            for (number, (filter, link, stays)) in steps.into_iter().enumerate() {
                let number = SubscriptionId(number as u64);
                index.insert(&filter, number, &links[link]);
                if stays {
                    live.insert((links[link].id(), number), filter);
                } else {
                    index.remove(&filter, number, links[link].id());
                }
            }
            let mut heard = BTreeSet::new();
            index.for_each_match(&name, |link, number| {
                assert!(heard.insert((link.id(), number)), "told twice");
            });
            let expected: BTreeSet<_> = live
                .iter()
                .filter(|(_, filter)| filter.matches(&name))
                .map(|(key, _)| *key)
                .collect();
            prop_assert_eq!(heard, expected);
            for ((link, number), filter) in live {
                index.remove(&filter, number, link);
            }
            prop_assert!(index.all.is_empty() && index.by_name.is_empty());
            prop_assert!(index.by_prefix.is_empty() && index.lengths.is_empty());
        }
    }
}
