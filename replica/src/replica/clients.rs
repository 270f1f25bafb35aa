//! The clients of this server: their sessions and requests, whoever leads (R19, R22, R29, R34).

use rollcall_shared::id::{ClientId, NodeId, RequestId};

use super::{Following, LinkId, Output, Refused, Replica, Waiter};
use crate::NoSession;
use crate::command::{Applied, Generation, Write, Written};
use crate::consensus::Rejected;
use crate::consensus::ids::{Epoch, Index, PeerLink, ReadId};
use crate::fault::{Fault, planted};
use crate::sessions::Identity;
use crate::sessions::links::{LinkSession, Request};
use crate::sessions::message::{Attach, MAX_ATTACHES, Session, SessionBody, SessionMessage};
use crate::sessions::writes::PendingWrite;

impl Replica {
    pub(super) fn handle_linked(&mut self, link: LinkId, who: Identity) {
        let live = self.live_generation(&who).is_some();
        self.links.insert(link, who);
        if live {
            self.ask_for_session(link);
        }
    }

    pub(super) fn handle_open(&mut self, link: LinkId, request: RequestId) {
        if self.await_session(link, Request::Open(request)) {
            self.ask_for_session(link);
        }
    }

    pub(super) fn handle_write(&mut self, link: LinkId, request: RequestId, write: Write) {
        let Some(known) = self.links.get(link) else { return };
        let (client, session) = (known.who.0.clone(), known.session);
        if let LinkSession::Live(generation) = session {
            self.wait_for(Waiter::Request(link, request));
            self.submit(client, PendingWrite::new(link, generation, request, write));
        } else if self.await_session(link, Request::Write(request, write))
            && session == LinkSession::Without
        {
            self.ask_for_session(link);
        }
    }

    /// A request waits for the session of its link. Whether it does: there is a bound.
    fn await_session(&mut self, link: LinkId, request: Request) -> bool {
        let id = request.id();
        let Some(known) = self.links.get_mut(link) else { return false };
        let refused = known.push_waiting(request).err();
        match &refused {
            None => self.wait_for(Waiter::Request(link, id)),
            Some(Request::Open(_)) => self.refuse(link, id, Refused::Overloaded),
            Some(Request::Write(..)) => self.refuse_write(link, id, Refused::Overloaded),
        }
        refused.is_none()
    }

    pub(super) fn handle_unlinked(&mut self, link: LinkId) {
        let Some((who, last)) = self.links.remove(link) else { return };
        self.writes.forget_link(&who.0, link);
        if !last {
            return;
        }
        let live = self.live_generation(&who).is_some();
        if let Some(leading) = &mut self.leading {
            let me = self.consensus.me();
            leading.detach(self.now, me, &who, live);
        } else {
            let (client, principal) = who;
            self.tell_leader(SessionBody::Detach { client, principal });
        }
    }

    /// Asks the leader, if there is one, for the session of a link; a new leader is asked anew.
    pub(super) fn ask_for_session(&mut self, link: LinkId) {
        let Some(known) = self.links.get(link) else { return };
        let (who, had) = (known.who.clone(), known.session.generation());
        self.links.set_session(link, LinkSession::Asked(had));
        if self.leading.is_some() {
            self.attach(self.consensus.me(), None, link, who);
        } else {
            let (client, principal) = who;
            self.tell_leader(SessionBody::Attach(vec![Attach { link, client, principal }]));
        }
    }

    /// Sends a message to the leader this server follows, on the link on which it reported its own.
    /// The leader's epoch, if that was possible.
    fn tell_leader(&mut self, body: SessionBody) -> Option<Epoch> {
        let Following { leader, link, epoch, .. } = self.following?;
        let counted = match body {
            SessionBody::Write { .. } => Some(&mut self.relayed.writes),
            SessionBody::Attach(_) => Some(&mut self.relayed.sessions),
            _ => None,
        };
        let message = SessionMessage { epoch, body };
        let sent = self.consensus.send_session(self.now, leader, link, message);
        if let Some(count) = counted {
            *count += u64::from(sent);
        }
        sent.then_some(epoch)
    }

