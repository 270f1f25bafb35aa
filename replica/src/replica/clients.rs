//! The clients of this server: their sessions and requests, whoever leads (R19, R22, R29, R34).

use rollcall_shared::id::{ClientId, NodeId, RequestId};

use super::{LinkId, Output, Refused, Replica, Waiter};
use crate::NoSession;
use crate::command::{Applied, Command, Generation, Write, Written};
use crate::consensus::Rejected;
use crate::consensus::ids::{Epoch, Index, PeerLink, ReadId};
use crate::fault::{Fault, planted};
use crate::sessions::Identity;
use crate::sessions::links::{LinkSession, PendingWrite, Request};
use crate::sessions::message::{Attach, Session, SessionBody, SessionMessage};

impl Replica {
    pub(super) fn handle_linked(&mut self, link: LinkId, who: Identity) {
        let live = self.live_generation(&who).is_some();
        self.links.insert(link, who);
        if live {
            self.ask_for_session(link);
        }
    }

    pub(super) fn handle_open(&mut self, link: LinkId, request: RequestId) {
        let Some(known) = self.links.get_mut(link) else { return };
        known.waiting.push_back(Request::Open(request));
        self.wait_for(Waiter::Request(link, request));
        self.ask_for_session(link);
    }

    pub(super) fn handle_write(&mut self, link: LinkId, request: RequestId, write: Write) {
        let Some(known) = self.links.get_mut(link) else { return };
        match known.session {
            LinkSession::Live(generation) => {
                let client = known.who.0.clone();
                let pending = PendingWrite { link, generation, request, write, sent: false };
                self.submit(client, pending);
            }
            session => {
                known.waiting.push_back(Request::Write(request, write));
                self.wait_for(Waiter::Request(link, request));
                if session == LinkSession::Without {
                    self.ask_for_session(link);
                }
            }
        }
    }

    pub(super) fn handle_unlinked(&mut self, link: LinkId) {
        let Some((who, last)) = self.links.remove(link) else { return };
        if !last {
            return;
        }
        let live = self.live_generation(&who).is_some();
        if let Some(leading) = &mut self.leading {
            let me = self.consensus.me();
            leading.detach(self.now, me, &who, live);
        } else if let Some((leader, _, epoch)) = self.following {
            let (client, principal) = who;
            let body = SessionBody::Detach { client, principal };
            self.consensus.send_session(self.now, leader, SessionMessage { epoch, body });
        }
    }

    /// Asks the leader, if there is one, for the session of a link; a new leader is asked anew.
    pub(super) fn ask_for_session(&mut self, link: LinkId) {
        let Some(known) = self.links.get(link) else { return };
        let who = known.who.clone();
        let had = match known.session {
            LinkSession::Without => None,
            LinkSession::Asked(had) => had,
            LinkSession::Live(generation) => Some(generation),
        };
        self.links.set_session(link, LinkSession::Asked(had));
        if self.leading.is_some() {
            self.attach(self.consensus.me(), link, who);
        } else if let Some((leader, _, epoch)) = self.following {
            let (client, principal) = who;
            let body = SessionBody::Attach(vec![Attach { link, client, principal }]);
            self.consensus.send_session(self.now, leader, SessionMessage { epoch, body });
        }
    }

    /// The leader's answer for a link (R30).
    pub(super) fn handle_attached(&mut self, link: LinkId, session: Result<Session, NoSession>) {
        let Some(known) = self.links.get_mut(link) else { return };
        match session {
            Ok(Session { generation, number, next_id }) => {
                let had = match known.session {
                    LinkSession::Without => None,
                    LinkSession::Asked(had) => had,
                    LinkSession::Live(generation) => Some(generation),
                };
                if had.is_some_and(|had| had != generation) {
                    self.outputs.push_back(Output::SessionEnded { link });
                    return;
                }
                let client = known.who.0.clone();
                let waiting = std::mem::take(&mut known.waiting);
                self.links.set_session(link, LinkSession::Live(generation));
                for request in waiting {
                    match request {
                        Request::Open(request) => {
                            let session = number;
                            self.outputs.push_back(Output::Opened {
                                link,
                                request,
                                session,
                                next_id,
                            });
                        }
                        Request::Write(request, write) => {
                            let pending =
                                PendingWrite { link, generation, request, write, sent: false };
                            self.submit(client.clone(), pending);
                        }
                    }
                }
            }
            Err(why) => {
                let waiting = std::mem::take(&mut known.waiting);
                self.links.set_session(link, LinkSession::Without);
                for request in waiting {
                    let (request, why) = (request.id(), Refused::NoSession(why));
                    self.outputs.push_back(Output::Refused { link, request, why });
                }
            }
        }
    }

