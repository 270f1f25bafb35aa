//! Native clients that call without pause while a test breaks things: numbers, writes, lookups of what
//! they wrote, users who come and go. All of them watch, some of them everybody.
//!
//! No call may fail, no number come twice, no lookup miss what was written, nobody be gone who stays,
//! no watch differ from the directory. It knows nothing of what the test does but the name of it, for
//! the table of what callers waited. This is the one module here that uses the code under test.

pub mod follower;
pub mod waits;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use futures::{
    StreamExt as _,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use rollcall_client::{Client, Error, Filter, Ip, Prefix, Registered, Registration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    cluster::Cluster,
    wire::{eventually, within},
};
use follower::{COUNTING, Directory, FLEETING, Followed, Follower, directory};
use waits::{Call, Waits};

/// Clients at work. Dropping it ends them.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<Client>,
    callers: JoinSet<()>,
    followers: Vec<Follower>,
    /// The revision at which they began.
    began: u64,
}

/// What came of it; its clients still hold what they hold.
#[derive(Debug)]
pub struct Outcome {
    /// When times began to count, by the clock that pages have too.
    pub start_of_day: SystemTime,
    pub waits: Waits,
    pub followed: Vec<Followed>,
    /// All numbers that were handed out.
    pub numbers: BTreeSet<u64>,
    /// Who is there, and the revision at which that was looked up.
    pub directory: Directory,
    pub revision: u64,
    /// How many writes there were, and how often the directory changed meanwhile.
    pub writes: u64,
    pub applied: u64,
    _clients: Vec<Client>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    start_of_day: SystemTime,
    pace: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ending: bool,
    /// Rises with each question how the clients get on.
    phase: u64,
    /// The newest phase in which each caller began a round and ended it.
    served: Vec<u64>,
    numbers: BTreeSet<u64>,
    writes: u64,
    waits: Waits,
    calls: Vec<Vec<Call>>,
    failures: Vec<String>,
}

/// A client of these servers.
pub async fn connect(urls: Vec<String>) -> Client {
    Client::connect(urls).await.expect("a server welcomes it")
}

/// Where all servers of a cluster are reached.
pub fn urls(cluster: &Cluster) -> Vec<String> {
    cluster.places().iter().map(|place| cluster.url(place.id)).collect()
}

/// Where somebody is.
pub fn here(port: u16) -> Registration {
    Registration::new(Ip::Observed, port)
}

impl Crowd {
    /// Starts so many callers that each know one server, of which the first few watch everybody and
    /// the others those whose number begins as theirs ends.
    pub async fn start(cluster: &Cluster, callers: usize, followers: usize) -> Self {
        let urls = urls(cluster);
        let clients = (0..callers).map(|at| connect(vec![urls[at % urls.len()].clone()]));
        let clients = join_all(clients).await;
        let registering = clients.iter().enumerate().map(|(at, client)| register(client, at));
        let began = stream::iter(registering).buffer_unordered(AT_ONCE).fold(0, newer).await;
        let mut watching = Vec::new();
        for (at, client) in clients.iter().enumerate() {
            let some = || Prefix::new(&format!("{COUNTING}{}", at % 10)).expect("a prefix");
            let filter = if at < followers { Filter::All } else { Filter::Prefix(some()) };
            watching.push(Follower::of(client, filter));
        }
        let followers = join_all(watching).await;
        let state =
            State { served: vec![0; callers], calls: vec![vec![]; callers], ..State::default() };
        let shared = Arc::new(Shared {
            start: Instant::now(),
            start_of_day: SystemTime::now(),
            pace: pace(callers),
            state: Mutex::new(state),
        });
        let mut crowd = Self { shared, clients, callers: JoinSet::new(), followers, began };
        for (at, client) in crowd.clients.iter().enumerate() {
            crowd.callers.spawn(work(Arc::clone(&crowd.shared), client.clone(), at));
        }
        crowd.goes_on().await;
        crowd
    }

    /// The clients, in order.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Takes in somebody who watches, to be compared with the directory in the end.
    pub fn is_watched_by(&mut self, follower: Follower) {
        self.followers.push(follower);
    }

    /// What happens from now on, for the table.
    pub fn suffers(&self, what: &'static str) {
        self.shared.state().waits.begin(what, self.shared.start.elapsed());
    }

    /// Waits until every caller has done a round that it began from now on.
    pub async fn goes_on(&self) {
        let phase = {
            let mut state = self.shared.state();
            state.phase += 1;
            state.phase
        };
        eventually("all callers are served", async || {
            let state = self.shared.state();
            let waits = |at: &usize| state.served[*at] < phase;
            let waiting: Vec<_> = (0..state.served.len()).filter(waits).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            Err(format!("{waiting:?} wait; failures: {:#?}", state.failures))
        })
        .await;
    }

    /// Lets everybody end what they began, and compares what is there with what everybody believes.
    pub async fn finish(self) -> Outcome {
        self.finish_with(&[]).await
    }

