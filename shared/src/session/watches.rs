//! The subscriptions: what each asked for, who is there, and up to which revision that is true.
//!
//! A watch outlives links; on each it has another number. While it moves it is subscribed on two: each
//! of them tells every change after where it began, in order, so whoever tells one first is believed.
//! Owns no request and no link.

use std::sync::Arc;

use super::event::{CallId, ChangeKind, Event, LinkId, WatchChange, WatchId};
use super::table::Table;
use super::view::View;
use crate::codec::reply::Part;
use crate::id::{Revision, SubscriptionId};
use crate::message::{Change, Filter, Subscribe};

/// By what a subscription is known: the number is of its link only.
pub(super) type Number = (LinkId, SubscriptionId);

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: Table<WatchId, Watch>,
    /// Those to be subscribed at home.
    pending: Table<WatchId, ()>,
    last: u64,
}

#[derive(Debug)]
struct Watch {
    filter: Filter,
    /// The call that waits for the first answer.
    call: Option<CallId>,
    /// Its subscription.
    number: Option<Number>,
    /// The link on which it was asked for, while that is not answered.
    asked: Option<LinkId>,
    /// A link on which nobody knew any more what came after this revision, while it is known where the
    /// watch is subscribed.
    in_vain: Option<(LinkId, Revision)>,
    view: View,
    progress: Progress,
}

/// What comes of a granted subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    /// What to tell.
    pub(super) events: Vec<Event>,
    /// The call that it ends.
    pub(super) call: Option<CallId>,
    /// The subscription before, which is not needed any more.
    pub(super) before: Option<Number>,
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
            asked: None,
            in_vain: None,
            view: View::default(),
            progress: Progress::New,
        };
        self.watches.insert(id, watch);
        self.pending.insert(id, ());
        id
    }

    /// Takes a watch out. Returns its subscription and the call that waits for it.
    pub(super) fn remove(&mut self, id: WatchId) -> Option<(Option<Number>, Option<CallId>)> {
        let watch = self.watches.remove(&id)?;
        self.pending.remove(&id);
        Some((watch.number, watch.call))
    }

    /// Takes all watches out; returns those that had been granted.
    pub(super) fn clear(&mut self) -> Vec<WatchId> {
        self.pending = Table::default();
        let watches = std::mem::take(&mut self.watches);
        watches.iter().filter(|(_, watch)| watch.call.is_none()).map(|(id, _)| *id).collect()
    }

    /// The next watch to be subscribed on `link`, with what to ask for.
    pub(super) fn next_pending(&mut self, link: LinkId) -> Option<(WatchId, Subscribe)> {
        let (id, ()) = self.pending.pop_first()?;
        let watch = self.watches.get_mut(&id)?;
        watch.asked = Some(link);
        let since = match watch.progress {
            Progress::At(revision) => Some(revision),
            Progress::New | Progress::Outdated(_) => None,
        };
        let filter = watch.filter.clone();
        Some((id, Subscribe { filter, since }))
    }

    /// A link is gone, and its subscriptions with it.
    pub(super) fn handle_link_lost(&mut self, link: LinkId) {
        for (_, watch) in self.watches.iter_mut() {
            watch.asked.take_if(|asked| *asked == link);
            watch.number.take_if(|number| number.0 == link);
        }
    }

    /// The link at home is this one: those that are not subscribed there, nor about to be, are to be,
    /// but for those that would lose by it.
    pub(super) fn move_to(&mut self, home: LinkId) {
        for (id, watch) in self.watches.iter_mut() {
            let subscribed = watch.number.is_some_and(|number| number.0 == home);
            let loses = match (watch.in_vain, watch.progress) {
                (Some(in_vain), Progress::At(done)) => in_vain == (home, done),
                _ => false,
            };
            if !subscribed && watch.asked != Some(home) && (!loses || watch.number.is_none()) {
                self.pending.insert(*id, ());
            }
        }
    }

    /// A link serves no more as it should: watches leave it, whatever they lose by it.
    pub(super) fn leave(&mut self, link: LinkId) {
        for (_, watch) in self.watches.iter_mut() {
            watch.in_vain.take_if(|_| watch.number.is_some_and(|number| number.0 == link));
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

    /// What was asked for on `link` was answered, or will not be asked for again.
    pub(super) fn handle_answered(&mut self, id: WatchId, link: LinkId) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.asked.take_if(|asked| *asked == link);
        }
    }

    pub(super) fn contains(&self, id: WatchId) -> bool {
        self.watches.get(&id).is_some()
    }

    /// The link on which a watch is subscribed.
    pub(super) fn place(&self, id: WatchId) -> Option<LinkId> {
        self.watches.get(&id)?.number.map(|number| number.0)
    }

    /// Takes in the complete answer to a `Subscribe`. Nothing if the watch is gone, or does not move:
    /// where it is subscribed elsewhere and well served, `stays` is the revision that was asked for,
    /// and it does not take a set for the changes after that.
    pub(super) fn handle_subscribed(
        &mut self,
        id: WatchId,
        (link, number): Number,
        answer: Part,
        origin: &Arc<str>,
        stays: Option<Revision>,
    ) -> Option<Subscribed> {
        let watch = self.watches.get_mut(&id)?;
        watch.asked.take_if(|asked| *asked == link);
        let mut events = Vec::new();
        let revision = answer.revision.unwrap_or_default();
        let goes_on = match watch.progress {
            // Where the other subscription was ahead, what is told again is not carried out again.
            Progress::At(done) => answer.recovered == Some(true) || done >= revision,
            Progress::New | Progress::Outdated(_) => false,
        };
        if !goes_on && stays.is_some() && matches!(watch.progress, Progress::At(_)) {
            // As at a server that has just begun anew. After the next change it knows as much.
            watch.in_vain = stays.map(|since| (link, since));
            return None;
        }
        let before = watch.number.replace((link, number));
        if !goes_on {
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
        Some(Subscribed { events, call: watch.call.take(), before })
    }

    /// Takes in a push. Nothing if it is of no watch or was carried out before.
    pub(super) fn handle_change(
        &mut self,
        link: LinkId,
        kind: ChangeKind,
        mut change: Change,
        origin: &Arc<str>,
    ) -> Option<Event> {
        let number = Some((link, change.subscription));
        // There are a few; an index would weigh more than looking at each.
        let (id, watch) = self.watches.iter_mut().find(|(_, watch)| watch.number == number)?;
        let id = *id;
        // The revisions of an earlier life of the cluster mean nothing now.
        let Progress::At(done) = watch.progress else {
            return None;
        };
        if change.revision <= done {
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