    /// Puts a write on its way: into the log, to the leader, or aside until there is one.
    fn submit(&mut self, client: ClientId, mut pending: PendingWrite) {
        let (link, request) = (pending.link, pending.request);
        match self.pass_on(&client, &pending) {
            Ok(sent) => {
                if planted(Fault::NumberAtArrival)
                    && let Write::Sequence { count } = pending.write
                {
                    let first = self.directory.next_number();
                    let written = Written::Applied(Applied::Numbers { first, count });
                    self.outputs.push_back(Output::Written { link, request, written });
                    return;
                }
                pending.sent = sent;
                self.links.push_write(client, pending);
                if self.leading.is_none() {
                    self.wait_for(Waiter::Request(link, request));
                }
            }
            Err(why) => self.outputs.push_back(Output::Refused { link, request, why }),
        }
    }

    /// Whether a leader may have the write now.
    fn pass_on(&mut self, client: &ClientId, pending: &PendingWrite) -> Result<bool, Refused> {
        let PendingWrite { generation, request, write, .. } = pending.clone();
        let client = client.clone();
        if self.leading.is_some() {
            let command = Command::Write { client, generation, request, write };
            return match self.consensus.propose(self.now, command) {
                Ok(_) => Ok(true),
                Err(Rejected::NotLeader) => Ok(false),
                Err(Rejected::Overloaded) => Err(Refused::Overloaded),
            };
        }
        let Some((leader, _, epoch)) = self.following else { return Ok(false) };
        let body = SessionBody::Write { client, generation, request, write };
        Ok(self.consensus.send_session(self.now, leader, SessionMessage { epoch, body }))
    }

    /// Puts all writes on their way once more: the leader is another one, or may not have had them.
    /// Which of them are applied already is told by their numbers (R23).
    pub(super) fn pass_on_again(&mut self) {
        let all =
            self.links.each_write().map(|(client, pending)| (client.clone(), pending.clone()));
        for (client, pending) in all.collect::<Vec<_>>() {
            if self.pass_on(&client, &pending) == Ok(true) && !pending.sent {
                self.links.mark_sent(&client, pending.link, pending.request);
            }
        }
    }

    /// This server follows a leader: it hears of the clients linked here before all else (R32).
    pub(super) fn follow(&mut self, leader: NodeId, link: PeerLink, epoch: Epoch) {
        self.following = Some((leader, link, epoch));
        let body = SessionBody::Attach(self.links.report());
        self.consensus.report(leader, SessionMessage { epoch, body });
        self.pass_on_again();
    }

    pub(super) fn handle_from_leader(&mut self, body: SessionBody) {
        match body {
            SessionBody::Attached { link, session } => self.handle_attached(link, session),
            SessionBody::Overloaded { client, request } => {
                for link in self.links.take_writes(&client, request) {
                    let why = Refused::Overloaded;
                    self.outputs.push_back(Output::Refused { link, request, why });
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
        let waiting = known.waiting.iter().position(|waiting| waiting.id() == request);
        let why = if let Some(at) = waiting {
            known.waiting.remove(at);
            Refused::NoQuorum
        } else {
            match self.links.take_write(link, request) {
                Some(true) => Refused::OutcomeUnknown,
                Some(false) => Refused::NoQuorum,
                None => return,
            }
        };
        self.outputs.push_back(Output::Refused { link, request, why });
    }

    /// Clients of a server that has heard of no leader for long are told to move (R34).
    pub(super) fn cut_off_clients(&mut self) {
        let timings = &self.consensus.config().timings;
        let silent = self.now.since(self.consensus.confirmed(self.now)) >= timings.cutoff;
        let alone = self.consensus.config().members.count() == 1;
        if silent && !alone && !self.cut_off {
            self.outputs.push_back(Output::CutOff);
        }
        self.cut_off = silent && !alone;
    }

    /// The live session of a client, if it is its principal's.
    pub(super) fn live_generation(&self, (client, principal): &Identity) -> Option<Generation> {
        let (generation, owner) = self.directory.live_session(client)?;
        (owner == principal).then_some(generation)
    }
}
