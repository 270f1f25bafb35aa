//! Clients that write, read and watch while a test breaks things, and check every answer at once:
//! no acknowledged write lost, no number twice, no stale read, no change missed or told twice.
//!
//! Owns the workload and how far it came; the rules are in [`ledger`], the clients in `workers`.
//! It speaks the protocol by itself, and knows nothing of what the test does.

pub mod ledger;
mod workers;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    PATIENCE,
    roaming::{Notes, Place, Roaming},
};
use ledger::{Feed, Ledger, Verdict};
use workers::Worker;

/// A workload that runs until it is finished or dropped.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    places: Vec<Place>,
    writers: JoinSet<Result<Roaming, String>>,
    readers: JoinSet<Verdict>,
    /// Writers that have ended, with what keeps their sessions alive.
    written: Vec<Roaming>,
    followers: JoinSet<Result<Feed, String>>,
}

/// What it did.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub writes: usize,
    /// Numbers that were handed out.
    pub numbers: usize,
    /// Lookups that were answered, of all servers.
    pub reads: u64,
    /// Lookups that were refused.
    pub refused: u64,
    /// Changes that were pushed, to all subscribers.
    pub pushes: u64,
    /// Times that a subscriber was shown a new picture instead of what it had missed.
    pub pictures: u64,
    /// The longest time that a writer waited from one acknowledgement to the next.
    pub longest_gap: Duration,
}

/// What all clients of a witness know together.
#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    progress: Mutex<Progress>,
    notes: Notes,
}

#[derive(Debug, Default)]
struct Progress {
    /// Rises with each question how the clients get on.
    phase: u64,
    /// The revision at which the phase began.
    revision: u64,
    /// The newest phase in which each client began something and was served.
    served: BTreeMap<Worker, u64>,
    reads: u64,
    refused: u64,
    pushes: u64,
    pictures: u64,
    /// When each writer was last told of a write.
    written: BTreeMap<usize, Instant>,
    longest_gap: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Working,
    /// Nobody begins anything new.
    Ending,
    /// Subscribers end when they have seen this revision.
    Draining(u64),
}

impl Witness {
    /// Starts clients against these servers, and waits until all are served by all of them.
    pub async fn start(places: Vec<Place>) -> Self {
        let shared = Arc::new(Shared {
            ledger: Mutex::default(),
            progress: Mutex::default(),
            notes: Notes::new(),
        });
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        let mut followers = JoinSet::new();
        for number in 0..WRITERS {
            writers.spawn(workers::write(Arc::clone(&shared), number, from(&places, number)));
        }
        for (number, place) in places.iter().enumerate() {
            readers.spawn(workers::read(Arc::clone(&shared), *place));
            followers.spawn(workers::follow(Arc::clone(&shared), number, from(&places, number)));
        }
        let mut witness = Self { shared, places, writers, readers, written: Vec::new(), followers };
        let all: Vec<_> = witness.places.iter().map(|place| place.id).collect();
        witness.goes_on(&all).await;
        witness
    }

