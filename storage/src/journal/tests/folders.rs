//! What a folder may look like when a server starts: with an unfinished end, with files of another
//! server, of another version; and how files look at all.

use rollcall_replica::consensus::ids::{Boot, Epoch};

use super::*;
use crate::fault::Refused;
use crate::frame::FileKind;

const SETTINGS: Settings =
    Settings { segment_bytes: 4096, snapshot_after: 1 << 20, rewrite_bytes: 0 };

/// Writes these promises as one group.
fn promise(journal: &mut Journal<Memory>, epochs: std::ops::Range<u64>) {
    for epoch in epochs {
        journal.append(Record::Promise(Epoch(epoch))).unwrap();
    }
    journal.write().unwrap();
}

/// A folder where epochs up to 9 were promised, and its journal.
fn promised(settings: Settings) -> (Memory, Journal<Memory>) {
    let folder = Memory::default();
    let (mut journal, ..) = open(&folder, settings, 1).unwrap();
    journal.append(Record::Boot(Boot(5))).unwrap();
    promise(&mut journal, 1..10);
    journal.sync().unwrap();
    (folder, journal)
}

/// The power fails, and of the sectors that were written last only these are there.
fn crash_keeping(folder: &Memory, sectors: &[usize]) {
    let mut sector = 0;
    folder.crash(|| {
        sector += 1;
        sectors.contains(&(sector - 1))
    });
}

#[test]
fn an_unfinished_end_is_cut_and_never_comes_back() {
    for (rewrite_bytes, kept) in [0, 4096].into_iter().flat_map(|r| [0, 1, 2, 3].map(|k| (r, k))) {
        let settings = Settings { rewrite_bytes, ..SETTINGS };
        let (folder, mut journal) = promised(settings);
        let end = journal.segment.end().offset;
        // All of its sectors but one are there.
        promise(&mut journal, 1000..1700);
        drop(journal);
        let kept: Vec<_> = (0..8).filter(|sector| *sector != kept).collect();
        crash_keeping(&folder, &kept);
        let (mut journal, stored, cut) = open(&folder, settings, 2).unwrap();
        let cut = cut.unwrap();
        assert_eq!((cut.file.as_str(), cut.offset), ("journal-0000000001", end));
        assert_eq!(stored.promised, Epoch(9));
        // It goes on behind it, and what was there before is not seen again.
        for start in 0..4 {
            let epochs = 20 + 2 * start..22 + 2 * start;
            promise(&mut journal, epochs.clone());
            journal.sync().unwrap();
            drop(journal);
            folder.crash(|| start % 2 == 0);
            let (next, stored, cut) = open(&folder, settings, 3 + start).unwrap();
            assert_eq!(cut, None);
            let pending: Vec<_> = (1..10).chain(20..epochs.end).map(Epoch).collect();
            assert_eq!(stored.pending.into_iter().collect::<Vec<_>>(), pending);
            journal = next;
        }
    }
}

/// A mark is not durable: what is written behind it may come to the disk before it, and the next
/// segment too.
#[test]
fn a_mark_that_is_lost_is_not_missed() {
    // The mark lies at each place of a sector in turn, and of the sectors of the mark and of the
    // group behind it the first ones are lost.
    for (extra, lost) in (0..128).flat_map(|extra| [0, 1, 2].map(|lost| (extra, lost))) {
        let (folder, mut journal) = promised(SETTINGS);
        promise(&mut journal, 500..500 + 4 * extra);
        journal.sync().unwrap();
        let last = journal.stored.promised;
        journal.mark().unwrap();
        promise(&mut journal, 2000..2001);
        drop(journal);
        crash_keeping(&folder, &(lost..8).collect::<Vec<_>>());
        let found = found(&folder).unwrap().stored.promised;
        assert!(found == last || found == Epoch(2000), "{found} after {last}");
    }
    let (folder, mut journal) = promised(SETTINGS);
    journal.mark().unwrap();
    promise(&mut journal, 1000..4000);
    assert_eq!(journal.segments.len(), 2, "it does not fit");
    drop(journal);
    folder.crash(|| false);
    assert_eq!(found(&folder).unwrap().stored.promised, Epoch(9));
}

/// The next segment may rest on what an earlier process has written only once that is durable.
#[test]
fn what_a_killed_process_left_is_made_durable() {
    let mut run = Run::new(3, SETTINGS);
    let mut life = run.open().unwrap();
    while run.server.stored.log.last() < Index(40) {
        run.give(&mut life).unwrap();
    }
    life.journal.write().unwrap();
    drop(life);
    let before = run.server.stored.clone();
    let life = run.open().unwrap();
    assert_eq!(life.journal.segments.len(), 2, "the one before is needed");
    drop(life);
    run.folder.crash(|| false);
    let found = found(&run.folder).unwrap().stored;
    assert_eq!(difference(&found, &before, &run.server.snapshots), None);
}

