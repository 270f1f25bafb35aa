//! The table of what was measured.

use std::{fmt::Write as _, thread::available_parallelism};

use rollcall_tests::measuring::load_averages;

use crate::figure::{Figure, Outcome, Row};

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report {
    runs: usize,
    /// On which disk.
    disk: String,
    load: String,
    figure: Option<&'static Figure>,
    /// For each row of the figure, one number per run; none where the run failed.
    values: Vec<Vec<Option<f64>>>,
    notes: Vec<String>,
    missed: usize,
}

impl Report {
    /// Notes how busy the machine is before anything is measured.
    pub(crate) fn begin(runs: usize, disk: String) -> Self {
        Self { runs, disk, load: load_averages(), ..Self::default() }
    }

    /// From here on runs of this figure come.
    pub(crate) fn figure(&mut self, figure: &'static Figure) {
        self.figure = Some(figure);
        self.values = vec![Vec::new(); figure.rows.len()];
        self.notes.clear();
    }

    /// Takes in a run of the figure; none if it failed.
    pub(crate) fn take(&mut self, outcome: Option<Outcome>) {
        let Outcome { values, notes } = outcome.unwrap_or_default();
        for (row, column) in self.values.iter_mut().enumerate() {
            column.push(values.get(row).copied().flatten());
        }
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// The figure that was measured last.
    pub(crate) fn last(&mut self) -> String {
        let Some(figure) = self.figure else { return String::new() };
        let width = figure.rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
        let head = ["median", "min", "max", "aim"].map(|head| format!("{head:>9}")).concat();
        let mut text = format!("{}\n  {:width$}  runs{head}  each run\n", figure.name, "");
        for (row, values) in figure.rows.iter().zip(&self.values) {
            let (line, missed) = line(row, values, width);
            self.missed += usize::from(missed);
            text.push_str(&line);
        }
        for note in &self.notes {
            writeln!(text, "  ({note})").expect("writing to a String does not fail");
        }
        text
    }

    /// What is to be known about all of it.
    pub(crate) fn end(&self) -> String {
        let Self { runs, load: before, missed, disk, .. } = self;
        let cores = available_parallelism().map_or(0, std::num::NonZero::get);
        format!(
            "{runs} runs of each, medians that miss their aim (!): {missed}\n\
             {cores} cores, load average {before} before, {} after; {disk}",
            load_averages()
        )
    }
}

/// A row, and whether it misses its aim.
fn line(row: &Row, values: &[Option<f64>], width: usize) -> (String, bool) {
    let mut known: Vec<f64> = values.iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let [median, least, most] = [median(&known), known.first().copied(), known.last().copied()];
    let missed = row.aim.zip(median).is_some_and(|(aim, median)| !aim.is_met(median));
    let mark = if missed { "! " } else { "" };
    let aim = row.aim.map_or_else(|| "-".to_owned(), |aim| format!("{mark}{aim}"));
    let each: Vec<_> = values.iter().map(|value| shown(*value)).collect();
    let [median, least, most] = [median, least, most].map(shown);
    let (what, count, each) = (row.what, known.len(), each.join(" "));
    let numbers = format!("{count:>4}{median:>9}{least:>9}{most:>9}{aim:>9}");
    (format!("  {what:width$}  {numbers}  {each}\n"), missed)
}

/// A number with three digits at least.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// The middle of sorted numbers, or between the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::FIGURES;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_figure_is_shown_with_its_failed_runs_and_its_aims() {
        let mut report = Report::begin(3, "a disk".to_owned());
        report.figure(&FIGURES[0]);
        let outcome = |ratio, notes: &[&str]| Outcome {
            values: vec![Some(1000.0), Some(400.0), Some(ratio)],
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        };
        report.take(Some(outcome(0.4, &["no etcd"])));
        report.take(None);
        report.take(Some(outcome(0.5, &["no etcd"])));
        let shown = report.last();
        let row = "     2     0.45     0.40     0.50 ! >= 0.5  0.40 - 0.50\n";
        assert!(shown.contains(row), "{shown}");
        assert!(shown.ends_with("\n  (no etcd)\n"), "{shown}");
        assert!(report.end().contains("miss their aim (!): 1"), "{}", report.end());
    }
}
