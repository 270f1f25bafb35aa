//! Files that are not what was written: whatever is broken, cut short or gone is named, and a state
//! that lacks something is never taken for the whole.

use super::*;
use crate::fault::Damage;
use crate::frame::At;

/// A folder that was closed, and what it holds.
struct Closed {
    folder: Memory,
    stored: Stored,
    snapshots: Vec<Arc<Snapshot>>,
    /// The files that are needed; the newest segment is the last of the segments.
    needed: BTreeSet<String>,
    newest: String,
}

impl Closed {
    fn new(run: &Run) -> Self {
        let folder = run.folder.copy();
        let Recovered { stored, segments, base, cut, .. } = found(&folder).unwrap();
        assert_eq!(cut, None);
        let journals = segments.iter().map(|segment| names::journal(segment.end.number));
        let newest = journals.clone().next_back().unwrap();
        let snapshot = base.map(|base| names::snapshot(base.number));
        let needed = journals.chain(snapshot).collect();
        Self { folder, stored, snapshots: run.server.snapshots.clone(), needed, newest }
    }

    /// With three segments that are needed and a snapshot; `marked` or not. The state before the
    /// last group is there too.
    fn find(marked: bool) -> (Self, Stored) {
        let settings = Settings { segment_bytes: 600, snapshot_after: 900, rewrite_bytes: 0 };
        for seed in 0.. {
            let mut run = Run::new(seed, settings);
            let mut life = run.open().unwrap();
            for _ in 0..100 {
                run.step(&mut life).unwrap();
            }
            run.finish(&mut life).unwrap();
            let before = run.server.stored.clone();
            run.give(&mut life).unwrap();
            run.give(&mut life).unwrap();
            life.journal.write().unwrap();
            run.sync(&mut life).unwrap();
            if marked {
                life.journal.mark().unwrap();
            }
            let segments = life.journal.segments.len();
            let small = run.folder.bytes() < 9000;
            let last_is_group = life.journal.segment.end().offset > 300;
            if segments >= 3 && life.journal.snapshots.base.is_some() && small && last_is_group {
                return (Self::new(&run), before);
            }
        }
        unreachable!("some seed does");
    }

    fn check_same(&self, other: &Stored) {
        assert_eq!(difference(other, &self.stored, &self.snapshots), None);
        assert_eq!(other.log.snapshot_index(), self.stored.log.snapshot_index());
    }

    /// A folder where this file is another one.
    fn with(&self, name: &str, content: Vec<u8>) -> Memory {
        let folder = self.folder.copy();
        folder.put(name, content);
        folder
    }
}

/// Where the frames of a file begin, and where nothing follows.
fn frames(content: &[u8]) -> Vec<usize> {
    let salt = u64::from_le_bytes(content[16..24].try_into().unwrap());
    let (mut starts, mut offset) = (vec![0, frame::PREAMBLE], frame::PREAMBLE);
    while let At::Frame(frame) = frame::read(content, salt, offset) {
        offset = frame.next;
        starts.push(offset);
    }
    starts
}

fn damage(error: OpenError) -> Damage {
    match error {
        OpenError::Damage(damage) => damage,
        other => panic!("{other} is no damage"),
    }
}

/// Every byte of every file, with one bit of it flipped.
fn flips(closed: &Closed) -> impl Iterator<Item = (String, usize, Vec<u8>)> + '_ {
    let mut random = Random::new(closed.folder.bytes());
    let files = contents(&closed.folder).into_iter();
    files.flat_map(move |(name, content)| {
        let bits: Vec<_> = content.iter().map(|_| random.below(8)).collect();
        bits.into_iter().enumerate().map(move |(at, bit)| {
            let mut content = content.clone();
            content[at] ^= 1 << bit;
            (name.clone(), at, content)
        })
    })
}

/// The frame at `at` is the one that the damage names.
fn check_place(closed: &Closed, name: &str, at: usize, damage: &Damage) {
    let starts = frames(&closed.folder.content(name));
    let start = starts.iter().rev().find(|start| **start <= at).unwrap();
    let offset = usize::try_from(damage.offset).unwrap();
    assert!(damage.file == name && (*start..=at).contains(&offset), "{damage}, not {name} at {at}");
}

#[test]
fn a_flipped_bit_is_named_or_has_no_effect() {
    let (closed, _) = Closed::find(true);
    let (mut named, mut without) = (0, 0);
    for (name, at, content) in flips(&closed) {
        match found(&closed.with(&name, content)) {
            Ok(other) => {
                closed.check_same(&other.stored);
                let cut = other.cut.map(|cut| cut.file);
                assert!(cut.is_none() || cut == Some(closed.newest.clone()), "{cut:?}");
                without += 1;
            }
            Err(error) => {
                check_place(&closed, &name, at, &damage(error));
                assert!(closed.needed.contains(&name), "{name} is not needed");
                named += 1;
            }
        }
    }
    assert!(named > 1500 && without > 100, "{named} named, {without} without effect");
}

