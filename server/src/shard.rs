//! One thread's share of the links: their requests, their answers, their subscriptions.
//!
//! A shard parses and encodes, answers what the published state answers, and exchanges everything
//! else with the node in batches. All of it is on one thread, so nothing here is locked.

mod inbox;
mod outcome;
mod reads;
mod requests;
mod subscribe;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rollcall_replica::history::Kept as _;
use rollcall_replica::{History, Input, LinkId, Output, Users};
use rollcall_shared::close::CloseCode;
use rollcall_shared::codec::encode;
use rollcall_shared::id::Revision;
use rollcall_shared::message::{GoingAway, SessionReplaced, tag};
use tokio::sync::{Notify, mpsc};

use crate::context::Context;
use crate::link::{Closing, Link};
use crate::node::{Batch, SHARD_SHIFT};
use crate::push::Announcement;
use crate::subscriptions::Index;
use inbox::Work;
use reads::Reads;
use subscribe::Waiting;

/// The links of one thread.
pub(crate) struct Shard {
    context: Arc<Context>,
    /// The number of this shard, in the upper bits of its links' ids.
    number: u64,
    last_link: Cell<u64>,
    links: RefCell<HashMap<LinkId, Rc<Link>>>,
    /// What this wake-up produced for the node.
    outbox: RefCell<Batch>,
    outbox_ready: Notify,
    /// The state as far as this shard has told its subscribers.
    applied: RefCell<Applied>,
    subscriptions: RefCell<Index>,
    /// Subscriptions that must see more than this shard has applied.
    waiting: RefCell<Vec<Waiting>>,
    /// Reads that the node has not answered yet.
    reads: RefCell<Reads>,
    /// What the node delivered and is not done.
    work: RefCell<Work>,
    /// Told when a link has ended.
    unlinked: Notify,
    /// Whether the node answers nothing any more, and told when that begins.
    stopped: Cell<bool>,
    stops: Notify,
    /// Sockets of links that are not closed yet.
    open: Cell<usize>,
    /// Told when a socket has been closed.
    closed: Notify,
}

/// The state at one revision, and the changes that led to it.
struct Applied {
    users: Users,
    history: History<Announcement>,
}

/// A history that begins after `floor`.
fn new_history(context: &Context, floor: Revision) -> History<Announcement> {
    let config = &context.config;
    History::new(floor, config.history_changes, config.history_bytes)
}

