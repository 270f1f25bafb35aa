//! One client's link: what is due to it, what it subscribed to, and whose it is.
//!
//! Owns the bounded queue to the socket. The socket itself is [`driver`]'s, what requests mean is
//! [`crate::shard`]'s.

pub(crate) mod driver;

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Instant;

use rollcall_replica::LinkId;
use rollcall_replica::command::Principal;
use rollcall_shared::close::CloseCode;
use rollcall_shared::id::{ClientId, RequestId, Revision, SessionNumber, SubscriptionId};
use rollcall_shared::message::{Filter, RequestKind};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::answer::Answer;

/// A link, shared by its driver and its shard, which are on the same thread.
pub(crate) struct Link {
    id: LinkId,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The server's address, as the client reached it.
    pub(crate) local: SocketAddr,
    queue_bytes: usize,
    state: RefCell<State>,
}

/// What changes about a link.
#[derive(Default)]
pub(crate) struct State {
    /// Whose it is, from its first message on.
    pub(crate) client: Option<ClientId>,
    /// Who stands behind it, once that is known.
    pub(crate) principal: Option<Principal>,
    /// Whether the replica knows of it.
    pub(crate) linked: bool,
    /// Whether a message came.
    pub(crate) spoke: bool,
    /// Requests that the replica has not answered yet, oldest first.
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub(crate) last_subscription: u64,
    /// Usernames in the filters of the subscriptions.
    pub(crate) subscribed_names: usize,
    /// Subscriptions that get changes from the history.
    pub(crate) catching_up: VecDeque<SubscriptionId>,
    /// Answers of which parts are left.
    pub(crate) answers: VecDeque<Answer>,
    /// Requests that wait until this server has applied what they must see.
    pub(crate) waiting: usize,
    /// Usernames in them.
    pub(crate) waiting_names: usize,
    out: VecDeque<Utf8Bytes>,
    out_bytes: usize,
    /// Messages dropped because the queue was full.
    pub(crate) dropped: u64,
    pub(crate) closing: Option<Closing>,
    waker: Option<Waker>,
}

/// A request on its way through the replica.
pub(crate) struct Pending {
    pub(crate) id: RequestId,
    pub(crate) kind: RequestKind,
    pub(crate) started: Instant,
    /// The session that a `Hello` named.
    pub(crate) named: Option<SessionNumber>,
}

/// A subscription of the link.
pub(crate) struct Subscription {
    pub(crate) filter: Filter,
    pub(crate) feed: Feed,
}

/// Where a subscription's changes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// None yet: its answer is still being told. Those after the answer's revision will come.
    Answering,
    /// From the history: those after this revision.
    CatchingUp(Revision),
    /// As they happen.
    Live,
}

/// That the link is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// At once.
    Now(CloseCode),
    /// When what is due has been sent, answers of the replica included.
    AfterQueue(CloseCode),
}

impl Link {
    pub(crate) fn new(id: LinkId, peer: SocketAddr, local: SocketAddr, queue_bytes: usize) -> Self {
        Self { id, peer, local, queue_bytes, state: RefCell::default() }
    }

    pub(crate) const fn id(&self) -> LinkId {
        self.id
    }

    /// The state; not to be held while anything else of the link is called.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Queues a message. A queue that is full ends the link: its client reads too slowly.
    pub(crate) fn send(&self, text: impl Into<Utf8Bytes>) {
        let text = text.into();
        let mut state = self.state();
        if matches!(state.closing, Some(Closing::Now(_))) {
            return;
        }
        if state.out_bytes + text.len() > self.queue_bytes {
            state.dropped += 1 + state.out.len() as u64;
            state.clear();
            state.closing = Some(Closing::Now(CloseCode::SlowReader));
        } else {
            state.out_bytes += text.len();
            state.out.push_back(text);
        }
        state.wake();
    }

