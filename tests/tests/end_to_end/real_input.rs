//! 200 native clients come, move, look up, vanish and come back for 20 s while a console watches; then
//! the console, `rollcall lookup` and the test's own model agree exactly.

mod trace;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use futures::future::try_join_all;
use rollcall_client::{Client, ClientId, Ip, Registered};
use rollcall_tests::{PATIENCE, model::Address, server::Server, wire::eventually};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::{
    console::Console,
    people::{self, People},
};
use trace::{Action, Registration, Step, Trace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_watches_200_clients_is_right_in_the_end() {
    let seed = seed();
    eprintln!("the seed is {seed}; once more: {SEED}={seed} cargo xtask test end_to_end");
    let trace = Trace::new(seed, CLIENTS, LENGTH);
    assert!(trace == Trace::new(seed, CLIENTS, LENGTH), "the trace is a function of the seed");
    has_everything(&trace);

    let server = Server::with(&["--session-grace-ms", "2000"]);
    let console = Console::open("real-input", &server).await;
    console.page.value(COUNT_CHANGES).await;
    let start = Instant::now() + Duration::from_millis(200);
    let clients = trace.clients.iter().map(|steps| {
        let part = Part { url: server.url(), start, client: None, standing: None, revision: 0 };
        tokio::spawn(part.play(steps.clone()))
    });
    let parts = try_join_all(clients).await.expect("no client panics");
    let parts: Result<Vec<Part>, String> = parts.into_iter().collect();
    let parts = parts.unwrap_or_else(|error| panic!("seed {seed}: {error}"));

    let model: People = parts.iter().filter_map(|part| part.standing.clone()).collect();
    assert_eq!(without_revisions(&model), without_revisions(&expected(&trace)), "seed {seed}");
    console.shows(&format!("the model's list (seed {seed})"), &model).await;
    lookup_agrees(&server, &model).await;
    // Nothing moves any more: the page still shows the same.
    console.shows("the same list a while later", &model).await;
    assert_eq!(console.drawn().await, addresses(&model), "the rows as they are drawn, seed {seed}");
    saw_it_happen(&console, &trace, model.len()).await;
    console.page.assert_no_complaints().await;
}

/// One client while it plays its part.
struct Part {
    url: String,
    start: Instant,
    client: Option<Client>,
    /// What it has registered, by the cluster's answer.
    standing: Option<((String, String), Address)>,
    /// The newest revision it was told.
    revision: u64,
}

impl Part {
    async fn play(mut self, steps: Vec<Step>) -> Result<Self, String> {
        for step in steps {
            sleep_until(self.start + step.at).await;
            let done = self.act(step.action.clone()).await;
            done.map_err(|error| format!("{step:?}: {error}"))?;
        }
        Ok(self)
    }

    async fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Connect(id, here) => {
                let id = ClientId::new(&id).map_err(|error| error.to_string())?;
                let client = Client::builder().servers([&self.url]).client_id(id).timeout(PATIENCE);
                self.client = Some(client.connect().await.map_err(|error| error.to_string())?);
                self.register(here).await
            }
            Action::Move(here) | Action::Join(here) => self.register(here).await,
            Action::Leave => self.leave().await,
            Action::LookUp(names) => self.look_up(names).await,
            Action::Drop => {
                // Its last handle: the link ends without a goodbye.
                self.client = None;
                self.standing = None;
                Ok(())
            }
        }
    }

    async fn register(&mut self, here: Registration) -> Result<(), String> {
        let mut wanted = rollcall_client::Registration::new(Ip::Literal(here.ip), here.port)
            .device(&here.device);
        if let Some(meta) = &here.meta {
            wanted = wanted.meta(meta);
        }
        let answer = self.client()?.connect_user(&here.username, wanted).await;
        let revision = self.told(answer.map_err(|error| error.to_string())?)?;
        self.standing = Some(standing(&here, revision));
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), String> {
        let ((username, device), _) = self.standing.take().ok_or("nothing is registered")?;
        let answer = self.client()?.disconnect_user(&username, Some(&device)).await;
        self.told(answer.map_err(|error| error.to_string())?).map(drop)
    }

    /// Looks names up: the answer has all of them, and what this client registered as it stands.
    async fn look_up(&mut self, mut names: Vec<String>) -> Result<(), String> {
        let own = self.standing.clone();
        names.extend(own.iter().map(|((username, _), _)| username.clone()));
        let answer = self.client()?.get_user_address(&names).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.revision.0 < self.revision {
            return Err(format!("revision {} after {}", answer.revision.0, self.revision));
        }
        self.revision = answer.revision.0;
        let answer: Value = serde_json::to_value(&answer).map_err(|error| error.to_string())?;
        let found = people::from_users(&answer["users"]);
        let unknown = answer["unknown"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let online = found.keys().map(|(username, _)| username.as_str());
        let answered: BTreeSet<&str> = online.chain(unknown).collect();
        if answered != names.iter().map(String::as_str).collect() {
            return Err(format!("asked for {names:?}, answered {answered:?}"));
        }
        match own {
            Some((key, address)) if found.get(&key) != Some(&address) => {
                Err(format!("registered {address:?} as {key:?}, found {found:?}"))
            }
            _ => Ok(()),
        }
    }

    fn client(&self) -> Result<&Client, String> {
        self.client.as_ref().ok_or_else(|| "it is not connected".to_owned())
    }

    /// Takes note of a write's revision, which must not go back.
    fn told(&mut self, answer: Registered) -> Result<u64, String> {
        let revision = answer.revision.0;
        // Registering what stands gives its old revision, but never one from before it stood.
        let least = self.standing.as_ref().map_or(0, |(_, address)| address.revision);
        if revision < least {
            return Err(format!("revision {revision} after {least}"));
        }
        self.revision = self.revision.max(revision);
        Ok(revision)
    }
}

