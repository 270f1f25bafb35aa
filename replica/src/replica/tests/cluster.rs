//! Sessions, writes and reads across servers (R19, R22, R23, R29–R34).

use rollcall_shared::id::{NodeId, RequestId, SessionNumber};

use super::{GRACE, UNHEARD, connect, online, open, sequence, told};
use crate::directory::{Bounds, Event};
use crate::world::World;
use crate::{Input, LinkId, NoSession, Output, Refused};

#[test]
fn a_write_at_any_server_is_answered_there() {
    let mut world = World::started(3);
    for id in 1..=3 {
        let link = world.link(id, &format!("c{id}"));
        sequence(&mut world, id, link, 1);
        assert_eq!(told(&mut world, id, link), [format!("number {id}")]);
        connect(&mut world, id, link, 2, &format!("user{id}"));
        assert_eq!(told(&mut world, id, link), ["connected"]);
    }
    world.pass(50);
    assert!((1..=3).all(|id| online(&world, id) == 3));
}

#[test]
fn a_session_is_one_whichever_servers_its_links_are_on() {
    let mut world = World::started(3);
    let (one, two) = (world.link(1, "c"), world.link(2, "c"));
    open(&mut world, 1, one, 1);
    open(&mut world, 2, two, 1);
    let first = told(&mut world, 1, one);
    assert_eq!(first.len(), 1);
    assert_eq!(told(&mut world, 2, two), first);
    // Either link keeps it alive.
    connect(&mut world, 1, one, 2, "ann");
    world.tell(1, Input::Unlinked { link: one });
    world.pass(GRACE + UNHEARD + 1_000);
    assert_eq!(online(&world, 3), 1);
    world.tell(2, Input::Unlinked { link: two });
    world.pass(GRACE - 100);
    assert_eq!(online(&world, 3), 1);
    world.pass(200);
    assert_eq!(online(&world, 3), 0, "no server was lost: the grace is enough");
}

#[test]
fn a_retry_at_another_server_is_applied_once() {
    let mut world = World::started(3);
    let (one, two) = (world.link(1, "c"), world.link(2, "c"));
    sequence(&mut world, 1, one, 7);
    sequence(&mut world, 2, two, 7);
    assert_eq!(told(&mut world, 1, one), ["number 1"]);
    assert_eq!(told(&mut world, 2, two), ["number 1"]);
    // And on two links of one server at once.
    let other = world.link(2, "c");
    for link in [two, other] {
        sequence(&mut world, 2, link, 8);
    }
    world.pass(10);
    let both = world.outputs(2);
    let numbers = both.iter().filter(|output| matches!(output, Output::Written { .. }));
    assert_eq!(numbers.count(), 2);
}

#[test]
fn a_lost_server_ends_only_the_sessions_it_alone_kept() {
    let mut world = World::started(3);
    world.pass(UNHEARD + 100);
    let (both1, both2) = (world.link(1, "both"), world.link(2, "both"));
    let only = world.link(1, "only");
    connect(&mut world, 1, both1, 1, "both");
    connect(&mut world, 1, only, 1, "only");
    open(&mut world, 2, both2, 2);
    world.crash(1);
    world.pass(GRACE + UNHEARD - 100);
    assert_eq!(online(&world, 3), 2, "the server might still have links");
    world.pass(300);
    assert_eq!(online(&world, 3), 1);
    let left = world.replica(2).users();
    assert!(left.get(&"both".parse().unwrap()).is_some());
}

#[test]
fn a_new_leader_expires_nobody_who_is_linked() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    connect(&mut world, 1, link, 1, "ann");
    let gone = world.link(3, "gone");
    connect(&mut world, 3, gone, 1, "bob");
    world.crash(3);
    world.pass(GRACE + UNHEARD - 500);
    assert_eq!(online(&world, 1), 2, "a change of leader restarts the wait");
    world.pass(1_500);
    assert_eq!(online(&world, 1), 1);
    world.pass(5 * GRACE);
    assert_eq!(online(&world, 1), 1);
    open(&mut world, 1, link, 2);
    assert!(told(&mut world, 1, link).iter().any(|text| text.starts_with("session")));
}