    /// The leader's answer for a link (R30).
    pub(super) fn handle_attached(&mut self, link: LinkId, session: Result<Session, NoSession>) {
        let Some(known) = self.links.get_mut(link) else { return };
        let had = known.session.generation();
        match session {
            Ok(session) if had.is_some_and(|had| had != session.generation) => {
                self.outputs.push_back(Output::SessionEnded { link });
            }
            Ok(session) => self.begin_session(link, session),
            Err(why) => {
                let waiting = std::mem::take(&mut known.waiting);
                self.links.set_session(link, LinkSession::Without);
                for request in waiting {
                    self.refuse(link, request.id(), Refused::NoSession(why));
                }
                if had.is_some() {
                    self.outputs.push_back(Output::SessionEnded { link });
                }
            }
        }
    }

    /// A link has its session: what waited for that goes on.
    fn begin_session(&mut self, link: LinkId, session: Session) {
        let Session { generation, number, next_id } = session;
        let Some(known) = self.links.get_mut(link) else { return };
        let client = known.who.0.clone();
        let waiting = std::mem::take(&mut known.waiting);
        self.links.set_session(link, LinkSession::Live(generation));
        // More may have been applied here since the leader answered.
        let next_id = next_id.max(self.directory.next_id(&client).unwrap_or_default());
        for request in waiting {
            match request {
                Request::Open(request) => {
                    let session = number;
                    self.outputs.push_back(Output::Opened { link, request, session, next_id });
                }
                Request::Write(request, write) => {
                    let pending = PendingWrite::new(link, generation, request, write);
                    self.submit(client.clone(), pending);
                }
            }
        }
    }

    /// Puts a write on its way: into the log, to the leader, or aside until there is one.
    fn submit(&mut self, client: ClientId, mut pending: PendingWrite) {
        let (link, request) = (pending.link, pending.request);
        if self.writes.is_full(&client) {
            return self.refuse_write(link, request, Refused::Overloaded);
        }
        match self.pass_on(&client, &mut pending) {
            Ok(()) => {
                if planted(Fault::NumberAtArrival)
                    && let Write::Sequence { count } = pending.write
                {
                    let first = self.directory.next_number();
                    let written = Written::Applied(Applied::Numbers { first, count });
                    self.outputs.push_back(Output::Written { link, request, written });
                    return;
                }
                self.writes.push(client, pending);
            }
            Err(why) => self.refuse_write(link, request, why),
        }
    }

    /// Gives a write to the leader, if there is one.
    fn pass_on(&mut self, client: &ClientId, pending: &mut PendingWrite) -> Result<(), Refused> {
        let epoch = if let Some(leading) = &self.leading {
            let epoch = leading.epoch();
            match self.consensus.propose(self.now, pending.command(client.clone())) {
                Ok(_) => Some(epoch),
                Err(Rejected::NotLeader) => None,
                Err(Rejected::Overloaded) => return Err(Refused::Overloaded),
            }
        } else {
            let PendingWrite { generation, request, ref write, .. } = *pending;
            let (client, write) = (client.clone(), write.clone());
            self.tell_leader(SessionBody::Write { client, generation, request, write })
        };
        if let Some(epoch) = epoch {
            pending.passed_on(epoch);
        }
        Ok(())
    }

    /// Puts all writes on their way once more: the leader is another one, or may not have had them.
    /// Which of them are applied already is told by their numbers (R23).
    pub(super) fn pass_on_again(&mut self) {
        self.pass_on_where(|_| true);
    }

    /// Puts these writes on their way once more. One for which there is no room waits for the next
    /// occasion.
    pub(super) fn pass_on_where(&mut self, which: impl Fn(&PendingWrite) -> bool) {
        let mut writes = std::mem::take(&mut self.writes);
        for (client, pending) in writes.each().filter(|(_, pending)| which(pending)) {
            let _ = self.pass_on(client, pending);
        }
        self.writes = writes;
    }

    /// This server follows a leader: it hears of the clients linked here before all else (R32).
    pub(super) fn follow(&mut self, leader: NodeId, link: PeerLink, epoch: Epoch) {
        self.following = Some(Following { leader, link, epoch, since: self.now });
        let report = self.links.report();
        let attach = |links: &[Attach]| {
            let body = SessionBody::Attach(links.to_vec());
            SessionMessage { epoch, body }
        };
        let messages = report.chunks(MAX_ATTACHES).map(attach).collect();
        self.consensus.report(leader, link, messages);
        self.pass_on_again();
    }

