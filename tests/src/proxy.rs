//! A network between servers that a test can cut: TCP proxies on loopback, in user space.
//!
//! A cut is silent, as a real one is: connections stay open and carry nothing. No byte of a
//! connection that goes on is lost, for what is not carried is not read. Knows nothing of what it
//! carries.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::Interest,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};

/// What carries, on a thread of its own: a network does not pause while a test thinks.
#[derive(Debug)]
pub struct Network {
    runtime: Option<Runtime>,
}

impl Network {
    /// A network without any way through it.
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { runtime: Some(runtime.expect("the system has threads")) }
    }

    /// Opens a way through it. Connections wait until [`Proxy::lead_to`] says where it ends.
    pub fn open(&self) -> Proxy {
        let runtime = self.runtime.as_ref().expect("it ends when it is dropped");
        Proxy::open(runtime.handle())
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test is asynchronous, where waiting for the end of a runtime is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// One way through the network: who dials it is connected to where it leads.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    traffic: Arc<Traffic>,
}

/// What was read to be carried, in both directions together.
#[derive(Debug)]
struct Traffic {
    bytes: AtomicU64,
    /// With so many the connections there are stall.
    stall_at: AtomicU64,
    /// Of the proxy, while there is one.
    state: Weak<watch::Sender<State>>,
}

impl Traffic {
    const NEVER: u64 = u64::MAX;

    /// Takes in that so many more were carried.
    fn add(&self, bytes: usize) {
        let sum = self.bytes.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64;
        let reached = |at: u64| (at <= sum).then_some(Self::NEVER);
        if self.stall_at.fetch_update(Ordering::SeqCst, Ordering::SeqCst, reached).is_ok()
            && let Some(state) = self.state.upgrade()
        {
            state.send_modify(|state| state.era += 1);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    target: Option<SocketAddr>,
    /// From the one who dials.
    forth: bool,
    /// To the one who dials.
    back: bool,
    /// Connections of an earlier one carry nothing any more.
    era: u64,
}

impl State {
    const fn is_whole(&self) -> bool {
        self.forth && self.back
    }
}

impl Proxy {
    fn open(runtime: &Handle) -> Self {
        let _guard = runtime.enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("a port is free");
        listener.set_nonblocking(true).expect("sockets know it");
        let listener = TcpListener::from_std(listener).expect("it listens");
        let address = listener.local_addr().expect("it is bound");
        let (state, changes) =
            watch::channel(State { target: None, forth: true, back: true, era: 0 });
        let state = Arc::new(state);
        let (bytes, stall_at) = (AtomicU64::new(0), AtomicU64::new(Traffic::NEVER));
        let traffic = Arc::new(Traffic { bytes, stall_at, state: Arc::downgrade(&state) });
        runtime.spawn(accept(listener, changes, Arc::clone(&traffic)));
        Self { address, state, traffic }
    }

    /// Where to dial.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says where connections end.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = Some(target));
    }

    /// Carries nothing any more, in either direction.
    pub fn cut(&self) {
        self.set(false, false);
    }

    /// Carries nothing any more of what the one says who dials.
    pub fn cut_forth(&self) {
        self.state.send_modify(|state| state.forth = false);
    }

    /// Carries nothing any more of what the one says who was dialled.
    pub fn cut_back(&self) {
        self.state.send_modify(|state| state.back = false);
    }

    /// Carries nothing any more on the connections there are, for ever; new ones are served.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.era += 1);
    }

    /// The same as soon as there are so many bytes more to carry; those that make it so many are not.
    pub fn stall_after(&self, bytes: u64) {
        self.traffic.stall_at.store(self.carried() + bytes, Ordering::SeqCst);
    }

    /// How many bytes it has carried, in both directions together, those included that stalled.
    pub fn carried(&self) -> u64 {
        self.traffic.bytes.load(Ordering::SeqCst)
    }

    /// Carries everything again, first what has waited.
    pub fn heal(&self) {
        self.set(true, true);
    }

    fn set(&self, forth: bool, back: bool) {
        self.state.send_modify(|state| (state.forth, state.back) = (forth, back));
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>, traffic: Arc<Traffic>) {
    while let Ok((dialler, _)) = listener.accept().await {
        tokio::spawn(carry(dialler, state.clone(), Arc::clone(&traffic)));
    }
}

async fn carry(dialler: TcpStream, mut state: watch::Receiver<State>, traffic: Arc<Traffic>) {
    // To open, a connection needs both directions.
    let whole = state.wait_for(|state| state.is_whole() && state.target.is_some()).await;
    let Some((Some(target), era)) = whole.ok().map(|state| (state.target, state.era)) else {
        return;
    };
    // Who gave up meanwhile was never heard of at the other end.
    let readiness = dialler.ready(Interest::READABLE | Interest::WRITABLE).await;
    if readiness.is_ok_and(|it| it.is_read_closed()) {
        return;
    }
    // Dropped where nobody listens: the dialler sees its connection end at once.
    let Ok(target) = TcpStream::connect(target).await else { return };
    for stream in [&dialler, &target] {
        // Where this fails the connection has ended, which the first read says.
        let _ = stream.set_nodelay(true);
    }
    let (from_dialler, to_dialler) = dialler.into_split();
    let (from_target, to_target) = target.into_split();
    // Each end is passed on by itself, so that it is cut like everything else.
    let (forth, back) = (state.clone(), state);
    let traffic = &traffic;
    tokio::join!(
        pump(from_dialler, to_target, forth, |state| state.forth && state.era == era, traffic),
        pump(from_target, to_dialler, back, |state| state.back && state.era == era, traffic),
    );
}

/// Carries one direction to its end; when it returns, the reader is told so.
async fn pump(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    is_open: impl Fn(&State) -> bool,
    traffic: &Traffic,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (from, to) = (from.as_ref(), to.as_ref());
    loop {
        let read = || from.try_read(&mut buffer);
        let read = when_open(&mut state, &is_open, from, Interest::READABLE, read).await;
        // An end by error is an end; how the other side takes it is not ours to say.
        let Some(Ok(count @ 1..)) = read else { return };
        traffic.add(count);
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let write = || to.try_write(rest);
            let write = when_open(&mut state, &is_open, to, Interest::WRITABLE, write).await;
            let Some(Ok(written)) = write else { return };
            rest = &rest[written..];
        }
    }
}

