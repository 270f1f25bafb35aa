//! A backup: the replicated state as a file of its own, to be kept elsewhere.
//!
//! It is whole or refused. A restore puts it, with a sequence that goes on far enough ahead, into an
//! empty folder, where it waits for a cluster to begin with it.

use rollcall_replica::consensus::ids::{ClusterId, Index};
use rollcall_replica::directory::Directory;
use rollcall_shared::id::Revision;
use serde::{Deserialize, Serialize};

use crate::fault::{Failed, OpenError, Refused};
use crate::folder::{File, Folder};
use crate::frame::{self, FileKind};
use crate::names;
use crate::snapshot::{Encoder, Pieces, read_pieces};

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The life of the cluster.
    pub cluster: ClusterId,
    /// The last entry it contains.
    pub index: Index,
    /// The revision it is true at.
    pub revision: Revision,
    /// The next sequence number.
    pub next_number: u64,
    /// When it was taken, milliseconds since 1970 by the clock of the server it was taken from.
    pub taken_at: u64,
}

/// The bytes of a backup, part by part: about 128 KiB each. `salt` is random.
pub fn encode(
    salt: u64,
    head: &Backup,
    directory: Directory,
) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut encoder = Encoder::new(FileKind::Backup, salt, head);
    std::iter::from_fn(move || encoder.poll(&directory))
}

/// Reads a backup; `name` is its name in errors.
///
/// # Errors
/// It is damaged, no backup, or of a newer version.
pub fn read(name: &str, bytes: &[u8]) -> Result<(Backup, Directory), OpenError> {
    if !bytes.starts_with(frame::MAGIC) {
        let expected = FileKind::Backup.name();
        return Err(Refused::OtherKind { file: name.into(), expected }.into());
    }
    read_pieces(name, FileKind::Backup, bytes)
}

/// Whether a folder with these files holds nothing of a server's state, so that one can be restored to
/// it.
#[must_use]
pub fn is_empty(names: &[String]) -> bool {
    names.iter().all(|name| names::is_empty_of_state(name))
}

/// Puts what a cluster is to begin with into a folder that holds nothing of a server. The sequence
/// goes on from `head.next_number`. Durable when it returns.
///
/// # Errors
/// The disk fails; what was written is removed again then, if the disk lets it be.
pub fn restore<F: Folder>(
    folder: &F,
    salt: u64,
    head: &Backup,
    directory: Directory,
) -> Result<(), Failed> {
    let directory = directory.with_numbers_from(head.next_number);
    let name = names::NEXT.to_owned();
    let file = folder.create(&name).map_err(Failed::new("create", &name))?;
    let mut pieces = Pieces::new(file, name, Encoder::new(FileKind::Backup, salt, head));
    loop {
        match pieces.step(&directory) {
            Ok(false) => {}
            Ok(true) => break,
            Err(failed) => {
                // That it is there does no harm.
                let _ = folder.remove(names::NEXT);
                return Err(failed);
            }
        }
    }
    // A server that begins a cluster with it has lost nothing.
    match folder.remove(names::READMITTED) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failed::new("remove", names::READMITTED)(why));
        }
        _ => {}
    }
    let rename = folder.rename(names::NEXT, names::RESTORED);
    rename.map_err(Failed::new("rename", names::NEXT))?;
    folder.sync().map_err(Failed::new("sync", "the folder"))
}

/// The files of a folder that is given up, in the order in which they are to go, so that at no time the
/// rest of them looks like a state of its own: what came last goes last. [`give_up`] comes before.
#[must_use]
pub fn in_order_of_removal(names: &[String]) -> Vec<String> {
    let mut names: Vec<_> =
        names.iter().filter(|name| names::is_ours(name) && *name != names::READMITTED).collect();
    names.sort_by_key(|name| (names::journal_number(name), name.as_str()));
    names.into_iter().cloned().collect()
}

