//! The leader's part for sessions: attaching, expiring, and taking the writes of other servers
//! (R30–R33).

use rollcall_shared::id::NodeId;

use super::{LinkId, Replica};
use crate::NoSession;
use crate::command::{Command, Opened};
use crate::consensus::Rejected;
use crate::consensus::ids::{Epoch, Index, PeerLink};
use crate::sessions::Identity;
use crate::sessions::attached::{Attached, Owed};
use crate::sessions::message::{Attach, Session, SessionBody, SessionMessage};

impl Replica {
    /// This server leads: what is linked here is attached first.
    pub(super) fn begin_leading(&mut self, epoch: Epoch) {
        self.following = None;
        self.leading = Some(Attached::new(epoch, self.waits));
        for Attach { link, client, principal } in self.links.report() {
            self.attach(self.consensus.me(), None, link, (client, principal));
        }
        self.pass_on_again();
    }

    /// Takes in that this leader is settled, once all is applied that was committed then: what follows
    /// from it depends on the state. Whether anything was done.
    pub(super) fn settle(&mut self) -> bool {
        let due = self.settles.take_if(|(_, index)| *index <= self.applied);
        if let Some((epoch, _)) = due {
            self.settled(epoch);
        }
        due.is_some()
    }

    /// A commit quorum has this leader's log: timers begin for whoever is attached nowhere (R32).
    fn settled(&mut self, epoch: Epoch) {
        let Some(leading) = &mut self.leading else { return };
        if leading.epoch() != epoch {
            return;
        }
        let live = self.directory.each_live_session();
        let live = live.map(|(client, principal, _)| (client.clone(), principal.clone()));
        leading.settled(self.now, live);
        // A leader of a new cluster took none before (R26). From now on it may, and does at once what
        // any request of a client would do: so the loss of a server before the first request is no
        // other than the loss of one after it.
        if self.directory.applied() == Index(0) {
            let _ = self.consensus.propose(self.now, Command::Begin);
        }
        let bounds = self.consensus.config().bounds;
        if self.directory.bounds() != bounds {
            let _ = self.consensus.propose(self.now, Command::Bounds(bounds));
        }
        self.pass_on_where(|pending| !pending.was_passed_on(epoch));
    }

    /// This server leads no longer. Where nobody is heard any more, nothing can be said of open
    /// writes (R21); where another one takes over, it is asked.
    pub(super) fn resigned(&mut self, replaced: bool) {
        (self.leading, self.settles) = (None, None);
        if replaced {
            return;
        }
        let open = self.writes.each().map(|(_, pending)| (pending.link, pending.request));
        for (link, request) in open.collect::<Vec<_>>() {
            self.end_request(link, request);
        }
    }

    /// The link to another server has ended: what it kept alive is alone now (R31).
    pub(super) fn server_lost(&mut self, node: NodeId, link: PeerLink) {
        self.following = self.following.filter(|it| (it.leader, it.link) != (node, link));
        let Some(mut leading) = self.leading.take() else { return };
        for who in leading.server_lost(self.now, node) {
            if self.live_generation(&who).is_some() {
                leading.start_timer(self.now, who);
            }
        }
        self.leading = Some(leading);
    }

    pub(super) fn handle_from_follower(&mut self, node: NodeId, on: PeerLink, body: SessionBody) {
        match body {
            SessionBody::Attach(links) => {
                for Attach { link, client, principal } in links {
                    self.attach(node, Some(on), link, (client, principal));
                }
            }
            SessionBody::Detach { client, principal } => {
                let who = (client, principal);
                let live = self.live_generation(&who).is_some();
                if let Some(leading) = &mut self.leading {
                    leading.detach(self.now, node, &who, live);
                }
            }
            SessionBody::Write { client, generation, request, write } => {
                let again = client.clone();
                let command = Command::Write { client, generation, request, write };
                let taken = self.consensus.propose(self.now, command);
                if let (Err(Rejected::Overloaded), Some(leading)) = (taken, &self.leading) {
                    let epoch = leading.epoch();
                    let body = SessionBody::Overloaded { client: again, request };
                    let message = SessionMessage { epoch, body };
                    self.consensus.send_session(self.now, node, on, message);
                }
            }
            SessionBody::Attached { .. } | SessionBody::Overloaded { .. } => {}
        }
    }