#[test]
fn a_write_on_its_way_survives_its_leader_and_counts_once() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    sequence(&mut world, 1, link, 1);
    assert_eq!(told(&mut world, 1, link), ["number 1"]);
    // The leader is cut off and the write with it; the next leader gets it again.
    world.cut(&[3], &[1, 2]);
    sequence(&mut world, 1, link, 2);
    world.pass(600);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(told(&mut world, 1, link), ["number 2"]);
    world.heal();
    world.pass(600);
    sequence(&mut world, 1, link, 3);
    world.pass(100);
    assert_eq!(told(&mut world, 1, link), ["number 3"]);
}

#[test]
fn without_a_quorum_clients_are_told_in_time() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    sequence(&mut world, 1, link, 1);
    told(&mut world, 1, link);
    world.cut(&[1], &[2, 3]);
    let read = world.read(1);
    assert!(world.is_read(1, read), "nothing can be acknowledged while the lease runs");
    world.pass(200);
    let fresh = world.link(1, "d");
    sequence(&mut world, 1, link, 2);
    open(&mut world, 1, fresh, 1);
    let read = world.read(1);
    world.pass(1_100);
    let outputs = world.outputs(1);
    let refused = |of: LinkId| {
        let why = |output: &Output| match output {
            Output::Refused { link, why, .. } if *link == of => Some(*why),
            _ => None,
        };
        outputs.iter().filter_map(why).collect::<Vec<_>>()
    };
    assert_eq!(refused(link), [Refused::NoQuorum], "nobody had it");
    assert_eq!(refused(fresh), [Refused::NoQuorum]);
    let unreadable = |o: &Output| matches!(o, Output::Unreadable { read: r } if *r == read);
    assert!(outputs.iter().any(unreadable));
    assert!(!outputs.iter().any(|output| matches!(output, Output::CutOff)));
    world.pass(800);
    let outputs = world.outputs(1);
    let told = outputs.iter().filter(|output| matches!(output, Output::CutOff)).count();
    assert_eq!(told, 1, "after `cutoff` the clients are to move, once");
}

#[test]
fn a_leader_that_loses_its_quorum_knows_no_outcome() {
    let mut world = World::started(3);
    let link = world.link(3, "c");
    sequence(&mut world, 3, link, 1);
    told(&mut world, 3, link);
    world.cut(&[3], &[1, 2]);
    sequence(&mut world, 3, link, 2);
    world.pass(500);
    assert_eq!(told(&mut world, 3, link), ["OutcomeUnknown"]);
}

#[test]
fn a_session_that_ended_elsewhere_closes_the_link_that_had_it() {
    let mut world = World::started(3);
    world.pass(UNHEARD + 100);
    let link = world.link(1, "c");
    connect(&mut world, 1, link, 1, "ann");
    told(&mut world, 1, link);
    // Cut off for longer than any wait, with its link left open.
    world.cut(&[1], &[2, 3]);
    world.pass(GRACE + UNHEARD + 500);
    assert_eq!(online(&world, 3), 0);
    world.heal();
    world.pass(500);
    assert!(told(&mut world, 1, link).contains(&"ended".to_owned()));
}

#[test]
fn links_that_came_while_nobody_led_get_their_session() {
    let mut world = World::started(3);
    // A cluster that was never used would wait for all its servers (R26).
    let before = world.link(1, "before");
    sequence(&mut world, 1, before, 1);
    world.crash(3);
    world.crash(2);
    world.pass(500);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    world.start(2);
    world.pass(900);
    let texts = told(&mut world, 1, link);
    assert!(texts[0].starts_with("session"), "{texts:?}");
}

#[test]
fn a_server_far_behind_gets_the_snapshot() {
    let mut world = World::started(3);
    let link = world.link(3, "c");
    connect(&mut world, 3, link, 1, "ann");
    world.crash(1);
    for request in 2..60 {
        sequence(&mut world, 3, link, request);
        world.pass(5);
    }
    world.start(1);
    world.pass(500);
    assert!(world.outputs(1).iter().any(|output| matches!(output, Output::Installed { .. })));
    assert_eq!(world.replica(1).directory(), world.replica(3).directory());
    assert_eq!(world.replica(1).applied(), world.replica(3).applied());
    // Pushes go on from there.
    connect(&mut world, 3, link, 60, "bob");
    world.pass(50);
    let appears = |output: &Output| matches!(output, Output::Changed(change) if matches!(change.event, Event::Connected(_)));
    assert_eq!(world.outputs(1).iter().filter(|output| appears(output)).count(), 1);
}

