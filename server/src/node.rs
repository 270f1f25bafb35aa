//! The sole owner of the [`Replica`]: a thread that feeds it what the shards and the links to other
//! servers bring, and hands out what is due to them.
//!
//! Owns no decision: feed, store, publish, send, arm the timer. All that arrived while one round was
//! handled is the next round, and each shard and each link hears of a round in one message.

mod outlet;
mod round;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll, Waker};

use rollcall_replica::consensus::StopReason;
use rollcall_replica::consensus::ids::{ClusterId, Index, Lsn, PeerLink, ReadId};
use rollcall_replica::{Directory, Input, LinkId, Output, Relayed, Replica, Users};
use rollcall_shared::id::{NodeId, Revision};
use rollcall_shared::time::Instant;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::context::Context;
use crate::peers::{FromPeer, Outbox, ToPeer};
use crate::push::Announcement;
use crate::storage::{Storage, StorageFailed};
use outlet::Outlet;
use round::Round;

/// What shards send: all inputs of one wake-up.
pub(crate) type Batch = Vec<Input>;

/// What a shard receives: the state after a round, or several, and what that means for its links.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The state after the rounds.
    pub(crate) users: Users,
    /// The steps that led to it, for every shard alike; one part for each round.
    pub(crate) steps: Vec<Arc<[Step]>>,
    /// Answers to the shard's links and reads, in order.
    pub(crate) outputs: Vec<Output>,
}

/// A step from one state to the next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// One change.
    Changed(Announcement),
    /// The state is another one, at this revision, without the changes that led to it.
    Installed(Revision),
}

/// The most batches on their way to the node; a shard waits when there are more.
pub(crate) const BATCHES: usize = 64;
/// The most deliveries on their way to a shard; further ones are made one.
pub(crate) const DELIVERIES: usize = 256;

/// The shard of a link or a read: the number above these bits of its id.
pub(crate) const SHARD_SHIFT: u32 = 40;

/// The shard that `link` belongs to.
pub(crate) const fn shard_of(link: LinkId) -> usize {
    (link.0 >> SHARD_SHIFT) as usize
}

/// The shard that `read` belongs to.
pub(crate) const fn shard_of_read(read: ReadId) -> usize {
    (read.0 >> SHARD_SHIFT) as usize
}

/// What the node hears.
pub(crate) struct Inbox {
    /// From the shards. When all of them have ended, so does the node.
    pub(crate) shards: mpsc::Receiver<Batch>,
    /// From the links to other servers; closed when this server takes no part any more.
    pub(crate) peers: mpsc::Receiver<FromPeer>,
    /// Ends when the clients of a server that shuts down have been told and answered.
    pub(crate) clients: mpsc::Receiver<Infallible>,
    /// From those who want a copy of the state.
    pub(crate) copies: mpsc::Receiver<oneshot::Sender<Copied>>,
}

/// All of the state as it was at a moment.
#[derive(Debug)]
pub(crate) struct Copied {
    /// The life of the cluster, once known.
    pub(crate) cluster: Option<ClusterId>,
    /// The last entry in it.
    pub(crate) applied: Index,
    /// The state.
    pub(crate) directory: Directory,
}

/// The most requests for copies on their way to the node.
pub(crate) const COPIES: usize = 4;

/// The replica and those it speaks to.
pub(crate) struct Node {
    context: Arc<Context>,
    replica: Replica,
    storage: Box<dyn Storage>,
    shards: Vec<Outlet>,
    peers: BTreeMap<NodeId, Peer>,
    /// Whether a link was given up since the last round.
    gave_up: bool,
    /// Whether the storage has failed: it is asked nothing any more.
    storage_failed: bool,
    /// What the replica had passed on at the last round.
    relayed: Relayed,
    /// Told why the server ends, once.
    over: Option<oneshot::Sender<StopReason>>,
}

/// The link to another server.
struct Peer {
    link: PeerLink,
    outbox: Outbox,
}

/// What happened.
enum Event {
    Peers(Vec<FromPeer>),
    Batches(Vec<Batch>),
    Stored(Result<Lsn, StorageFailed>),
    ClientsToldToGo,
    Copy(oneshot::Sender<Copied>),
    /// Time passed, or a shard has room.
    Nothing,
    /// All shards have ended.
    Over,
}