/// Does a step as soon as the direction is open and the stream is ready for it; none where the
/// proxy is gone.
async fn when_open<T>(
    state: &mut watch::Receiver<State>,
    is_open: &impl Fn(&State) -> bool,
    stream: &TcpStream,
    interest: Interest,
    mut step: impl FnMut() -> io::Result<T>,
) -> Option<io::Result<T>> {
    loop {
        state.wait_for(is_open).await.ok()?;
        tokio::select! {
            biased;
            cut = state.wait_for(|state| !is_open(state)) => {
                cut.ok()?;
                continue;
            }
            ready = stream.ready(interest) => if let Err(error) = ready {
                return Some(Err(error));
            },
        }
        match step() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Some(done),
        }
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;
    use crate::wire::within;

    /// Both ends of a connection through a proxy.
    async fn connection() -> (Network, Proxy, TcpStream, TcpStream) {
        let network = Network::new();
        let proxy = network.open();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let dialler = TcpStream::connect(proxy.address()).await.expect("the proxy accepts");
        proxy.lead_to(listener.local_addr().expect("it is bound"));
        let (target, _) = within("a connection", listener.accept()).await.expect("it arrives");
        (network, proxy, dialler, target)
    }

    async fn expect(stream: &mut TcpStream, wanted: &[u8]) {
        let mut found = vec![0; wanted.len()];
        within("the bytes", stream.read_exact(&mut found)).await.expect("they arrive");
        assert_eq!(found, wanted);
    }

    /// Long enough for a byte that is not held up to arrive, as it does within microseconds.
    async fn expect_silence(stream: &mut TcpStream) {
        let read = timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
        assert!(read.is_err(), "{read:?} came through a cut");
    }

    #[tokio::test]
    async fn what_is_said_during_a_cut_arrives_after_it() {
        let (_network, proxy, mut dialler, mut target) = connection().await;
        dialler.write_all(b"before").await.expect("it is open");
        expect(&mut target, b"before").await;
        proxy.cut();
        dialler.write_all(b"forth").await.expect("it is open");
        target.write_all(b"back").await.expect("it is open");
        expect_silence(&mut target).await;
        expect_silence(&mut dialler).await;
        proxy.heal();
        expect(&mut target, b"forth").await;
        expect(&mut dialler, b"back").await;
    }

    #[tokio::test]
    async fn one_direction_can_be_cut_alone() {
        let (_network, proxy, mut dialler, mut target) = connection().await;
        proxy.cut_forth();
        dialler.write_all(b"forth").await.expect("it is open");
        target.write_all(b"back").await.expect("it is open");
        expect(&mut dialler, b"back").await;
        expect_silence(&mut target).await;
        proxy.heal();
        expect(&mut target, b"forth").await;
        proxy.cut_back();
        target.write_all(b"again").await.expect("it is open");
        expect_silence(&mut dialler).await;
        dialler.write_all(b"more").await.expect("it is open");
        expect(&mut target, b"more").await;
    }

    #[tokio::test]
    async fn a_connection_stalls_after_what_it_was_to_carry() {
        let (_network, proxy, mut dialler, mut target) = connection().await;
        dialler.write_all(b"some").await.expect("it is open");
        expect(&mut target, b"some").await;
        assert_eq!(proxy.carried(), 4);
        proxy.stall_after(5);
        target.write_all(b"more").await.expect("it is open");
        expect(&mut dialler, b"more").await;
        dialler.write_all(b"nothing").await.expect("it is open");
        expect_silence(&mut target).await;
    }

    #[tokio::test]
    async fn the_end_of_a_connection_is_cut_too() {
        let (_network, proxy, mut dialler, target) = connection().await;
        proxy.cut();
        drop(target);
        expect_silence(&mut dialler).await;
        proxy.heal();
        let end = within("the end", dialler.read(&mut [0])).await.expect("an orderly end");
        assert_eq!(end, 0);
    }

    #[tokio::test]
    async fn who_dials_during_a_cut_waits_and_who_gave_up_is_not_heard_of() {
        let (_network, proxy, _dialler, _target) = connection().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        proxy.lead_to(listener.local_addr().expect("it is bound"));
        proxy.cut();
        let mut gone = TcpStream::connect(proxy.address()).await.expect("the proxy accepts");
        gone.write_all(b"gone").await.expect("it is open");
        drop(gone);
        let mut patient = TcpStream::connect(proxy.address()).await.expect("the proxy accepts");
        patient.write_all(b"patient").await.expect("it is open");
        expect_silence(&mut patient).await;
        proxy.heal();
        let (mut arrived, _) = within("the connection", listener.accept()).await.expect("it is");
        expect(&mut arrived, b"patient").await;
        let more = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(more.is_err(), "who gave up arrived");
    }

    #[tokio::test]
    async fn where_nobody_listens_a_connection_ends_at_once() {
        let (_network, proxy, _dialler, _target) = connection().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        proxy.lead_to(listener.local_addr().expect("it is bound"));
        drop(listener);
        let mut dialler = TcpStream::connect(proxy.address()).await.expect("the proxy accepts");
        let end = within("the end", dialler.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
