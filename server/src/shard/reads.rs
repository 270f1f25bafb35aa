//! What is to be read: answered at once where the published state may answer it, else as soon as the
//! node says that this server has applied enough (R19 of docs/replication.md).
//!
//! All that a wake-up brings and the node must be asked for waits for one answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use rollcall_replica::consensus::ids::ReadId;
use rollcall_replica::{Input, Users};
use rollcall_shared::id::{RequestId, Username};
use rollcall_shared::message::{Error, ErrorCode, RequestKind};
use tokio::sync::oneshot;

use super::Shard;
use super::subscribe::{Wanted, names_of};
use crate::answer::Answer;
use crate::link::Link;
use crate::node::SHARD_SHIFT;

/// Names that are looked up.
pub(super) struct Lookup {
    pub(super) link: Rc<Link>,
    pub(super) id: RequestId,
    pub(super) names: Vec<Username>,
    pub(super) started: Instant,
}

/// Who waits to read.
pub(super) enum Reader {
    Lookup(Lookup),
    Subscribe(Wanted),
    /// Somebody who only wants to know whether it could.
    Probe(oneshot::Sender<bool>),
}

/// Reads that wait for the node.
#[derive(Default)]
pub(super) struct Reads {
    last: u64,
    /// The read that is on its way to the node in the batch of this wake-up.
    gathering: Option<ReadId>,
    waiting: HashMap<ReadId, Vec<Reader>>,
}

impl Reads {
    /// The batch of this wake-up has left: what comes now was not there before, and needs another
    /// read.
    pub(super) const fn sent(&mut self) {
        self.gathering = None;
    }
}

impl Shard {
    pub(super) fn look_up(&self, lookup: Lookup) {
        match self.context.readable() {
            Some(users) => self.tell_addresses(lookup, &users),
            None => self.ask(Reader::Lookup(lookup)),
        }
    }

    pub(super) fn tell_addresses(&self, lookup: Lookup, users: &Users) {
        let Lookup { link, id, names, started } = lookup;
        // Told as the socket drains: many that waited together may be more than its queue.
        link.state().answers.push_back(Answer::lookup(id, names, users));
        self.tell(&link);
        let kind = Some(RequestKind::GetUserAddress);
        self.context.metrics.answered(kind, None, started.elapsed());
    }

    /// Whether lookups would be answered here.
    pub(crate) async fn is_readable(&self) -> bool {
        if self.context.is_readable() {
            return true;
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Reader::Probe(answer));
        answered.await.unwrap_or(false)
    }

    /// Asks the node, once for all of a wake-up.
    pub(super) fn ask(&self, reader: Reader) {
        if let Some(link) = reader.link() {
            let mut state = link.state();
            state.waiting += 1;
            state.waiting_names += reader.names();
        }
        let mut reads = self.reads.borrow_mut();
        if let Some(read) = reads.gathering {
            reads.waiting.entry(read).or_default().push(reader);
            return;
        }
        reads.last += 1;
        let read = ReadId(self.number << SHARD_SHIFT | reads.last);
        reads.gathering = Some(read);
        reads.waiting.insert(read, vec![reader]);
        drop(reads);
        self.submit(Input::Read { read });
    }

    /// The node has answered: `users` is new enough for this read.
    pub(super) fn answer_reads(&self, read: ReadId, users: &Users) {
        for reader in self.take_readers(read) {
            match reader {
                Reader::Lookup(lookup) => {
                    lookup.link.state().waiting += 1;
                    self.work.borrow_mut().look_up(lookup, users.clone());
                }
                Reader::Subscribe(wanted) => self.begin_from(users.revision(), wanted),
                // Whoever asked may have gone.
                Reader::Probe(answer) => drop(answer.send(true)),
            }
        }
    }

    /// The node has answered: there is no leader who could say what is new enough.
    pub(super) fn refuse_reads(&self, read: ReadId) {
        for reader in self.take_readers(read) {
            match reader {
                Reader::Lookup(Lookup { link, id, started, .. }) => {
                    self.refuse_read(&link, id, RequestKind::GetUserAddress, started);
                }
                Reader::Subscribe(wanted) => self.refuse_subscription(&wanted),
                Reader::Probe(answer) => drop(answer.send(false)),
            }
        }
    }

    /// The node answers nothing any more.
    pub(super) fn refuse_all_reads(&self) {
        let waiting: Vec<_> = self.reads.borrow().waiting.keys().copied().collect();
        for read in waiting {
            self.refuse_reads(read);
        }
    }

    /// Those who wait for a read, unless their link has ended.
    fn take_readers(&self, read: ReadId) -> Vec<Reader> {
        let mut readers = self.reads.borrow_mut().waiting.remove(&read).unwrap_or_default();
        readers.retain(|reader| {
            let Some(link) = reader.link() else { return true };
            let mut state = link.state();
            state.waiting -= 1;
            state.waiting_names -= reader.names();
            // It may have stopped reading requests.
            state.wake();
            self.links.borrow().contains_key(&link.id())
        });
        readers
    }

    pub(super) fn refuse_subscription(&self, wanted: &Wanted) {
        let Wanted { link, id, started, .. } = wanted;
        self.refuse_read(link, *id, RequestKind::Subscribe, *started);
    }

    fn refuse_read(&self, link: &Link, id: RequestId, kind: RequestKind, started: Instant) {
        let message =
            "this server hears of no leader and would answer from an old state; try another";
        let error = Error::new(ErrorCode::NoQuorum, message);
        self.reply_error(link, Some(id), Some(kind), &error, started);
    }
}

impl Reader {
    const fn link(&self) -> Option<&Rc<Link>> {
        match self {
            Self::Lookup(Lookup { link, .. }) | Self::Subscribe(Wanted { link, .. }) => Some(link),
            Self::Probe(_) => None,
        }
    }

    /// How many names it holds in memory while it waits.
    const fn names(&self) -> usize {
        match self {
            Self::Lookup(lookup) => lookup.names.len(),
            Self::Subscribe(wanted) => names_of(&wanted.subscribe.filter),
            Self::Probe(_) => 0,
        }
    }
}
