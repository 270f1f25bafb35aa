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
        let text = username.as_str();
        let by_name = self.by_name.get(text);
        let by_prefix =
            self.lengths.keys().filter_map(|&length| self.by_prefix.get(text.get(..length)?));
        for ((_, number), link) in by_name.into_iter().chain(by_prefix).flatten().chain(&self.all) {
            hears(link, *number);
        }
    }
}
