//! The links to the other servers: one WebSocket for each pair, kept open for as long as both run.
//!
//! Of two servers the one with the higher id dials ([`dial`]), the other is knocked at over HTTP
//! ([`crate::http`]); either way a [`link`] carries frames to and from the node. All of it runs on
//! one thread. What the frames say, and who may link, is decided by the replica; beside them each
//! server tells the others what its operators want to see ([`report`]).

mod dial;
pub(crate) mod greeting;
mod link;
mod report;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rollcall_replica::consensus::ids::{PeerLink, ProcessId};
use rollcall_replica::consensus::message::Frame;
use rollcall_replica::consensus::peer::CloseReason;
use rollcall_replica::handshake::{Doorkeeper, Introduction, Linked, Refusal};
use rollcall_shared::id::NodeId;
use rollcall_shared::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::clock;
use crate::context::Context;
use crate::metered::Metered;
use link::End;
pub(crate) use report::Report;

/// What links tell the node.
#[derive(Debug)]
pub(crate) enum FromPeer {
    /// There is a link; what is due to it goes to `outbox`.
    Up { peer: NodeId, link: PeerLink, outbox: Outbox },
    /// Messages came, in order.
    Frames { peer: NodeId, link: PeerLink, frames: Vec<Frame> },
    /// The link has ended.
    Down { peer: NodeId, link: PeerLink },
}

/// The node's end of a link. When it is dropped, the link ends: at once where nothing is due, and
/// soon where the other server takes nothing.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// What is due.
    pub(crate) due: mpsc::Sender<ToPeer>,
    /// Dropped with it, so that the link knows even while it waits for the other server.
    _held: oneshot::Sender<Infallible>,
}

/// An outbox for so many messages, and the link's end of it.
pub(crate) fn outbox(
    room: usize,
) -> (Outbox, mpsc::Receiver<ToPeer>, oneshot::Receiver<Infallible>) {
    let (to_link, due) = mpsc::channel(room);
    let (held, given_up) = oneshot::channel();
    (Outbox { due: to_link, _held: held }, due, given_up)
}

/// What the node tells a link.
#[derive(Debug)]
pub(crate) enum ToPeer {
    /// Messages to send, in order.
    Frames(Vec<Frame>),
    /// The link is to be closed after what is due.
    Close(CloseReason),
}

/// A server that dialled this one, on its way from the HTTP service.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It asks whether it may link.
    Knock {
        /// Who it says it is.
        from: Introduction,
        /// Who it looks for.
        wanted: NodeId,
        /// Told whether it may, and who this is.
        answer: oneshot::Sender<Result<Introduction, Refusal>>,
    },
    /// It may, and its connection is a WebSocket now.
    Link {
        /// Who it says it is.
        from: Introduction,
        /// The connection.
        stream: std::net::TcpStream,
        /// What was read of it already.
        ahead: Bytes,
        /// Where it is.
        address: SocketAddr,
    },
}

/// Batches of frames on their way to the node; links stop reading when there are more.
pub(crate) const FROM_PEERS: usize = 64;
/// Batches of frames on their way to a link, one for each time the node said something. Entries are
/// bounded by the replica, which sends no more than a window ahead of what is acknowledged.
const TO_PEER: usize = 1024;
/// Arrivals on their way to the thread of the links.
pub(crate) const ARRIVALS: usize = 16;

/// All links to other servers.
struct Peers {
    context: Arc<Context>,
    doorkeeper: Doorkeeper,
    process: ProcessId,
    to_node: mpsc::Sender<FromPeer>,
    /// The newest link to each server.
    table: RefCell<BTreeMap<NodeId, Rc<Current>>>,
    last_link: Cell<u64>,
}

/// A link that is open.
struct Current {
    link: PeerLink,
    process: ProcessId,
    /// When something came last.
    heard: Cell<Instant>,
    /// Whether a frame came: whoever only claims to be a server is no news.
    spoke: Cell<bool>,
    /// Told when a newer link takes its place.
    replaced: Notify,
}