#[test]
fn a_client_id_of_another_principal_is_refused_everywhere() {
    let mut world = World::started(3);
    let (client, request) = (|| "c".parse().unwrap(), RequestId(1));
    let subject = |name: &str| crate::command::Principal::Subject(name.parse().unwrap());
    let (mine, theirs) = (LinkId(900), LinkId(901));
    world.tell(1, Input::Linked { link: mine, client: client(), principal: subject("sam") });
    world.tell(1, Input::Open { link: mine, request });
    world.tell(2, Input::Linked { link: theirs, client: client(), principal: subject("tom") });
    world.tell(2, Input::Open { link: theirs, request });
    let refused = Refused::NoSession(NoSession::Forbidden);
    assert_eq!(told(&mut world, 2, theirs), [format!("{refused:?}")]);
    assert_eq!(told(&mut world, 1, mine).len(), 1);
}

#[test]
fn takeovers_are_told_where_the_old_session_is_linked() {
    let mut world = World::started(3);
    let subject = || crate::command::Principal::Subject("sam".parse().unwrap());
    let (old, new) = (LinkId(900), LinkId(901));
    let client = |name: &str| name.parse().unwrap();
    world.tell(1, Input::Linked { link: old, client: client("a"), principal: subject() });
    connect(&mut world, 1, old, 1, "ann");
    world.tell(2, Input::Linked { link: new, client: client("b"), principal: subject() });
    connect(&mut world, 2, new, 1, "ann");
    world.pass(50);
    assert_eq!(told(&mut world, 1, old), ["connected", "replaced"]);
    assert_eq!(told(&mut world, 2, new), ["connected"]);
}

#[test]
fn the_number_of_a_session_is_the_same_on_all_servers() {
    let mut world = World::started(4);
    let numbers: Vec<_> = (1..=4)
        .map(|id| {
            let link = world.link(id, "c");
            open(&mut world, id, link, 1);
            told(&mut world, id, link)
        })
        .collect();
    assert!(numbers.iter().all(|number| *number == numbers[0] && number.len() == 1));
    let generation = world.replica(1).directory().live_session(&"c".parse().unwrap()).unwrap().0;
    let number: SessionNumber = world.replica(2).directory().session_number(generation);
    assert_eq!(numbers[0], [format!("session {number}")]);
    assert_eq!(world.core(1).leader(), Some(NodeId(4)));
}

/// Entries are applied again at every start, perhaps by servers that were told other limits by then:
/// what was refused stays so, and what was not is not lost.
#[test]
fn limits_that_change_do_not_change_what_was() {
    let told_to_start = |world: &mut World, registrations| {
        world.bounds = Bounds { registrations, ..Bounds::default() };
        for id in 1..=3 {
            if world.servers[&id].replica.is_some() {
                world.crash(id);
            }
        }
        for id in 1..=3 {
            world.start(id);
        }
        world.pass(5_000);
    };
    let mut world = World::new(3);
    let mut number = 0;
    for (registrations, names, online_then) in [
        (4, 0..8, 4),
        // The four that were refused are not there now; two more are.
        (6, 8..12, 6),
        // All six are, though fewer could come now.
        (2, 12..14, 6),
        (7, 14..16, 7),
    ] {
        told_to_start(&mut world, registrations);
        let link = world.link(2, "c");
        for name in names {
            number += 1;
            connect(&mut world, 2, link, number, &format!("user{name}"));
        }
        world.pass(100);
        let state = world.replica(1).directory().clone();
        for id in 1..=3 {
            assert_eq!(online(&world, id), online_then, "server {id}, {registrations} at most");
            assert_eq!(*world.replica(id).directory(), state, "server {id}");
        }
    }
    // And all of them are when the log is read once more.
    let before = world.replica(1).directory().revision();
    told_to_start(&mut world, 1);
    assert!((1..=3).all(|id| online(&world, id) == 7));
    assert_eq!(world.replica(1).directory().revision(), before);
}