fn standing(here: &Registration, revision: u64) -> ((String, String), Address) {
    let Registration { username, device, ip, port, meta } = here.clone();
    ((username, device), Address { ip: ip.to_string(), port, meta, revision })
}

/// Who is there by the trace alone; it knows no revisions.
fn expected(trace: &Trace) -> People {
    trace.left_over().values().map(|here| standing(here, 0)).collect()
}

fn without_revisions(people: &People) -> BTreeMap<&(String, String), Address> {
    let strip = |address: &Address| Address { revision: 0, ..address.clone() };
    people.iter().map(|(key, address)| (key, strip(address))).collect()
}

/// Where everybody is, as a list shows it.
fn addresses(people: &People) -> BTreeMap<(String, String), String> {
    let shown = |address: &Address| match address.ip.contains(':') {
        true => format!("[{}]:{}", address.ip, address.port),
        false => format!("{}:{}", address.ip, address.port),
    };
    people.iter().map(|(key, address)| (key.clone(), shown(address))).collect()
}

async fn lookup_agrees(server: &Server, model: &People) {
    let names = trace::usernames();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let online: BTreeSet<&str> = model.keys().map(|(username, _)| username.as_str()).collect();
    eventually("`rollcall lookup` and the model agree", async || {
        let (found, unknown) = people::look_up(server, &names).await;
        if let Some(difference) = people::difference(model, &found) {
            return Err(difference);
        }
        let unknown: BTreeSet<&str> = unknown.iter().map(String::as_str).collect();
        let absent = names.iter().copied().filter(|name| !online.contains(name)).collect();
        if unknown == absent {
            Ok(())
        } else {
            Err(format!("unknown: {unknown:?}, not {absent:?}"))
        }
    })
    .await;
}

/// The trace holds enough of everything for the test to mean something.
fn has_everything(trace: &Trace) {
    let least = [
        ("connects", trace.count(|action| matches!(action, Action::Connect(..))), 2 * CLIENTS),
        ("moves", trace.count(|action| matches!(action, Action::Move(_))), 2 * CLIENTS),
        ("leaves", trace.count(|action| matches!(action, Action::Leave)), CLIENTS / 4),
        ("joins", trace.count(|action| matches!(action, Action::Join(_))), CLIENTS / 10),
        ("lookups", trace.count(|action| matches!(action, Action::LookUp(_))), CLIENTS),
        ("drops", trace.count(|action| matches!(action, Action::Drop)), CLIENTS),
        ("registrations at the end", trace.left_over().len(), CLIENTS / 4),
    ];
    for (what, count, least) in least {
        eprintln!("{count} {what}");
        assert!(count >= least, "only {count} {what}");
    }
}

/// The page watched all of it: what it was told adds up, link never lost.
async fn saw_it_happen(console: &Console, trace: &Trace, online: usize) {
    let seen = console.page.value("return window.seen").await;
    eprintln!("the page saw {seen}");
    let count = |what: &str| seen[what].as_u64().and_then(|count| usize::try_from(count).ok());
    let counts = ["joined", "updated", "left", "expired"].map(|what| count(what).unwrap_or(0));
    let [joined, updated, left, expired] = counts;
    console
        .page
        .assert_equal("who joined and did not leave", joined - left - expired, online)
        .await;
    console.page.assert_equal("sets instead of changes", &seen["resets"], &Value::from(0)).await;
    let leaves = trace.count(|action| matches!(action, Action::Leave));
    console.page.assert_equal("goodbyes", left, leaves).await;
    assert!(expired >= CLIENTS / 4 && updated >= CLIENTS, "{seen}");
}

fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap_or_else(|error| panic!("{SEED}={seed}: {error}")),
        Err(_) => std::hash::RandomState::new().build_hasher().finish(),
    }
}

const CLIENTS: usize = 200;
const LENGTH: Duration = Duration::from_secs(20);

/// Plays the trace of this seed; without it, another one each time.
const SEED: &str = "REAL_INPUT_SEED";

/// Lets the page count what its store is told.
const COUNT_CHANGES: &str = "const seen = window.seen = \
        { joined: 0, updated: 0, left: 0, expired: 0, resets: 0 }; \
    rollcallConsole.store.onChange(({ kind, reason }) => { \
        if (kind === 'left') seen[reason] += 1; \
        else seen[kind === 'reset' ? 'resets' : kind] += 1; \
    })";
