//! Lives that end in a crash, in a kill or with a broken disk, one after the other: nothing that was
//! durable is missing in the next one.

use super::*;

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The power fails at any point.
    Crash,
    /// The process ends, and the system goes on.
    Kill,
    /// All is written before.
    Finish,
}

/// `SEEDS` in the environment of the build says how many to try, `SEED` which one only.
#[test]
fn nothing_durable_is_ever_missing() {
    let only = option_env!("SEED").and_then(|seed| seed.parse().ok());
    let count = option_env!("SEEDS").and_then(|count| count.parse().ok()).unwrap_or(1500);
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    let bad: Vec<_> =
        seeds.filter(|seed| std::panic::catch_unwind(|| live(*seed)).is_err()).collect();
    assert!(bad.is_empty(), "{} seeds fail, as SEED={}", bad.len(), bad[0]);
}

fn live(seed: u64) {
    let mut run = Run::random(seed);
    for _ in 0..2 + run.random.below(5) {
        let Some(mut life) = start(&mut run) else { continue };
        let end = run.random.pick(&[End::Crash, End::Crash, End::Kill, End::Finish]);
        let steps = run.random.below(60);
        let fails = run.random.one_in(5);
        if fails {
            run.folder.fail_at(Some(run.folder.operations() + run.random.below(60)));
        }
        let mut lived = Ok(());
        for _ in 0..steps {
            lived = lived.and_then(|()| run.step(&mut life));
        }
        if let End::Finish = end {
            lived = lived.and_then(|()| run.finish(&mut life));
        }
        assert!(fails || lived.is_ok(), "{lived:?}");
        run.folder.fail_at(None);
        drop(life);
        match end {
            End::Crash => run.crash(),
            End::Kill | End::Finish if run.random.one_in(2) => run.crash(),
            End::Kill | End::Finish => {}
        }
    }
    let life = run.open();
    assert!(life.is_ok(), "{:?}", life.err());
}

/// Starts, and is interrupted at times.
fn start(run: &mut Run) -> Option<Life> {
    if run.random.one_in(3) {
        let found = found(&run.folder).unwrap();
        run.check(&found.stored);
    }
    let fails = run.random.one_in(4);
    if fails {
        run.folder.fail_at(Some(run.folder.operations() + run.random.below(20)));
    }
    let opened = run.open();
    run.folder.fail_at(None);
    match opened {
        Ok(life) => Some(life),
        Err(OpenError::Failed(_)) if fails => {
            if run.random.one_in(2) {
                run.crash();
            }
            None
        }
        Err(why) => panic!("{why}"),
    }
}