impl Node {
    pub(crate) fn new(
        context: Arc<Context>,
        replica: Replica,
        storage: Box<dyn Storage>,
        shards: Vec<mpsc::Sender<Delivery>>,
        over: oneshot::Sender<StopReason>,
    ) -> Self {
        let shards = shards.into_iter().map(Outlet::new).collect();
        Self {
            context,
            replica,
            storage,
            shards,
            peers: BTreeMap::new(),
            gave_up: false,
            storage_failed: false,
            relayed: Relayed::default(),
            over: Some(over),
        }
    }

    /// Runs until every shard has ended.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        self.settle_all(0);
        let mut clients_gone = false;
        loop {
            let inputs = match self.next(&mut inbox, clients_gone).await {
                Event::Peers(first) => self.feed_all(first, Vec::new(), &mut inbox),
                Event::Batches(first) => self.feed_all(Vec::new(), first, &mut inbox),
                Event::Stored(stored) => {
                    self.feed_stored(stored);
                    1
                }
                Event::ClientsToldToGo => {
                    clients_gone = true;
                    self.replica.handle(clock::now(), Input::Shutdown);
                    1
                }
                Event::Copy(to) => {
                    // Whoever asked may have gone.
                    let _ = to.send(self.copy());
                    0
                }
                Event::Nothing => 0,
                Event::Over => return,
            };
            let now = clock::now();
            if self.replica.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.replica.handle_timeout(now);
            }
            self.settle_all(inputs);
            if self.over.is_none() {
                inbox.peers.close();
            }
        }
    }

    /// Waits until something happens. While a shard is behind, no more of the clients is taken in;
    /// the other servers and the time go on.
    async fn next(&mut self, inbox: &mut Inbox, clients_gone: bool) -> Event {
        let Self { replica, storage, shards, storage_failed, .. } = self;
        let wait = replica.poll_timeout().map(|deadline| deadline.since(clock::now()));
        let behind = shards.iter().any(Outlet::is_behind);
        let (mut peers, mut batches) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            _ = inbox.clients.recv(), if !clients_gone => Event::ClientsToldToGo,
            count = inbox.peers.recv_many(&mut peers, FROM_PEERS), if !inbox.peers.is_closed() => {
                if count == 0 { Event::Nothing } else { Event::Peers(peers) }
            }
            stored = std::future::poll_fn(|task| storage.poll_stored(task)),
                if !*storage_failed => Event::Stored(stored),
            count = inbox.shards.recv_many(&mut batches, BATCHES), if !behind => {
                if count == 0 { Event::Over } else { Event::Batches(batches) }
            }
            Some(to) = inbox.copies.recv() => Event::Copy(to),
            () = outlet::room(shards), if behind => Event::Nothing,
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Event::Nothing,
        }
    }

    /// Feeds what has come, and what else is there by now; how many inputs that was.
    ///
    /// The clock is read when all of it is there, and not before: a process can be stopped at any point,
    /// and what arrived meanwhile must not be taken for as old as what the clock showed then. A read
    /// would be answered under a lease that has ended (R19), and a heartbeat acknowledged for too short a
    /// time (R16).
    fn feed_all(
        &mut self,
        mut peers: Vec<FromPeer>,
        mut batches: Vec<Batch>,
        inbox: &mut Inbox,
    ) -> usize {
        let behind = self.shards.iter().any(Outlet::is_behind);
        let most = if behind { 0 } else { BATCHES };
        peers.extend(std::iter::from_fn(|| inbox.peers.try_recv().ok()).take(FROM_PEERS));
        batches.extend(std::iter::from_fn(|| inbox.shards.try_recv().ok()).take(most));
        let now = clock::now();
        let mut inputs = peers.len();
        for event in peers {
            self.feed_peer(now, event);
        }
        for input in batches.into_iter().flatten() {
            inputs += 1;
            self.replica.handle(now, input);
        }
        inputs
    }

    fn feed_peer(&mut self, now: Instant, event: FromPeer) {
        match event {
            FromPeer::Up { peer, link, outbox } => {
                self.peers.insert(peer, Peer { link, outbox });
                self.replica.handle(now, Input::PeerUp { peer, link });
            }
            FromPeer::Frames { peer, link, frames } => {
                for frame in frames {
                    self.replica.handle(now, Input::Received { peer, link, frame });
                }
            }
            FromPeer::Down { peer, link } => {
                if self.peers.get(&peer).is_some_and(|it| it.link == link) {
                    self.peers.remove(&peer);
                }
                self.replica.handle(now, Input::PeerDown { peer, link });
            }
        }
    }

    fn copy(&self) -> Copied {
        Copied {
            cluster: self.replica.consensus().cluster(),
            applied: self.replica.applied(),
            directory: self.replica.directory().clone(),
        }
    }

    fn feed_stored(&mut self, stored: Result<Lsn, StorageFailed>) {
        let input = match stored {
            Ok(through) => Input::Stored { through },
            Err(StorageFailed) => {
                self.storage_failed = true;
                Input::StorageFailed
            }
        };
        self.replica.handle(clock::now(), input);
    }

    fn settle_all(&mut self, inputs: usize) {
        self.settle(inputs);
        // A link that was given up meanwhile may mean more.
        while std::mem::take(&mut self.gave_up) {
            self.settle(0);
        }
    }

    /// Takes all that is due, shows the state to everybody, and only then lets anything leave: no
    /// lookup, on any shard, is behind what anybody was told (R19).
    fn settle(&mut self, inputs: usize) {
        let mut round = Round::new(self.shards.len());
        loop {
            while let Some(output) = self.replica.poll_output() {
                match output {
                    Output::Store(record) => self.storage.store(record),
                    output => round.take(output),
                }
            }
            if self.storage_failed {
                break;
            }
            match self.storage.poll_stored(&mut Task::from_waker(Waker::noop())) {
                Poll::Ready(stored) => self.feed_stored(stored),
                Poll::Pending => break,
            }
        }
        let now = clock::now();
        self.context.publish(&self.replica, now, !round.steps.is_empty());
        self.count_relayed();
        let sessions = self.replica.live_sessions();
        self.context.live_sessions.store(sessions as u64, Ordering::Relaxed);
        self.context.metrics.applied(inputs, self.replica.users(), sessions);
        self.send(std::mem::take(&mut round.to_peers));
        self.deliver(round);
    }

    fn count_relayed(&mut self) {
        let now = self.replica.relayed();
        let before = std::mem::replace(&mut self.relayed, now);
        if now != before {
            self.context.metrics.relayed(Relayed {
                writes: now.writes - before.writes,
                sessions: now.sessions - before.sessions,
                reads: now.reads - before.reads,
            });
        }
    }

    /// Sends each link what is due to it. One that takes nothing any more is given up: whatever it
    /// carried is asked for anew on the next.
    fn send(&mut self, due: Vec<(NodeId, PeerLink, ToPeer)>) {
        for (node, link, message) in due {
            let Some(peer) = self.peers.get(&node).filter(|peer| peer.link == link) else {
                continue;
            };
            let closes = matches!(message, ToPeer::Close(_));
            let taken = peer.outbox.due.try_send(message).is_ok();
            if closes || !taken {
                self.peers.remove(&node);
            }
            if !taken {
                self.gave_up = true;
                self.replica.handle(clock::now(), Input::PeerDown { peer: node, link });
            }
        }
    }

    fn deliver(&mut self, mut round: Round) {
        if let Some(why) = round.stop {
            self.peers.clear();
            if let Some(over) = self.over.take() {
                // Whoever waits for it has ended by itself.
                let _ = over.send(why);
            }
        }
        if round.cut_off {
            self.context.metrics.was_cut_off();
            tracing::warn!("no leader is heard of for long: clients are told to move");
        }
        let steps: Arc<[Step]> = std::mem::take(&mut round.steps).into();
        for (shard, outputs) in self.shards.iter_mut().zip(round.to_shards) {
            if steps.is_empty() && outputs.is_empty() {
                shard.catch_up();
                continue;
            }
            let parts = if steps.is_empty() { Vec::new() } else { vec![Arc::clone(&steps)] };
            let users = self.replica.users().clone();
            shard.deliver(Delivery { users, steps: parts, outputs });
        }
    }
}

/// The most batches of other servers in one round.
const FROM_PEERS: usize = 64;

#[cfg(test)]
mod tests;