impl Shard {
    /// A shard that begins with `users`: the state before the first change it is told of.
    pub(crate) fn new(context: Arc<Context>, number: usize, users: Users) -> Rc<Self> {
        let history = new_history(&context, users.revision());
        Rc::new(Self {
            context,
            number: number as u64,
            last_link: Cell::new(0),
            links: RefCell::default(),
            outbox: RefCell::default(),
            outbox_ready: Notify::new(),
            applied: RefCell::new(Applied { users, history }),
            subscriptions: RefCell::default(),
            waiting: RefCell::default(),
            reads: RefCell::default(),
            work: RefCell::default(),
            unlinked: Notify::new(),
            stopped: Cell::new(false),
            stops: Notify::new(),
            open: Cell::new(0),
            closed: Notify::new(),
        })
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// A link of a client at `peer` that reached this server at `local`.
    pub(crate) fn link(&self, peer: SocketAddr, local: SocketAddr) -> Rc<Link> {
        self.last_link.set(self.last_link.get() + 1);
        let id = LinkId(self.number << SHARD_SHIFT | self.last_link.get());
        let link = Rc::new(Link::new(id, peer, local, self.context.config.link_queue_bytes));
        self.links.borrow_mut().insert(id, Rc::clone(&link));
        self.context.metrics.link_opened();
        if self.context.draining.load(std::sync::atomic::Ordering::Relaxed) {
            self.send_away(&link);
        }
        link
    }

    /// Forgets a link that has ended.
    pub(crate) fn unlink(&self, link: &Link) {
        self.links.borrow_mut().remove(&link.id());
        self.drop_subscriptions(link);
        let state = link.state();
        if state.linked {
            self.submit(Input::Unlinked { link: link.id() });
        }
        self.context.metrics.dropped(state.dropped);
        self.context.metrics.link_ended();
        self.unlinked.notify_one();
    }

    /// Counts a socket until what is returned is dropped.
    pub(crate) fn open_socket(self: &Rc<Self>) -> impl Drop + use<> {
        struct Open(Rc<Shard>);
        impl Drop for Open {
            fn drop(&mut self) {
                self.0.open.set(self.0.open.get() - 1);
                self.0.closed.notify_one();
            }
        }
        self.open.set(self.open.get() + 1);
        Open(Rc::clone(self))
    }

    /// Which close code a link deserves that has not said what it must, if so.
    pub(crate) fn must_speak(&self, link: &Link) -> Option<CloseCode> {
        let state = link.state();
        if !state.spoke {
            Some(CloseCode::Idle)
        } else if self.context.resolver.wants_token() && state.principal.is_none() {
            Some(CloseCode::Unauthenticated)
        } else {
            None
        }
    }

    /// Adds to the batch of this wake-up.
    fn submit(&self, input: Input) {
        self.outbox.borrow_mut().push(input);
        self.outbox_ready.notify_one();
    }

    /// Sends each wake-up's batch to the node; ends when the node has.
    pub(crate) async fn run_outbox(&self, node: mpsc::Sender<Batch>) {
        loop {
            self.outbox_ready.notified().await;
            // The room comes first: what arrives while there is none joins the batch.
            let Ok(room) = node.reserve().await else { return };
            let batch = std::mem::take(&mut *self.outbox.borrow_mut());
            self.reads.borrow_mut().sent();
            if !batch.is_empty() {
                room.send(batch);
            }
        }
    }

    fn close_where(&self, code: CloseCode, which: impl Fn(&Link) -> bool) {
        let links = self.links.borrow();
        for link in links.values().filter(|link| which(link)) {
            link.close(Closing::Now(code));
        }
    }

    /// Pushes a change to the live subscriptions it matches: how many there are, and the most bytes
    /// that any one link may have got.
    fn announce(&self, announcement: &Announcement) -> (u64, usize) {
        let (mut pushed, mut bytes) = (0, 0);
        let mut frames = Vec::new();
        let index = self.subscriptions.borrow();
        index.for_each_match(&announcement.change().username, |link, number| {
            let known = frames.iter().find(|(known, _)| *known == number);
            let frame = if let Some((_, frame)) = known {
                tokio_tungstenite::tungstenite::Utf8Bytes::clone(frame)
            } else {
                // A link gets a frame of each number at most once.
                let frame = announcement.frame(&self.context.origin, number);
                bytes += frame.len();
                if frames.len() < FRAMES {
                    frames.push((number, frame.clone()));
                }
                frame
            };
            link.send(frame);
            pushed += 1;
        });
        (pushed, bytes)
    }

    /// Hands an answer of the node, which holds for the state `users`, to whom it is for.
    fn handle_output(&self, output: Output, users: &Users) {
        let link = match &output {
            Output::Opened { link, .. }
            | Output::Written { link, .. }
            | Output::Refused { link, .. }
            | Output::SessionEnded { link }
            | Output::Replaced { link, .. } => *link,
            Output::Readable { read } => return self.answer_reads(*read, users),
            Output::Unreadable { read } => return self.refuse_reads(*read),
            Output::CutOff => {
                // Any link of a known client may have got a session without asking (R29).
                let rests_on_it = |link: &Link| {
                    let state = link.state();
                    state.linked || !state.subscriptions.is_empty()
                };
                return self.close_where(CloseCode::CutOff, rests_on_it);
            }
            Output::Stop(_) => return self.stop_answering(),
            _ => return,
        };
        let Some(link) = self.links.borrow().get(&link).map(Rc::clone) else { return };
        match output {
            Output::Opened { request, session, next_id, .. } => {
                self.reply_welcome(&link, request, session, next_id);
            }
            Output::Written { request, written, .. } => {
                self.reply_written(&link, request, written);
            }
            Output::Refused { request, why, .. } => self.reply_refused(&link, request, why),
            Output::Replaced { username, device, .. } => {
                let payload = SessionReplaced { username, device };
                let origin = Some(self.context.origin.as_str());
                link.send(encode(tag::SESSION_REPLACED, origin, None, &payload));
            }
            Output::SessionEnded { .. } => {
                link.close(Closing::AfterQueue(CloseCode::SessionEnded));
            }
            _ => {}
        }
    }

    /// Tells every client to move, and closes the links.
    pub(crate) fn drain(&self) {
        let links: Vec<_> = self.links.borrow().values().map(Rc::clone).collect();
        for link in links {
            self.send_away(&link);
        }
    }

    /// Waits until no link is left that waits for an answer; its socket may not be closed yet.
    pub(crate) async fn emptied(&self) {
        while !self.links.borrow().is_empty() {
            self.unlinked.notified().await;
        }
    }

    /// Waits until the node has said that it answers nothing any more.
    pub(crate) async fn stopped(&self) {
        while !self.stopped.get() {
            self.stops.notified().await;
        }
    }

    /// The node answers nothing any more: whoever waits for it has to ask elsewhere.
    fn stop_answering(&self) {
        self.stopped.set(true);
        self.stops.notify_one();
        self.drain();
        self.refuse_all_reads();
        for link in self.links.borrow().values() {
            let mut state = link.state();
            state.pending.clear();
            state.wake();
        }
    }

    /// Waits until no socket of a link is open.
    pub(crate) async fn drained(&self) {
        while self.open.get() > 0 {
            self.closed.notified().await;
        }
    }

    fn send_away(&self, link: &Link) {
        let payload = GoingAway { reason: "shutdown".into() };
        link.send(encode(tag::GOING_AWAY, Some(&self.context.origin), None, &payload));
        link.close(Closing::AfterQueue(CloseCode::Shutdown));
    }
}

/// Different subscription numbers whose frame of one change is kept while it is pushed; beyond, a
/// frame is made again.
const FRAMES: usize = 64;
/// Bytes pushed to a link before the links write: little of its queue, and many changes.
const ANNOUNCED_BYTES: usize = 64 * 1024;
/// What a change counts that nobody hears: it is work all the same.
const CHANGE_BYTES: usize = 64;

#[cfg(test)]
mod tests;
