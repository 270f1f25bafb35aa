//! The figures of a million registrations: a start, and what requests feel of a snapshot.

use std::time::Duration;

use rollcall_tests::roaming::Place;
use tokio::time::{Instant, sleep};

use crate::{
    Result,
    figure::Outcome,
    link::Link,
    load::{Ask, IN_FLIGHT, Load, Pace, USERS, looks_up, p99, user},
    million::{FLAGS, Watch},
    place::Bed,
    server::{Keeps, Server},
};

/// From the start of a server to its first answer.
pub(crate) async fn start(bed: &Bed, run: usize) -> Result<Outcome> {
    let million = bed.million().await?;
    let (folder, empty, scratch) = (million.copy(bed)?, bed.folder()?, bed.folder()?);
    let mut values = Vec::new();
    for (folder, users) in [(&folder, true), (&empty, false)] {
        let begun = Instant::now();
        let mut server = Server::begin(Keeps::In(folder.path()), scratch.path(), FLAGS)?;
        // Another one in each run, each of which has to be there.
        let number = u32::try_from(run)? * 7919 % USERS;
        let name = user(number);
        let answer = first_answer(server.place, &name, &mut server).await?;
        values.push(Some(begun.elapsed().as_secs_f64() * 1e3));
        if answer.contains("203.0.113.7") != users {
            return Err(format!("{name} is looked up: {answer}").into());
        }
        server.kill().await?;
    }
    Ok(Outcome { values, notes: vec![million.describe()] })
}

/// Asks until there is an answer.
async fn first_answer(place: Place, name: &str, server: &mut Server) -> Result<String> {
    loop {
        // Nobody listens yet, or nobody can answer yet.
        if let Ok(mut link) = Link::open(place.address).await {
            let answer = link.ask(&looks_up(name)).await?;
            if !answer.contains(r#""retry":true"#) {
                return Ok(answer);
            }
        }
        server.runs()?;
        sleep(Duration::from_millis(1)).await;
    }
}

/// What is asked while a snapshot is written and while none is, in the order of the figure's rows.
const LOADS: [(Ask, Pace); 4] = [
    (Ask::Numbers, Pace::Closed(IN_FLIGHT)),
    (Ask::Mix, Pace::Closed(IN_FLIGHT)),
    (Ask::Numbers, Pace::Open(RATE)),
    (Ask::Mix, Pace::Open(RATE)),
];

/// Requests while a snapshot of a million registrations is written, and while none is.
pub(crate) async fn snapshot(bed: &Bed, _run: usize) -> Result<Outcome> {
    let (folder, scratch) = (bed.million().await?.copy(bed)?, bed.folder()?);
    let server = Server::start(Keeps::In(folder.path()), scratch.path(), FLAGS).await?;
    let mut watch = Watch::new(folder.path());
    let mut load = Load::open(server.place.address).await?;
    let (mut values, mut notes) = (Vec::new(), Vec::new());
    for (ask, pace) in LOADS {
        // Nothing but a long journal makes a snapshot due.
        let filling = load.begin(Ask::Numbers, Pace::Closed(IN_FLIGHT));
        let begins = watch.snapshot_begins().await;
        (load, _) = filling.stop().await?;
        begins?;
        let begun = Instant::now();
        let running = load.begin(ask, pace);
        watch.quiet().await?;
        let (links, during) = running.stop().await?;
        let took = begun.elapsed().as_secs_f64();
        load = links;
        let calm;
        (load, calm) = without(load, ask, pace, &mut watch).await?;
        let [during, calm] = [during, calm].map(|took| p99(&took));
        let ratio = during.zip(calm).map(|(during, calm)| during / calm);
        values.extend([calm, during, ratio]);
        notes.push(format!("{took:.1} s"));
    }
    let bound = 4 * watch.snapshot.max(64 << 20) + (32 << 20);
    let [most, bound] = [watch.room, bound].map(|bytes| bytes as f64 / 1e6);
    values.extend([most, bound, most / bound].map(Some));
    let mut notes = vec![format!("the snapshots of a run took {}", notes.join(", "))];
    notes.push(bed.million().await?.describe());
    Ok(Outcome { values, notes })
}

/// How long requests take while no snapshot is written. Under full load one may become due soon.
async fn without(
    mut load: Load,
    ask: Ask,
    pace: Pace,
    watch: &mut Watch<'_>,
) -> Result<(Load, Vec<u32>)> {
    for _ in 0..ATTEMPTS {
        sleep(SETTLING).await;
        watch.quiet().await?;
        let running = load.begin(ask, pace);
        let quiet = watch.stays_quiet(CALM).await?;
        let (links, took) = running.stop().await?;
        if quiet >= CALM_LEAST {
            return Ok((links, took));
        }
        load = links;
    }
    Err("one snapshot came after the other".into())
}

/// Requests a second, far from what a server bears.
const RATE: u32 = 2_000;
/// How long is measured while no snapshot is written, if none is begun, and how long at least.
const CALM: Duration = Duration::from_secs(3);
const CALM_LEAST: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;
const SETTLING: Duration = Duration::from_millis(500);
