//! What clients do in a run, and what they make of what servers say.

use rollcall_replica::command::{Principal, Write, Written};
use rollcall_replica::consensus::ids::ReadId;
use rollcall_replica::{Input, LinkId, Output};
use rollcall_shared::id::{ClientId, RequestId};

use super::client::{Answer, Ask, Client, ClientLink, LATE, Operation};
use super::{Count, Next, Outcome, Sim};
use crate::invariants::{Event, online};
use crate::random::Random;

impl Client {
    pub(super) fn new(number: u32, random: &mut Random) -> Self {
        let id: ClientId = format!("client-{number}").parse().expect("a client id");
        let port = u16::try_from(random.between(1, 1_000)).unwrap_or(1);
        let (link, open, earliest) = (None, None, None);
        let (next_request, away_until, unlinked_at) = (1, 0, 0);
        Self { id, link, next_request, open, earliest, away_until, port, unlinked_at }
    }
}

impl Sim {
    pub(super) fn client_step(&mut self, client: usize) -> Outcome {
        let pause = self.random.between(1_000, 80_000);
        self.at(self.now + pause, Next::Client { client });
        let Some(known) = self.clients.get(client) else { return Ok(()) };
        if known.away_until > self.now {
            return Ok(());
        }
        if let Some(open) = known.open.clone() {
            if open.again_at <= self.now {
                return self.ask_again(client, open);
            }
            return Ok(());
        }
        if !self.breaking {
            // One more request after all is well; then the client is content.
            if known.next_request > CONTENT {
                return Ok(());
            }
            let Some(known) = self.clients.get_mut(client) else { return Ok(()) };
            known.next_request += CONTENT;
        } else if self.random.one_in(self.plan.drops) {
            return self.drop_link(client);
        }
        self.ask(client)
    }

    /// Drops the link without a word; now and then for longer than the grace.
    fn drop_link(&mut self, client: usize) -> Outcome {
        let long = self.random.one_in(3);
        let away = self.random.between(1_000, if long { 6_000_000 } else { 300_000 });
        self.leave(client, self.now + away)
    }

    pub(super) fn leave(&mut self, client: usize, until: u64) -> Outcome {
        let now = self.now;
        let Some(known) = self.clients.get_mut(client) else { return Ok(()) };
        known.away_until = until;
        let Some(link) = known.link.take() else { return Ok(()) };
        known.unlinked_at = now;
        self.note(|| format!("client {client} drops its link to {}", link.node));
        self.tell(link.node, Input::Unlinked { link: link.link })
    }

    fn ask(&mut self, client: usize) -> Outcome {
        let name = NAMES[usize::try_from(self.random.below(NAMES.len() as u64)).unwrap_or(0)];
        let kind = self.random.below(10);
        let invoked = self.now;
        let Some(known) = self.clients.get_mut(client) else { return Ok(()) };
        let request = RequestId(known.next_request);
        known.next_request += 1;
        // The device is the client's own, so that nobody else can hold it.
        let device = known.id.as_str().parse().expect("client ids are devices");
        let username = name.parse().expect("names are valid");
        let ask = match kind {
            0..=2 => Ask::Write(Write::Sequence { count: 1 }),
            3..=5 => {
                known.port = known.port.wrapping_add(1).max(1);
                let (ip, port) = ([10, 0, 0, 1].into(), known.port);
                Ask::Write(Write::Connect { username, device, ip, port, meta: None })
            }
            6 => Ask::Write(Write::Disconnect { username, device }),
            _ => Ask::Read,
        };
        let (id, repeats) = (known.id.clone(), false);
        let operation = Operation { client, id, request, ask, invoked, repeats, again_at: 0 };
        self.observe(&Event::Asked { operation: &operation })?;
        self.note(|| format!("client {client} asks {operation:?}"));
        self.send_request(operation)
    }

    /// The answer is late: asks another server, with the same number.
    fn ask_again(&mut self, client: usize, operation: Operation) -> Outcome {
        let now = self.now;
        if let Some(known) = self.clients.get_mut(client)
            && let Some(link) = known.link.take()
        {
            known.unlinked_at = now;
            self.tell(link.node, Input::Unlinked { link: link.link })?;
        }
        self.send_request(operation)
    }

