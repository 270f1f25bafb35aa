//! A server from start to end: its port, its threads and its shutdown.
//!
//! Threads: one per shard for connections, one for the node that owns the state, and the caller's,
//! which accepts connections.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rollcall_replica::consensus::StopReason;
use rollcall_replica::consensus::config::{
    Config as ConsensusConfig, Genesis, InvalidMembers, Members, Timings,
};
use rollcall_replica::consensus::ids::{Boot, ClusterId, ProcessId};
use rollcall_replica::consensus::journal::Stored;
use rollcall_replica::directory::Bounds;
use rollcall_replica::handshake::Doorkeeper;
use rollcall_replica::{Replica, Users};
use rollcall_shared::id::{NodeId, Revision};
use rollcall_storage::OpenError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::clock;
use crate::config::{Config, InvalidConfig};
use crate::context::Context;
use crate::http::{self, Connection};
use crate::node::{self, Copied, Node};
use crate::peers::{self, Arrival};
use crate::principals::{Resolver, TokensError};
use crate::shard::Shard;
use crate::storage::{self, Disk, FolderError, Memory, Opened, Storage};

/// A server whose port is open.
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    context: Arc<Context>,
    replica: Replica,
    /// The folder, unless all is in memory.
    opened: Option<Opened>,
    arrivals: mpsc::Receiver<Arrival>,
    copies: mpsc::Receiver<oneshot::Sender<Copied>>,
}

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration does not hold together.
    Config(InvalidConfig),
    /// The members do not make a cluster.
    Members(InvalidMembers),
    /// The file of tokens cannot be used.
    Tokens(TokensError),
    /// The port cannot be opened.
    Listen(SocketAddr, io::Error),
    /// The system gives no randomness for the cluster's id.
    Randomness(getrandom::Error),
    /// The folder of the data cannot be used.
    Folder(FolderError),
    /// What is in that folder cannot be used.
    Storage(PathBuf, OpenError),
    /// A backup was restored to another server than the one that begins the cluster.
    RestoredElsewhere(PathBuf, NodeId),
    /// The server lost its data, and there is no other to copy them from.
    NobodyToCopyFrom(PathBuf),
    /// What is in that folder belongs to a cluster of other servers than those that are configured.
    OtherMembers(PathBuf, Vec<NodeId>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(fault) => fault.fmt(f),
            Self::Members(fault) => fault.fmt(f),
            Self::Tokens(fault) => fault.fmt(f),
            Self::Listen(address, fault) if fault.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use: is a server running there? Choose another --listen")
            }
            Self::Listen(address, fault) => write!(f, "cannot listen on {address}: {fault}"),
            Self::Randomness(fault) => write!(f, "the system gives no random bytes: {fault}"),
            Self::Folder(fault) => fault.fmt(f),
            Self::Storage(path, fault @ OpenError::Damage(_)) => write!(
                f,
                "{}: {fault}. This server does not use it, so that nothing false is said. Where the \
                 other servers of its cluster are well, `rollcall readmit` lets it begin anew from \
                 them: see `rollcall help readmit`",
                path.display()
            ),
            Self::Storage(path, fault) => write!(f, "{}: {fault}", path.display()),
            Self::RestoredElsewhere(path, first) => write!(
                f,
                "{} holds a backup that was restored, but the server with the highest id, {first}, \
                 begins a cluster: restore it there, and start this one with an empty folder",
                path.display()
            ),
            Self::NobodyToCopyFrom(path) => write!(
                f,
                "{} was given up by `rollcall readmit`, and there is no other server to copy its state \
                 from: restore a backup to it, or begin anew with another folder",
                path.display()
            ),
            Self::OtherMembers(path, members) => {
                let ids: Vec<_> = members.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{} belongs to a cluster of the servers {}: name those, or choose another \
                     --data-dir; `rollcall restore` brings a backup to a cluster of other servers",
                    path.display(),
                    ids.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Why a server ended before it was told to.
#[derive(Debug)]
pub enum RunError {
    /// A thread could not be started.
    Thread(io::Error),
    /// A thread ended by itself: a bug, reported by its panic.
    Died,
    /// Another server was admitted to the cluster in place of this one (R28 of
    /// docs/replication.md).
    Superseded,
    /// What must be kept could not be stored.
    Storage,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(fault) => write!(f, "cannot start a thread: {fault}"),
            Self::Died => f.write_str("a thread of the server ended by a bug; see its panic above"),
            Self::Superseded => f.write_str(
                "the cluster has admitted another server with this id since; this one has ended \
                 for good: start it again with empty storage, or not at all",
            ),
            Self::Storage => f.write_str("its state could not be stored; see the log above"),
        }
    }
}

