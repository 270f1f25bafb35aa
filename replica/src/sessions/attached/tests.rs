//! Timers against a plain reading of R31–R33, and which answers are owed.

use proptest::prelude::*;
use rollcall_shared::id::Subject;

use super::*;
use crate::command::Principal;

const GRACE: u64 = 10;
const UNHEARD: u64 = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Attach { who: usize, node: u32 },
    Detach { who: usize, node: u32, live: bool },
    Lose { node: u32 },
    Settle,
    Pass { millis: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3, 1_u32..4).prop_map(|(who, node)| Step::Attach { who, node }),
        4 => (0_usize..3, 1_u32..4, prop::bool::weighted(0.9))
            .prop_map(|(who, node, live)| Step::Detach { who, node, live }),
        1 => (1_u32..4).prop_map(|node| Step::Lose { node }),
        1 => Just(Step::Settle),
        4 => (0_u64..7).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// Two principals behind one client id are two, as two clients are.
fn identity(who: usize) -> Identity {
    let client = ["a", "a", "b"][who].parse().unwrap();
    let subject: Subject = ["sam", "tom", "sam"][who].parse().unwrap();
    (client, Principal::Subject(subject))
}

fn attached() -> Attached {
    let waits =
        Waits { grace: Duration::from_millis(GRACE), unheard: Duration::from_millis(UNHEARD) };
    Attached::new(Epoch(0), waits)
}

fn owed(who: usize, node: u32, link: u64, after: u64) -> Owed {
    let (node, on) = (NodeId(node), Some(PeerLink(1)));
    Owed { node, on, link: LinkId(link), who: identity(who), after: Index(after) }
}

proptest! {
    #[test]
    fn a_timer_runs_for_whom_no_server_has_a_link(
        steps in proptest::collection::vec(any_step(), 1..100),
    ) {
        let mut attached = attached();
        let mut now = 0;
        // Plainly: pairs that are there, when each session left alone ends, and since when all is
        // quiet.
        let mut there = BTreeSet::new();
        let mut ends = [None; 3];
        let mut quiet = None;
        for step in steps {
            let at = Instant::from_millis(now);
            let wait = |quiet: Option<u64>| {
                GRACE + if quiet.is_some_and(|q| q + UNHEARD <= now) { 0 } else { UNHEARD }
            };
            match step {
                Step::Attach { who, node } => {
                    attached.attach(owed(who, node, 0, 0));
                    there.insert((who, node));
                    ends[who] = None;
                }
                Step::Detach { who, node, live } => {
                    attached.detach(at, NodeId(node), &identity(who), live);
                    if there.remove(&(who, node)) && there.iter().all(|t| t.0 != who) && live {
                        ends[who] = Some(now + wait(quiet));
                    }
                }
                Step::Lose { node } => {
                    quiet = quiet.map(|_| now);
                    let lost: Vec<_> = (0..3).filter(|&who| there.remove(&(who, node))).collect();
                    let alone = lost.into_iter().filter(|who| there.iter().all(|t| t.0 != *who));
                    let alone: BTreeSet<_> = alone.collect();
                    let told = attached.server_lost(at, NodeId(node));
                    let expected: BTreeSet<_> = alone.iter().map(|&who| identity(who)).collect();
                    prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
                    for who in alone {
                        attached.start_timer(at, identity(who));
                        ends[who] = Some(now + wait(quiet));
                    }
                }
                Step::Settle => {
                    quiet = Some(now);
                    attached.settled(at, (0..3).map(identity));
                    for (who, end) in ends.iter_mut().enumerate() {
                        if there.iter().all(|t| t.0 != who) {
                            *end = Some(now + wait(quiet));
                        }
                    }
                }
                Step::Pass { millis } => now += millis,
            }
            let at = Instant::from_millis(now);
            let next = ends.iter().flatten().min().map(|&end| Instant::from_millis(end));
            prop_assert_eq!(attached.next_deadline(), next);
            while let Some(who) = attached.poll_expired(at) {
                let due = (0..3).filter(|&who| ends[who].is_some_and(|end| end <= now));
                let first = due.min_by_key(|&who| (ends[who], identity(who)));
                prop_assert_eq!(Some(who), first.map(identity));
                ends[first.unwrap_or_default()] = None;
            }
            prop_assert!(ends.iter().flatten().all(|end| *end > now));
        }
    }
}

#[test]
fn an_answer_waits_for_what_the_log_held() {
    let mut attached = attached();
    attached.attach(owed(0, 1, 1, 3));
    attached.attach(owed(2, 1, 2, 5));
    assert!(attached.poll_owed(Index(2)).is_none());
    let first = attached.poll_owed(Index(4)).unwrap();
    assert_eq!(first.link, LinkId(1));
    assert!(attached.poll_owed(Index(4)).is_none());
    attached.owe_again(first);
    assert_eq!(attached.poll_owed(Index(5)).unwrap().link, LinkId(1));
    assert_eq!(attached.poll_owed(Index(5)).unwrap().link, LinkId(2));
    assert!(attached.poll_owed(Index(9)).is_none());
}

#[test]
fn what_ends_cancels_the_answers_owed_to_it() {
    let now = Instant::from_millis(0);
    let mut attached = attached();
    attached.attach(owed(0, 1, 1, 0));
    attached.attach(owed(0, 2, 2, 0));
    attached.attach(owed(2, 3, 3, 0));
    attached.detach(now, NodeId(1), &identity(0), true);
    attached.server_lost(now, NodeId(3));
    let left = attached.poll_owed(Index(0)).unwrap();
    assert_eq!(left.link, LinkId(2));
    attached.opening(Index(4), left);
    attached.server_lost(now, NodeId(2));
    assert!(attached.opened(Index(4)).is_none());
    assert!(attached.poll_owed(Index(0)).is_none());
}