    pub(super) fn handle_from_leader(&mut self, following: Following, body: SessionBody) {
        match body {
            SessionBody::Attached { link, session } => {
                // It answers what it was told then, or later.
                self.heard = self.heard.max(following.since);
                self.handle_attached(link, session);
            }
            SessionBody::Overloaded { client, request } => {
                let copies = self.writes.copies(&client, request);
                let why = if copies > 1 { Refused::OutcomeUnknown } else { Refused::Overloaded };
                for link in self.writes.take(&client, request, |_| true) {
                    self.refuse(link, request, why);
                }
            }
            SessionBody::Attach(_) | SessionBody::Detach { .. } | SessionBody::Write { .. } => {}
        }
    }

    pub(super) fn handle_read(&mut self, read: ReadId) {
        self.reads.insert(read, None);
        self.wait_for(Waiter::Read(read));
        self.consensus.read(self.now, read);
    }

    pub(super) fn handle_read_point(&mut self, read: ReadId, point: Index) {
        let Some(waits_for) = self.reads.get_mut(&read) else { return };
        if point <= self.applied {
            self.reads.remove(&read);
            self.outputs.push_back(Output::Readable { read });
        } else {
            *waits_for = Some(point);
            self.readable.insert((point, read));
        }
    }

    /// Answers the reads for which enough is applied now.
    pub(super) fn release_reads(&mut self) {
        while let Some(&(point, read)) = self.readable.first()
            && point <= self.applied
        {
            self.readable.pop_first();
            self.reads.remove(&read);
            self.outputs.push_back(Output::Readable { read });
        }
    }

    pub(super) fn wait_for(&mut self, waiter: Waiter) {
        self.deadlines.push_back((self.now + self.patience, waiter));
    }

    /// Answers what has waited too long (R22).
    pub(super) fn end_waiting(&mut self) {
        while let Some(&(at, waiter)) = self.deadlines.front()
            && at <= self.now
        {
            self.deadlines.pop_front();
            match waiter {
                Waiter::Request(link, request) => self.end_request(link, request),
                Waiter::Read(read) => {
                    if let Some(point) = self.reads.remove(&read) {
                        self.consensus.forget_read(read);
                        self.readable.remove(&(point.unwrap_or_default(), read));
                        self.outputs.push_back(Output::Unreadable { read });
                    }
                }
            }
        }
    }

    pub(super) fn end_request(&mut self, link: LinkId, request: RequestId) {
        let Some(known) = self.links.get_mut(link) else { return };
        let client = known.who.0.clone();
        match known.take_waiting(request) {
            Some(Request::Open(_)) => self.refuse(link, request, Refused::NoQuorum),
            Some(Request::Write(..)) => self.refuse_write(link, request, Refused::NoQuorum),
            None => {
                let copies = self.writes.copies(&client, request);
                if self.writes.take_one(&client, link, request) {
                    let unknown = copies > 0;
                    let why = if unknown { Refused::OutcomeUnknown } else { Refused::NoQuorum };
                    self.refuse(link, request, why);
                }
            }
        }
    }

    fn refuse(&mut self, link: LinkId, request: RequestId, why: Refused) {
        self.outputs.push_back(Output::Refused { link, request, why });
    }

    /// Refuses a write that no leader got from this link. From another link of the client it may
    /// have the same one.
    fn refuse_write(&mut self, link: LinkId, request: RequestId, why: Refused) {
        let client = self.links.get(link).map(|known| &known.who.0);
        let copies = client.map_or(0, |client| self.writes.copies(client, request));
        self.refuse(link, request, if copies > 0 { Refused::OutcomeUnknown } else { why });
    }

    /// Clients of a server that has heard of no leader for long are told to move, once (R34).
    pub(super) fn cut_off_clients(&mut self) {
        let config = self.consensus.config();
        let (alone, cutoff) = (config.members.count() == 1, config.timings.cutoff);
        self.heard = self.heard.max(self.consensus.confirmed(self.now));
        let silent = self.now.since(self.heard) >= cutoff;
        if silent && !alone && self.cut_off != Some(self.heard) {
            self.cut_off = Some(self.heard);
            self.outputs.push_back(Output::CutOff);
        }
    }

    /// The live session of a client, if it is its principal's.
    pub(super) fn live_generation(&self, (client, principal): &Identity) -> Option<Generation> {
        let (generation, owner) = self.directory.live_session(client)?;
        (owner == principal).then_some(generation)
    }
}