    /// Takes what is due, as the driver would.
    #[cfg(test)]
    pub(crate) fn take_sent(&self) -> Vec<Utf8Bytes> {
        let mut state = self.state();
        state.out_bytes = 0;
        state.out.drain(..).collect()
    }

    /// Closes the link: at once, or after what is due.
    pub(crate) fn close(&self, closing: Closing) {
        let mut state = self.state();
        if state.closing.is_none() {
            state.closing = Some(closing);
            state.wake();
        }
    }
}

impl State {
    /// Wakes the driver, once until it has looked.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether another request may be read: answers must not pile up for a client that only asks.
    pub(crate) fn may_read(&self) -> bool {
        self.closing.is_none()
            && self.pending.len() < PENDING
            && self.out_bytes < HIGH_WATER_BYTES
            && self.answers.len() < ANSWERS
            && self.waiting < PENDING
            && self.waiting_names < WAITING_NAMES
    }

    /// Whether nothing more is sent on it.
    pub(crate) const fn is_given_up(&self) -> bool {
        matches!(self.closing, Some(Closing::Now(_)))
    }

    /// Whether nothing that was asked waits for its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.pending.is_empty() && self.answers.is_empty() && self.waiting == 0
    }

    /// Whether the next part of a large answer is wanted.
    pub(crate) const fn is_low(&self) -> bool {
        self.out_bytes < LOW_WATER_BYTES
    }

    fn clear(&mut self) {
        self.out.clear();
        self.out_bytes = 0;
        self.answers.clear();
        self.catching_up.clear();
    }
}

/// The most requests of a link on their way through the replica; reading stops there.
const PENDING: usize = 256;
/// The most usernames in requests that wait to be answered; reading stops there.
const WAITING_NAMES: usize = 65_536;
/// The most large answers told at once; reading stops there.
const ANSWERS: usize = 4;
/// Bytes due to a link at which its requests are not read any more.
const HIGH_WATER_BYTES: usize = 256 * 1024;
/// Bytes due to a link under which the next part of a large answer is made.
const LOW_WATER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A link whose queue takes 100 bytes, with so many of one message in it.
    fn link(messages: usize, bytes: usize) -> Link {
        let address = "127.0.0.1:1".parse().unwrap();
        let link = Link::new(LinkId(1), address, address, 100);
        for _ in 0..messages {
            link.send("x".repeat(bytes));
        }
        link
    }

    #[test]
    fn a_queue_takes_its_bytes_and_not_one_more() {
        let full = link(10, 10);
        let found = |state: &State| (state.closing, state.dropped, state.out_bytes);
        assert_eq!(found(&full.state()), (None, 0, 100));
        full.send("y");
        // What waited is given up with what came: a part of it would be a gap.
        let state = full.state();
        assert_eq!(state.closing, Some(Closing::Now(CloseCode::SlowReader)));
        assert_eq!((state.dropped, state.out.len(), state.out_bytes), (11, 0, 0));
    }

    #[test]
    fn a_link_that_is_given_up_keeps_nothing_more() {
        let link = link(11, 10);
        for _ in 0..1000 {
            link.send("y".repeat(50));
        }
        assert!(link.take_sent().is_empty());
        assert_eq!(link.state().dropped, 11);
        // Why it ends does not change any more.
        link.close(Closing::AfterQueue(CloseCode::Shutdown));
        assert_eq!(link.state().closing, Some(Closing::Now(CloseCode::SlowReader)));
    }

    #[test]
    fn what_is_taken_makes_room() {
        let link = link(10, 10);
        assert_eq!(link.take_sent().len(), 10);
        link.send("y".repeat(100));
        assert_eq!(link.state().closing, None);
        assert_eq!(link.take_sent().len(), 1);
    }

    #[test]
    fn a_link_that_waits_for_its_end_still_gets_what_is_due() {
        let link = link(1, 10);
        link.close(Closing::AfterQueue(CloseCode::Shutdown));
        link.send("the reply to what was asked before");
        assert_eq!(link.take_sent().len(), 2);
    }
}
