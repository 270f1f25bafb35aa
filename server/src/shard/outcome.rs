//! What the replica answered, as replies to the links.

use rollcall_replica::command::{Applied, Refusal, Written};
use rollcall_replica::{NoSession, Refused};
use rollcall_shared::id::{RequestId, SessionNumber};
use rollcall_shared::message::{
    Endpoint, Error, ErrorCode, Limits, Registered, RequestKind, SequenceNumber, VERSION, Welcome,
    tag,
};

use super::Shard;
use crate::link::{Link, Pending};

impl Shard {
    pub(super) fn reply_welcome(
        &self,
        link: &Link,
        id: RequestId,
        session: SessionNumber,
        next_id: RequestId,
    ) {
        let Some(pending) = take_pending(link, id, RequestKind::Hello) else { return };
        let Some(client) = link.state().client.clone() else { return };
        let config = &self.context.config;
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(0);
        let welcome = Welcome {
            node: self.context.node(),
            client,
            version: VERSION,
            cluster: self.context.standing().cluster(),
            session,
            resumed: pending.named == Some(session),
            next_id,
            observed: Endpoint { ip: link.peer.ip().to_canonical(), port: link.peer.port() },
            leader: self.context.standing().leader,
            members: self.context.members(link.local),
            limits: Limits::V1,
            session_grace_ms: millis(config.session_grace),
            heartbeat_ms: millis(config.heartbeat),
        };
        self.reply(link, id, tag::WELCOME, &welcome);
        self.answered(&pending);
    }

    pub(super) fn reply_written(&self, link: &Link, id: RequestId, written: Written) {
        let Some(pending) = take_pending_write(link, id) else { return };
        let applied = match written {
            Written::Applied(applied) => applied,
            Written::Stale => {
                let message = "this number is older than the last 64 writes of the session";
                return self.refuse(link, &pending, ErrorCode::StaleRequest, message);
            }
            Written::Reused => {
                let message = "this number was used by a request of another type";
                let error = Error::in_field("id", message);
                return self.reply_error(
                    link,
                    Some(id),
                    Some(pending.kind),
                    &error,
                    pending.started,
                );
            }
            Written::NotCurrent => {
                let message = "the session ended meanwhile: send the same request again";
                return self.refuse(link, &pending, ErrorCode::Overloaded, message);
            }
            Written::Full => {
                let message = "no room for another registration; nothing was changed";
                return self.refuse(link, &pending, ErrorCode::Overloaded, message);
            }
        };
        match applied {
            Applied::Connected { username, device, revision } => {
                self.reply(link, id, tag::CONNECTED, &Registered { username, device, revision });
            }
            Applied::Disconnected { username, device, revision } => {
                self.reply(link, id, tag::DISCONNECTED, &Registered { username, device, revision });
            }
            Applied::Numbers { first, count } => {
                self.reply(link, id, tag::SEQUENCE_NUMBER, &SequenceNumber { first, count });
            }
            Applied::Refused { refusal, .. } => {
                let (code, message) = refusal_text(refusal);
                return self.refuse(link, &pending, code, message);
            }
        }
        self.answered(&pending);
    }

    pub(super) fn reply_refused(&self, link: &Link, id: RequestId, why: Refused) {
        let pending = take_pending(link, id, RequestKind::Hello);
        let Some(pending) = pending.or_else(|| take_pending_write(link, id)) else { return };
        let (code, message) = match why {
            Refused::NoSession(NoSession::Forbidden) => {
                (ErrorCode::Forbidden, "this client id belongs to another principal")
            }
            Refused::NoSession(NoSession::Full) => {
                (ErrorCode::Overloaded, "too many sessions; nothing was changed")
            }
            Refused::NoQuorum => {
                (ErrorCode::NoQuorum, "this server has no leader; nothing was changed, try another")
            }
            Refused::Overloaded => {
                (ErrorCode::Overloaded, "too many writes wait already; nothing was changed")
            }
            Refused::OutcomeUnknown => (
                ErrorCode::OutcomeUnknown,
                "the leader was lost before it answered: send the same request again",
            ),
        };
        self.refuse(link, &pending, code, message);
    }

    fn refuse(&self, link: &Link, pending: &Pending, code: ErrorCode, message: &str) {
        let error = Error::new(code, message);
        self.reply_error(link, Some(pending.id), Some(pending.kind), &error, pending.started);
    }

    fn answered(&self, pending: &Pending) {
        self.context.metrics.answered(Some(pending.kind), None, pending.started.elapsed());
    }
}

const fn refusal_text(refusal: Refusal) -> (ErrorCode, &'static str) {
    match refusal {
        Refusal::UsernameTaken => {
            (ErrorCode::UsernameTaken, "another principal holds this device of the user")
        }
        Refusal::NotOwner => (ErrorCode::NotOwner, "another session holds this registration"),
        Refusal::NotFound => (ErrorCode::NotFound, "there is no such registration"),
    }
}

/// The oldest pending request with this number and kind. Answers come in the order of the
/// requests, so it is nearly always the first one.
fn take_pending(link: &Link, id: RequestId, kind: RequestKind) -> Option<Pending> {
    let mut state = link.state();
    let at = state.pending.iter().position(|it| it.id == id && it.kind == kind)?;
    state.pending.remove(at)
}

fn take_pending_write(link: &Link, id: RequestId) -> Option<Pending> {
    let mut state = link.state();
    let at = state.pending.iter().position(|it| it.id == id && it.kind.is_write())?;
    state.pending.remove(at)
}
