//! Tests of the order: cases one by one, in short form; arbitrary arrivals are in `model`.

mod model;

use super::*;

/// An order and a clock. Inputs and events in short form:
///
/// - `a5` or `a5<3`: sender `a` sends 5, its message before was 3 (0 if left out)
/// - `a~9<5`: a note that `a` has nothing after 5 up to 9
/// - `+a`, `-a`: joins, leaves; `wait`: the patience passes, almost all of it with `wait-`; `end`
/// - events: `a5`, `late a5`, `missing a4..5`
struct Rig {
    order: Order<String>,
    now: Instant,
}

const PATIENCE: Duration = Duration::from_millis(100);

impl Rig {
    fn new(begin: Option<u64>) -> Self {
        Self::with(Config { begin, patience: PATIENCE, ..Config::default() })
    }

    fn with(config: Config) -> Self {
        Self { order: Order::new(config), now: Instant::from_millis(1000) }
    }

    fn act(&mut self, what: &str) -> Result<(), Refused> {
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match what {
            "wait" => self.now = self.now + PATIENCE,
            "wait-" => self.now = self.now + (PATIENCE - Duration::from_micros(1)),
            "end" => self.order.end(),
            _ if what.starts_with('+') => self.order.join(&what[1..]),
            _ if what.starts_with('-') => self.order.leave(&what[1..]),
            _ => {
                let (from, rest) = what.split_at(1);
                let (text, previous) = rest.split_once('<').unwrap_or((rest, "0"));
                let tag = |text| Tag { from, previous: number(previous), number: number(text) };
                return match text.strip_prefix('~') {
                    Some(text) => self.order.note(self.now, tag(text)),
                    None => self.order.push(self.now, tag(text), what.to_owned()),
                };
            }
        }
        Ok(())
    }

    fn events(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(event) = self.order.poll(self.now) {
            said.push(match event {
                Event::Message { number, from, message } => {
                    assert!(message.starts_with(&format!("{from}{number}")), "{message}");
                    format!("{from}{number}")
                }
                Event::Late { number, from, .. } => format!("late {from}{number}"),
                Event::Missing(Gap { from, first, last }) => {
                    format!("missing {from}{first}..{last}")
                }
            });
        }
        if let Some(due) = self.order.poll_timeout() {
            assert!(due > self.now, "a timer that is due already would fire for ever");
        }
        said.join(", ")
    }
}

/// Acts line by line: what is done, `=>`, the events then.
fn check(begin: Option<u64>, script: &str) {
    check_with(Rig::new(begin), script);
}

fn check_with(mut rig: Rig, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (acts, expected) = line.split_once("=>").expect("acts => events");
        for act in acts.split_whitespace() {
            rig.act(act).unwrap_or_else(|why| panic!("{line}: {act} was refused: {why:?}"));
        }
        assert_eq!(rig.events(), expected.trim(), "{line}\n{:?}", rig.order);
    }
}

#[test]
fn a_dense_stream_comes_in_order_at_once() {
    let mut rig = Rig::new(Some(1));
    for number in [2, 3, 1, 5, 2] {
        rig.order.push(rig.now, Tag::dense(number), format!("{number}")).unwrap();
    }
    assert_eq!(rig.events(), "1, 2, 3");
    let gap = Gap { from: "".into(), first: 4, last: 4 };
    assert_eq!(rig.order.missing(), std::slice::from_ref(&gap));
    // What is known to be nobody's is skipped.
    rig.order.note(rig.now, Tag { from: "", previous: 3, number: 4 }).unwrap();
    assert_eq!(rig.events(), "5");
    assert_eq!(rig.order.missing(), []);
}

#[test]
fn one_waits_until_everybody_has_said_something_later() {
    check(
        Some(1),
        "+a +b a5 => \n b3 => b3 \n b9<3 => a5 \n a~9<5 => b9
         -b a12<9 => a12",
    );
}

#[test]
fn a_number_that_follows_the_last_one_waits_for_nobody() {
    check(Some(5), "+a +b +c a5 => a5 \n c7 => \n b6 => b6, c7 \n a9<5 => \n b~8<6 c~8<7 => a9");
}

#[test]
fn nobody_waits_longer_than_the_patience() {
    check(
        Some(1),
        "+a +b a5 => \n wait- => \n b7 wait => a5, b7
         a9<5 => \n wait => a9",
    );
}

#[test]
fn a_loss_is_reported_before_what_follows_it() {
    check(
        Some(1),
        "+a a5<2 => \n wait => missing a1..2, a5 \n a5<2 a5<2 => \n a2<1 a2<1 => late a2
         a9<6 a8<6 wait- => \n wait => missing a6..6, a8, a9 \n a6<5 => late a6 \n a6<5 a9<6 => ",
    );
}

