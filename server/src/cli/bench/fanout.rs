//! Fan-out: one publisher, every link a subscriber. Measured is the way from the publisher's send
//! to each subscriber's receipt.
//!
//! The loop is closed: a change is under way until all subscribers have it, so that a server that
//! cannot keep up gets fewer changes instead of ever longer queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rollcall_shared::message::{RequestKind, tag};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::drive::Answer;
use super::link::{self, Link, request};
use super::recorder::{Recorder, Report};
use super::{Plan, joined};
use crate::cli::failure::Failure;

/// Changes under way, seen by the publisher and all subscribers.
struct Flight {
    start: Instant,
    subscribers: u64,
    /// By change number modulo their count: when it was sent, in nanoseconds after `start`, and how
    /// many have it. Subscribers get changes in order, so the oldest is always done first and its
    /// place is free when it is taken again.
    changes: Vec<(AtomicU64, AtomicU64)>,
    /// One permit for every change that may be sent.
    free: Semaphore,
}

impl Flight {
    fn new(plan: &Plan) -> Self {
        Self {
            start: Instant::now(),
            subscribers: plan.connections as u64,
            changes: std::iter::repeat_with(Default::default).take(plan.in_flight).collect(),
            free: Semaphore::new(plan.in_flight),
        }
    }

    fn sent(&self, number: u64) {
        let (sent, arrived) = self.change(number);
        arrived.store(0, Ordering::Relaxed);
        sent.store(self.nanos(), Ordering::Release);
    }

    /// A subscriber has the change; returns how long its way was.
    fn arrived(&self, number: u64) -> Duration {
        let (sent, arrived) = self.change(number);
        let way = self.nanos().saturating_sub(sent.load(Ordering::Acquire));
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.subscribers {
            self.free.add_permits(1);
        }
        Duration::from_nanos(way)
    }

    fn change(&self, number: u64) -> &(AtomicU64, AtomicU64) {
        let count = self.changes.len() as u64;
        &self.changes[usize::try_from(number % count).expect("it is below a usize")]
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Measures with `links` as subscribers and one more link as the publisher.
pub(super) async fn run(
    plan: &Arc<Plan>,
    links: Vec<Link>,
    server: &str,
    token: Option<String>,
) -> Result<Report, Failure> {
    let publisher = Link::open(server, token.as_deref(), plan.timeout).await?;
    let mut subscribing = JoinSet::new();
    for link in links {
        let plan = Arc::clone(plan);
        subscribing.spawn(async move { subscribe(link, &plan).await });
    }
    let mut subscribers = Vec::with_capacity(plan.connections);
    while !subscribing.is_empty() {
        subscribers.extend(joined(subscribing.join_next().await)?);
    }

    eprintln!("measuring fanout for {} s", plan.duration.as_secs());
    let recorder = Arc::new(Recorder::new());
    let flight = Arc::new(Flight::new(plan));
    let end = flight.start + plan.duration;
    let mut running = JoinSet::new();
    for (index, link) in subscribers.into_iter().enumerate() {
        let (flight, recorder) = (Arc::clone(&flight), Arc::clone(&recorder));
        running.spawn(async move { receive(index, link, &flight, &recorder, end).await });
    }
    let (of_publisher, errors) = (Arc::clone(plan), Arc::clone(&recorder));
    let of_flight = Arc::clone(&flight);
    running.spawn(async move { publish(publisher, &of_publisher, &of_flight, &errors, end).await });
    while let Some(ended) = running.join_next().await {
        joined(Some(ended))?;
    }
    Ok(recorder.report(plan, flight.start.elapsed()))
}

async fn subscribe(mut link: Link, plan: &Plan) -> Result<Link, Failure> {
    let filter = json!({ "prefix": plan.prefix });
    link.feed(|id| request(RequestKind::Subscribe, id, &filter)).await?;
    link.flush().await?;
    let mut texts = Vec::new();
    tokio::time::timeout(plan.timeout, link.receive(&mut texts)).await.map_err(|_| {
        Failure::Unreachable("a subscription was not answered in time".to_owned())
    })??;
    let head = texts.first().map(|text| link::head(text)).transpose()?;
    match head.as_ref().and_then(link::error_code) {
        Some(code) => Err(Failure::Refused(format!("a subscription was refused: {code}"))),
        None => Ok(link),
    }
}

async fn receive(
    index: usize,
    mut link: Link,
    flight: &Flight,
    recorder: &Recorder,
    end: Instant,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Change {
        meta: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        n: u64,
    }
    let (mut texts, mut answers) = (Vec::new(), Vec::new());
    loop {
        match tokio::time::timeout_at(end.into(), link.receive(&mut texts)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Ok(()),
        }
        for text in texts.drain(..) {
            let head = link::head(&text)?;
            if matches!(head.r#type, tag::USER_CONNECTED | tag::USER_UPDATED) {
                let change: Change = serde_json::from_str(head.payload.get()).map_err(|error| {
                    Failure::Refused(format!("a push is not as published: {error}: {text}"))
                })?;
                answers.push(Answer { took: flight.arrived(change.meta.n), error: None });
            }
        }
        recorder.record(index, &mut answers);
    }
}

async fn publish(
    mut link: Link,
    plan: &Plan,
    flight: &Flight,
    errors: &Recorder,
    end: Instant,
) -> Result<(), Failure> {
    let name = format!("{}publisher", plan.prefix);
    let (mut number, mut unanswered) = (0, 0);
    let mut texts = Vec::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => return Ok(()),
            received = link.receive(&mut texts) => received?,
            permits = flight.free.acquire(), if unanswered < plan.in_flight => {
                permits.expect("the semaphore is never closed").forget();
                let mut allowed = 1;
                while unanswered + allowed < plan.in_flight
                    && let Ok(permit) = flight.free.try_acquire()
                {
                    permit.forget();
                    allowed += 1;
                }
                for _ in 0..allowed {
                    flight.sent(number);
                    let payload = json!({
                        "username": name, "ip": "203.0.113.7", "port": 4711, "meta": { "n": number },
                    });
                    link.feed(|id| request(RequestKind::ConnectUser, id, &payload)).await?;
                    number += 1;
                }
                unanswered += allowed;
                link.flush().await?;
            }
        }
        for text in texts.drain(..) {
            let head = link::head(&text)?;
            if head.id.is_some() {
                unanswered = unanswered.saturating_sub(1);
                if let Some(code) = link::error_code(&head) {
                    let failed = Answer { took: Duration::ZERO, error: Some(code) };
                    errors.record(0, &mut vec![failed]);
                }
            }
        }
    }
}
