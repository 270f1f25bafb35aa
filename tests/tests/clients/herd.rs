//! Many clients of a server that dies: all have a home at once, and come back to it spread over time, while
//! the servers that stay go on answering.
//!
//! `ROLLCALL_HERD` says how many, as far as the system has sockets for them. How long others wait is said,
//! not judged: `cargo xtask herd` shows it for release builds.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream};
use rollcall_client::{Client, Filter, Prefix, State, Watch};
use rollcall_tests::{
    cluster::Cluster,
    crowd::{
        connect, here, urls,
        waits::{millis, percentile},
    },
    http::Metrics,
    setting,
    wire::{self, eventually, within},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Each client has a link to each of three servers.
const SOCKETS_EACH: u64 = 3;
/// For everything else.
const SOCKETS_SPARE: u64 = 500;
/// Whom the herd watches.
const NEWS: &str = "news";
/// How long the server is gone: a client that hurried would be back at once.
const DOWN: Duration = Duration::from_millis(300);
/// What the clients spread their return over, but for the shortest delay: their longest one.
const SPREAD: Duration = Duration::from_secs(5);
/// Between two looks at how many are back.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_dead_server_come_back_spread_over_time() {
    let size = herd_size();
    let mut cluster = Cluster::start(3).await;
    let seeds = urls(&cluster);
    let connect_one = async |_| {
        let client = connect(seeds.clone()).await;
        let prefix = Prefix::new(NEWS).expect("a prefix");
        let watch = client.subscribe(Filter::Prefix(prefix)).await.expect("it is granted");
        (client, watch)
    };
    let herd = stream::iter(0..size).map(connect_one).buffer_unordered(32);
    let mut herd: Vec<(Client, Watch)> = herd.collect().await;
    back(&cluster, size).await;
    let actor = connect(seeds.clone()).await;
    let probe = Probe::start(&[(2, cluster.address(2)), (3, cluster.address(3))]);
    probe.until_enough(CALM).await;

    probe.now(DEATH);
    let killed = Instant::now();
    cluster.kill9(1);
    // News while it is down reach all.
    actor.connect_user(NEWS, here(1)).await.expect("it is served");
    told(&mut herd).await;
    probe.until_enough(DEATH).await;
    sleep(DOWN.saturating_sub(killed.elapsed())).await;
    cluster.restart(1).await;
    probe.now(RETURN);
    let arrivals = back(&cluster, size).await;
    probe.until_enough(RETURN).await;
    probe.now(AFTER);
    actor.connect_user(NEWS, here(2)).await.expect("it is served");
    told(&mut herd).await;
    assert!(herd.iter().all(|(client, _)| client.state() == State::Connected), "a home for all");
    judge(&arrivals, size);
    eprintln!("homes on each server in the end: {:?}", spread(&cluster, size).await);
    report(&probe.finish(), size);
    join_all(herd.iter().map(|(client, _)| client.close())).await;
}

/// Waits until each of the herd is told of one change.
async fn told(herd: &mut [(Client, Watch)]) {
    let each = herd.iter_mut().map(|(_, watch)| watch.next());
    let told = within("news for all", join_all(each)).await;
    assert!(told.iter().all(Option::is_some), "a watch has ended");
}

/// Waits until server 1 has a link of each of so many; returns how many there were when.
async fn back(cluster: &Cluster, size: u64) -> Vec<(Instant, u64)> {
    let mut looks = Vec::new();
    eventually("all have a link", async || {
        let found = Metrics::of(cluster.server(1)).await.value("rollcall_connections") as u64;
        looks.push((Instant::now(), found));
        if found >= size {
            return Ok(());
        }
        sleep(LOOK).await;
        Err(format!("{found} of {size}"))
    })
    .await;
    looks
}

/// Fails if many of them came at once: in any short time there is not much more than its share, though
/// a busy machine may let some wait and come together.
fn judge(arrivals: &[(Instant, u64)], size: u64) {
    let (begin, _) = arrivals[0];
    let each: Vec<_> =
        arrivals.iter().map(|(at, count)| ((*at - begin).as_millis(), count)).collect();
    let share = |count: u64| count as f64 / size as f64;
    for (at, (from, before)) in arrivals.iter().enumerate() {
        for (to, count) in &arrivals[at..] {
            let took = (*to - *from).as_secs_f64() / SPREAD.as_secs_f64();
            let came = share(count - before);
            assert!(came <= 0.34 + 2.0 * took, "too many at once; when and how many: {each:?}");
        }
    }
    let half = arrivals.iter().find(|(_, count)| *count >= size / 2).expect("all came");
    let all = arrivals.last().expect("there is one look");
    let (half, all) = ((half.0 - begin).as_secs_f64(), (all.0 - begin).as_secs_f64());
    eprintln!("{size} clients: half were back after {half:.1} s, all after {all:.1} s");
}

