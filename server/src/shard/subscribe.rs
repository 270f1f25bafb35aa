//! Subscriptions of a shard's links: how they begin, how they catch up and when they are live
//! (R37 of docs/replication.md).

use std::rc::Rc;
use std::time::Instant;

use rollcall_replica::history::Kept as _;
use rollcall_shared::close::CloseCode;
use rollcall_shared::codec::encode;
use rollcall_shared::id::{RequestId, Revision, SubscriptionId};
use rollcall_shared::limits;
use rollcall_shared::message::{
    Error, ErrorCode, Filter, RequestKind, Subscribe, Subscribed, Unsubscribe, tag,
};

use super::Shard;
use super::reads::Reader;
use crate::answer::Answer;
use crate::link::{Closing, Feed, Link, Subscription};

/// A subscription that is asked for.
pub(super) struct Wanted {
    pub(super) link: Rc<Link>,
    pub(super) id: RequestId,
    pub(super) subscribe: Subscribe,
    pub(super) started: Instant,
}

/// A subscription that must not begin before this shard has applied `read_point`.
pub(super) struct Waiting {
    read_point: Revision,
    wanted: Wanted,
}

impl Shard {
    pub(super) fn subscribe(
        &self,
        link: &Rc<Link>,
        id: RequestId,
        subscribe: Subscribe,
        started: Instant,
    ) {
        let wanted = Wanted { link: Rc::clone(link), id, subscribe, started };
        match self.context.readable() {
            // What was acknowledged before the request came is at or below the published revision.
            Some(users) => self.begin_from(users.revision(), wanted),
            None => self.ask(Reader::Subscribe(wanted)),
        }
    }

    /// Begins a subscription as soon as this shard has applied `read_point`.
    pub(super) fn begin_from(&self, read_point: Revision, wanted: Wanted) {
        if self.applied.borrow().users.revision() < read_point {
            wanted.link.state().waiting += 1;
            self.waiting.borrow_mut().push(Waiting { read_point, wanted });
        } else {
            self.begin(wanted);
        }
    }

    /// Begins what waited for what has been applied meanwhile.
    pub(super) fn retry_waiting(&self) {
        let revision = self.applied.borrow().users.revision();
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        let all = std::mem::take(&mut *waiting);
        let (ready, rest): (Vec<_>, _) = all.into_iter().partition(|it| it.read_point <= revision);
        *waiting = rest;
        drop(waiting);
        for Waiting { wanted, .. } in ready {
            wanted.link.state().waiting -= 1;
            self.begin(wanted);
        }
    }

    fn begin(&self, Wanted { link, id, subscribe, started }: Wanted) {
        let kind = Some(RequestKind::Subscribe);
        if link.state().subscriptions.len() >= limits::SUBSCRIPTIONS {
            let message = format!("a link has at most {} subscriptions", limits::SUBSCRIPTIONS);
            let error = Error::new(ErrorCode::Overloaded, message);
            self.reply_error(&link, Some(id), kind, &error, started);
            return;
        }
        let Subscribe { filter, since } = subscribe;
        if link.state().subscribed_names + names_of(&filter) > limits::SUBSCRIBED_USERNAMES {
            let most = limits::SUBSCRIBED_USERNAMES;
            let message = format!("the subscriptions of a link hold at most {most} usernames");
            let error = Error::new(ErrorCode::Overloaded, message);
            self.reply_error(&link, Some(id), kind, &error, started);
            return;
        }
        let applied = self.applied.borrow();
        let now = applied.users.revision();
        let kept = since.filter(|&since| applied.history.floor() <= since && since <= now);
        let number = {
            let mut state = link.state();
            state.last_subscription += 1;
            state.subscribed_names += names_of(&filter);
            SubscriptionId(state.last_subscription)
        };
        let feed = if let Some(since) = kept {
            let payload = Subscribed {
                subscription: number,
                revision: since,
                recovered: Some(true),
                users: Vec::new(),
                more: false,
            };
            link.send(encode(tag::SUBSCRIBED, Some(&self.context.origin), Some(id), &payload));
            link.state().catching_up.push_back(number);
            Feed::CatchingUp(since)
        } else {
            let recovered = since.map(|_| false);
            let answer = Answer::subscribed(id, number, &filter, recovered, &applied.users);
            link.state().answers.push_back(answer);
            Feed::Answering
        };
        link.state().subscriptions.insert(number, Subscription { filter, feed });
        drop(applied);
        self.context.metrics.subscribed();
        self.context.metrics.answered(kind, None, started.elapsed());
        self.tell(&link);
        link.state().wake();
    }