    /// The same where others are there too.
    pub async fn finish_with(mut self, others: &[String]) -> Outcome {
        self.shared.state().ending = true;
        within("the end of all callers", async {
            while let Some(ended) = self.callers.join_next().await {
                ended.expect("a caller does not panic");
            }
        })
        .await;
        let (there, revision) = self.look_up(others).await;
        let state = std::mem::take(&mut *self.shared.state());
        let mut failures = state.failures;
        let mut followed = Vec::new();
        for (at, follower) in self.followers.into_iter().enumerate() {
            let one = follower.until_it_shows(&there, revision).await;
            failures.extend(one.faults.iter().map(|fault| format!("follower {at}: {fault}")));
            followed.push(one);
        }
        let stay = (0..self.clients.len()).flat_map(|at| [user(at), held(at)]);
        let gone = stay.chain(others.iter().cloned()).filter(|name| !there.contains_key(name));
        failures.extend(gone.map(|name| format!("{name} is gone")));
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
        // Who was resynced is held to less.
        let resynced = followed.iter().filter(|one| one.resyncs > 0).count();
        assert!(2 * resynced <= followed.len(), "{resynced} of {} resynced", followed.len());
        let mut waits = state.waits;
        state.calls.into_iter().for_each(|calls| waits.add("native", calls));
        Outcome {
            start_of_day: self.shared.start_of_day,
            waits,
            followed,
            numbers: state.numbers,
            directory: there,
            revision,
            writes: state.writes,
            applied: revision - self.began,
            _clients: self.clients,
        }
    }

    /// Who is there, and the revision that was looked up at.
    async fn look_up(&self, others: &[String]) -> (Directory, u64) {
        let callers = 0..self.clients.len();
        let own = callers.flat_map(|at| [user(at), held(at), temp(at)]);
        let names: Vec<_> = own.chain(others.iter().cloned()).collect();
        let (mut all, mut revision) = (Directory::new(), 0);
        for names in names.chunks(NAMES_AT_ONCE) {
            let answer = self.clients[0].get_user_address(names).await.expect("a last lookup");
            all.extend(directory(&answer.users));
            revision = answer.revision.0;
        }
        (all, revision)
    }
}

impl Outcome {
    /// Nothing was done twice: each write changed the directory once, and no number was taken for
    /// nobody. Only for who has added the numbers of others, and where no others wrote.
    #[track_caller]
    pub fn nothing_was_done_twice(&self) {
        assert_eq!(self.applied, self.writes, "changes of the directory, and writes");
        let (first, last) = (self.numbers.first(), self.numbers.last());
        let span = last.zip(first).map_or(0, |(last, first)| last - first + 1);
        assert_eq!(self.numbers.len() as u64, span, "numbers from {first:?} to {last:?}");
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the state panics")
    }

    fn fail(&self, what: &str) {
        let at = self.start.elapsed().as_secs_f64();
        eprintln!("at {at:.2} s: {what}");
        self.state().failures.push(format!("at {at:.2} s: {what}"));
    }

    /// Waits for a call, which must succeed, and takes note of its time.
    async fn timed<T>(
        &self,
        at: usize,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        let began = self.start.elapsed();
        let result = call.await;
        let took = self.start.elapsed() - began;
        self.state().calls[at].push(Call { began, took });
        result.map_err(|error| self.fail(&format!("{what} of {at}: {error} ({took:?})"))).ok()
    }

    async fn write<T>(
        &self,
        at: usize,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        self.state().writes += 1;
        self.timed(at, what, call).await
    }

    async fn round(&self, client: &Client, at: usize, round: u16) {
        if let Some(number) = self.timed(at, "a number", client.get_sequence_number()).await {
            let new = self.state().numbers.insert(number);
            if !new {
                self.fail(&format!("number {number} came twice"));
            }
        }
        let (name, port) = (user(at), 2 + round);
        let written = self.write(at, "an update", client.connect_user(&name, here(port))).await;
        let found = self.timed(at, "a lookup", client.get_user_address([&name])).await;
        if let (Some(_), Some(found)) = (written, found) {
            let addresses = found.users.iter().flat_map(|user| &user.addresses);
            let ports: Vec<_> = addresses.map(|address| address.port).collect();
            if ports != [port] {
                self.fail(&format!("{name} was written to be at {port} and is at {ports:?}"));
            }
        }
        let name = temp(at);
        match round % 4 {
            1 => drop(self.write(at, "a connect", client.connect_user(&name, here(1))).await),
            3 => drop(self.write(at, "a disconnect", client.disconnect_user(&name, None)).await),
            _ => {}
        }
    }
}

async fn work(shared: Arc<Shared>, client: Client, at: usize) {
    // Not all in step.
    sleep(shared.pace * (at as u32 % 16) / 16).await;
    for round in 0.. {
        let (phase, ending) = {
            let state = shared.state();
            (state.phase, state.ending)
        };
        if ending {
            return;
        }
        shared.round(&client, at, round).await;
        shared.state().served[at] = phase;
        sleep(shared.pace).await;
    }
}

/// What stays of each caller; the revision it was written at.
async fn register(client: &Client, at: usize) -> u64 {
    let names = [user(at), held(at)];
    let writes = names.iter().map(|name| client.connect_user(name, here(1)));
    let written: FuturesUnordered<_> = writes.collect();
    let revision =
        |written: Result<Registered, Error>| written.expect("a first write succeeds").revision.0;
    written.map(revision).fold(0, newer).await
}

async fn newer(one: u64, other: u64) -> u64 {
    one.max(other)
}

/// A few call without pause. Many would be as fast as the machine is, and what they waited would be
/// the machine's: together they do about a hundred rounds a second, and each one every few seconds.
fn pace(callers: usize) -> Duration {
    let more = callers.saturating_sub(WITHOUT_PAUSE) as u64;
    Duration::from_millis(15 * more).min(Duration::from_secs(4))
}

fn user(at: usize) -> String {
    format!("{COUNTING}{at}")
}

fn held(at: usize) -> String {
    format!("held-{at}")
}

fn temp(at: usize) -> String {
    format!("{FLEETING}{at}")
}

/// How many register at once, before it begins.
const AT_ONCE: usize = 16;
const WITHOUT_PAUSE: usize = 12;
/// A lookup takes so many.
const NAMES_AT_ONCE: usize = 1000;
