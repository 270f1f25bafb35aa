//! Everything together: a trace of faults from a seed, never more than one server of three hurt, while
//! native clients and two pages call and watch.
//!
//! `ROLLCALL_SEED`, `ROLLCALL_SOAK_SECONDS` and `ROLLCALL_SOAK_CLIENTS` make it another one or a longer
//! one; `cargo xtask soak` runs the full one. What a page does is in `pages/crowd.js`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollcall_client::User;
use rollcall_tests::{
    browser::Browser,
    chance::Chance,
    cluster::Cluster,
    crowd::{
        Crowd, Outcome,
        follower::{Directory, FLEETING, difference, directory},
        urls,
        waits::Call,
    },
    fault::Fault,
    setting,
    site::Site,
};
use serde_json::{Value, from_value, json};
use tokio::time::{Instant, timeout_at};

use crate::panel::complains_of_lost_servers_only;

const PAGES: [&str; 2] = ["page-ann", "page-bob"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_after_the_other_is_hurt() {
    let seed = setting("ROLLCALL_SEED", 7);
    let seconds = setting("ROLLCALL_SOAK_SECONDS", 0);
    let callers = setting("ROLLCALL_SOAK_CLIENTS", 60) as usize;
    // The work of watching everybody is that of callers times followers.
    let followers = (callers / 5).max(1);
    eprintln!("seed {seed}, {callers} clients, of which {followers} watch all, and two pages");
    let mut cluster = Cluster::strict(3, &[]).await;
    let pages = Pages::open(&cluster).await;
    let crowd = Crowd::start(&cluster, callers, followers).await;
    crowd.suffers("nothing");
    all_go_on(&crowd, &pages).await;
    let longest_ms = 1000 + 10 * seconds;
    let (mut chance, start) = (Chance::new(seed), Instant::now());
    let (mut faults, mut due) = (0, Vec::new());
    // Every server in every way, in an order by chance; and again, until the time is over.
    while faults < Fault::ALL.len() * 3 || start.elapsed() < Duration::from_secs(seconds) {
        if due.is_empty() {
            due = everything(&mut chance);
        }
        let (fault, id) = due.pop().expect("it has been filled");
        let at = start.elapsed().as_secs_f64();
        eprintln!("at {at:.1} s: {} of server {id}", fault.name());
        crowd.suffers(fault.name());
        fault.begin(&mut cluster, id).await;
        // For as long as it takes everybody to do a round, or a moment that is up to the seed.
        let moment = Instant::now() + Duration::from_millis(200 + chance.below(longest_ms));
        let _ = timeout_at(moment, crowd.goes_on()).await;
        fault.end(&mut cluster, id).await;
        all_go_on(&crowd, &pages).await;
        faults += 1;
    }
    let took = start.elapsed().as_secs_f64();
    pages.rest().await;
    let mut outcome = crowd.finish_with(&PAGES.map(str::to_owned)).await;
    pages.judge(&mut outcome).await;
    outcome.nothing_was_done_twice();
    let resyncs: usize = outcome.followed.iter().map(|one| one.resyncs).sum();
    let changes: usize = outcome.followed.iter().map(|one| one.changes).sum();
    eprintln!(
        "{faults} faults in {took:.0} s; {} numbers, {} writes, {changes} changes told, {resyncs} resyncs",
        outcome.numbers.len(),
        outcome.writes,
    );
    eprint!("{}", outcome.waits.table());
}

/// Each fault of each server once.
fn everything(chance: &mut Chance) -> Vec<(Fault, u64)> {
    let mut all: Vec<_> =
        Fault::ALL.into_iter().flat_map(|fault| [1, 2, 3].map(|id| (fault, id))).collect();
    chance.shuffle(&mut all);
    all
}

async fn all_go_on(crowd: &Crowd, pages: &Pages) {
    tokio::join!(crowd.goes_on(), pages.go_on());
}

/// Two browsers, each with a page that calls and watches.
struct Pages {
    pages: Vec<Browser>,
    _sites: Vec<Site>,
}

impl Pages {
    async fn open(cluster: &Cluster) -> Self {
        let (mut pages, mut sites) = (Vec::new(), Vec::new());
        // Each learns of the others from a server of its own.
        for (name, id) in PAGES.into_iter().zip(1..) {
            let site = site(cluster, id).await;
            let page = Browser::open(name, &site.url(&format!("/page.html?name={name}"))).await;
            page.wait_true("the page's watch", "return window.ready === true").await;
            pages.push(page);
            sites.push(site);
        }
        Self { pages, _sites: sites }
    }

    /// Waits until each was answered what it asked from now on.
    async fn go_on(&self) {
        for page in &self.pages {
            let before = page.value("return served()").await.as_u64().expect("a count");
            // The first may have been under way.
            let more = format!("return served() > {}", before + 1);
            page.wait_true("calls that are answered", &more).await;
        }
    }

    async fn rest(&self) {
        for page in &self.pages {
            page.value("return rest()").await;
        }
    }

    /// Compares what each saw with what there is, and adds its numbers and what it waited.
    async fn judge(&self, outcome: &mut Outcome) {
        for page in &self.pages {
            page.wait_equal("the last change", "return revision()", outcome.revision).await;
            let seen = page.value("return report()").await;
            page.assert_equal("failures", &seen["failures"], &json!([])).await;
            let faults = faults_of(&seen);
            page.assert_equal("faults of the changes", faults, vec![]).await;
            for view in [by_changes(&seen["here"]), by_watch(&seen["users"])] {
                if view != outcome.directory {
                    page.fail(&difference(&view, &outcome.directory)).await;
                }
            }
            let numbers = from_value::<Vec<u64>>(seen["numbers"].clone());
            for number in numbers.expect(AS_REPORTED) {
                let new = outcome.numbers.insert(number);
                page.assert_equal(&format!("{number} came once"), new, true).await;
            }
            outcome.waits.add("page", calls(&seen["calls"], outcome.start_of_day));
            complains_of_lost_servers_only(page).await;
        }
    }
}

/// Where a page was not told each change once and in order, or of somebody gone who stays.
fn faults_of(seen: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    // From there on differences were told, which have revisions of their own.
    let resync = seen["resync"].as_u64().map_or(usize::MAX, |at| at as usize);
    let mut last = seen["from"].as_u64().expect(AS_REPORTED);
    let changes = from_value::<Vec<(u64, String, String)>>(seen["changes"].clone());
    for (at, (revision, kind, name)) in changes.expect(AS_REPORTED).into_iter().enumerate() {
        let follows = if at < resync { revision == last + 1 } else { revision >= last };
        if !follows {
            faults.push(format!("after revision {last} came {revision}: {kind} {name}"));
        }
        if kind == "UserDisconnected" && !name.starts_with(FLEETING) {
            faults.push(format!("{name} was told to be gone at {revision}"));
        }
        last = revision;
    }
    faults
}

/// Who is there to whoever carried out all changes.
fn by_changes(here: &Value) -> Directory {
    let mut directory = Directory::new();
    for entry in here.as_array().expect(AS_REPORTED) {
        let name = entry["username"].as_str().expect(AS_REPORTED);
        let address = from_value(entry.clone()).expect(AS_REPORTED);
        directory.entry(name.to_owned()).or_default().push(address);
    }
    directory
}

/// Who is there by the client's own account.
fn by_watch(users: &Value) -> Directory {
    directory(&from_value::<Vec<User>>(users.clone()).expect(AS_REPORTED))
}

/// What a page called, by the clock that starts with the crowd.
fn calls(calls: &Value, start_of_day: SystemTime) -> Vec<Call> {
    let start = start_of_day.duration_since(UNIX_EPOCH).expect("it is after 1970");
    let millis = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
    let call =
        |(at, took)| Some(Call { began: millis(at).checked_sub(start)?, took: millis(took) });
    let calls = from_value::<Vec<(f64, f64)>>(calls.clone()).expect(AS_REPORTED);
    // Those before it count nowhere.
    calls.into_iter().filter_map(call).collect()
}

/// A page of another origin than the servers', for one of these.
async fn site(cluster: &Cluster, id: u64) -> Site {
    let host = cluster.address(id).to_string();
    let page = include_str!("pages/page.html").replace("MODULE", "./crowd.js");
    let script = include_str!("pages/crowd.js").replace("127.0.0.1:7101", &host);
    // It may connect nowhere else, whatever a server that has begun anew says of the others.
    let allowed = [urls(cluster), vec![cluster.http(id)]].concat();
    Site::serve(vec![("/page.html", page), ("/crowd.js", script)], &allowed).await
}

const AS_REPORTED: &str = "it is as `pages/crowd.js` reports it";