    fn send_request(&mut self, mut operation: Operation) -> Outcome {
        let client = operation.client;
        let late = u64::try_from(LATE.as_micros()).unwrap_or(u64::MAX);
        operation.again_at = self.now + late;
        if let Some(known) = self.clients.get_mut(client) {
            known.open = Some(operation.clone());
        }
        let Some(ClientLink { node, link, .. }) = self.link_of(client)? else { return Ok(()) };
        match operation.ask {
            Ask::Write(write) => {
                let request = operation.request;
                self.tell(node, Input::Write { link, request, write })
            }
            Ask::Read => {
                self.last_read += 1;
                // Which client reads is in the number, so that the answer finds it.
                let read = ReadId(self.last_read * READERS + client as u64);
                if let Some(known) = self.clients.get_mut(client)
                    && let Some(open) = &mut known.open
                {
                    open.request = RequestId(read.0);
                }
                let shown = self.servers.get(&node).and_then(|server| {
                    let (until, _) = server.readable?;
                    Some(server.clock.local(self.now) < until && server.paused_until.is_none())
                });
                if shown == Some(true) && self.random.one_in(2) {
                    self.counts.add(Count::ReadAtOnce);
                    return self.read(node, read);
                }
                self.tell(node, Input::Read { read })
            }
        }
    }

    /// The client's link; a new one to any server that runs, if it has none.
    fn link_of(&mut self, client: usize) -> Result<Option<ClientLink>, super::Failure> {
        if let Some(link) = self.clients.get(client).and_then(|known| known.link) {
            return Ok(Some(link));
        }
        let Some(node) = self.any_running() else { return Ok(None) };
        self.last_client_link += 1;
        let link = LinkId(self.last_client_link);
        let Some(known) = self.clients.get_mut(client) else { return Ok(None) };
        let made = ClientLink { node, link, answered: None, session: None };
        known.link = Some(made);
        let (id, principal) = (known.id.clone(), Principal::Client(known.id.clone()));
        self.tell(node, Input::Linked { link, client: id, principal })?;
        if self.random.one_in(2) {
            let request = RequestId(HELLO + link.0);
            self.tell(node, Input::Open { link, request })?;
        }
        Ok(self.clients.get(client).and_then(|known| known.link))
    }

    /// Any server that runs.
    pub(super) fn any_running(&mut self) -> Option<u32> {
        let running = self.servers.iter().filter(|(_, server)| server.replica.is_some());
        let running: Vec<u32> = running.map(|(id, _)| *id).collect();
        self.random.pick(&running).copied()
    }

    /// The process is gone, and all links to it.
    pub(super) fn drop_clients_of(&mut self, node: u32) {
        for client in &mut self.clients {
            if client.link.is_some_and(|link| link.node == node) {
                client.link = None;
                client.unlinked_at = self.now;
            }
        }
    }

