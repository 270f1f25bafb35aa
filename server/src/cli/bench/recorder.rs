//! Latencies of many links in a few histograms, and the report made of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Plan;
use super::drive::Answer;
use super::workload::Workload;
use crate::cli::escape::Escaped;
use crate::cli::failure::Failure;
use crate::cli::output;

/// Collects answers from all links.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Links share them by their number, so that they seldom wait for each other.
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug)]
struct Shard {
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let shard = || Mutex::new(Shard { latency: histogram(), errors: BTreeMap::new() });
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }

    pub(super) fn record(&self, link: usize, answers: &mut Vec<Answer>) {
        let mut shard = self.shards[link % SHARDS].lock().expect("no holder of a shard panics");
        for answer in answers.drain(..) {
            match answer.error {
                Some(code) => *shard.errors.entry(code).or_default() += 1,
                None => shard.latency.saturating_record(micros(answer.took)),
            }
        }
    }

    /// The sum of it all, over the time that was measured.
    pub(super) fn report(&self, plan: &Plan, time: Duration) -> Report {
        let mut latency = histogram();
        let mut errors = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().expect("no holder of a shard panics");
            latency.add(&shard.latency).expect("all histograms have the same bounds");
            for (code, count) in &shard.errors {
                *errors.entry(code.clone()).or_default() += count;
            }
        }
        let done = latency.len();
        Report {
            workload: plan.workload,
            connections: plan.connections,
            in_flight: plan.in_flight,
            seconds: time.as_secs_f64(),
            done,
            per_second: (done as f64 / time.as_secs_f64()).round(),
            latency_us: Latency {
                p50: latency.value_at_quantile(0.5),
                p99: latency.value_at_quantile(0.99),
                p99_9: latency.value_at_quantile(0.999),
                max: latency.max(),
            },
            errors,
        }
    }
}

/// What a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    workload: Workload,
    connections: usize,
    in_flight: usize,
    seconds: f64,
    /// Requests answered well, or changes delivered.
    done: u64,
    per_second: f64,
    latency_us: Latency,
    /// How often each error came.
    errors: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    /// The report for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let what = match self.workload {
            Workload::Fanout => "deliveries",
            _ => "requests",
        };
        let millis = |micros: u64| format!("{:.3} ms", micros as f64 / 1000.0);
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row(
                self.workload.name(),
                format!("{} links, {} in flight", self.connections, self.in_flight),
            ),
            row(what, format!("{} in {:.1} s", self.done, self.seconds)),
            row("throughput", format!("{:.0} /s", self.per_second)),
            row("p50", millis(self.latency_us.p50)),
            row("p99", millis(self.latency_us.p99)),
            row("p99.9", millis(self.latency_us.p99_9)),
            row("max", millis(self.latency_us.max)),
        ];
        let errors = self.errors.iter();
        rows.extend(
            errors.map(|(code, count)| row("errors", format!("{count} × {}", Escaped::new(code)))),
        );
        output::columns(&rows)
    }

    /// A run in which the servers said no has failed, as has one in which they said nothing.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if let Some((code, _)) = self.errors.first_key_value() {
            let count: u64 = self.errors.values().sum();
            return Err(Failure::Refused(format!("{count} requests failed, such as with {code}")));
        }
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3).expect("the bounds are in order")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Longer ones count as this.
const LATENCY_MAX_MICROS: u64 = 60_000_000;
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_add_up() {
        let recorder = Recorder::new();
        for link in 0..100 {
            let took = Duration::from_millis(if link == 99 { 50 } else { 1 });
            recorder.record(link, &mut vec![Answer { took, error: None }]);
        }
        let error = Some("overloaded".to_owned());
        recorder.record(3, &mut vec![Answer { took: Duration::ZERO, error }]);
        let plan = Plan {
            workload: Workload::Sequence,
            connections: 100,
            in_flight: 1,
            duration: Duration::from_secs(2),
            users: 0,
            prefix: String::new(),
            timeout: Duration::from_secs(1),
        };
        let report = recorder.report(&plan, Duration::from_secs(2));
        assert_eq!((report.done, report.per_second as u64), (100, 50));
        assert_eq!(report.latency_us.p50 / 10, 100);
        assert_eq!(report.latency_us.max / 100, 500);
        assert_eq!(report.errors["overloaded"], 1);
        assert!(report.verdict().is_err());
        assert!(report.lines().iter().any(|line| line.ends_with("1 × overloaded")));
    }
}