/// Says that what is in a folder is given up: a server that starts with it begins no cluster.
///
/// # Errors
/// The disk fails.
pub fn give_up<F: Folder>(folder: &F) -> Result<(), Failed> {
    let name = names::READMITTED;
    let mut file = folder.create(name).map_err(Failed::new("create", name))?;
    file.sync().map_err(Failed::new("sync", name))?;
    folder.sync().map_err(Failed::new("sync", "the folder"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_replica::consensus::ids::{Boot, Epoch};
    use rollcall_replica::consensus::journal::Record;
    use rollcall_replica::consensus::log::{Entry, Init, Op};

    use super::*;
    use crate::memory::Memory;
    use crate::testing::{NODE, Server};
    use crate::{Journal, Settings, recover};

    /// A backup of a directory that has something in it.
    fn backup() -> (Backup, Directory) {
        let mut server = Server::new(7);
        while server.snapshots.last().is_none_or(|last| last.directory.users().registrations() < 9)
        {
            server.record();
        }
        let snapshot = server.snapshots.pop().unwrap();
        let (cluster, index) = (snapshot.cluster, snapshot.index);
        let directory = snapshot.directory.clone();
        let revision = directory.revision();
        (Backup { cluster, index, revision, next_number: 5000, taken_at: 77 }, directory)
    }

    fn bytes() -> Vec<u8> {
        let (head, directory) = backup();
        let parts: Vec<_> = encode(3, &head, directory).collect();
        assert!(parts.len() > 2, "it comes in parts");
        parts.concat()
    }

    #[test]
    fn a_backup_comes_back() {
        assert_eq!(read("b", &bytes()).unwrap(), backup());
    }

    #[test]
    fn a_backup_that_is_not_whole_is_refused() {
        let whole = bytes();
        for length in 0..whole.len() {
            let error = read("b", &whole[..length]).unwrap_err();
            if length < frame::MAGIC.len() {
                assert!(matches!(error, OpenError::Refused(_)), "{length}: {error}");
                continue;
            }
            let OpenError::Damage(damage) = error else { panic!("{length}: {error}") };
            assert!(damage.offset <= length as u64, "{damage}, cut at {length}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            match read("b", &flipped) {
                Ok(same) => assert_eq!(same, backup()),
                Err(OpenError::Damage(damage)) => assert!(damage.offset <= at as u64, "{damage}"),
                // It does not look like one.
                Err(OpenError::Refused(_)) if at < frame::MAGIC.len() => {}
                Err(other) => panic!("{at}: {other}"),
            }
        }
    }

    /// The entry that begins a cluster, with what was restored or without.
    fn init(restored: bool) -> Record {
        let boots = vec![(NODE, Boot(1))];
        let (cluster, first_revision) = (ClusterId(1), Revision(1));
        let bounds = rollcall_replica::directory::Bounds::default();
        let op = Op::Init(Init { cluster, boots, first_revision, restored, bounds });
        let entries = vec![Arc::new(Entry { epoch: Epoch(0), op })];
        Record::Append { first: Index(1), entries }
    }

    #[test]
    fn what_is_restored_waits_until_the_log_has_begun_with_it() {
        for begins_with_it in [true, false] {
            let folder = Memory::default();
            let (head, directory) = backup();
            restore(&folder, 1, &head, directory.clone()).unwrap();
            let mut expected = Some(directory.with_numbers_from(5000));
            for start in 0..4 {
                folder.crash(|| false);
                assert_eq!(recover(&folder, NODE).unwrap().stored.restored, expected);
                let opened = Journal::open(folder.clone(), NODE, Settings::default(), start);
                let (mut journal, stored, _) = opened.unwrap();
                assert_eq!(stored.restored, expected);
                if start == 1 {
                    journal.append(Record::Boot(Boot(1))).unwrap();
                }
                if start == 2 {
                    journal.append(init(begins_with_it)).unwrap();
                    expected = None;
                }
                journal.write().unwrap();
                journal.sync().unwrap();
            }
            // Where the cluster was there already it is not ours to remove.
            let there = folder.names().unwrap().contains(&names::RESTORED.to_owned());
            assert_eq!(there, !begins_with_it);
        }
    }

    #[test]
    fn what_was_given_up_begins_no_cluster_until_all_is_copied() {
        let folder = Memory::default();
        give_up(&folder).unwrap();
        assert!(is_empty(&folder.names().unwrap()), "it can be restored to");
        for start in 0..3 {
            let opened = Journal::open(folder.clone(), NODE, Settings::default(), start);
            let (mut journal, stored, _) = opened.unwrap();
            assert!(stored.readmitted);
            if start == 1 {
                journal.append(Record::Boot(Boot(1))).unwrap();
            }
            if start == 2 {
                journal.append(init(false)).unwrap();
            }
            journal.write().unwrap();
            journal.sync().unwrap();
        }
        let opened = Journal::open(folder.clone(), NODE, Settings::default(), 9);
        assert!(!opened.unwrap().1.readmitted);
        assert!(!folder.names().unwrap().contains(&names::READMITTED.to_owned()));
    }

    #[test]
    fn a_restore_that_fails_leaves_nothing_in_its_way() {
        let folder = Memory::default();
        give_up(&folder).unwrap();
        let (head, directory) = backup();
        folder.set_room(Some(1000));
        restore(&folder, 1, &head, directory.clone()).unwrap_err();
        folder.set_room(None);
        assert!(is_empty(&folder.names().unwrap()));
        restore(&folder, 1, &head, directory).unwrap();
        let names = folder.names().unwrap();
        assert!(!is_empty(&names) && !names.contains(&names::READMITTED.to_owned()));
    }

    /// Whatever is still there when a removal breaks off, it is not an older state.
    #[test]
    fn the_newest_goes_last() {
        let names =
            ["journal-0000000010", "snapshot-0000000007", "x", "journal-0000000009", "spare"];
        let order = in_order_of_removal(&names.map(str::to_owned));
        let expected = ["snapshot-0000000007", "spare", "journal-0000000009", "journal-0000000010"];
        assert_eq!(order, expected);
    }
}
