//! What is to be read: answered at once where the published state may answer it, else as soon as the
//! node says that this server has applied enough (R19 of docs/replication.md).
//!
//! All that a wake-up brings and the node must be asked for waits for one answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use rollcall_replica::Input;
use rollcall_replica::consensus::ids::ReadId;
use rollcall_shared::id::{RequestId, Username};
use rollcall_shared::message::{Error, ErrorCode, RequestKind};
use tokio::sync::oneshot;

use super::Shard;
use super::subscribe::Wanted;
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

    fn tell_addresses(&self, lookup: Lookup, users: &rollcall_replica::Users) {
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
            link.state().waiting += 1;
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

    /// The node has answered: what has been applied is new enough for this read, or there is no
    /// leader who could say so.
    pub(super) fn answer_reads(&self, read: ReadId, may: bool) {
        let readers = self.reads.borrow_mut().waiting.remove(&read);
        let users = self.applied.borrow().users.clone();
        for reader in readers.into_iter().flatten() {
            if let Some(link) = reader.link() {
                link.state().waiting -= 1;
                if !self.links.borrow().contains_key(&link.id()) {
                    continue;
                }
                // It may have stopped reading requests.
                link.state().wake();
            }
            match reader {
                Reader::Lookup(lookup) if may => self.tell_addresses(lookup, &users),
                Reader::Subscribe(wanted) if may => self.begin(wanted),
                Reader::Lookup(Lookup { link, id, started, .. }) => {
                    self.refuse_read(&link, id, RequestKind::GetUserAddress, started);
                }
                Reader::Subscribe(Wanted { link, id, started, .. }) => {
                    self.refuse_read(&link, id, RequestKind::Subscribe, started);
                }
                // Whoever asked may have gone.
                Reader::Probe(answer) => drop(answer.send(may)),
            }
        }
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
}