/// After each start the segment before says that there is another, whether that replaced some or not.
#[test]
fn a_newest_segment_that_is_missing_is_noticed_after_a_start() {
    for (rewrite_bytes, segments) in [(0, 4), (300, 2)] {
        let mut run = Run::new(3, Settings { rewrite_bytes, ..SETTINGS });
        let mut life = run.open().unwrap();
        while life.journal.gathered() < 1000 {
            run.give(&mut life).unwrap();
        }
        run.finish(&mut life).unwrap();
        for _ in 0..3 {
            drop(life);
            life = run.open().unwrap();
            let without = run.folder.copy();
            without.remove(&names::journal(life.journal.segment.end().number)).unwrap();
            let error = found(&without).unwrap_err().to_string();
            assert!(error.contains("the journal goes on in a newer file"), "{error}");
        }
        assert_eq!(life.journal.segments.len(), segments);
    }
}

/// The log that is adopted first has nothing: only the one after it makes a voter.
#[test]
fn a_snapshot_makes_no_voter_before_it_was_adopted() {
    let mut tried = 0;
    for seed in 0..500 {
        let mut run = Run::new(seed, SETTINGS);
        let mut life = run.open().unwrap();
        while run.server.stored.log.cluster().is_none() {
            run.give(&mut life).unwrap();
        }
        run.finish(&mut life).unwrap();
        tried += u64::from(run.given.len() > 3 && run.server.stored.log.snapshot().is_some());
        run.open().unwrap();
    }
    assert!(tried > 5, "{tried}");
}

/// A folder with some segments and a snapshot that is needed. All are the same but for the salts and
/// the boot.
fn folder(boot: u64) -> Run {
    let settings = Settings { segment_bytes: 600, snapshot_after: 900, rewrite_bytes: 0 };
    let mut run = Run::new(6, settings);
    run.server.boot = Boot(u64::MAX - boot);
    run.salts = Random::new(boot);
    let mut life = run.open().unwrap();
    for _ in 0..150 {
        run.step(&mut life).unwrap();
    }
    run.finish(&mut life).unwrap();
    assert!(life.journal.segments.len() > 2 && life.journal.snapshots.base.is_some());
    run
}

#[test]
fn a_folder_of_another_server_is_refused() {
    let run = folder(1);
    let refused = recover(&run.folder, NodeId(3)).unwrap_err();
    let expected = "the folder belongs to server 2, and this is server 3: give each server a folder \
                    of its own";
    assert_eq!(refused.to_string(), expected);
    let before = contents(&run.folder);
    let opened = Journal::open(run.folder.clone(), NodeId(3), run.settings, 1).err();
    assert!(matches!(opened, Some(OpenError::Refused(Refused::WrongServer { .. }))));
    assert_eq!(contents(&run.folder), before);
}

#[test]
fn a_file_of_another_life_is_refused() {
    let (run, other) = (folder(1), folder(2));
    let Recovered { segments, base, .. } = found(&run.folder).unwrap();
    let files: Vec<_> = segments.iter().map(|segment| names::journal(segment.end.number)).collect();
    let snapshot = names::snapshot(base.unwrap().number);
    for name in files.iter().chain([&snapshot]) {
        let content = other.folder.content(name);
        assert_eq!(content.len(), run.folder.content(name).len(), "it differs in the salt only");
        let mixed = run.folder.copy();
        mixed.put(name, content);
        let error = found(&mixed).unwrap_err();
        let OpenError::Refused(Refused::Mixed { file }) = error else { panic!("{name}: {error}") };
        // The newest one says what is before it: there it is the others that do not belong.
        let newest = files.last() == Some(name);
        assert_eq!(&file, if newest { &files[files.len() - 2] } else { name });
    }
}

#[test]
fn a_file_of_a_newer_version_or_another_kind_is_refused() {
    let run = folder(1);
    let Recovered { segments, base, .. } = found(&run.folder).unwrap();
    let segment = names::journal(segments[0].end.number);
    let snapshot = names::snapshot(base.unwrap().number);
    for name in [&segment, &snapshot] {
        let mut content = run.folder.content(name);
        content[8] += 1;
        let sum = crc32fast::hash(&content[..24]);
        content[24..28].copy_from_slice(&sum.to_le_bytes());
        let newer = run.folder.copy();
        newer.put(name, content);
        let refused = found(&newer).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{name} has format 2, and")), "{refused}");
    }
    for (name, other, kind) in [(&segment, &snapshot, "journal"), (&snapshot, &segment, "snapshot")]
    {
        let swapped = run.folder.copy();
        swapped.put(name, run.folder.content(other));
        let refused = found(&swapped).unwrap_err().to_string();
        assert_eq!(refused, format!("{name} is no {kind} of Rollcall"));
    }
}