#[test]
fn without_a_mark_the_last_group_may_be_taken_for_unfinished_and_nothing_else() {
    let (closed, before) = Closed::find(false);
    let starts = frames(&closed.folder.content(&closed.newest));
    let [.., last, end] = starts[..] else { panic!("there are frames") };
    let mut cuts = 0;
    for (name, at, content) in flips(&closed) {
        let in_last = name == closed.newest && (last..end).contains(&at);
        match found(&closed.with(&name, content)) {
            Ok(other) if in_last && other.cut.is_some() => {
                let cut = other.cut.unwrap();
                assert_eq!((cut.file, cut.offset), (name, last as u64));
                assert_eq!(difference(&other.stored, &before, &closed.snapshots), None);
                cuts += 1;
            }
            Ok(other) => closed.check_same(&other.stored),
            Err(error) => {
                assert!(!in_last);
                check_place(&closed, &name, at, &damage(error));
            }
        }
    }
    // All of it but what fills it up.
    assert!((end - last - 7..=end - last).contains(&cuts), "{cuts} of {}", end - last);
}

/// A start writes its group together with a mark.
#[test]
fn what_a_start_wrote_is_never_taken_for_unfinished() {
    let settings = Settings { segment_bytes: 600, snapshot_after: 900, rewrite_bytes: 1 << 20 };
    let mut run = Run::new(1, settings);
    let mut life = run.open().unwrap();
    for _ in 0..100 {
        run.step(&mut life).unwrap();
    }
    run.finish(&mut life).unwrap();
    run.open().unwrap();
    let closed = Closed::new(&run);
    assert!(closed.stored.log.last() > closed.stored.log.snapshot_index());
    for (name, at, content) in flips(&closed) {
        match found(&closed.with(&name, content)) {
            Ok(other) => closed.check_same(&other.stored),
            Err(error) => check_place(&closed, &name, at, &damage(error)),
        }
    }
}

#[test]
fn a_file_that_is_cut_short_is_named_or_was_not_needed_so_far() {
    for marked in [true, false] {
        let (closed, _) = Closed::find(marked);
        for (name, content) in contents(&closed.folder) {
            let mut shortest = content.len();
            for length in 0..content.len() {
                match found(&closed.with(&name, content[..length].to_vec())) {
                    Ok(other) => {
                        assert_eq!(other.cut, None);
                        closed.check_same(&other.stored);
                        shortest = shortest.min(length);
                    }
                    Err(error) => {
                        let damage = damage(error);
                        assert!(damage.file == name && damage.offset <= length as u64, "{damage}");
                        assert_eq!(shortest, content.len(), "what is longer is as good");
                    }
                }
            }
            let unused = content.len() - shortest;
            if closed.needed.contains(&name) {
                // A seal is not needed while the next segment is there.
                let seal =
                    if name.starts_with("journal") && name != closed.newest { 24 } else { 0 };
                assert_eq!(unused, seal, "{name}");
            } else {
                assert_eq!(unused, content.len(), "{name}");
            }
        }
    }
}

#[test]
fn a_file_that_has_grown_is_named_or_has_no_effect() {
    let (closed, _) = Closed::find(true);
    for (name, content) in contents(&closed.folder) {
        for more in [vec![0; 1], vec![0; 999], vec![7; 1], vec![7; 999]] {
            match found(&closed.with(&name, [content.clone(), more].concat())) {
                Ok(other) => closed.check_same(&other.stored),
                Err(error) => assert_eq!(damage(error).file, name),
            }
        }
    }
}

#[test]
fn a_file_that_is_missing_is_noticed_or_was_not_needed() {
    let (closed, _) = Closed::find(true);
    for name in closed.folder.names().unwrap() {
        let folder = closed.folder.copy();
        folder.remove(&name).unwrap();
        match found(&folder) {
            Ok(other) => {
                closed.check_same(&other.stored);
                assert!(!closed.needed.contains(&name), "{name}");
            }
            // The file before the newest one says that there is another.
            Err(error) if name == closed.newest => {
                assert!(damage(error).to_string().contains("goes on in a newer file"));
            }
            Err(error) => assert_eq!(
                damage(error).to_string(),
                format!("{name} is damaged at byte 0: it is missing")
            ),
        }
    }
    let folder = closed.folder.copy();
    for name in folder.names().unwrap().iter().filter(|name| name.starts_with("journal")) {
        folder.remove(name).unwrap();
    }
    assert!(
        damage(found(&folder).unwrap_err()).to_string().contains("the journal that it belongs to")
    );
}

#[test]
fn a_damaged_folder_is_left_as_it_is() {
    let (closed, _) = Closed::find(true);
    let mut content = closed.folder.content(&closed.newest);
    content[frame::PREAMBLE] ^= 1;
    let folder = closed.with(&closed.newest, content);
    let before = contents(&folder);
    let settings = Settings { rewrite_bytes: 0, ..Settings::default() };
    assert!(matches!(open(&folder, settings, 1), Err(OpenError::Damage(_))));
    assert_eq!(contents(&folder), before);
}
