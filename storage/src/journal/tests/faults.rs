//! A disk that breaks or is full, at each operation in turn: the error comes up, nothing panics, and
//! the next start finds all that was durable.

use std::io::ErrorKind;

use super::*;

/// Two lives and the beginning of a third, all in the same way for the same seed.
fn live(run: &mut Run) -> Result<(), OpenError> {
    for _ in 0..2 {
        let mut life = run.open()?;
        for _ in 0..60 {
            run.step(&mut life)?;
        }
        run.finish(&mut life)?;
    }
    run.open().map(drop)
}

fn settings(seed: u64) -> Settings {
    Settings { segment_bytes: 1000, snapshot_after: 500, rewrite_bytes: seed % 3 * 1000 }
}

/// What happens between a failure and the next start.
const AFTER: [fn(&mut Run); 4] = [
    |_| {},
    |run| run.folder.crash(|| true),
    |run| run.folder.crash(|| false),
    |run| {
        let random = &mut run.random;
        run.folder.crash(|| random.one_in(2));
    },
];

fn fails(seed: u64, prepare: impl Fn(&Run), after: fn(&mut Run)) -> Result<(), Failed> {
    let mut run = Run::new(seed, settings(seed));
    prepare(&run);
    let lived = live(&mut run);
    run.folder.fail_at(None);
    run.folder.set_room(None);
    after(&mut run);
    let mut life = run.open().unwrap();
    // It goes on from there.
    for _ in 0..20 {
        run.step(&mut life).unwrap();
    }
    run.finish(&mut life).unwrap();
    run.folder.crash(|| false);
    run.open().unwrap();
    match lived {
        Err(OpenError::Failed(why)) => Err(why),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

#[test]
fn each_operation_may_fail() {
    for seed in 0..2 {
        let mut whole = Run::new(seed, settings(seed));
        live(&mut whole).unwrap();
        for operation in 1..=whole.folder.operations() {
            for after in AFTER {
                let failed = fails(seed, |run| run.folder.fail_at(Some(operation)), after);
                let why = failed.expect_err("every failure comes up");
                assert_eq!(why.why.kind(), ErrorKind::Other, "seed {seed}, {operation}: {why}");
            }
        }
    }
}

#[test]
fn a_disk_may_be_full() {
    for seed in 0..2 {
        let mut room = 0;
        while let Err(why) = fails(
            seed,
            |run| run.folder.set_room(Some(room)),
            AFTER[usize::try_from(room % 4).unwrap()],
        ) {
            assert_eq!(why.why.kind(), ErrorKind::StorageFull, "seed {seed}, {room}: {why}");
            room += 37;
        }
        assert!(room > 2000, "seed {seed}: it was full for a while");
    }
}