    pub(super) fn unsubscribe(
        &self,
        link: &Link,
        id: RequestId,
        payload: Unsubscribe,
        started: Instant,
    ) {
        let kind = Some(RequestKind::Unsubscribe);
        let number = payload.subscription;
        let Some(subscription) = link.state().subscriptions.remove(&number) else {
            let message = format!("this link has no subscription {number}");
            let error = Error::new(ErrorCode::NotFound, message);
            self.reply_error(link, Some(id), kind, &error, started);
            return;
        };
        link.state().subscribed_names -= names_of(&subscription.filter);
        if subscription.feed == Feed::Live {
            let mut index = self.subscriptions.borrow_mut();
            index.remove(&subscription.filter, number, link.id());
        }
        self.context.metrics.unsubscribed(1);
        link.send(encode(tag::UNSUBSCRIBED, Some(&self.context.origin), Some(id), &payload));
        self.context.metrics.answered(kind, None, started.elapsed());
    }

    /// Ends all subscriptions of a link that has ended.
    pub(super) fn drop_subscriptions(&self, link: &Link) {
        let subscriptions = std::mem::take(&mut link.state().subscriptions);
        self.context.metrics.unsubscribed(subscriptions.len());
        let mut index = self.subscriptions.borrow_mut();
        for (number, subscription) in subscriptions {
            if subscription.feed == Feed::Live {
                index.remove(&subscription.filter, number, link.id());
            }
        }
        self.waiting.borrow_mut().retain(|waiting| waiting.wanted.link.id() != link.id());
    }

    /// Makes the next parts of large answers and the next changes of those that catch up, while
    /// little is due to the link, and as far as one link may hold up the others.
    pub(crate) fn refill(&self, link: &Rc<Link>) {
        self.tell(link);
        let mut work = 0;
        while work < CATCH_UP {
            let mut state = link.state();
            if !state.is_low() || state.is_given_up() {
                return;
            }
            let Some(number) = state.catching_up.pop_front() else { return };
            drop(state);
            work += 1 + self.catch_up(link, number, CATCH_UP - work);
        }
    }

    /// Makes the next parts of large answers while little is due to the link.
    pub(super) fn tell(&self, link: &Link) {
        loop {
            let mut state = link.state();
            if !state.is_low() || state.is_given_up() {
                return;
            }
            let Some(answer) = state.answers.front_mut() else { return };
            let (text, more) = answer.next_part(&self.context.origin);
            let (subscription, revision) = (answer.subscription(), answer.revision());
            if !more {
                state.answers.pop_front();
            }
            if let Some(number) = subscription.filter(|_| !more)
                && let Some(subscription) = state.subscriptions.get_mut(&number)
            {
                subscription.feed = Feed::CatchingUp(revision);
                state.catching_up.push_back(number);
            }
            drop(state);
            link.send(text);
        }
    }

    /// Whether [`Shard::refill`] would find something to do now.
    pub(crate) fn has_more(&self, link: &Link) -> bool {
        let state = link.state();
        let pending = !state.answers.is_empty() || !state.catching_up.is_empty();
        !state.is_given_up() && pending
    }

    /// Pushes kept changes to a subscription until much is due, `most` were looked at, or it is
    /// live; how much work that was.
    fn catch_up(&self, link: &Rc<Link>, number: SubscriptionId, most: usize) -> usize {
        let applied = self.applied.borrow();
        let (filter, mut after) = {
            let state = link.state();
            let Some(Subscription { filter, feed: Feed::CatchingUp(after) }) =
                state.subscriptions.get(&number)
            else {
                return 0;
            };
            (filter.clone(), *after)
        };
        if after < applied.history.floor() {
            // It was overtaken by what is kept: its client reads more slowly than things change.
            link.close(Closing::Now(CloseCode::SlowReader));
            return 0;
        }
        let mut pushed = 0;
        let mut looked_at = 0;
        while looked_at < most && link.state().is_low() {
            let Some(announcement) = applied.history.after(after).cloned() else { break };
            after = announcement.change().revision;
            looked_at += 1;
            if matches(&filter, &announcement.change().username) {
                link.send(announcement.frame(&self.context.origin, number));
                pushed += 1;
            }
        }
        self.context.metrics.pushed(pushed);
        let live = after == applied.history.newest();
        if live {
            self.subscriptions.borrow_mut().insert(&filter, number, link);
        }
        let mut state = link.state();
        if let Some(subscription) = state.subscriptions.get_mut(&number) {
            subscription.feed = if live { Feed::Live } else { Feed::CatchingUp(after) };
        }
        if !live {
            state.catching_up.push_back(number);
            return looked_at;
        }
        looked_at + names_of(&filter).max(1)
    }
}

/// How many usernames a filter names.
pub(super) const fn names_of(filter: &Filter) -> usize {
    match filter {
        Filter::Usernames(names) => names.len(),
        Filter::Prefix(_) | Filter::All => 0,
    }
}

/// Whether a subscription is about `username`. The names of a decoded request are in order.
fn matches(filter: &Filter, username: &rollcall_shared::id::Username) -> bool {
    match filter {
        Filter::Usernames(names) => names.binary_search(username).is_ok(),
        Filter::Prefix(_) | Filter::All => filter.matches(username),
    }
}

/// Changes looked at, and entries of the index made, before another link has its turn.
const CATCH_UP: usize = 1024;
