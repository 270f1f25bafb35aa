//! Requests of a shard's links: whose they are, and the way each one takes.

use std::rc::Rc;
use std::time::Instant;

use rollcall_replica::Input;
use rollcall_replica::command::{Principal, Write};
use rollcall_shared::close::CloseCode;
use rollcall_shared::codec::encode;
use rollcall_shared::codec::request::Incoming;
use rollcall_shared::id::{ClientId, RequestId};
use rollcall_shared::message::{Empty, Error, ErrorCode, Hello, Ip, Request, RequestKind, tag};
use serde::Serialize;

use super::Shard;
use super::reads::Lookup;
use crate::link::{Closing, Link, Pending};

impl Shard {
    /// Takes in a message of a client.
    pub(crate) fn handle_text(&self, link: &Rc<Link>, text: &str) {
        let started = Instant::now();
        link.state().spoke = true;
        let incoming = match Incoming::parse(text) {
            Ok(incoming) => incoming,
            Err(rejected) => {
                self.reply_error(link, rejected.id, rejected.kind, &rejected.error, started);
                return;
            }
        };
        let (id, kind) = (incoming.id, incoming.kind);
        let request = self
            .bind(link, incoming.origin.as_ref())
            .and_then(|()| self.authorize(link, kind))
            .and_then(|()| incoming.request());
        match request {
            Ok(request) => self.handle_request(link, id, request, started),
            Err(error) => self.reply_error(link, Some(id), Some(kind), &error, started),
        }
    }

    /// Gives the link to the client of its first message, and refuses any other.
    fn bind(&self, link: &Link, origin: Option<&ClientId>) -> Result<(), Error> {
        let mut state = link.state();
        match (&state.client, origin) {
            (Some(_), None) => Ok(()),
            (Some(owner), Some(client)) if owner == client => Ok(()),
            (Some(_), Some(_)) => {
                let message = "this link belongs to another client id: open a link for each";
                Err(Error::in_field("origin", message))
            }
            (None, Some(client)) => {
                state.client = Some(client.clone());
                drop(state);
                // A link keeps the session of its client alive as soon as it is known whose it
                // is, even if it only looks up. With tokens that is after `Hello`.
                if !self.context.resolver.wants_token() {
                    self.announce_link(link);
                }
                Ok(())
            }
            (None, None) => {
                let id = new_client_id().map_err(|fault| {
                    tracing::error!("no randomness from the system: {fault}");
                    Error::new(ErrorCode::Internal, "no client id could be made")
                })?;
                state.client = Some(id);
                Ok(())
            }
        }
    }

    /// Where the server wants a token, lets only pass what needs none until one was shown.
    fn authorize(&self, link: &Link, kind: RequestKind) -> Result<(), Error> {
        let open = matches!(kind, RequestKind::Hello | RequestKind::GetStatus | RequestKind::Ping);
        if open || !self.context.resolver.wants_token() || link.state().principal.is_some() {
            return Ok(());
        }
        let message = "this server wants a token: send Hello with one first";
        Err(Error::new(ErrorCode::Unauthenticated, message))
    }

    fn handle_request(&self, link: &Rc<Link>, id: RequestId, request: Request, started: Instant) {
        let kind = request.kind();
        match request {
            Request::Hello(hello) => self.hello(link, id, hello, started),
            Request::ConnectUser(connect) => {
                let ip = match connect.ip {
                    Ip::Observed => link.peer.ip().to_canonical(),
                    Ip::Literal(ip) => ip,
                };
                let write = Write::Connect {
                    username: connect.username,
                    device: connect.device,
                    ip,
                    port: connect.port,
                    meta: connect.meta,
                };
                self.write(link, id, write, started);
            }
            Request::DisconnectUser(leave) => {
                let write = Write::Disconnect { username: leave.username, device: leave.device };
                self.write(link, id, write, started);
            }
            Request::GetSequenceNumber(take) => {
                self.write(link, id, Write::Sequence { count: take.count }, started);
            }
            Request::GetUserAddress(lookup) => {
                self.look_up(Lookup {
                    link: Rc::clone(link),
                    id,
                    names: lookup.usernames,
                    started,
                });
            }
            Request::Subscribe(subscribe) => self.subscribe(link, id, subscribe, started),
            Request::Unsubscribe(payload) => self.unsubscribe(link, id, payload, started),
            Request::GetStatus => {
                self.reply(link, id, tag::STATUS, &self.context.status(link.local));
                self.context.metrics.answered(Some(kind), None, started.elapsed());
            }
            Request::Ping => {
                self.reply(link, id, tag::PONG, &Empty {});
                self.context.metrics.answered(Some(kind), None, started.elapsed());
            }
        }
    }

    fn hello(&self, link: &Link, id: RequestId, hello: Hello, started: Instant) {
        if let Err(error) = self.authenticate(link, hello.token.as_deref()) {
            self.reply_error(link, Some(id), Some(RequestKind::Hello), &error, started);
            if error.code == ErrorCode::Unauthenticated {
                link.close(Closing::AfterQueue(CloseCode::Unauthenticated));
            }
            return;
        }
        self.announce_link(link);
        let (kind, named) = (RequestKind::Hello, hello.session);
        link.state().pending.push_back(Pending { id, kind, started, named });
        self.submit(Input::Open { link: link.id(), request: id });
    }

    fn authenticate(&self, link: &Link, token: Option<&str>) -> Result<(), Error> {
        if !self.context.resolver.wants_token() {
            return Ok(());
        }
        let subject = token.and_then(|token| self.context.resolver.subject(token));
        let Some(subject) = subject else {
            let message = "Hello needs a valid token here";
            return Err(Error::new(ErrorCode::Unauthenticated, message));
        };
        let principal = Principal::Subject(subject.clone());
        let mut state = link.state();
        match &state.principal {
            Some(known) if *known != principal => {
                let message = "this link belongs to another principal: open a link for each";
                Err(Error::new(ErrorCode::Forbidden, message))
            }
            Some(_) => Ok(()),
            None => {
                state.principal = Some(principal);
                Ok(())
            }
        }
    }

    /// Tells the replica whose link this is, once.
    fn announce_link(&self, link: &Link) {
        let mut state = link.state();
        if state.linked {
            return;
        }
        let Some(client) = state.client.clone() else { return };
        let own = || Principal::Client(client.clone());
        let principal = state.principal.get_or_insert_with(own).clone();
        state.linked = true;
        self.submit(Input::Linked { link: link.id(), client, principal });
    }

    fn write(&self, link: &Link, id: RequestId, write: Write, started: Instant) {
        self.announce_link(link);
        let kind = write.kind();
        link.state().pending.push_back(Pending { id, kind, started, named: None });
        self.submit(Input::Write { link: link.id(), request: id, write });
    }

    pub(super) fn reply<P: Serialize>(&self, link: &Link, id: RequestId, tag: &str, payload: &P) {
        link.send(encode(tag, Some(&self.context.origin), Some(id), payload));
    }

    pub(super) fn reply_error(
        &self,
        link: &Link,
        id: Option<RequestId>,
        kind: Option<RequestKind>,
        error: &Error,
        started: Instant,
    ) {
        link.send(encode(tag::ERROR, Some(&self.context.origin), id, error));
        self.context.metrics.answered(kind, Some(error.code), started.elapsed());
    }
}

/// A client id for a link that names none: 128 random bits.
fn new_client_id() -> Result<ClientId, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let text = format!("s-{:032x}", u128::from_be_bytes(bytes));
    Ok(ClientId::new(&text).expect("hex digits behind a prefix are a client id"))
}