    /// Waits until every writer was served, every subscriber told news and a lookup answered by each
    /// of these servers, all of it asked for from now on.
    pub async fn goes_on(&mut self, servers: &[u64]) {
        let phase = self.begin_phase();
        let readers = servers.iter().map(|server| Worker::Reader(*server));
        let writers = (0..WRITERS).map(Worker::Writer);
        let followers = (0..self.places.len()).map(Worker::Follower);
        let due: Vec<_> = writers.chain(readers).chain(followers).collect();
        self.wait_for("clients are served", |progress| {
            let served = |worker| progress.served.get(worker).is_some_and(|last| *last >= phase);
            let waiting: Vec<_> = due.iter().filter(|worker| !served(worker)).collect();
            if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?} wait")) }
        })
        .await;
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let (writes, numbers) = {
            let ledger = self.shared.ledger();
            (ledger.writes(), ledger.numbers())
        };
        let progress = self.shared.progress();
        let Progress { reads, refused, pushes, pictures, longest_gap, .. } = *progress;
        Counts { writes, numbers, reads, refused, pushes, pictures, longest_gap }
    }

    /// Begins to measure [`Counts::longest_gap`] anew.
    pub fn forget_gaps(&self) {
        let mut progress = self.shared.progress();
        progress.longest_gap = Duration::ZERO;
    }

    /// Lets every client finish what it began, and checks that everything that was acknowledged is
    /// there, on each of these servers and with each subscriber.
    pub async fn finish(mut self, servers: &[u64]) -> Counts {
        self.shared.progress().stage = Stage::Ending;
        let deadline = Instant::now() + PATIENCE;
        while !(self.writers.is_empty() && self.readers.is_empty()) {
            assert!(Instant::now() < deadline, "clients do not end\n{}", self.shared.notes.text());
            self.check();
            sleep(CHECK_INTERVAL).await;
        }
        let newest = self.shared.ledger().newest_write();
        self.shared.progress().stage = Stage::Draining(newest);
        while let Some(feed) = self.next_feed().await {
            let verdict = self.shared.ledger().compare(&feed);
            self.judge(verdict);
        }
        for place in self.places.iter().filter(|place| servers.contains(&place.id)) {
            let read = workers::read_once(&self.shared, *place).await;
            self.judge(read);
        }
        self.counts()
    }

    async fn next_feed(&mut self) -> Option<Feed> {
        let next = tokio::time::timeout(PATIENCE, self.followers.join_next()).await;
        let Ok(next) = next else {
            panic!("a subscriber does not end\n{}", self.shared.notes.text());
        };
        Some(self.judge(next?.expect("it only ends by itself")))
    }

    fn begin_phase(&self) -> u64 {
        let revision = self.shared.ledger().revision();
        let mut progress = self.shared.progress();
        progress.phase += 1;
        progress.revision = revision;
        progress.phase
    }

    async fn wait_for(&mut self, what: &str, holds: impl Fn(&Progress) -> Result<(), String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.check();
            let state = holds(&self.shared.progress());
            let Err(why) = state else { return };
            let notes = &self.shared.notes;
            assert!(Instant::now() < deadline, "{what}: {why}\n{}", notes.text());
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Fails if a client has found a fault.
    fn check(&mut self) {
        while let Some(ended) = self.writers.try_join_next() {
            let client = self.judge(ended.expect("it only ends by itself"));
            self.written.push(client);
        }
        while let Some(ended) = self.readers.try_join_next() {
            self.judge(ended.expect("it only ends by itself"));
        }
        let working = self.shared.progress().stage == Stage::Working;
        while let Some(ended) = self.followers.try_join_next() {
            self.judge(ended.expect("it only ends by itself"));
            assert!(!working, "a subscriber has ended");
        }
    }

    #[track_caller]
    fn judge<T>(&self, verdict: Result<T, String>) -> T {
        match verdict {
            Ok(value) => value,
            Err(fault) => panic!("{fault}\nlately:\n{}", self.shared.notes.text()),
        }
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of the ledger panics")
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder of the progress panics")
    }

    /// The phase in which something begins now; none where nothing begins any more.
    fn phase(&self) -> Option<u64> {
        let progress = self.progress();
        (progress.stage == Stage::Working).then_some(progress.phase)
    }
}

impl Progress {
    fn serve(&mut self, worker: Worker, phase: u64) {
        let last = self.served.entry(worker).or_default();
        *last = phase.max(*last);
    }

    /// A writer was told of a write.
    fn wrote(&mut self, writer: usize) {
        let now = Instant::now();
        if let Some(before) = self.written.insert(writer, now) {
            self.longest_gap = self.longest_gap.max(now - before);
        }
    }
}

/// The places in their order, from one of them on.
fn from(places: &[Place], first: usize) -> Vec<Place> {
    let mut places = places.to_vec();
    let first = first % places.len();
    places.rotate_left(first);
    places
}

const WRITERS: usize = 3;
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
