//! A subscription: who is there, and a stream of what changes.
//!
//! Between the driver and a slow application stands a bounded buffer. Up to 1024 changes are kept
//! whole; beyond that only the net change of each device is kept, so that memory stays bounded by
//! the size of the directory and who applies what comes is right in the end. Nobody else waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;
use futures::task::AtomicWaker;
use rollcall_shared::id::Revision;
use rollcall_shared::message::{self, Address, User};
use rollcall_shared::session::{ChangeBuffer, ChangeKind, WatchChange, WatchId};
use tokio::sync::oneshot;

use crate::driver::Command;
use crate::{Client, Error};

/// A change of who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To whom; `subscription` is the number of the watch within its client.
    pub change: message::Change,
    /// The server that told, as `server/2`.
    pub origin: String,
}

/// A subscription. It is a [`Stream`] of changes, gap-free over lost links and servers: where the
/// cluster no longer has what was missed, the differences come as changes.
///
/// The stream ends when the client is closed or the cluster refuses the subscription
/// ([`Watch::ended`] says which). Dropping a watch ends its subscription.
#[derive(Debug)]
pub struct Watch {
    id: WatchId,
    inbox: Arc<Inbox>,
    users: Vec<User>,
    revision: Revision,
    client: Client,
}

/// What the driver hands over when a subscription begins.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) id: WatchId,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) users: Vec<User>,
    pub(crate) revision: Revision,
}

impl Watch {
    pub(crate) fn new(feed: Feed, client: Client) -> Self {
        let Feed { id, inbox, users, revision } = feed;
        Self { id, inbox, users, revision, client }
    }

    /// Who is there, in order of names: the set at the start with every change carried out that
    /// the stream has yielded.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The revision of the last change the stream has yielded, or of the set at the start.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Why the stream has ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<Error> {
        self.inbox.lock().ended.clone()
    }

    /// Ends the watch. It does not wait for the server, which is told.
    ///
    /// # Errors
    /// `closed` if the client was. The watch is over in any case.
    pub async fn unsubscribe(self) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let client = self.client.clone();
        client.send(Command::Unsubscribe { watch: self.id, done: Some(done) }).await?;
        answer.await.unwrap_or(Ok(()))
    }

    fn apply(&mut self, kind: ChangeKind, change: &message::Change) {
        self.revision = change.revision;
        let at = self.users.binary_search_by(|user| user.username.cmp(&change.username));
        match (kind, at) {
            (ChangeKind::Disconnected, Ok(at)) => {
                let addresses = &mut self.users[at].addresses;
                addresses.retain(|address| address.device != change.device);
                if addresses.is_empty() {
                    self.users.remove(at);
                }
            }
            (ChangeKind::Disconnected, Err(_)) => {}
            (ChangeKind::Connected | ChangeKind::Updated, at) => {
                let Some(address) = address(change) else {
                    return;
                };
                let at = at.unwrap_or_else(|at| {
                    let username = change.username.clone();
                    self.users.insert(at, User { username, addresses: Vec::new() });
                    at
                });
                let addresses = &mut self.users[at].addresses;
                match addresses.binary_search_by(|known| known.device.cmp(&address.device)) {
                    Ok(at) => addresses[at] = address,
                    Err(at) => addresses.insert(at, address),
                }
            }
        }
    }
}

fn address(change: &message::Change) -> Option<Address> {
    Some(Address {
        device: change.device.clone(),
        ip: change.ip?,
        port: change.port?,
        meta: change.meta.clone(),
        revision: change.revision,
    })
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.inbox.reader.register(cx.waker());
        let next = {
            let mut mail = self.inbox.lock();
            match mail.changes.pop() {
                Some(change) => change,
                None if mail.ended.is_some() => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        };
        self.apply(next.kind, &next.change);
        let WatchChange { kind, change, origin } = next;
        Poll::Ready(Some(Change { kind, change, origin: origin.as_ref().to_owned() }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.client.try_send(Command::Unsubscribe { watch: self.id, done: None });
    }
}

/// What the driver has put down for the reader of a watch.
#[derive(Debug)]
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    reader: AtomicWaker,
}

#[derive(Debug)]
struct Mail {
    changes: ChangeBuffer,
    ended: Option<Error>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            mail: Mutex::new(Mail { changes: ChangeBuffer::new(WHOLE_CHANGES), ended: None }),
            reader: AtomicWaker::new(),
        }
    }

    pub(crate) fn push(&self, change: WatchChange) {
        self.lock().changes.push(change);
        self.reader.wake();
    }

    pub(crate) fn end(&self, why: Error) {
        self.lock().ended.get_or_insert(why);
        self.reader.wake();
    }

    /// Held for a few instructions and never across an `await`; a reader that panicked in between
    /// has left whole values behind.
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many changes a slow reader may fall behind before they are merged.
const WHOLE_CHANGES: usize = 1024;
