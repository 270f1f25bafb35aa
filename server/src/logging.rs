//! The log: tracing events to standard error, for people or as JSON.
//!
//! Whatever a stranger sent is escaped before it reaches a terminal. What is logged, and at which
//! level, is decided where it happens.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format;

use crate::cli::args::LogFormat;
use crate::cli::escape::{Escaped, deceives};

/// Sends the events that pass `filter` to standard error from now on.
///
/// # Panics
/// If called twice.
pub(crate) fn start(filter: &str, format: LogFormat) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(filter, format, colour, io::stderr);
    tracing::dispatcher::set_global_default(subscriber).expect("the log is started once");
}

fn subscriber<W>(filter: &str, format: LogFormat, colour: bool, writer: W) -> tracing::Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse_lossy(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Human => builder
            .with_ansi(colour)
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .with_writer(writer)
            .into(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(Json(writer))
            .into(),
    }
}

fn write_field(
    writer: &mut format::Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", Escaped::new(&text)),
        name => write!(writer, "{name}={}", Escaped::new(&text)),
    }
}

/// Passes JSON on with what [`deceives`] written as a `\u` escape: in JSON such a character can only
/// be part of a string.
struct Json<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Json<W> {
    type Writer = JsonWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonWriter(self.0.make_writer())
    }
}

struct JsonWriter<W>(W);

impl<W: Write> Write for JsonWriter<W> {
    /// The subscriber writes an event at once, so no character is cut in two.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().any(|c| deceives(c) && c != '\n') => {
                self.0.write_all(json_escaped(text).as_bytes())?;
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn json_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, event: impl Fn()) -> String {
        let sink = Sink::default();
        let made = sink.clone();
        let subscriber = subscriber(filter, format, false, move || made.clone());
        tracing::dispatcher::with_default(&subscriber, event);
        let bytes = sink.0.lock().expect("no writer panics").clone();
        String::from_utf8(bytes).expect("the log is UTF-8")
    }

    const HOSTILE: &str = "\x1b[2J\u{202e}\n\u{e0041}fake";

    #[test]
    fn lines_for_people_hold_no_terminal_commands() {
        let line = logged("info", LogFormat::Human, || {
            tracing::info!(name = HOSTILE, other = %HOSTILE, "seen {HOSTILE}");
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.trim_end().chars().all(|c| !deceives(c)), "{line:?}");
        assert_eq!(line.matches("[2J").count(), 3, "{line}");
        assert!(line.contains("INFO"), "{line}");
    }

    #[test]
    fn json_says_exactly_what_came_in_plain_characters() {
        let line = logged("info", LogFormat::Json, || {
            tracing::info!(name = HOSTILE, "seen");
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.trim_end().chars().all(|c| !deceives(c)), "{line:?}");
        let event: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(event["name"], HOSTILE);
        assert_eq!(event["message"], "seen");
        assert_eq!(event["level"], "INFO");
    }

    #[test]
    fn the_filter_decides() {
        let quiet = logged("warn", LogFormat::Human, || tracing::info!("unheard"));
        assert_eq!(quiet, "");
        let part = logged("off,rollcall=debug", LogFormat::Human, || tracing::debug!("heard"));
        assert!(part.contains("heard"), "{part}");
    }
}