/// Waits until each server is home to a fair share of the watches; says to how many.
async fn spread(cluster: &Cluster, size: u64) -> Vec<u64> {
    eventually("homes on all servers", async || {
        let homes = [1, 2, 3].map(|id| async move {
            Metrics::of(cluster.server(id)).await.value("rollcall_subscriptions") as u64
        });
        let homes = join_all(homes).await;
        if homes.iter().all(|count| *count >= size / 8) {
            Ok(homes)
        } else {
            Err(format!("{homes:?}"))
        }
    })
    .await
}

/// As many as were asked for and the system has sockets for.
fn herd_size() -> u64 {
    let wanted = setting("ROLLCALL_HERD", 400);
    let limit = getrlimit(Resource::Nofile);
    // Servers inherit it.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = setrlimit(Resource::Nofile, raised).is_ok();
    let most = if raised { limit.maximum } else { limit.current };
    let room = most.unwrap_or(u64::MAX).saturating_sub(SOCKETS_SPARE) / SOCKETS_EACH;
    if room < wanted {
        eprintln!("{wanted} clients were asked for; `ulimit -n` leaves room for {room}");
    }
    wanted.min(room)
}

const CALM: usize = 0;
const DEATH: usize = 1;
const RETURN: usize = 2;
const AFTER: usize = 3;

/// How many answers tell something about a time.
const ENOUGH: usize = 300;

type Times = BTreeMap<usize, Vec<Duration>>;

/// Somebody else's links to the servers that stay, on a thread of its own so as not to wait for the herd:
/// a number and a lookup by turns, each as soon as the one before is answered and a moment has passed.
struct Probe {
    shared: Arc<Shared>,
    thread: JoinHandle<Times>,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicUsize,
    /// How many answers came in each phase.
    answers: [AtomicUsize; AFTER + 1],
    ending: AtomicBool,
}

impl Probe {
    fn start(servers: &[(u64, SocketAddr)]) -> Self {
        let shared = Arc::<Shared>::default();
        let (theirs, servers) = (Arc::clone(&shared), servers.to_vec());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("the system has a thread to spare").block_on(async {
                let all = servers.iter().map(|(id, address)| ask(&theirs, *address, *id));
                let mut times = Times::new();
                for (phase, took) in join_all(all).await.into_iter().flatten() {
                    times.entry(phase).or_default().push(took);
                }
                times
            })
        });
        Self { shared, thread }
    }

    /// What happens from now on.
    fn now(&self, phase: usize) {
        self.shared.phase.store(phase, Ordering::Relaxed);
    }

    async fn until_enough(&self, phase: usize) {
        eventually("answers for others", async || {
            let answers = self.shared.answers[phase].load(Ordering::Relaxed);
            if answers >= ENOUGH { Ok(()) } else { Err(format!("{answers} came")) }
        })
        .await;
    }

    fn finish(self) -> Times {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("every question is answered")
    }
}

async fn ask(shared: &Shared, address: SocketAddr, id: u64) -> Vec<(usize, Duration)> {
    let mut link = wire::Client::at(address, id).await;
    link.call("Hello", json!({ "versions": [1] })).await;
    let (mut times, mut round) = (Vec::new(), 0);
    while !shared.ending.load(Ordering::Relaxed) {
        let (phase, began) = (shared.phase.load(Ordering::Relaxed), Instant::now());
        round += 1;
        if round % 2 == 0 {
            link.call("GetSequenceNumber", json!({})).await;
        } else {
            link.lookup(&[NEWS]).await;
        }
        times.push((phase, began.elapsed()));
        shared.answers[phase].fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(2)).await;
    }
    times
}

/// Says how long others waited, and how much longer than before that is.
fn report(times: &Times, size: u64) {
    let all = [&times[&DEATH][..], &times[&RETURN]].concat();
    let rows = [
        (format!("{size} clients are there"), &times[&CALM]),
        ("their server dies, and they hear of news".to_owned(), &times[&DEATH]),
        ("it is back, and they come back".to_owned(), &times[&RETURN]),
        ("from its death until all are back".to_owned(), &all),
    ];
    let calm = millis(percentile(&times[&CALM], 99)).max(0.001);
    eprintln!("{:<42}{:>8}{:>9}{:>9}{:>9}", "answers to others, ms", "count", "p50", "p99", "max");
    for (name, times) in rows {
        let [p50, p99, max] = [50, 99, 100].map(|share| millis(percentile(times, share)));
        let ratio = p99 / calm;
        let count = times.len();
        eprintln!("{name:<42}{count:>8}{p50:>9.2}{p99:>9.2}{max:>9.2}  p99 {ratio:.1} times");
    }
}
