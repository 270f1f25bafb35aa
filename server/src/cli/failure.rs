//! Why a command ended without doing its work, and the exit status that says so.
//!
//! Owns the contract's exit statuses; which failure an error is, each command decides.

use std::io;
use std::process::ExitCode;

use super::escape::{Escaped, deceives};

/// A command that did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The cluster, or a server that was to start, said no: exit 1.
    Refused(String),
    /// The command line, a variable or the configuration file is wrong: exit 2.
    Usage(String),
    /// The command line is wrong, or help was asked for: clap's own words and status (2 or 0).
    Clap(Box<clap::Error>),
    /// No server could be reached: exit 3.
    Unreachable(String),
    /// Whoever read standard output has gone (`| head`): a quiet exit 0.
    OutputClosed,
}

impl Failure {
    /// Tells the user on standard error, and the shell by status.
    pub(crate) fn report(&self) -> ExitCode {
        let (status, text) = match self {
            Self::Refused(text) => (1, text.clone()),
            Self::Usage(text) => (2, format!("{text}\n\nFor more information, try '--help'.")),
            Self::Unreachable(text) => (3, text.clone()),
            Self::Clap(error) => {
                report_clap(error);
                return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            }
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        eprintln!("error: {}", Escaped::lines(&text));
        ExitCode::from(status)
    }
}

/// Help goes to standard output, faults to standard error; nobody is left to tell if that is closed.
fn report_clap(error: &clap::Error) {
    let plain = error.render().to_string();
    if plain.chars().any(|c| c != '\n' && deceives(c)) {
        eprint!("{}", Escaped::lines(&plain));
    } else {
        let _ = error.print();
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

/// For standard output only.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Refused(format!("standard output: {error}")),
        }
    }
}
