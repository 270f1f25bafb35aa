//! However long a server runs, and however often it starts: what is needed no more goes.

use super::*;

/// Each start leaves a segment, and writes the last ones anew while they are small.
#[test]
fn starts_leave_few_files() {
    let all = Settings { segment_bytes: 4096, snapshot_after: 1 << 20, rewrite_bytes: 1 << 20 };
    let some = Settings { rewrite_bytes: 4000, ..all };
    for (settings, most) in [(all, 1), (some, 2 * 40_000 / 4000)] {
        let mut run = Run::new(3, settings);
        let mut life = run.open().unwrap();
        while run.folder.bytes() < 20_000 {
            give_group(&mut run, &mut life);
        }
        for start in 0..300 {
            drop(life);
            if start % 3 == 0 {
                run.crash();
            }
            life = run.open().unwrap();
            run.give(&mut life).unwrap();
            life.journal.write().unwrap();
            run.sync(&mut life).unwrap();
        }
        let names = run.folder.names().unwrap();
        let journals = names.iter().filter(|name| name.starts_with("journal")).count();
        assert!(journals <= most, "{names:?}");
        assert!(names.len() <= journals + 1, "{names:?}");
    }
}

#[test]
fn snapshots_keep_a_journal_short() {
    let settings = Settings { segment_bytes: 4096, snapshot_after: 20_000, rewrite_bytes: 4000 };
    let mut run = Run::new(11, settings);
    let mut life = run.open().unwrap();
    let (mut most, mut largest, mut written) = (0, 0, 0_usize);
    for round in 0..2000 {
        let before = life.journal.segment.end();
        give_group(&mut run, &mut life);
        written += usize::from(life.journal.segment.end() != before);
        while life.writer.is_some() || life.written.is_some() || life.journal.urgency() > 0 {
            let (writes, waits) = (life.writer.is_some(), life.written.is_some());
            run.step_snapshot(&mut life).unwrap();
            if !writes && !waits && life.writer.is_none() {
                break;
            }
        }
        for name in life.journal.take_obsolete() {
            run.folder.remove(&name).unwrap();
        }
        if round % 100 == 99 {
            drop(life);
            life = run.open().unwrap();
        }
        most = most.max(run.folder.bytes());
        largest = largest.max(life.journal.snapshots.base.map_or(0, |base| base.bytes));
    }
    assert!(written > 1500);
    // A journal that makes a snapshot due, one that came while no entry was committed, and two
    // snapshots while one takes the other's place.
    let bound = 2 * largest.max(settings.snapshot_after) + 2 * largest + 4 * settings.segment_bytes;
    assert!(largest > 1000 && most <= bound, "{most} of {bound}, snapshot {largest}");
}

/// What is made ahead is used, and a group that is larger than a segment gets one with more room: a
/// full disk is noticed before the group is written.
#[test]
fn a_segment_has_its_room_ahead() {
    let settings = Settings { segment_bytes: 1000, snapshot_after: 1 << 20, rewrite_bytes: 0 };
    let mut run = Run::new(5, settings);
    let mut life = run.open().unwrap();
    let (mut used, mut larger) = (0, 0);
    for least in [500, 500, 3000, 500, 500] {
        life.journal.offer_spare(Journal::make_spare(&run.folder, settings, || {}).unwrap());
        let before = life.journal.segment.end().number;
        while life.journal.gathered() < least {
            run.give(&mut life).unwrap();
        }
        life.journal.write().unwrap();
        run.sync(&mut life).unwrap();
        let end = life.journal.segment.end();
        let length = run.folder.content(&names::journal(end.number)).len();
        assert!(length as u64 >= end.offset + 48, "{length} bytes for {end:?}");
        if end.number > before && length == 1000 {
            used += 1;
            assert!(life.journal.wants_spare());
            assert!(!run.folder.names().unwrap().contains(&names::SPARE.to_owned()));
        }
        larger += u64::from(length > 1000);
    }
    assert!(used > 0 && larger > 0, "{used} used, {larger} larger");
}

#[test]
fn one_snapshot_is_written_at_a_time() {
    let settings = Settings { segment_bytes: 1000, snapshot_after: 500, rewrite_bytes: 0 };
    let mut run = Run::new(5, settings);
    let mut life = run.open().unwrap();
    let due = |run: &mut Run, life: &mut Life| {
        for _ in 0..1000 {
            if let Some(job) = life.journal.poll_snapshot() {
                return job;
            }
            give_group(run, life);
        }
        panic!("a snapshot is due at last");
    };
    let first = due(&mut run, &mut life);
    for _ in 0..50 {
        give_group(&mut run, &mut life);
        assert!(life.journal.poll_snapshot().is_none(), "one is being written");
    }
    drop(first);
    life.journal.snapshot_given_up();
    let second = due(&mut run, &mut life);
    let mut writer = SnapshotWriter::new(run.folder.clone(), second).unwrap();
    life.journal.snapshot_written(loop {
        if let Some(written) = writer.step().unwrap() {
            break written;
        }
    });
    life.journal.write().unwrap();
    run.sync(&mut life).unwrap();
    assert!(run.noted > Index(0));
    assert_eq!(life.journal.snapshots.files.len(), 1);
}

fn give_group(run: &mut Run, life: &mut Life) {
    for _ in 0..5 {
        run.give(life).unwrap();
    }
    life.journal.write().unwrap();
    run.sync(life).unwrap();
}
