//! The figures: what each measures, in words and in code, and what it should be.

use std::fmt::{self, Write as _};

use futures::{FutureExt as _, future::LocalBoxFuture};

use crate::{Result, place::Bed, speed, upkeep};

/// Something to measure.
pub(crate) struct Figure {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// What is done.
    what: &'static str,
    /// What is measured then.
    pub(crate) rows: &'static [Row],
    scenario: for<'a> fn(&'a Bed, usize) -> LocalBoxFuture<'a, Result<Outcome>>,
}

/// A number that a figure gives.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it is, with its unit.
    pub(crate) what: &'static str,
    /// What its median should be, if that was ever said.
    pub(crate) aim: Option<Aim>,
}

/// What a number should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    Least(f64),
    Most(f64),
}

/// What a run gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One number for each row, where there is one.
    pub(crate) values: Vec<Option<f64>>,
    /// What else is to be known.
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// Measures it once; runs count from 0 on.
    pub(crate) fn run<'a>(&self, bed: &'a Bed, run: usize) -> LocalBoxFuture<'a, Result<Outcome>> {
        (self.scenario)(bed, run)
    }

    /// What it measures, for a person.
    pub(crate) fn description(&self) -> String {
        let mut text = format!("{}\n  {}\n", self.name, self.what);
        for Row { what, aim } in self.rows {
            let aim = aim.map_or(String::new(), |aim| format!(" (aim: {aim})"));
            writeln!(text, "  - {what}{aim}").expect("writing to a String does not fail");
        }
        text
    }
}

impl Aim {
    /// Whether a number is what it should be.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::Least(least) => value >= least,
            Self::Most(most) => value <= most,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least(least) => write!(f, ">= {least}"),
            Self::Most(most) => write!(f, "<= {most}"),
        }
    }
}

/// All figures, in the order in which they are measured.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "rate",
        what: "One server in memory and one on disk, both fresh; `rollcall bench` asks each with 64 \
               links and 16 requests under way on each for 3 s, after 1 s that does not count. Then \
               the server on disk against etcd with its default settings on the same disk, for as \
               long, both under load from this program, which leaves more of the machine to them \
               than bench does: again 64 links or gRPC connections with 16 requests or puts under \
               way on each, the puts of 16 bytes to 1024 keys in turn.",
        rows: &[
            Row { what: "numbers (sequence) in memory, requests/s", aim: None },
            Row { what: "numbers on disk, requests/s", aim: None },
            Row { what: "numbers: on disk / in memory", aim: Some(Aim::Least(0.5)) },
            Row { what: "users come and go (connect) in memory, requests/s", aim: None },
            Row { what: "users come and go on disk, requests/s", aim: None },
            Row { what: "users come and go: on disk / in memory", aim: Some(Aim::Least(0.5)) },
            Row { what: "numbers on disk, load from this program, requests/s", aim: None },
            Row { what: "etcd, load from this program, puts/s", aim: None },
            Row { what: "numbers on disk / puts of etcd", aim: Some(Aim::Least(10.0)) },
        ],
        scenario: |bed, run| speed::rate(bed, run).boxed_local(),
    },
    Figure {
        name: "single",
        what: "The same two servers with one client that asks for one number after the other, for 2 \
               s after 1 s that does not count; and what the disk takes by itself: this program \
               appends 4 KiB and syncs them (fdatasync) again and again for 2 s, in a file of 16 \
               MiB of zeros that were written and synced before, as the server prepares its own.",
        rows: &[
            Row { what: "a number in memory, p50 in us", aim: None },
            Row { what: "4 KiB appended and synced, p50 in us", aim: None },
            Row { what: "a number on disk, p50 in us", aim: None },
            Row { what: "on disk / (in memory + appended)", aim: Some(Aim::Most(2.0)) },
        ],
        scenario: |bed, run| speed::single(bed, run).boxed_local(),
    },
    Figure {
        name: "cluster",
        what: "Three servers in memory and three on this one disk, all fresh: `rollcall bench` asks \
               for numbers with 64 links to the three in turn and 16 requests under way on each \
               for 3 s, then one client asks the leader for one number after the other for 2 s; \
               each after 1 s that does not count.",
        rows: &[
            Row { what: "numbers in memory, requests/s", aim: None },
            Row { what: "numbers on disk, requests/s", aim: None },
            Row { what: "numbers: on disk / in memory", aim: None },
            Row { what: "one writer in memory, p50 in us", aim: None },
            Row { what: "one writer on disk, p50 in us", aim: None },
            Row { what: "one writer: on disk / in memory", aim: None },
        ],
        scenario: |bed, run| speed::cluster(bed, run).boxed_local(),
    },
    Figure {
        name: "start",
        what: "A server that was killed (SIGKILL) is started with a copy of its folder: a snapshot \
               with 1,000,000 users, and behind it a journal of 64 to 80 MiB, of numbers handed out. \
               A client dials every millisecond and looks \
               one of the users up, which has to be there. The server drops what the system has \
               cached of its files, so it reads them from the disk.",
        rows: &[
            Row {
                what: "from before the process is started to the answer, ms",
                aim: Some(Aim::Most(2000.0)),
            },
            Row { what: "the same with an empty folder, ms", aim: None },
        ],
        scenario: |bed, run| upkeep::start(bed, run).boxed_local(),
    },
    Figure {
        name: "snapshot",
        what: "A server is started with a copy of that folder, and 64 links ask. For each row a load \
               of numbers makes the journal grow until a snapshot is begun; then the load of the \
               row goes on until the snapshot counts and the old one is gone, and once more for 3 s \
               while none is written, or as long as none is, 1 s at least. Full load is 16 requests \
               under way on each link; 2000/s are sent evenly whatever comes back, and timed from \
               when they are sent. Of the mix 80 % look one of the users up, 10 % make one come or \
               go and 10 % take a number. The load comes from this program.",
        rows: &[
            Row { what: "full load of numbers, no snapshot, p99 in us", aim: None },
            Row { what: "full load of numbers, during a snapshot, p99 in us", aim: None },
            Row { what: "full load of numbers: during / without", aim: Some(Aim::Most(2.0)) },
            Row { what: "full load of the mix, no snapshot, p99 in us", aim: None },
            Row { what: "full load of the mix, during a snapshot, p99 in us", aim: None },
            Row { what: "full load of the mix: during / without", aim: Some(Aim::Most(2.0)) },
            Row { what: "2000 numbers/s, no snapshot, p99 in us", aim: None },
            Row { what: "2000 numbers/s, during a snapshot, p99 in us", aim: None },
            Row { what: "2000 numbers/s: during / without", aim: Some(Aim::Most(2.0)) },
            Row { what: "2000/s of the mix, no snapshot, p99 in us", aim: None },
            Row { what: "2000/s of the mix, during a snapshot, p99 in us", aim: None },
            Row { what: "2000/s of the mix: during / without", aim: Some(Aim::Most(2.0)) },
            Row { what: "most room taken on disk meanwhile, MB", aim: None },
            Row { what: "4 x max(snapshot, 64 MiB) + 32 MiB, MB", aim: None },
            Row { what: "room: taken / bound", aim: Some(Aim::Most(1.0)) },
        ],
        scenario: |bed, run| upkeep::snapshot(bed, run).boxed_local(),
    },
];
