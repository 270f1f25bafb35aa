//! Standard output: what a command answers, as text for people or one JSON object a line; and what it
//! says beside that.
//!
//! Every line is flushed, so that the next program in the pipe sees it at once. A reader that went
//! away is [`Failure::OutputClosed`].

use std::fmt;
use std::io::{self, Write as _};

use serde::Serialize;

use super::failure::Failure;

/// Writes a line and flushes it.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Writes a line to standard error, in one piece: children write theirs there too.
pub(crate) fn aside(text: impl fmt::Display) {
    // Nobody may be there to read it, which is no reason to stop.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Writes a value as one line of JSON and flushes it.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .expect("message types have string keys and no failing serializers");
    line(text)
}

/// Rows as lines with aligned columns, two spaces apart, nothing at their end.
///
/// The cells are what is shown: others' texts come [escaped](super::escape).
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

/// A number with its noun, `1 device` or `2 devices`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        let shown = [0_u64, 1, 2].map(|number| counted(number, "device"));
        assert_eq!(shown, ["0 devices", "1 device", "2 devices"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a", "b"], vec!["long", "", "c"], vec![]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(columns(&rows), ["a     b", "long     c", ""]);
    }
}