    pub(super) fn attach(
        &mut self,
        node: NodeId,
        on: Option<PeerLink>,
        link: LinkId,
        who: Identity,
    ) {
        let after = self.consensus.last();
        if let Some(leading) = &mut self.leading {
            leading.attach(Owed { node, on, link, who, after });
        }
    }

    /// Answers the links for which enough is applied, if the leader may (R30). Whether anything
    /// was done.
    pub(super) fn answer_owed(&mut self) -> bool {
        let mut done = false;
        while self.may_decide() {
            let Some(leading) = &mut self.leading else { break };
            let Some(owed) = leading.poll_owed(self.applied) else { break };
            if self.live_generation(&owed.who).is_some() {
                let session = self.session_of(&owed.who);
                self.answer_attach(&owed, session);
            } else {
                let (client, principal) = owed.who.clone();
                let opened = self.consensus.propose(self.now, Command::Open { client, principal });
                let Some(leading) = &mut self.leading else { break };
                let Ok(index) = opened else {
                    leading.owe_again(owed);
                    break;
                };
                leading.opening(index, owed);
            }
            done = true;
        }
        done
    }

    /// Whether this server leads, may serve clients, and has applied all that it had to for that.
    fn may_decide(&self) -> bool {
        let settled = self.consensus.is_settled() && self.settles.is_none();
        settled && self.consensus.holds_lease(self.now)
    }

    fn session_of(&self, who: &Identity) -> Result<Session, NoSession> {
        let generation = self.live_generation(who).ok_or(NoSession::Forbidden)?;
        let number = self.directory.session_number(generation);
        let next_id = self.directory.next_id(&who.0).unwrap_or_default();
        Ok(Session { generation, number, next_id })
    }

    fn answer_attach(&mut self, owed: &Owed, session: Result<Session, NoSession>) {
        let link = owed.link;
        let Some(on) = owed.on else { return self.handle_attached(link, session) };
        if let Some(leading) = &self.leading {
            let epoch = leading.epoch();
            let message = SessionMessage { epoch, body: SessionBody::Attached { link, session } };
            self.consensus.send_session(self.now, owed.node, on, message);
        }
    }

    /// The entry at `index` opened a session, or found that it cannot be.
    pub(super) fn opened(&mut self, index: Index, who: &Identity, opened: Opened) {
        let live = matches!(opened, Opened::Live { .. });
        let Some(leading) = &mut self.leading else { return };
        if live && !leading.is_attached(who) {
            leading.start_timer(self.now, who.clone());
        }
        let Some(owed) = leading.opened(index) else { return };
        let session = match opened {
            Opened::Live { generation, next_id } => {
                let number = self.directory.session_number(generation);
                Ok(Session { generation, number, next_id })
            }
            Opened::Forbidden => Err(NoSession::Forbidden),
            Opened::Full => Err(NoSession::Full),
        };
        self.answer_attach(&owed, session);
    }

    /// Ends the sessions whose timer has ended (R33): some at a time, so that many that end together
    /// hold up nothing else.
    pub(super) fn expire_sessions(&mut self) {
        if self.now < self.expires_from {
            return;
        }
        // What is committed and not applied yet may be the very end of a session, or a new one.
        if self.may_decide() && !self.is_behind() {
            for _ in 0..MAX_EXPIRED {
                let Some(leading) = &mut self.leading else { return };
                let Some(who) = leading.poll_expired(self.now) else { return };
                if !self.expire(&who) {
                    break;
                }
            }
        }
        self.expires_from = self.now + self.consensus.config().timings.heartbeat;
    }

    /// Appends the end of a session, if that is live. Whether that was possible; if not, its timer
    /// is as it was.
    fn expire(&mut self, who: &Identity) -> bool {
        let Some(generation) = self.live_generation(who) else { return true };
        let expire = Command::Expire { client: who.0.clone(), generation };
        let taken = self.consensus.propose(self.now, expire).is_ok();
        if let (false, Some(leading)) = (taken, &mut self.leading) {
            leading.set_timer(self.now, who.clone());
        }
        taken
    }
}

/// The most sessions that end in one heartbeat.
const MAX_EXPIRED: usize = 1_000;
