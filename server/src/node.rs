//! The sole owner of the [`Replica`]: a thread that feeds it what the shards send, and sends each
//! shard what is due to its links.
//!
//! Owns no decision: feed, store, publish, deliver, arm the timer. All that arrived while one batch was
//! handled is the next batch, and each shard hears of a batch in one message.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::{Input, LinkId, Output, Replica, Users};
use tokio::sync::mpsc;

use crate::clock;
use crate::context::Context;
use crate::push::Announcement;

/// What shards send: all inputs of one wake-up.
pub(crate) type Batch = Vec<Input>;

/// What a shard receives: the state after a batch and what it means for the shard's links.
pub(crate) struct Delivery {
    /// The state after the batch.
    pub(crate) users: Users,
    /// The changes that led to it, for every shard alike.
    pub(crate) changes: Arc<[Announcement]>,
    /// Answers to the shard's links, in order.
    pub(crate) outputs: Vec<Output>,
}

/// The most batches on their way to the node; a shard waits when there are more.
pub(crate) const BATCHES: usize = 64;
/// The most deliveries on their way to a shard; the node waits when there are more.
pub(crate) const DELIVERIES: usize = 256;

/// The shard of a link: the number above these bits of its id.
pub(crate) const SHARD_SHIFT: u32 = 40;

/// The shard that `link` belongs to.
pub(crate) const fn shard_of(link: LinkId) -> usize {
    (link.0 >> SHARD_SHIFT) as usize
}

/// Storage that forgets: a record is as durable as it gets once it is there.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    last: Lsn,
}

impl Memory {
    /// The next output that is not for the storage.
    pub(crate) fn poll(&mut self, replica: &mut Replica) -> Option<Output> {
        loop {
            match replica.poll_output()? {
                Output::Store(_) => {
                    self.last = Lsn(self.last.0 + 1);
                    replica.handle(clock::now(), Input::Stored { through: self.last });
                }
                output => return Some(output),
            }
        }
    }
}

/// Runs until every shard has dropped its sender.
pub(crate) async fn run(
    context: Arc<Context>,
    mut replica: Replica,
    mut storage: Memory,
    mut inbox: mpsc::Receiver<Batch>,
    shards: Vec<mpsc::Sender<Delivery>>,
) {
    let mut batches = Vec::new();
    loop {
        let deadline = replica.poll_timeout();
        let wait = deadline.map(|deadline| deadline.since(clock::now()));
        tokio::select! {
            biased;
            count = inbox.recv_many(&mut batches, BATCHES) => if count == 0 { return },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        let now = clock::now();
        let mut inputs = 0;
        for input in batches.drain(..).flatten() {
            replica.handle(now, input);
            inputs += 1;
        }
        if replica.poll_timeout().is_some_and(|deadline| deadline <= now) {
            replica.handle_timeout(now);
        }
        deliver(&context, &mut replica, &mut storage, &shards, inputs).await;
    }
}

async fn deliver(
    context: &Context,
    replica: &mut Replica,
    storage: &mut Memory,
    shards: &[mpsc::Sender<Delivery>],
    inputs: usize,
) {
    let mut changes = Vec::new();
    let mut outputs: Vec<Vec<Output>> = Vec::new();
    outputs.resize_with(shards.len(), Vec::new);
    while let Some(output) = storage.poll(replica) {
        match output {
            Output::Changed(change) => changes.push(Announcement::new(change)),
            Output::Opened { link, .. }
            | Output::Written { link, .. }
            | Output::Refused { link, .. }
            | Output::SessionEnded { link }
            | Output::Replaced { link, .. } => {
                if let Some(outputs) = outputs.get_mut(shard_of(link)) {
                    outputs.push(output);
                }
            }
            // A server alone has no peers, is never cut off, and takes in no snapshot; its shards
            // read what is published; it is not told to shut down, as nobody could take over.
            Output::Send { .. }
            | Output::ClosePeer { .. }
            | Output::Store(_)
            | Output::Readable { .. }
            | Output::Unreadable { .. }
            | Output::Installed { .. }
            | Output::CutOff
            | Output::Stop(_) => {
                tracing::debug!("not for a server alone: {output:?}");
            }
        }
    }
    // Published before anybody hears of it, so that no lookup, on any shard, is behind an answer.
    context.publish(replica, !changes.is_empty());
    let sessions = replica.live_sessions();
    context.live_sessions.store(sessions as u64, Ordering::Relaxed);
    context.metrics.applied(inputs, replica.users(), sessions);
    let changes: Arc<[_]> = changes.into();
    for (shard, outputs) in shards.iter().zip(outputs) {
        if changes.is_empty() && outputs.is_empty() {
            continue;
        }
        let users = replica.users().clone();
        let delivery = Delivery { users, changes: Arc::clone(&changes), outputs };
        if shard.send(delivery).await.is_err() {
            // The shard has stopped: its links are gone.
            continue;
        }
    }
}