#[test]
fn a_gap_is_filled_from_any_side() {
    check(Some(1), "a7<5 a5<4 a2 a4<2 => a2, a4, a5, a7");
    check(Some(1), "a9<7 a3 => a3 \n a5<3 => a5 \n a7<5 => a7, a9");
    check(Some(1), "a9<7 a4<2 => \n wait => missing a1..2, a4, missing a5..7, a9");
}

#[test]
fn a_note_shows_that_the_last_message_is_lost() {
    check(
        Some(1),
        "a3 => a3 \n a~9<5 => \n wait- => \n a~12<5 => \n wait => missing a4..5
         a5<3 => late a5 \n a14<5 => a14",
    );
    // And drives out what is before it.
    check(Some(1), "+b a~9<5 wait- => \n b4 => \n wait => b4, missing a1..5");
    // Older notes, and notes of what has come, change nothing.
    check(Some(1), "a3 a~9<3 a~4<0 a~7<3 => a3 \n a12<3 => a12 \n a~40<30 a~50<20 a30<12 => a30");
}

#[test]
fn without_a_beginning_it_is_the_smallest_within_the_patience() {
    check(
        None,
        "a8<6 wait- => \n b7<5 => \n wait => b7, a8
         a6 b5 => \n b12<10 a~12<8 wait => missing b8..10, b12",
    );
    check(None, "a8<6 b5<2 wait => b5, missing a5..6, a8");
}

#[test]
fn what_was_before_the_beginning_is_not_missed() {
    check(Some(10), "a9<7 a12<9 => a12 \n b11<10 => late b11 \n wait => missing b10..10");
}

#[test]
fn who_was_never_heard_of_is_late() {
    check(Some(1), "a5 => a5 \n b4<2 => late b4 \n b2 => late b2 \n b2 b4<2 a5 => \n wait =>");
}

#[test]
fn the_end_drives_everything_out() {
    check(Some(1), "+b a5 a9<7 end => a5, missing a6..7, a9 \n a10<9 => a10");
    check(None, "a5<3 a9<7 end => a5, missing a6..7, a9");
}

#[test]
fn beyond_the_capacity_the_oldest_gap_is_given_up() {
    let config = Config { begin: Some(1), capacity: 3, ..Config::default() };
    let mut rig = Rig::with(config.clone());
    for (act, events) in [("a3<2", ""), ("a9<6", ""), ("b5", "missing a1..2, a3"), ("b7<5", "b5")] {
        rig.act(act).unwrap();
        assert_eq!(rig.events(), events, "{act}");
    }
    // Nobody reads: no more is taken, and it is missed in the end.
    let mut rig = Rig::with(config);
    for act in ["a2", "a3<2", "a4<3"] {
        rig.act(act).unwrap();
    }
    assert_eq!(rig.act("a5<4"), Err(Refused::Full));
    assert_eq!(rig.act("a4<3"), Ok(()), "it is there already");
    assert_eq!(rig.events(), "a2, a3, a4");
    rig.act("a6<5").unwrap();
    assert_eq!(rig.order.missing()[0].first, 5);
}

#[test]
fn many_senders_do_not_fill_the_memory() {
    let mut rig = Rig::new(Some(1));
    for number in 1..5000 {
        let from = format!("sender {number}");
        let tag = Tag { from: &from, previous: 0, number };
        rig.order.push(rig.now, tag, format!("{from}{number}")).unwrap();
        rig.order.leave(&from);
        rig.events();
    }
    assert_eq!(rig.order.chains.len(), SENDERS);
    // One that was forgotten is nobody new: what it sent is not missed.
    rig.act("a9000").unwrap();
    let again = Tag { from: "sender 1", previous: 1, number: 9001 };
    rig.order.push(rig.now, again, "sender 19001".to_owned()).unwrap();
    assert_eq!(rig.order.missing(), []);
}

#[test]
fn nonsense_is_refused() {
    let mut rig = Rig::new(None);
    for (act, why) in [
        ("a0", Refused::Number),
        ("a9007199254740992", Refused::Number),
        ("a5<5", Refused::Previous),
        ("a5<6", Refused::Previous),
        ("a~9007199254740992", Refused::Number),
        ("a~5<6", Refused::Previous),
    ] {
        assert_eq!(rig.act(act), Err(why), "{act}");
    }
    assert!(rig.order.chains.is_empty() && rig.order.is_empty());
}
