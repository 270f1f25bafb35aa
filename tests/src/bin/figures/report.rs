//! The table of what was measured.

use std::{fmt::Write as _, thread::available_parallelism, time::Duration};

use rollcall_tests::measuring::load_averages;

use crate::figure::{Figure, Outcome};

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report {
    runs: usize,
    load: String,
    figure: Option<&'static Figure>,
    /// For each row of the figure, one time per run; none where the run failed.
    times: Vec<Vec<Option<f64>>>,
    /// How long writes took before anything happened, in all runs of all figures.
    calm: Vec<f64>,
    missed: usize,
}

impl Report {
    /// Notes how busy the machine is before anything is measured.
    pub(crate) fn begin(runs: usize) -> Self {
        Self { runs, load: load_averages(), ..Self::default() }
    }

    /// From here on runs of this figure come.
    pub(crate) fn figure(&mut self, figure: &'static Figure) {
        self.figure = Some(figure);
        self.times = vec![Vec::new(); figure.rows.len()];
    }

    /// Takes in a run of the figure; none if it failed.
    pub(crate) fn take(&mut self, outcome: Option<Outcome>) {
        let Outcome { times, calm } = outcome.unwrap_or_default();
        for (row, column) in self.times.iter_mut().enumerate() {
            column.push(times.get(row).map(ms));
        }
        self.calm.extend(calm.iter().map(ms));
    }

    /// The figure that was measured last.
    pub(crate) fn last(&mut self) -> String {
        let Some(figure) = self.figure else { return String::new() };
        let mut text = figure.description();
        text.push_str("    runs   median      min      max      aim  each run in ms\n");
        for (row, times) in figure.rows.iter().zip(&self.times) {
            let mut known: Vec<f64> = times.iter().flatten().copied().collect();
            known.sort_by(f64::total_cmp);
            let [median, least, most] =
                [median(&known), known.first().copied(), known.last().copied()];
            let late = row.aim.zip(median).is_some_and(|(aim, median)| median > f64::from(aim));
            self.missed += usize::from(late);
            let shown = |time: Option<f64>| {
                time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"))
            };
            let mark = if late { "! " } else { "" };
            let aim = row.aim.map_or_else(|| "-".to_owned(), |aim| format!("{mark}{aim}"));
            let each: Vec<_> = times.iter().map(|time| shown(*time)).collect();
            let [median, least, most] = [median, least, most].map(shown);
            writeln!(
                text,
                "  {:>6} {median:>8} {least:>8} {most:>8} {aim:>8}  {}",
                known.len(),
                each.join(" ")
            )
            .expect("writing to a String does not fail");
        }
        text
    }

    /// What is to be known about all of it.
    pub(crate) fn end(&mut self) -> String {
        let Self { runs, load: before, missed, calm, .. } = self;
        calm.sort_by(f64::total_cmp);
        let mut text = format!("{runs} runs of each, medians above their aim (!): {missed}\n");
        if let Some(median) = median(calm) {
            let late = calm[calm.len() - 1 - calm.len() / 1000];
            let count = calm.len();
            text.push_str(&format!(
                "undisturbed, {count} writes took {median:.2} ms in the median, all but one in 1000 \
                 at most {late:.1} ms\n"
            ));
        }
        let cores = available_parallelism().map_or(0, std::num::NonZero::get);
        text + &format!("{cores} cores, load average {before} before, {} after", load_averages())
    }
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
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
    fn a_figure_is_shown_with_its_failed_runs_and_its_aim() {
        let mut report = Report::begin(3);
        report.figure(&FIGURES[0]);
        for time in [170, 150] {
            let times = vec![Duration::from_millis(time)];
            report.take(Some(Outcome { times, calm: vec![Duration::from_millis(1)] }));
        }
        let shown = report.last();
        assert!(
            shown.ends_with("     2    160.0    150.0    170.0      160  170.0 150.0\n"),
            "{shown}"
        );
        report.take(None);
        report.take(Some(Outcome { times: vec![Duration::from_millis(165)], calm: vec![] }));
        let shown = report.last();
        let row = "     3    165.0    150.0    170.0    ! 160  170.0 150.0 - 165.0\n";
        assert!(shown.ends_with(row), "{shown}");
        let end = report.end();
        assert!(end.contains("above their aim (!): 1"), "{end}");
        assert!(end.contains("2 writes took 1.00 ms"), "{end}");
    }
}
