//! One who watches and checks each change as it comes: every one once, in order, and nobody gone who
//! stays.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rollcall_client::{Address, Change, ChangeKind, Client, Event, Filter, User, Watch};
use tokio::{sync::watch, task::JoinHandle};

use crate::wire::within;

/// Everybody who is there, by name.
pub type Directory = BTreeMap<String, Vec<Address>>;

/// Names of this beginning come and go; all others stay once they are there.
pub const FLEETING: &str = "temp-";

/// Names of this beginning have one device, whose port rises by one with each change.
pub const COUNTING: &str = "user-";

/// A watch of everybody, or of those who count.
#[derive(Debug)]
pub struct Follower {
    filter: Filter,
    /// The revision to follow to.
    end: watch::Sender<Option<u64>>,
    task: JoinHandle<Followed>,
}

/// What a follower saw.
#[derive(Debug, Default)]
pub struct Followed {
    pub changes: usize,
    /// How often the client said that it might have missed something. It also does so where it comes
    /// to a server that began anew after the last change that this watch was told.
    pub resyncs: usize,
    pub directory: Directory,
    pub faults: Vec<String>,
    /// The last port of each who counts.
    counts: BTreeMap<String, u16>,
}

impl Follower {
    /// Watches everybody; the subscription must be granted.
    pub async fn start(client: &Client) -> Self {
        Self::of(client, Filter::All).await
    }

    /// The same with another filter. A prefix has to be of those who count, as only their number
    /// says without a gap in revisions whether one was missed.
    pub(super) async fn of(client: &Client, filter: Filter) -> Self {
        let events = client.events();
        let watch = client.subscribe(filter.clone()).await.expect("a subscription is granted");
        let (end, ending) = watch::channel(None);
        let task = tokio::spawn(follow(client.clone(), events, watch, filter.clone(), ending));
        Self { filter, end, task }
    }

    /// Waits until it has seen this revision; what it saw.
    pub async fn until(self, revision: u64) -> Followed {
        self.end.send_replace(Some(revision));
        within(&format!("revision {revision} at a follower"), self.task).await.expect("no panic")
    }

    /// Waits until it has seen the last change of whom it watches; what it saw, which has to be this
    /// directory in the end.
    pub(super) async fn until_it_shows(self, there: &Directory, revision: u64) -> Followed {
        let wanted = match &self.filter {
            Filter::Prefix(prefix) => {
                let whom = |name: &String| name.starts_with(prefix.as_str());
                there.iter().filter(|(name, _)| whom(name)).map(cloned).collect()
            }
            _ => there.clone(),
        };
        let revision = match self.filter {
            Filter::All => revision,
            // They all stay, so that the last change of them stands with one of them.
            _ => newest(&wanted),
        };
        let mut followed = self.until(revision).await;
        if followed.directory != wanted {
            followed.faults.push(difference(&followed.directory, &wanted));
        }
        followed
    }
}

async fn follow(
    _client: Client,
    mut events: impl futures::Stream<Item = Event> + Unpin,
    mut watch: Watch,
    filter: Filter,
    mut ending: watch::Receiver<Option<u64>>,
) -> Followed {
    let mut followed = Followed::default();
    for user in watch.users() {
        let ports = user.addresses.iter().map(|address| address.port);
        followed.counts.extend(ports.map(|port| (user.username.to_string(), port)));
    }
    loop {
        let seen = watch.revision().0;
        let change = tokio::select! {
            biased;
            Some(event) = events.next() => {
                followed.resyncs += usize::from(event == Event::Resync);
                continue;
            }
            change = watch.next() => change,
            _ = ending.wait_for(|end| end.is_some_and(|end| seen >= end)) => break,
        };
        let Some(change) = change else {
            followed.faults.push(format!("the watch has ended: {:?}", watch.ended()));
            break;
        };
        followed.take(&change, seen, filter == Filter::All);
    }
    followed.directory = directory(watch.users());
    followed
}

impl Followed {
    fn take(&mut self, change: &Change, seen: u64, sees_all: bool) {
        self.changes += 1;
        let told = change.change.revision.0;
        let name = change.change.username.to_string();
        // Differences after a resync have revisions of their own, and leave changes out.
        let whole = self.resyncs == 0;
        let follows = match (whole, sees_all) {
            (true, true) => told == seen + 1,
            (true, false) => told > seen,
            (false, _) => told >= seen,
        };
        if !follows {
            self.faults
                .push(format!("after revision {seen} came {told}: {:?} {name}", change.kind));
        }
        if change.kind == ChangeKind::Disconnected && !name.starts_with(FLEETING) {
            self.faults.push(format!("{name} was told to be gone: {:?}", change.change));
        }
        if let Some(port) = change.change.port.filter(|_| name.starts_with(COUNTING)) {
            let before = self.counts.insert(name.clone(), port);
            if whole && before.is_some_and(|before| before + 1 != port) {
                self.faults.push(format!("{name} was told to be at {port} after {before:?}"));
            }
        }
    }
}

/// Users by their names.
pub fn directory(users: &[User]) -> Directory {
    users.iter().map(|user| (user.username.to_string(), user.addresses.clone())).collect()
}

fn cloned((name, addresses): (&String, &Vec<Address>)) -> (String, Vec<Address>) {
    (name.clone(), addresses.clone())
}

/// The revision of the last change that stands in a directory.
fn newest(directory: &Directory) -> u64 {
    let revisions = directory.values().flatten().map(|address| address.revision.0);
    revisions.max().unwrap_or(0)
}

/// The first few names that differ.
pub fn difference(found: &Directory, wanted: &Directory) -> String {
    let names = found.keys().chain(wanted.keys().filter(|name| !found.contains_key(*name)));
    let differing = names.filter(|name| found.get(*name) != wanted.get(*name)).take(5);
    let shown = differing
        .map(|name| format!("{name}: {:?} instead of {:?}", found.get(name), wanted.get(name)));
    format!("sees {}", shown.collect::<Vec<_>>().join("; "))
}
