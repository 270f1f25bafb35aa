//! `rollcall bench`: closed-loop load against running servers, and how they bear it.
//!
//! Owns the command's flags and the order of a run: find servers, open links, preload, measure,
//! report. The links are bare WebSockets ([`link`]): the client library is not what is measured.

mod drive;
mod fanout;
mod link;
mod recorder;
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;

use self::drive::{Until, drive};
use self::link::Link;
use self::recorder::{Recorder, Report};
use self::workload::{Preload, Source, Workload};
use super::args::ClientArgs;
use super::failure::Failure;
use super::output;
use super::values::whole;
use rollcall_shared::limits;

/// Measure running servers under load
///
/// Opens links to the servers of --server in turn and keeps --in-flight requests under way on each
/// for --seconds: a new one leaves when a reply comes (a closed loop). Prints how many were answered
/// each second and how long they took. It shares the machine with what it measures, unless you run
/// it on another one. Its users are named bench-… and expire by themselves.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// What to ask: numbers, lookups of --users, users that come and go, a mix (80 % lookups, 10 %
    /// comings and goings, 10 % numbers), or one publisher whose changes go to all links
    #[arg(long, value_enum, value_name = "WORKLOAD", default_value = "sequence")]
    workload: Workload,
    /// Links to open, a number of them
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = whole(1..=100_000))]
    connections: u64,
    /// Requests under way on each link, a number of them; for fanout, changes under way in all
    #[arg(long, value_name = "COUNT", default_value_t = 16,
          value_parser = whole(1..=limits::WINDOW as u64))]
    in_flight: u64,
    /// How long to measure, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = whole(1..=3_600))]
    seconds: u64,
    /// Users to register before lookups are measured, a number of them
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
          value_parser = whole(1..=1_000_000))]
    users: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// What every part of a run needs to know.
#[derive(Debug)]
struct Plan {
    workload: Workload,
    connections: usize,
    in_flight: usize,
    duration: Duration,
    users: u64,
    /// Begins the name of every user of this run, so that runs do not meet.
    prefix: String,
    timeout: Duration,
}

impl Bench {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let plan = Arc::new(Plan {
            workload: self.workload,
            connections: size(self.connections),
            in_flight: size(self.in_flight),
            duration: Duration::from_secs(self.seconds),
            users: self.users,
            prefix: format!("bench-{:x}-", workload::seed()),
            timeout: self.client.timeout_ms.0,
        });
        let servers = reachable(&self.client).await?;
        eprintln!("opening {} links to {}", plan.connections, servers.join(", "));
        let links = open(&plan, &servers, self.client.token.as_deref()).await?;
        let report = match plan.workload {
            Workload::Fanout => fanout::run(&plan, links, &servers[0], self.client.token).await?,
            _ => requests(&plan, links).await?,
        };
        if self.client.json {
            output::json(&report)?;
        } else {
            report.lines().into_iter().try_for_each(output::line)?;
        }
        report.verdict()
    }
}

/// The servers that answer; where none does, why not, the first refusal before all else.
async fn reachable(args: &ClientArgs) -> Result<Vec<String>, Failure> {
    let mut servers = Vec::new();
    let (mut unreachable, mut refusal) = (Vec::new(), None);
    for url in &args.servers {
        match Link::open(url, args.token.as_deref(), args.timeout_ms.0).await {
            Ok(_) => servers.push(url.clone()),
            Err(Failure::Unreachable(reason)) => unreachable.push(reason),
            Err(other) => refusal = refusal.or(Some(other)),
        }
    }
    match refusal {
        _ if !servers.is_empty() => Ok(servers),
        Some(refusal) => Err(refusal),
        None => Err(Failure::Unreachable(format!(
            "no server could be reached: {}",
            unreachable.join("; ")
        ))),
    }
}

async fn open(plan: &Plan, servers: &[String], token: Option<&str>) -> Result<Vec<Link>, Failure> {
    let mut links = Vec::with_capacity(plan.connections);
    let mut opening = JoinSet::new();
    for url in servers.iter().cycle().take(plan.connections) {
        // More at once would overflow the listening socket's queue and wait for retransmissions.
        if opening.len() >= OPENING_MAX {
            links.extend(joined(opening.join_next().await)?);
        }
        let (url, token, timeout) = (url.clone(), token.map(str::to_owned), plan.timeout);
        opening.spawn(async move { Link::open(&url, token.as_deref(), timeout).await });
    }
    while !opening.is_empty() {
        links.extend(joined(opening.join_next().await)?);
    }
    Ok(links)
}

/// Measures requests: every link asks on its own.
async fn requests(plan: &Arc<Plan>, links: Vec<Link>) -> Result<Report, Failure> {
    let links = if plan.workload.looks_up() { preload(plan, links).await? } else { links };
    eprintln!("measuring {} for {} s", plan.workload.name(), plan.duration.as_secs());
    let recorder = Arc::new(Recorder::new());
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (index, mut link) in links.into_iter().enumerate() {
        let (plan, recorder) = (Arc::clone(plan), Arc::clone(&recorder));
        running.spawn(async move {
            let mut source = Source::new(&plan, index);
            let until = Until::Time(start + plan.duration);
            drive(&mut link, &mut source, plan.in_flight, until, |batch| {
                recorder.record(index, batch);
            })
            .await
        });
    }
    while let Some(ended) = running.join_next().await {
        joined(Some(ended))?;
    }
    Ok(recorder.report(plan, start.elapsed()))
}

/// Registers the users that are looked up, each link its share.
async fn preload(plan: &Arc<Plan>, links: Vec<Link>) -> Result<Vec<Link>, Failure> {
    eprintln!("registering {} users", plan.users);
    let recorder = Arc::new(Recorder::new());
    let mut running = JoinSet::new();
    for (index, mut link) in links.into_iter().enumerate() {
        let (plan, recorder) = (Arc::clone(plan), Arc::clone(&recorder));
        running.spawn(async move {
            let mut source = Preload::new(&plan, index);
            drive(&mut link, &mut source, plan.in_flight, Until::Done, |batch| {
                recorder.record(index, batch);
            })
            .await
            .map(|()| link)
        });
    }
    let mut links = Vec::with_capacity(plan.connections);
    while !running.is_empty() {
        links.extend(joined(running.join_next().await)?);
    }
    recorder.report(plan, Duration::from_secs(1)).verdict()?;
    Ok(links)
}

/// The outcome of a task of a set; a panic goes on here.
fn joined<T>(
    ended: Option<Result<Result<T, Failure>, tokio::task::JoinError>>,
) -> Result<Option<T>, Failure> {
    match ended {
        None => Ok(None),
        Some(Ok(outcome)) => outcome.map(Some),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Failure::Refused("the run was cancelled".to_owned())),
        },
    }
}

/// Links opened at the same time.
const OPENING_MAX: usize = 64;

const EXAMPLES: &str = "\
EXAMPLES
  Sequence numbers from the local cluster of `rollcall dev`:
    rollcall bench

  Lookups among 100,000 users on 256 links, for a script:
    rollcall bench --workload lookup --users 100000 --connections 256 --json

  Changes pushed to a thousand subscribers:
    rollcall bench --workload fanout --connections 1000 --in-flight 4";