/// No such journal is ever written: it is refused all the same, and nothing panics.
#[test]
fn records_that_do_not_fit_together_are_damage() {
    let (epoch, keep, entries) = (Epoch(7), Index(3), Vec::new());
    let snapshot = SnapshotRef { number: 1, index: Index(4), epoch, bytes: 9 };
    let cases = [
        (vec![Line::Append { first: Index(5), entries: vec![] }], "entries are missing"),
        (vec![Line::Promise(epoch), Line::Promise(epoch)], "a promise does not rise"),
        (
            vec![Line::Adopt { epoch, keep, entries: entries.clone() }],
            "a log goes on from what it does not have",
        ),
        (
            vec![Line::Voter, Line::Adopt { epoch, keep: Index(0), entries }],
            "a log of an epoch that was not promised",
        ),
        (vec![Line::Base(snapshot)], "snapshot-0000000001 is damaged at byte 0: it is missing"),
    ];
    for (lines, why) in cases {
        let folder = Memory::default();
        let state = State::of(&Stored::empty(NODE));
        let (node, number, bytes, previous, snapshot) = (NODE, 1, 0, None, None);
        let head = SegmentHead { node, number, bytes, previous, state, snapshot };
        let mut group = Vec::new();
        lines.iter().for_each(|line| line.push(&mut group));
        segment::make(&folder, None, 1000, 1, head, &group, 0).unwrap();
        let error = found(&folder).unwrap_err();
        assert!(
            matches!(error, OpenError::Damage(_)) && error.to_string().ends_with(why),
            "{error}"
        );
    }
}

#[test]
fn reading_changes_nothing() {
    for seed in 0..50 {
        let mut run = Run::random(seed);
        let mut life = run.open().unwrap();
        for _ in 0..60 {
            run.step(&mut life).unwrap();
        }
        drop(life);
        run.crash();
        let before = contents(&run.folder);
        let first = found(&run.folder).unwrap();
        let second = found(&run.folder).unwrap();
        assert_eq!(contents(&run.folder), before);
        assert_eq!(difference(&second.stored, &first.stored, &run.server.snapshots), None);
        assert_eq!((second.cut, second.base), (first.cut, first.base));
    }
}

/// Folders that are in use look like this: a change here needs a new format, which older versions
/// refuse.
#[test]
fn the_bytes_of_files_stay() {
    let settings = Settings { segment_bytes: 224, snapshot_after: 1, rewrite_bytes: 0 };
    let (folder, mut journal) = promised(settings);
    journal.mark().unwrap();
    let journal_file = folder.content("journal-0000000001");
    assert_eq!(shown(&journal_file), GOLDEN_JOURNAL);
    assert_eq!(
        frame::read_preamble("", FileKind::Journal, &journal_file).unwrap(),
        journal.segment.end().salt
    );
    let directory =
        rollcall_replica::Directory::new(rollcall_shared::id::Revision(9), Default::default());
    let cluster = rollcall_replica::consensus::ids::ClusterId(8);
    let (index, epoch) = (Index(3), Epoch(2));
    let admissions = Default::default();
    let snapshot = Arc::new(Snapshot { index, epoch, cluster, admissions, directory });
    let base = Base::Snapshot(snapshot);
    journal.append(Record::Adopt(Adopt { epoch: Epoch(9), base, entries: vec![] })).unwrap();
    assert_eq!(shown(&folder.content("snapshot-0000000001")), GOLDEN_SNAPSHOT);
}

fn shown(bytes: &[u8]) -> Vec<String> {
    let rows = bytes.chunks(32);
    rows.map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

const GOLDEN_JOURNAL: [&str; 7] = [
    "726f6c6c63616c6c0100000001000000c15c0289ec2d0a91bcf1f83900000000",
    "010000000c0000000000000000000000958463f4177702c40201e00100000000",
    "00000000000000000200000014000000010000000000000027faf7606b0c616e",
    "0005010101020103010401050106010701080109000000000200000000000000",
    "02000000000000008008be17533acfa200000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
];
const GOLDEN_SNAPSHOT: [&str; 4] = [
    "726f6c6c63616c6c010000000200000067ec8e65a18debbeee5ed5da00000000",
    "01000000070000000000000000000000150f3af8f549d4e10201050803020000",
    "04000000100000000100000000000000244ad108ba1bd4740001000909000100",
    "c096b102c0843d000500000000000000020000000000000022750d8358e1b1dd",
];
