//! The order against arbitrary senders and an arbitrary network, with the guarantees as they are
//! documented.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What the network does with a message: milliseconds it travels, how often it arrives.
#[derive(Clone, Debug)]
struct Trip {
    sender: u8,
    /// Numbers that others take before this one.
    skipped: u64,
    /// Milliseconds since the message before.
    after: u64,
    travels: [u64; 2],
    copies: usize,
    /// Also says then that it has nothing more, which arrives after so long.
    note: Option<u64>,
}

fn trip(longest: u64, copies: std::ops::Range<usize>) -> impl Strategy<Value = Trip> {
    let travels = [0..longest, 0..longest];
    (0..4_u8, 0..3_u64, 0..60_u64, travels, copies, prop::option::of(0..longest)).prop_map(
        |(sender, skipped, after, travels, copies, note)| Trip {
            sender,
            skipped,
            after,
            travels,
            copies,
            note,
        },
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Message(u8, u64, u64),
    Note(u8, u64, u64),
}

/// All that was sent, and when what arrives.
struct World {
    /// Number, and sender with the number of the message before.
    sent: BTreeMap<u64, (u8, u64)>,
    arrivals: Vec<(u64, Arrival)>,
}

impl World {
    fn new(trips: &[Trip]) -> Self {
        let (mut number, mut time) = (0, 0);
        let mut last = BTreeMap::new();
        let (mut sent, mut arrivals) = (BTreeMap::new(), Vec::new());
        for trip in trips {
            number += 1 + trip.skipped;
            time += trip.after;
            let previous = last.insert(trip.sender, number).unwrap_or(0);
            sent.insert(number, (trip.sender, previous));
            for travels in &trip.travels[..trip.copies] {
                arrivals.push((time + travels, Arrival::Message(trip.sender, previous, number)));
            }
            for (&sender, &previous) in last.iter().filter(|_| trip.note.is_some()) {
                let at = time + trip.note.unwrap_or(0);
                arrivals.push((at, Arrival::Note(sender, previous, number)));
            }
        }
        arrivals.sort_unstable();
        Self { sent, arrivals }
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What came out, each with its time.
type Told = Vec<(u64, Event<u64>)>;

/// Lets everything arrive, fires each timer, and checks what must hold at any time.
fn run(world: &World, config: &Config, join: bool) -> Result<Told, TestCaseError> {
    let mut order = Order::new(config.clone());
    for name in NAMES.iter().filter(|_| join) {
        order.join(name);
    }
    let mut told = Told::new();
    let mut arrivals = world.arrivals.iter().copied().peekable();
    loop {
        let timer = order.poll_timeout().map(|at| at.as_micros().div_ceil(1000));
        let next = arrivals.peek().map(|(at, _)| *at);
        let Some(time) = timer.into_iter().chain(next).min() else { break };
        let now = Instant::from_millis(time);
        if next == Some(time) {
            match arrivals.next().expect("it was peeked at").1 {
                Arrival::Message(sender, previous, number) => {
                    let tag = Tag { from: NAMES[usize::from(sender)], previous, number };
                    prop_assert_eq!(order.push(now, tag, number), Ok(()));
                }
                Arrival::Note(sender, previous, number) => {
                    let tag = Tag { from: NAMES[usize::from(sender)], previous, number };
                    prop_assert_eq!(order.note(now, tag), Ok(()));
                }
            }
            prop_assert!(order.len() <= config.capacity.max(1));
        }
        let before = told.len();
        while let Some(event) = order.poll(now) {
            told.push((time, event));
        }
        prop_assert!(next == Some(time) || told.len() > before, "a timer for nothing");
        prop_assert!(order.len() < config.capacity.max(1) && order.lost.len() <= GAPS);
        prop_assert!(order.chains.iter().map(Chain::gaps).sum::<usize>() <= config.capacity + 8);
    }
    prop_assert!(order.is_empty() && order.missing().is_empty());
    Ok(told)
}

/// What must hold whatever happens.
fn judge(world: &World, config: &Config, told: &Told) -> Result<(), TestCaseError> {
    let patience = u64::try_from(config.patience.as_millis()).expect("short");
    let mut came = BTreeMap::new();
    for (time, arrival) in world.arrivals.iter().rev() {
        if let Arrival::Message(_, _, number) = arrival {
            came.insert(*number, *time);
        }
    }
    let (mut last, mut seen, mut lost) = (0, BTreeSet::new(), Vec::new());
    for (time, event) in told {
        match event {
            Event::Message { number, from, message } => {
                prop_assert_eq!(number, message);
                prop_assert!(*number > last, "{number} after {last}");
                last = *number;
                prop_assert!(seen.insert(*number), "{number} twice");
                prop_assert!(*time <= came[number] + patience, "{number} waited too long");
                // What is before it of its sender was given or reported.
                let (sender, previous) = world.sent[number];
                prop_assert_eq!(&**from, NAMES[usize::from(sender)]);
                let begun =
                    config.begin.is_some() || seen.first().is_some_and(|it| *it <= previous);
                let known = seen.contains(&previous) || reported(&lost, from, previous);
                prop_assert!(previous == 0 || !begun || known, "{previous} is not accounted for");
            }
            Event::Late { number, .. } => {
                prop_assert!(seen.insert(*number), "{number} twice");
                prop_assert!(*number <= last, "{number} is in time after {last}");
                prop_assert_eq!(*time, came[number], "what is late waits for nothing");
            }
            Event::Missing(gap) => {
                prop_assert!(gap.first <= gap.last);
                let of_sender = |number| world.sent.get(number).map(|it| NAMES[usize::from(it.0)]);
                prop_assert_eq!(of_sender(&gap.last), Some(&*gap.from), "{:?}", gap);
                prop_assert!(!reported(&lost, &gap.from, gap.last), "reported twice: {gap:?}");
                for number in world.sent.range(gap.first..=gap.last).map(|it| it.0) {
                    let missing = !seen.contains(number) && came.get(number) >= Some(time)
                        || !came.contains_key(number);
                    let own = of_sender(number) == Some(&*gap.from);
                    prop_assert!(!own || missing, "{number} was there: {gap:?}");
                }
                let known = world.arrivals.iter().find(|(_, arrival)| match arrival {
                    Arrival::Message(from, before, _) | Arrival::Note(from, before, _) => {
                        NAMES[usize::from(*from)] == &*gap.from && *before >= gap.last
                    }
                });
                let known = known.map_or(u64::MAX, |(time, _)| *time);
                let in_time = config.begin.is_none() || *time <= known + 2 * patience;
                prop_assert!(in_time, "{gap:?} was reported late");
                last = last.max(gap.last);
                lost.push(gap.clone());
            }
        }
    }
    nothing_is_swallowed(world, config, told, &seen, &lost)
}

/// Everything that came was given, and what did not come and could be known of was reported.
fn nothing_is_swallowed(
    world: &World,
    config: &Config,
    told: &Told,
    seen: &BTreeSet<u64>,
    lost: &[Gap],
) -> Result<(), TestCaseError> {
    let begin = config.begin.unwrap_or_else(|| {
        let first = told.iter().find_map(|(_, event)| match event {
            Event::Message { number, .. } => Some(*number),
            _ => None,
        });
        first.unwrap_or(u64::MAX)
    });
    for (number, (sender, previous)) in world.sent.range(begin..) {
        // Nothing that came is swallowed.
        let given = seen.contains(number);
        let this = |(_, arrival): &(u64, Arrival)| match arrival {
            Arrival::Message(_, _, it) => it == number,
            Arrival::Note(..) => false,
        };
        let came = world.arrivals.iter().any(this);
        prop_assert_eq!(given, came, "{} was swallowed", number);
        // No loss that could be known goes unreported: something later was heard of its sender.
        let later = world.arrivals.iter().any(|(_, arrival)| match arrival {
            Arrival::Message(from, before, _) | Arrival::Note(from, before, _) => {
                from == sender && before >= number
            }
        });
        let told = reported(lost, NAMES[usize::from(*sender)], *number);
        prop_assert!(given || !later || told, "{} after {} is not reported", number, previous);
    }
    Ok(())
}

fn reported(lost: &[Gap], from: &str, number: u64) -> bool {
    lost.iter().any(|gap| *gap.from == *from && (gap.first..=gap.last).contains(&number))
}

fn config(begin: Option<u64>, capacity: usize) -> Config {
    Config { begin, patience: PATIENCE, capacity }
}

proptest! {
    #[test]
    fn the_guarantees_hold_whatever_the_network_does(
        trips in prop::collection::vec(trip(400, 0..3), 0..60),
        begun in any::<bool>(),
        join in any::<bool>(),
    ) {
        let world = World::new(&trips);
        let config = config(begun.then_some(1), 1024);
        judge(&world, &config, &run(&world, &config, join)?)?;
    }

    #[test]
    fn they_hold_in_little_memory(
        trips in prop::collection::vec(trip(400, 0..3), 0..60),
        capacity in 1..6_usize,
    ) {
        let world = World::new(&trips);
        let config = config(Some(1), capacity);
        let told = run(&world, &config, true)?;
        judge(&world, &config, &told)?;
    }

    #[test]
    fn nothing_is_late_with_patience_and_everybody_joined(
        trips in prop::collection::vec(trip(99, 1..3), 0..60),
    ) {
        let world = World::new(&trips);
        let told = run(&world, &config(Some(1), 1024), true)?;
        let numbers: Vec<u64> = told.iter().map(|(_, event)| match event {
            Event::Message { number, .. } => *number,
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(numbers, world.sent.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_waits_once_everybody_has_passed_it(
        trips in prop::collection::vec(trip(400, 1..3), 1..60),
    ) {
        let world = World::new(&trips);
        let mut order = Order::new(config(Some(1), 1024));
        let now = Instant::default();
        for (_, arrival) in &world.arrivals {
            if let Arrival::Message(sender, previous, number) = *arrival {
                let tag = Tag { from: NAMES[usize::from(sender)], previous, number };
                prop_assert_eq!(order.push(now, tag, ()), Ok(()));
            }
        }
        let end = world.sent.last_key_value().map_or(0, |(number, _)| *number);
        let last = |sender| world.sent.iter().rev().find(|(_, it)| it.0 == sender);
        for (sender, name) in (0..).zip(NAMES) {
            let previous = last(sender).map_or(0, |(number, _)| *number);
            prop_assert_eq!(order.note(now, Tag { from: name, previous, number: end }), Ok(()));
        }
        let mut given = 0;
        while let Some(event) = order.poll(now) {
            prop_assert!(matches!(event, Event::Message { .. }), "{:?}", event);
            given += 1;
        }
        prop_assert_eq!(given, world.sent.len());
    }
}
