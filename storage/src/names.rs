//! The names of files.

/// The segment that is made ahead.
pub(crate) const SPARE: &str = "spare";
/// One that is made when there is no spare.
pub(crate) const NEXT: &str = "next";

/// What a cluster is to begin with, put there by a restore.
pub(crate) const RESTORED: &str = "restored";

/// Says that what was here before was damaged, and given up.
pub(crate) const READMITTED: &str = "readmitted";

const JOURNAL: &str = "journal-";
const SNAPSHOT: &str = "snapshot-";

/// The name of a segment.
pub(crate) fn journal(number: u64) -> String {
    format!("{JOURNAL}{number:010}")
}

/// The name of a snapshot.
pub(crate) fn snapshot(number: u64) -> String {
    format!("{SNAPSHOT}{number:010}")
}

/// The number of the segment with this name.
pub(crate) fn journal_number(name: &str) -> Option<u64> {
    number(name, JOURNAL)
}

/// The number of the snapshot with this name.
pub(crate) fn snapshot_number(name: &str) -> Option<u64> {
    number(name, SNAPSHOT)
}

/// Whether a file with this name is one of the journal's.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    matches!(name, SPARE | NEXT | RESTORED | READMITTED)
        || journal_number(name).is_some()
        || snapshot_number(name).is_some()
}

/// Whether a file with this name says nothing of any state.
pub(crate) fn is_empty_of_state(name: &str) -> bool {
    !is_ours(name) || matches!(name, SPARE | NEXT | READMITTED)
}

fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    // More digits than ever are needed are not ours: a number can always be counted on.
    let plain = (10..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let shortest = digits.len() == 10 || !digits.starts_with('0');
    if plain && shortest { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_others() {
        assert_eq!(journal(7), "journal-0000000007");
        assert_eq!(journal_number(&journal(7)), Some(7));
        assert_eq!(snapshot_number(&snapshot(12_345_678_901)), Some(12_345_678_901));
        let others = ["journal-", "journal-7", "journal-0000000007.old", "journal-000000000x", ""];
        let numbers = ["snapshot-00000000007", "snapshot-18446744073709551615"];
        for other in others.into_iter().chain(numbers) {
            assert!(!is_ours(other), "{other}");
        }
        assert!(is_ours(SPARE));
    }
}
