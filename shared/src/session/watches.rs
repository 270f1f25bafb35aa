//! The subscriptions: what each asked for, who is there, and up to which revision that is true.
//!
//! A watch outlives links; on each it has another number. Owns no request and no link.

use std::sync::Arc;

use super::event::{CallId, ChangeKind, Event, WatchChange, WatchId};
use super::table::Table;
use super::view::View;
use crate::codec::reply::Part;
use crate::id::{Revision, SubscriptionId};
use crate::message::{Change, Filter, Subscribe};

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: Table<WatchId, Watch>,
    /// Those to be subscribed on the present link.
    pending: Table<WatchId, ()>,
    /// Which watch a subscription of the present link is.
    numbers: Table<SubscriptionId, WatchId>,
    last: u64,
}

#[derive(Debug)]
struct Watch {
    filter: Filter,
    /// The call that waits for the first answer.
    call: Option<CallId>,
    number: Option<SubscriptionId>,
    view: View,
    progress: Progress,
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It never had an answer.
    New,
    /// Its view is true at this revision.
    At(Revision),
    /// Its view is of an earlier life of the cluster, whose revisions mean nothing now.
    Outdated(Revision),
}

impl Watches {
    pub(super) fn insert(&mut self, filter: Filter, call: CallId) -> WatchId {
        self.last += 1;
        let id = WatchId(self.last);
        let watch = Watch {
            filter,
            call: Some(call),
            number: None,
            view: View::default(),
            progress: Progress::New,
        };
        self.watches.insert(id, watch);
        self.pending.insert(id, ());
        id
    }

    /// Takes a watch out. Returns its number on the present link and the call that waits for it.
    pub(super) fn remove(
        &mut self,
        id: WatchId,
    ) -> Option<(Option<SubscriptionId>, Option<CallId>)> {
        let watch = self.watches.remove(&id)?;
        self.pending.remove(&id);
        if let Some(number) = watch.number {
            self.numbers.remove(&number);
        }
        Some((watch.number, watch.call))
    }

    /// Takes all watches out; returns those that had been granted.
    pub(super) fn clear(&mut self) -> Vec<WatchId> {
        self.pending = Table::default();
        self.numbers = Table::default();
        let watches = std::mem::take(&mut self.watches);
        watches.iter().filter(|(_, watch)| watch.call.is_none()).map(|(id, _)| *id).collect()
    }

    /// The next watch to be subscribed, with what to ask for.
    pub(super) fn next_pending(&mut self) -> Option<(WatchId, Subscribe)> {
        let (id, ()) = self.pending.pop_first()?;
        let watch = self.watches.get(&id)?;
        let since = match watch.progress {
            Progress::At(revision) => Some(revision),
            Progress::New | Progress::Outdated(_) => None,
        };
        let filter = watch.filter.clone();
        Some((id, Subscribe { filter, since }))
    }

    /// The link is gone, and the numbers with it.
    pub(super) fn handle_link_lost(&mut self) {
        self.numbers = Table::default();
        for (id, watch) in self.watches.iter_mut() {
            watch.number = None;
            self.pending.insert(*id, ());
        }
    }

    /// The cluster lost its memory: its revisions begin anew.
    pub(super) fn handle_new_cluster(&mut self) {
        for (_, watch) in self.watches.iter_mut() {
            if let Progress::At(revision) = watch.progress {
                watch.progress = Progress::Outdated(revision);
            }
        }
    }

    /// Takes in the complete answer to a `Subscribe`: what to tell, and the call it ends. Nothing
    /// if the watch is gone.
    pub(super) fn handle_subscribed(
        &mut self,
        id: WatchId,
        number: SubscriptionId,
        answer: Part,
        origin: &Arc<str>,
    ) -> Option<(Vec<Event>, Option<CallId>)> {
        let watch = self.watches.get_mut(&id)?;
        let mut events = Vec::new();
        let revision = answer.revision.unwrap_or_default();
        watch.number = Some(number);
        self.numbers.insert(number, id);
        if answer.recovered != Some(true) || !matches!(watch.progress, Progress::At(_)) {
            let mut view = View::default();
            view.extend(answer.users);
            if watch.progress != Progress::New {
                events.push(Event::Resync { watch: id });
                let changes = watch.view.changes_to(&view, SubscriptionId(id.0), revision);
                events.extend(changes.into_iter().map(|(kind, change)| Event::Change {
                    watch: id,
                    change: WatchChange { kind, change, origin: Arc::clone(origin) },
                }));
            }
            watch.view = view;
            watch.progress = Progress::At(revision);
        }
        Some((events, watch.call.take()))
    }

    /// Takes in a push. Nothing if it is of no watch or was carried out before.
    pub(super) fn handle_change(
        &mut self,
        kind: ChangeKind,
        mut change: Change,
        origin: &Arc<str>,
    ) -> Option<Event> {
        let id = *self.numbers.get(&change.subscription)?;
        let watch = self.watches.get_mut(&id)?;
        if let Progress::At(done) = watch.progress
            && change.revision <= done
        {
            return None;
        }
        watch.progress = Progress::At(change.revision);
        watch.view.apply(kind, &change);
        change.subscription = SubscriptionId(id.0);
        Some(Event::Change {
            watch: id,
            change: WatchChange { kind, change, origin: Arc::clone(origin) },
        })
    }

    pub(super) fn view(&self, id: WatchId) -> Option<(&View, Revision)> {
        let watch = self.watches.get(&id)?;
        match watch.progress {
            Progress::New => None,
            Progress::At(revision) | Progress::Outdated(revision) => Some((&watch.view, revision)),
        }
    }
}
