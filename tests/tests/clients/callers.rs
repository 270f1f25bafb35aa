//! Clients that call all the time, each as soon as it has its last answer, and hold a registration; and
//! somebody who watches whether any of these ever goes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use rollcall_client::{ChangeKind, Client, Filter, Ip, Registration, Watch};
use rollcall_tests::{cluster::Cluster, wire::eventually};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// All of them, until they are asked how it went.
pub(crate) struct Callers {
    progress: Arc<watch::Sender<Vec<u64>>>,
    over: watch::Sender<bool>,
    callers: JoinSet<Done>,
    observer: Client,
}

/// What a caller has done.
struct Done {
    numbers: Vec<u64>,
    failures: Vec<String>,
    longest: Duration,
}

impl Callers {
    /// Starts so many against a cluster; each knows one of its servers.
    pub(crate) async fn start(cluster: &Cluster, count: usize) -> Self {
        let urls: Vec<String> = cluster.running().iter().map(|id| cluster.url(*id)).collect();
        let observer = Client::connect([urls[0].clone()]).await.expect("the cluster serves");
        let progress = Arc::new(watch::Sender::new(vec![0; count]));
        let over = watch::Sender::new(false);
        let mut callers = JoinSet::new();
        for number in 0..count {
            let url = urls[number % urls.len()].clone();
            let client = Client::connect([url]).await.expect("the cluster serves");
            let place = Registration::new(Ip::Observed, 4000 + number as u16);
            client.connect_user(&name(number), place).await.expect("nobody else has that name");
            callers.spawn(call(client, number, Arc::clone(&progress), over.subscribe()));
        }
        Self { progress, over, callers, observer }
    }

    /// Waits until each has been answered a few times more.
    pub(crate) async fn go_on(&self) {
        let mut seen = self.progress.subscribe();
        let before = seen.borrow_and_update().clone();
        let more = |now: &Vec<u64>| now.iter().zip(&before).all(|(now, before)| *now > before + 4);
        timeout(PATIENCE, seen.wait_for(more))
            .await
            .unwrap_or_else(|_| panic!("before {before:?}, now {:?}", *self.progress.borrow()))
            .expect("it is sent by us");
    }

    /// Ends them: none had a call that failed, no number came twice, and no registration ever went.
    /// Returns the longest time that a call took.
    pub(crate) async fn were_served(mut self) -> Duration {
        let count = self.progress.borrow().len();
        let mut watch = self.observer.subscribe(Filter::All).await.expect("the cluster serves");
        let callers = watch.users().iter().filter(|user| user.username.as_str() != "onlooker");
        assert_eq!(callers.count(), count, "somebody's registration is not there");
        self.over.send_replace(true);
        let mut numbers = BTreeSet::new();
        let mut longest = Duration::ZERO;
        while let Some(done) = self.callers.join_next().await {
            let done = done.expect("a caller does not panic");
            assert_eq!(done.failures, Vec::<String>::new(), "calls that failed");
            for number in done.numbers {
                assert!(numbers.insert(number), "{number} was handed out twice");
            }
            longest = longest.max(done.longest);
        }
        // Each ends its registration with it.
        let mut gone = 0;
        while gone < count {
            let change = timeout(PATIENCE, watch.next()).await.expect("they go").expect("it lasts");
            if change.change.username.as_str() != "onlooker" {
                assert_eq!(change.kind, ChangeKind::Disconnected);
                gone += 1;
            }
        }
        self.observer.close().await;
        longest
    }
}

/// Somebody who watches all from the beginning, and is told of no change while nobody comes or goes.
pub(crate) struct Onlooker {
    client: Client,
    watch: Watch,
}

impl Onlooker {
    pub(crate) async fn at(cluster: &Cluster, id: u64) -> Self {
        let client = Client::connect([cluster.url(id)]).await.expect("the cluster serves");
        let watch = client.subscribe(Filter::All).await.expect("the cluster serves");
        Self { client, watch }
    }

    /// Up to now nobody came or went. That it hears of changes at all is seen by one of its own.
    pub(crate) async fn saw_nothing(mut self) {
        let place = Registration::new(Ip::Observed, 1);
        self.client.connect_user("onlooker", place).await.expect("the cluster serves");
        let first =
            timeout(PATIENCE, self.watch.next()).await.expect("it is told").expect("it lasts");
        assert_eq!(first.change.username.as_str(), "onlooker", "{first:?}");
        self.client.close().await;
    }
}

async fn call(
    client: Client,
    number: usize,
    progress: Arc<watch::Sender<Vec<u64>>>,
    over: watch::Receiver<bool>,
) -> Done {
    let mut done = Done { numbers: Vec::new(), failures: Vec::new(), longest: Duration::ZERO };
    while !*over.borrow() {
        let began = Instant::now();
        match client.get_sequence_number().await {
            Ok(number) => done.numbers.push(number),
            Err(error) => done.failures.push(error.to_string()),
        }
        match client.get_user_address([name(number)]).await {
            Ok(found) if found.users.len() == 1 => {}
            Ok(_) => done.failures.push("its own registration was not there".to_owned()),
            Err(error) => done.failures.push(error.to_string()),
        }
        done.longest = done.longest.max(began.elapsed());
        progress.send_modify(|progress| progress[number] += 1);
    }
    client.close().await;
    done
}

fn name(number: usize) -> String {
    format!("caller-{number}")
}

/// Waits until a server that lost its memory takes part again.
pub(crate) async fn is_back(cluster: &Cluster, id: u64) {
    cluster.wait_ready_of(id).await;
    cluster.is_admitted(id).await;
    eventually("all servers are there", async || {
        let ready = cluster.is_ready(id).await;
        if ready { Ok(()) } else { Err(format!("server {id} is not ready")) }
    })
    .await;
}

/// How long anything may take before a test gives up. A call has 5 s.
const PATIENCE: Duration = Duration::from_secs(20);