impl std::error::Error for RunError {}

impl Server {
    /// Checks the configuration and opens the port.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let resolver = Resolver::load(config.tokens.as_deref()).map_err(StartError::Tokens)?;
        let listen = |fault| StartError::Listen(config.listen, fault);
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let (settings, seed) = replica_config(&config)?;
        let opened = match &config.data_dir {
            Some(path) => Some(open_storage(path, &settings, seed)?),
            None => None,
        };
        let stored = opened.as_ref().map(|opened| opened.stored.clone());
        let stored = stored.unwrap_or_else(|| Stored::empty(config.id));
        let replica = Replica::new(clock::now(), settings, stored);
        // Whoever listens on all interfaces is reached under the address the client came to.
        let own = (!local.ip().is_unspecified()).then(|| format!("ws://{local}/ws"));
        let url = config.advertise.clone().or(own);
        let (to_links, arrivals) = mpsc::channel(peers::ARRIVALS);
        let (to_copy, copies) = mpsc::channel(node::COPIES);
        let context = Context::new(config, url, resolver, &replica, to_links, to_copy);
        Ok(Self { listener, local, context, replica, opened, arrivals, copies })
    }

    /// The address that is listened on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The WebSocket URL for clients; where the server listens on all interfaces, the one for
    /// clients on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let here = || {
            let ip: IpAddr = match self.local {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            format!("ws://{}/ws", SocketAddr::new(ip, self.local.port()))
        };
        self.context.url.clone().unwrap_or_else(here)
    }

    /// Serves until `shutdown` is ready; then hands over what it leads, tells clients to move, and
    /// ends.
    ///
    /// # Errors
    /// [`RunError`] when a thread cannot be started or ends by itself, or when the server must end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { listener, context, replica, opened, arrivals, copies, .. } = self;
        let (stop, stopped) = watch::channel(false);
        let storage: Box<dyn Storage> = match opened {
            Some(opened) => {
                let metrics = context.metrics.storage();
                Box::new(Disk::start(opened, metrics).map_err(RunError::Thread)?)
            }
            None => Box::<Memory>::default(),
        };
        let mut threads = Threads::default();
        let Started { connections, mut over } = threads
            .start(&context, (replica, storage), (arrivals, copies), &stopped)
            .map_err(RunError::Thread)?;
        let early = tokio::select! {
            biased;
            // Before the threads, some of which end because of it.
            over = &mut over => Some(over),
            () = accept(&listener, &connections) => None,
            () = shutdown => None,
            _ = threads.ended.next() => return Err(RunError::Died),
        };
        context.draining.store(true, Ordering::Relaxed);
        drop(listener);
        let _ = stop.send(true);
        // Each thread ends by itself now; the bound of the slowest is its own.
        while threads.ended.next().await.is_some() {}
        let joined: Vec<_> = threads.handles.into_iter().map(thread::JoinHandle::join).collect();
        if !joined.iter().all(Result::is_ok) {
            return Err(RunError::Died);
        }
        let why = match early {
            Some(why) => why.ok(),
            None => over.try_recv().ok(),
        };
        match why {
            Some(StopReason::Superseded) => Err(RunError::Superseded),
            Some(StopReason::Storage) => Err(RunError::Storage),
            Some(StopReason::Shutdown) | None => Ok(()),
        }
    }
}

