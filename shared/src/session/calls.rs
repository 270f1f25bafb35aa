//! What the application waits for: every call from its start to its one answer.
//!
//! Owns the deadlines and the order in which calls leave; what is under way on a link is
//! [`super::flights`]'.

use super::event::{CallId, WatchId};
use super::table::Table;
use crate::id::RequestId;
use crate::message::Request;
use crate::time::Instant;

/// The calls without an answer. All have the same timeout, so that the oldest ends first.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Table<CallId, Call>,
    /// Calls whose turn to be sent has come, writes and other requests.
    writes: Table<CallId, ()>,
    reads: Table<CallId, ()>,
    last: u64,
}

/// A call without an answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
}

/// How far a call has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits to be sent.
    Queued(Request),
    /// It was sent under this id.
    Sent(RequestId),
    /// It waits for the first answer to a subscription.
    Subscribing(WatchId),
}

impl Calls {
    pub(super) fn next_id(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    pub(super) fn is_full(&self) -> bool {
        self.calls.len() >= MOST_CALLS
    }

    pub(super) fn insert(&mut self, id: CallId, deadline: Instant, stage: Stage) {
        self.calls.insert(id, Call { deadline, stage });
    }

    /// The turn of a queued call has come.
    pub(super) fn make_ready(&mut self, id: CallId) {
        if let Some(Call { stage: Stage::Queued(request), .. }) = self.calls.get(&id) {
            let queue = if request.kind().is_write() { &mut self.writes } else { &mut self.reads };
            queue.insert(id, ());
        }
    }

    /// The oldest call that may be sent, with what it asks.
    pub(super) fn next_ready(&mut self, writes_allowed: bool) -> Option<(CallId, Request)> {
        let write = self.writes.first().filter(|_| writes_allowed).map(|(id, ())| *id);
        let read = self.reads.first().map(|(id, ())| *id);
        let id = match (write, read) {
            (Some(write), Some(read)) => write.min(read),
            (write, read) => write.or(read)?,
        };
        self.writes.remove(&id);
        self.reads.remove(&id);
        let Some(Call { stage: Stage::Queued(request), .. }) = self.calls.get(&id) else {
            unreachable!("only queued calls are ready: `remove` takes them out of both queues");
        };
        Some((id, request.clone()))
    }

    /// The oldest call that waits to ask for the status.
    pub(super) fn next_status(&mut self) -> Option<(CallId, Request)> {
        let is_status = |(id, ()): &&(CallId, ())| {
            let call = self.calls.get(id);
            matches!(call, Some(Call { stage: Stage::Queued(Request::GetStatus), .. }))
        };
        let id = self.reads.iter().find(is_status)?.0;
        self.reads.remove(&id);
        Some((id, Request::GetStatus))
    }

    pub(super) fn set_sent(&mut self, id: CallId, request: RequestId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.stage = Stage::Sent(request);
        }
    }

    pub(super) fn stage(&self, id: CallId) -> Option<&Stage> {
        self.calls.get(&id).map(|call| &call.stage)
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<Call> {
        self.writes.remove(&id);
        self.reads.remove(&id);
        self.calls.remove(&id)
    }

    /// The call that ends first, and when.
    pub(super) fn first(&self) -> Option<(CallId, Instant)> {
        let (id, call) = self.calls.first()?;
        Some((*id, call.deadline))
    }
}

/// The most calls that may wait for an answer at once.
const MOST_CALLS: usize = 1024;