    /// A server says something; it may be for a client.
    pub(super) fn heard(&mut self, node: u32, output: &Output) -> Outcome {
        match output {
            Output::Opened { link, session, .. } => {
                self.answered_link(node, *link);
                for known in self.clients.iter_mut().filter_map(|client| client.link.as_mut()) {
                    if (known.node, known.link) == (node, *link) {
                        known.session = Some(*session);
                    }
                }
            }
            Output::Written { link, request, written } => {
                self.answered_link(node, *link);
                let of = |known: &Client| known.link.is_some_and(|l| l.link == *link);
                let client = self.clients.iter().position(of);
                let open = client.and_then(|client| self.clients[client].open.clone());
                if let Some(open) = open
                    .filter(|open| open.request == *request && matches!(open.ask, Ask::Write(_)))
                {
                    return self.take_answer(&open, &Answer::Written(written.clone()));
                }
            }
            Output::Refused { link, request, .. } => {
                for client in &mut self.clients {
                    if client.link.is_some_and(|l| l.link == *link)
                        && let Some(open) = &mut client.open
                        && open.request == *request
                    {
                        open.again_at = self.now;
                    }
                }
            }
            Output::Readable { read } if Self::is_of_watcher(*read) => {
                self.watcher_may_begin(node, *read);
            }
            Output::Readable { read } => return self.read(node, *read),
            Output::Changed(change) => return self.changed(node, change),
            Output::Installed { revision } => self.installed(node, *revision),
            Output::SessionEnded { link } => return self.close_client(node, *link),
            Output::CutOff => {
                self.drop_watchers_of(node);
                let of = |client: &Client| client.link.filter(|link| link.node == node);
                let links: Vec<_> = self.clients.iter().filter_map(of).collect();
                for link in links.into_iter().filter(|link| link.answered.is_some()) {
                    self.close_client(node, link.link)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answered_link(&mut self, node: u32, link: LinkId) {
        for client in &mut self.clients {
            if let Some(known) = &mut client.link
                && (known.node, known.link) == (node, link)
            {
                known.answered = known.answered.or(Some(self.now));
            }
        }
    }

    fn close_client(&mut self, node: u32, link: LinkId) -> Outcome {
        for client in &mut self.clients {
            if client.link.is_some_and(|l| l.link == link) {
                client.link = None;
                client.unlinked_at = self.now;
            }
        }
        // The server hears that the socket has ended, later.
        let now = self.now;
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let local = server.clock.local(now);
        if let Some(replica) = &mut server.replica {
            replica.handle(local, Input::Unlinked { link });
        }
        Ok(())
    }

    fn read(&mut self, node: u32, read: ReadId) -> Outcome {
        let client = usize::try_from(read.0 % READERS).unwrap_or(0);
        let open = self.clients.get(client).and_then(|known| known.open.clone());
        let Some(open) = open.filter(|open| open.request.0 == read.0) else { return Ok(()) };
        if !matches!(open.ask, Ask::Read) {
            return Ok(());
        }
        let Some(replica) = self.servers.get(&node).and_then(|server| server.replica.as_ref())
        else {
            return Ok(());
        };
        let directory = replica.directory();
        let answer = Answer::Read { revision: directory.revision(), state: online(directory) };
        self.take_answer(&open, &answer)
    }

    fn take_answer(&mut self, operation: &Operation, answer: &Answer) -> Outcome {
        self.counts.add(match answer {
            Answer::Written(Written::Applied(_)) if operation.repeats => Count::Repeat,
            Answer::Written(Written::Applied(_)) => Count::Write,
            Answer::Written(_) => Count::NotApplied,
            Answer::Read { .. } => Count::Read,
        });
        self.trace.debug(answer);
        if let Some(known) = self.clients.get_mut(operation.client) {
            known.open = None;
        }
        self.note(|| format!("client {} is answered {answer:?}", operation.client));
        self.observe(&Event::Answered { operation, answer })?;
        self.ask_once_more(operation, answer)
    }

    /// A session that ended meanwhile is a reason to ask again (R23). A client may also have missed
    /// the answer, now or long ago.
    fn ask_once_more(&mut self, operation: &Operation, answer: &Answer) -> Outcome {
        let Some(known) = self.clients.get_mut(operation.client) else { return Ok(()) };
        let again = match answer {
            Answer::Read { .. } => None,
            Answer::Written(Written::NotCurrent) => Some(operation),
            Answer::Written(_) if self.random.one_in(REPEATS) => Some(operation),
            Answer::Written(_) if self.random.one_in(REPEATS_EARLIEST) => known.earliest.as_ref(),
            Answer::Written(_) => {
                known.earliest.get_or_insert_with(|| operation.clone());
                None
            }
        };
        let Some(again) = again.filter(|_| self.breaking) else { return Ok(()) };
        let again = Operation { repeats: true, again_at: self.now, ..again.clone() };
        known.open = Some(again.clone());
        self.observe(&Event::Asked { operation: &again })
    }
}

/// One write in so many is asked again although it was answered.
const REPEATS: u64 = 12;
/// And its client's first write, once in so many.
const REPEATS_EARLIEST: u64 = 25;
/// The names that clients register.
const NAMES: [&str; 6] = ["ann", "bob", "cat", "dan", "eve", "fay"];
/// More clients and subscribers than any run has.
pub(super) const READERS: u64 = 64;
/// Above every number of a request that is asked while things break.
const CONTENT: u64 = 1 << 40;
/// The numbers of `Hello`s: theirs are not looked at.
const HELLO: u64 = 1 << 50;