/// Keeps the links until the node takes nothing any more.
pub(crate) async fn run(
    context: Arc<Context>,
    doorkeeper: Doorkeeper,
    process: ProcessId,
    to_node: mpsc::Sender<FromPeer>,
    mut arrivals: mpsc::Receiver<Arrival>,
) {
    let over = to_node.clone();
    let peers = Rc::new(Peers {
        context,
        doorkeeper,
        process,
        to_node,
        table: RefCell::default(),
        last_link: Cell::new(0),
    });
    let members = peers.context.config.members.clone();
    let dialled: Vec<_> = peers.doorkeeper.dials().collect();
    for (id, url) in members.into_iter().filter(|(id, _)| dialled.contains(id)) {
        tokio::task::spawn_local(dial::keep_linked(Rc::clone(&peers), id, url));
    }
    loop {
        tokio::select! {
            () = over.closed() => return,
            Some(arrival) = arrivals.recv() => peers.handle_arrival(arrival),
        }
    }
}

impl Peers {
    fn handle_arrival(self: &Rc<Self>, arrival: Arrival) {
        match arrival {
            Arrival::Knock { from, wanted, answer } => {
                let admitted = self.doorkeeper.admit(&from, wanted, self.linked(from.node));
                if let Err(refusal) = &admitted {
                    let text = format!("refused a link from server {}: {refusal}", from.node);
                    self.refused(refusal.kind(), &text);
                }
                // Who does not wait for the answer any more does not need it.
                let _ = answer.send(admitted.map(|()| self.introduction()));
            }
            Arrival::Link { from, stream, ahead, address } => {
                let peers = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let Ok(stream) = TcpStream::from_std(stream) else { return };
                    let stream = Metered::new(stream, ahead);
                    let config = Some(link::config());
                    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, config);
                    peers.serve(from, socket.await, address).await;
                });
            }
        }
    }

    fn introduction(&self) -> Introduction {
        self.doorkeeper.introduce(self.process)
    }

    /// The link there is to a server, as far as another one depends on it.
    fn linked(&self, node: NodeId) -> Option<Linked> {
        let table = self.table.borrow();
        let current = table.get(&node)?;
        let silence = clock::now().since(current.heard.get());
        Some(Linked { process: current.process, silence })
    }

    /// Serves a link to the server that introduced itself, until it ends.
    async fn serve(
        &self,
        other: Introduction,
        socket: WebSocketStream<Metered>,
        address: SocketAddr,
    ) -> End {
        let peer = other.node;
        self.last_link.set(self.last_link.get() + 1);
        let link = PeerLink(self.last_link.get());
        let current = Rc::new(Current {
            link,
            process: other.process,
            heard: Cell::new(clock::now()),
            spoke: Cell::new(false),
            replaced: Notify::new(),
        });
        if let Some(old) = self.table.borrow_mut().insert(peer, Rc::clone(&current)) {
            old.replaced.notify_one();
        }
        self.context.metrics.peer_linked(peer);
        tracing::debug!(%peer, %address, "linked");
        let (outbox, due, given_up) = outbox(TO_PEER);
        // An error means that the node has ended, and so does the link at once.
        let _ = self.to_node.send(FromPeer::Up { peer, link, outbox }).await;
        let end = link::drive(self, peer, &current, socket, due, given_up).await;
        let is_current = self.table.borrow().get(&peer).is_some_and(|it| it.link == link);
        if is_current {
            self.table.borrow_mut().remove(&peer);
        }
        let _ = self.to_node.send(FromPeer::Down { peer, link }).await;
        self.tell_end(peer, &current, &end);
        end
    }

    fn tell_end(&self, peer: NodeId, current: &Current, end: &End) {
        let draining = self.context.draining.load(std::sync::atomic::Ordering::Relaxed);
        match end {
            End::Lost(why) if draining || !current.spoke.get() => {
                tracing::debug!(%peer, "link ended: {why}")
            }
            End::Lost(why) => tracing::info!(%peer, "link to server {peer} ended: {why}"),
            End::Replaced => tracing::debug!(%peer, "a newer link takes the place of this one"),
            End::Closed(why @ (CloseReason::Silent | CloseReason::Joined)) => {
                tracing::info!(%peer, "closed the link to server {peer}: {why}");
            }
            End::Closed(why @ CloseReason::Violation(violation)) => {
                let text = format!("refused the link to server {peer}: {why}");
                self.refused(violation.kind(), &text);
            }
            End::Garbage(what) => {
                let text = format!("refused the link to server {peer}: {what}");
                self.refused("garbage", &text);
            }
            End::Refused(reason) => {
                self.refused("by_peer", &format!("server {peer} closed the link: {reason}"));
            }
        }
    }

    /// Counts a refusal, and tells of it.
    fn refused(&self, reason: &'static str, text: &str) {
        self.context.metrics.peer_refused(reason);
        self.context.complaints.warn(reason, text);
    }
}