/// Opens the folder of a server, and looks whether it is that of this one.
fn open_storage(
    path: &Path,
    settings: &rollcall_replica::Config,
    seed: u64,
) -> Result<Opened, StartError> {
    let consensus = &settings.consensus;
    let folder = storage::lock_folder(path).map_err(StartError::Folder)?;
    let failed = |fault| StartError::Storage(path.to_owned(), fault);
    let read = storage::read(folder, consensus.me).map_err(failed)?;
    let stored = read.stored();
    let first = consensus.members.ids().next().filter(|first| *first != consensus.me);
    if let Some(first) = first.filter(|_| stored.restored.is_some()) {
        return Err(StartError::RestoredElsewhere(path.to_owned(), first));
    }
    if stored.readmitted && consensus.members.count() == 1 {
        return Err(StartError::NobodyToCopyFrom(path.to_owned()));
    }
    match stored.members() {
        Some(found) if !found.iter().rev().copied().eq(consensus.members.ids()) => {
            Err(StartError::OtherMembers(path.to_owned(), found))
        }
        _ => read.open(seed).map_err(failed),
    }
}

/// What the replica is told at its start, and a random number besides.
fn replica_config(config: &Config) -> Result<(rollcall_replica::Config, u64), StartError> {
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(StartError::Randomness)?;
    let number = |at: usize| {
        random[at..at + 8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let me = config.id;
    let others = config.members.iter().map(|(id, _)| *id);
    let members = Members::new(std::iter::once(me).chain(others)).map_err(StartError::Members)?;
    let consensus = ConsensusConfig {
        me,
        members,
        timings: Timings { grace: config.session_grace, ..Timings::default() },
        bounds: Bounds { registrations: config.max_registrations, sessions: MAX_SESSIONS },
        process: ProcessId(number(0)),
        new_boot: Boot(number(8)),
        genesis: Genesis {
            cluster: ClusterId(number(16)),
            // Above every revision of an earlier life: none made a million changes a second.
            first_revision: Revision(clock::unix_millis() << 10),
        },
        seed: number(24),
        piece_bytes: ConsensusConfig::PIECE_BYTES,
    };
    let config = rollcall_replica::Config {
        consensus,
        patience: rollcall_replica::Config::PATIENCE,
        snapshot_every: rollcall_replica::Config::SNAPSHOT_EVERY,
        apply_at_once: rollcall_replica::Config::APPLY_AT_ONCE,
    };
    Ok((config, number(32)))
}

/// The replica of a server that has nothing stored.
#[cfg(test)]
pub(crate) fn start_replica(config: &Config) -> Result<Replica, StartError> {
    let (settings, _) = replica_config(config)?;
    Ok(Replica::new(clock::now(), settings, Stored::empty(config.id)))
}

/// Hands connections to the shards in turn; never returns.
async fn accept(listener: &TcpListener, shards: &[mpsc::Sender<Accepted>]) {
    let room = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    for shard in shards.iter().cycle() {
        let permit = Arc::clone(&room).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (stream, peer) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    // Out of files, most likely: those in use must end first.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        let Ok(stream) = stream.into_std() else { continue };
        if shard.send((stream, peer, permit)).await.is_err() {
            return;
        }
    }
}

/// A connection on its way to a shard, with the room it takes.
type Accepted = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

#[derive(Default)]
struct Threads {
    handles: Vec<thread::JoinHandle<()>>,
    ended: FuturesUnordered<oneshot::Receiver<()>>,
}

impl Threads {
    /// Starts the node, the shards and the links to other servers.
    fn start(
        &mut self,
        context: &Arc<Context>,
        (replica, storage): (Replica, Box<dyn Storage>),
        (arrivals, copies): (mpsc::Receiver<Arrival>, mpsc::Receiver<oneshot::Sender<Copied>>),
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<Started> {
        let count = match context.config.threads {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        };
        let (to_node, from_shards) = mpsc::channel(node::BATCHES);
        // Dropped by each shard when its clients have been told that this server ends.
        let (told, clients) = mpsc::channel(1);
        // Taken before any change: a thread that starts late is told of all of them.
        let users = Users::clone(&context.view.load());
        let mut deliveries = Vec::new();
        let mut connections = Vec::new();
        for number in 0..count {
            let (to_shard, from_node) = mpsc::channel(node::DELIVERIES);
            let (to_accept, accepted) = mpsc::channel(ACCEPTED);
            deliveries.push(to_shard);
            connections.push(to_accept);
            let context = Arc::clone(context);
            let users = users.clone();
            let ways = Ways {
                to_node: to_node.clone(),
                from_node,
                accepted,
                stopped: stopped.clone(),
                told: told.clone(),
            };
            self.spawn(format!("shard-{number}"), move || {
                run_shard(Shard::new(context, number, users), ways)
            })?;
        }
        let (to_node, from_peers) = mpsc::channel(peers::FROM_PEERS);
        let consensus = replica.consensus().config();
        let suspect = consensus.timings.suspect;
        let doorkeeper = Doorkeeper::new(consensus.me, consensus.members.clone(), suspect);
        let process = consensus.process;
        let of_links = Arc::clone(context);
        self.spawn("links".into(), move || {
            peers::run(of_links, doorkeeper, process, to_node, arrivals)
        })?;
        let (over, is_over) = oneshot::channel();
        let context = Arc::clone(context);
        self.spawn("node".into(), move || {
            let inbox = node::Inbox { shards: from_shards, peers: from_peers, clients, copies };
            Node::new(context, replica, storage, deliveries, over).run(inbox)
        })?;
        Ok(Started { connections, over: is_over })
    }

    /// Runs a future on a thread of its own; it is made there, and what it spawns stays there.
    fn spawn<F: Future<Output = ()>>(
        &mut self,
        name: String,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<()> {
        let (ended, end) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = thread::Builder::new().name(name).spawn(move || {
            // Dropped at the end of the thread, by a panic too.
            let _ended = ended;
            LocalSet::new().block_on(&runtime, async { run().await });
            // Not to wait for the name of a server that is being looked up.
            runtime.shutdown_background();
        })?;
        self.handles.push(handle);
        self.ended.push(end);
        Ok(())
    }
}

/// What runs, and how to reach it.
struct Started {
    /// Connections go here, to each shard in turn.
    connections: Vec<mpsc::Sender<Accepted>>,
    /// Says why the server takes no part in its cluster any more.
    over: oneshot::Receiver<StopReason>,
}

/// How a shard is reached, and whom it reaches.
struct Ways {
    to_node: mpsc::Sender<node::Batch>,
    from_node: mpsc::Receiver<node::Delivery>,
    accepted: mpsc::Receiver<Accepted>,
    stopped: watch::Receiver<bool>,
    /// Dropped when the clients have been told that the server ends.
    told: mpsc::Sender<Infallible>,
}

async fn run_shard(shard: Rc<Shard>, ways: Ways) {
    let Ways { to_node, from_node, mut accepted, mut stopped, told } = ways;
    let (outbox, inbox) = (Rc::clone(&shard), Rc::clone(&shard));
    let mut outbox = tokio::task::spawn_local(async move { outbox.run_outbox(to_node).await });
    let mut inbox = tokio::task::spawn_local(async move { inbox.run_inbox(from_node).await });
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            // Only a bug ends one of these early; the server must not go on without it.
            _ = &mut outbox => return,
            _ = &mut inbox => return,
            next = accepted.recv() => {
                let Some((stream, peer, permit)) = next else { break };
                let Ok(stream) = TcpStream::from_std(stream) else { continue };
                let connection = Connection { stream, peer, permit };
                tokio::task::spawn_local(http::serve(connection, Rc::clone(&shard)));
            }
        }
    }
    shard.drain();
    // What was asked before is answered before this server hands over, unless that takes long.
    let _ = timeout(LAST_ANSWERS, shard.emptied()).await;
    drop(told);
    if timeout(DRAIN, shard.drained()).await.is_err() {
        tracing::debug!("links left at the end of the shutdown are cut");
    }
    // The node says when it has handed over; without it nobody is told anything more.
    let _ = timeout(HAND_OVER, shard.stopped()).await;
    outbox.abort();
    inbox.abort();
}

/// The most live sessions of the cluster.
const MAX_SESSIONS: usize = 1_000_000;
/// Accepted connections on their way to a shard.
const ACCEPTED: usize = 1024;
/// The most connections that are not links (yet): each must send a request within a deadline, so
/// those that wait for room get it. Links have a bound of their own.
const HTTP_CONNECTIONS: usize = 4096;
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests may take that were there when the shutdown began.
const LAST_ANSWERS: Duration = Duration::from_millis(100);
/// How long the node may take to hand over what it leads: more than the replica allows itself.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long links may take to end at a shutdown.
const DRAIN: Duration = Duration::from_secs(3);
