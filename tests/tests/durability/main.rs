//! What survives: servers that keep their state on disk, killed, cut short, with disks that are full,
//! fail, lie or take their time; folders that are damaged, mixed up or used twice.
//!
//! Each story has clients that check every answer, so the rule is the same everywhere: nothing that
//! was acknowledged is lost, no number comes twice, and a server that cannot promise that ends and
//! says why. Needs `strace`, and root (or user namespaces) for disks of its own.
//!
//! Stories that repeat something repeat it [`HUNT`] times as often where that variable is a number.

mod damage;
mod faults;
mod folders;
mod frames;
mod full;
mod kills;
mod load;
mod readmit;
mod slow;
mod trace;

use std::{
    hash::{BuildHasher, Hasher},
    ops::Range,
    path::Path,
    time::Duration,
};

/// The variable that makes it search longer.
const HUNT: &str = "ROLLCALL_HUNT";

/// How often to repeat something that is repeated so often in an ordinary run.
fn rounds(usual: usize) -> usize {
    let times = std::env::var(HUNT).map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("{HUNT} says how many times as often, not {text:?}"))
    });
    usual * times
}

/// A number below `choices`, drawn anew each time.
fn draw(choices: usize) -> usize {
    let random = std::hash::RandomState::new().build_hasher().finish();
    random as usize % choices
}

fn draw_ms(range: Range<u64>) -> Duration {
    let span = usize::try_from(range.end - range.start).expect("a short time");
    Duration::from_millis(range.start + draw(span) as u64)
}

/// Fails unless a log says all of this.
#[track_caller]
fn assert_says(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "no {part:?} in\n{log}");
    }
}

/// The files of a folder that are a server's journal or snapshots, in order.
fn files_of(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("journal-") || name.starts_with("snapshot-"))
        .collect();
    names.sort();
    names
}

/// The newest segment of a folder's journal.
fn newest_journal(folder: &Path) -> String {
    let journals = files_of(folder).into_iter().filter(|name| name.starts_with("journal-"));
    journals.max().expect("a server has run there")
}

/// Sessions outlast whatever befalls the servers.
const LASTING: &[&str] = &["--session-grace-ms", "3600000"];
