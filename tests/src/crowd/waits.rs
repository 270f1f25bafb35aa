//! How long callers waited, by what was done to a server meanwhile.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// One call: when it began, counted from the start, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub began: Duration,
    pub took: Duration,
}

/// What was done when, and what callers waited.
#[derive(Debug, Default)]
pub struct Waits {
    /// Each with its beginning, in order; it lasts until the next one.
    spans: Vec<(&'static str, Duration)>,
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    kind: &'static str,
    calls: Vec<Call>,
}

/// What callers of one kind waited in all spans of one name.
#[derive(Debug, Default)]
struct Row {
    calls: Vec<Duration>,
    /// The longest call of each caller in each span.
    longest: Vec<Duration>,
}

impl Waits {
    /// From now on this happens to a server.
    pub(super) fn begin(&mut self, name: &'static str, now: Duration) {
        self.spans.push((name, now));
    }

    /// Adds somebody who called; `kind` stands in the table.
    pub fn add(&mut self, kind: &'static str, calls: Vec<Call>) {
        self.callers.push(Caller { kind, calls });
    }

    /// How long calls took in the spans of this name.
    pub fn of(&self, name: &str) -> Vec<Duration> {
        let rows = self.rows().into_iter().filter(|((found, _), _)| *found == name);
        rows.flat_map(|(_, row)| row.calls).collect()
    }

    /// The table of all: p50 and p99 of all calls; p50, p99 and the most of each caller's longest in
    /// one span.
    pub fn table(&self) -> String {
        let mut table = format!("{:<36}{:<17}longest of each caller\n", "times in ms", "all calls");
        let columns = ["calls", "p50", "p99", "p50", "p99", "max"];
        writeln!(table, "{:<26}{}", "", columns.map(|name| format!("{name:>9}")).concat())
            .expect(NEVER_FAILS);
        for ((name, kind), row) in self.rows() {
            let calls = [50, 99].map(|share| percentile(&row.calls, share));
            let longest = [50, 99, 100].map(|share| percentile(&row.longest, share));
            let times = calls.into_iter().chain(longest);
            let times: String = times.map(|time| format!("{:>9.1}", millis(time))).collect();
            let who = format!("{name}, {kind}");
            writeln!(table, "{who:<26}{:>9}{times}", row.calls.len()).expect(NEVER_FAILS);
        }
        table
    }

    fn rows(&self) -> BTreeMap<(&'static str, &'static str), Row> {
        let mut rows = BTreeMap::<_, Row>::new();
        for caller in &self.callers {
            let mut longest = BTreeMap::<usize, Duration>::new();
            for call in &caller.calls {
                let Some(span) = self.span_of(*call) else { continue };
                let name = self.spans[span].0;
                rows.entry((name, caller.kind)).or_default().calls.push(call.took);
                let most = longest.entry(span).or_default();
                *most = call.took.max(*most);
            }
            for (span, most) in longest {
                let name = self.spans[span].0;
                rows.entry((name, caller.kind)).or_default().longest.push(most);
            }
        }
        rows
    }

    /// A call that was under way when something began waited because of that.
    fn span_of(&self, call: Call) -> Option<usize> {
        let end = call.began + call.took;
        self.spans.partition_point(|(_, from)| *from <= end).checked_sub(1)
    }
}

/// The time that such a share of all, in percent, did not exceed; none is no time.
pub fn percentile(times: &[Duration], share: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * share).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const NEVER_FAILS: &str = "writing to a String does not fail";

#[cfg(test)]
mod tests {
    use super::*;

    const fn call(began: u64, took: u64) -> Call {
        Call { began: Duration::from_millis(began), took: Duration::from_millis(took) }
    }

    #[test]
    fn a_call_counts_where_it_ends_and_each_callers_longest_of_a_span_stands_for_it() {
        let mut waits = Waits::default();
        for (name, at) in [("calm", 10), ("storm", 100), ("calm", 200)] {
            waits.begin(name, Duration::from_millis(at));
        }
        waits.add("a", vec![call(0, 5), call(20, 1), call(30, 3), call(90, 40), call(200, 7)]);
        waits.add("a", vec![call(110, 2)]);
        let rows = waits.rows();
        let ms = |times: &[Duration]| times.iter().map(Duration::as_millis).collect::<Vec<_>>();
        let calm = &rows[&("calm", "a")];
        assert_eq!((ms(&calm.calls), ms(&calm.longest)), (vec![1, 3, 7], vec![3, 7]));
        let storm = &rows[&("storm", "a")];
        assert_eq!((ms(&storm.calls), ms(&storm.longest)), (vec![40, 2], vec![40, 2]));
        assert_eq!(ms(&waits.of("storm")), [40, 2]);
        let table = waits.table();
        let last = table.lines().last().expect("a row");
        let words: Vec<_> = last.split_whitespace().collect();
        assert_eq!(words, ["storm,", "a", "2", "2.0", "40.0", "2.0", "40.0", "40.0"], "{table}");
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let found = [1, 50, 99, 100].map(|share| percentile(&times, share).as_millis());
        assert_eq!(found, [2, 100, 198, 200]);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
