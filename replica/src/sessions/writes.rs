//! Writes of this server's clients that are on their way through the log, each until an entry
//! answers it or it has waited too long (R22, R23).
//!
//! A write goes to each new leader again, so the log may have it more than once, and what one copy
//! came to says nothing of the others where the directory does not remember it.

use std::collections::{BTreeMap, VecDeque};

use rollcall_shared::id::{ClientId, RequestId};
use rollcall_shared::limits;

use crate::command::{Command, Generation, Write};
use crate::consensus::ids::Epoch;
use crate::replica::LinkId;

/// The most writes of one client that are on their way from one server, and the most requests that
/// wait on a link for its session. A client keeps to one window; its earlier links may have left
/// as many.
pub(crate) const MAX_PENDING: usize = 4 * limits::WINDOW;

/// The writes of all clients, of each in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(BTreeMap<ClientId, VecDeque<PendingWrite>>);

/// A write on its way.
#[derive(Clone, Debug)]
pub(crate) struct PendingWrite {
    pub(crate) link: LinkId,
    pub(crate) generation: Generation,
    pub(crate) request: RequestId,
    pub(crate) write: Write,
    /// How often a leader may have got it.
    copies: u32,
    /// The epoch of the last of these leaders.
    epoch: Option<Epoch>,
}

impl PendingWrite {
    /// A write that no leader has yet.
    pub(crate) const fn new(
        link: LinkId,
        generation: Generation,
        request: RequestId,
        write: Write,
    ) -> Self {
        Self { link, generation, request, write, copies: 0, epoch: None }
    }

    /// The leader of `epoch` may have it now.
    pub(crate) const fn passed_on(&mut self, epoch: Epoch) {
        self.copies += 1;
        self.epoch = Some(epoch);
    }

    /// Whether the leader of `epoch` may have it.
    pub(crate) fn was_passed_on(&self, epoch: Epoch) -> bool {
        self.epoch == Some(epoch)
    }

    /// What the log gets.
    pub(crate) fn command(&self, client: ClientId) -> Command {
        let Self { generation, request, ref write, .. } = *self;
        Command::Write { client, generation, request, write: write.clone() }
    }
}

impl Writes {
    /// Whether the client has as many on their way as it may.
    pub(crate) fn is_full(&self, client: &ClientId) -> bool {
        self.0.get(client).is_some_and(|writes| writes.len() >= MAX_PENDING)
    }

    /// A write is on its way.
    pub(crate) fn push(&mut self, client: ClientId, write: PendingWrite) {
        self.0.entry(client).or_default().push_back(write);
    }

    /// In how many copies leaders may have the write with this number, from all links together.
    pub(crate) fn copies(&self, client: &ClientId, request: RequestId) -> u32 {
        let writes = self.0.get(client).into_iter().flatten();
        writes.filter(|write| write.request == request).map(|write| write.copies).sum()
    }

    /// The links that wait for a write with this number that `is_meant`; they wait no longer.
    pub(crate) fn take(
        &mut self,
        client: &ClientId,
        request: RequestId,
        is_meant: impl Fn(&PendingWrite) -> bool,
    ) -> Vec<LinkId> {
        let Some(writes) = self.0.get_mut(client) else { return Vec::new() };
        let is_meant = |write: &PendingWrite| write.request == request && is_meant(write);
        let mut links = Vec::new();
        // Nearly always the oldest one, and only that.
        while let Some(write) = writes.pop_front_if(|write| is_meant(write)) {
            links.push(write.link);
        }
        writes.retain(|write| {
            let meant = is_meant(write);
            if meant {
                links.push(write.link);
            }
            !meant
        });
        self.forget_if_none(client);
        links
    }

    /// Takes one write of one link back. Whether there was one.
    pub(crate) fn take_one(&mut self, client: &ClientId, link: LinkId, request: RequestId) -> bool {
        let Some(writes) = self.0.get_mut(client) else { return false };
        let same = |write: &PendingWrite| write.link == link && write.request == request;
        let taken = writes.iter().position(same).and_then(|at| writes.remove(at));
        if let Some(gone) = &taken {
            leave_copies(writes, gone);
        }
        self.forget_if_none(client);
        taken.is_some()
    }

    /// Nobody waits on `link` any more.
    pub(crate) fn forget_link(&mut self, client: &ClientId, link: LinkId) {
        let Some(writes) = self.0.get_mut(client) else { return };
        let (gone, stay): (Vec<_>, Vec<_>) = writes.drain(..).partition(|write| write.link == link);
        *writes = stay.into();
        for gone in &gone {
            leave_copies(writes, gone);
        }
        self.forget_if_none(client);
    }

    fn forget_if_none(&mut self, client: &ClientId) {
        if self.0.get(client).is_some_and(VecDeque::is_empty) {
            self.0.remove(client);
        }
    }

    /// All of them, in the order of each client's.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (&ClientId, &mut PendingWrite)> {
        let each =
            |(client, writes)| std::iter::repeat(client).zip(IntoIterator::into_iter(writes));
        self.0.iter_mut().flat_map(each)
    }
}

/// Whoever waits for the same write on another link reckons with the copies of one that nobody
/// waits for any more.
fn leave_copies(others: &mut VecDeque<PendingWrite>, gone: &PendingWrite) {
    for other in others.iter_mut().filter(|other| other.request == gone.request) {
        other.copies += gone.copies;
    }
}
