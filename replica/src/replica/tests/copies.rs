//! One write that the log has twice, many writes at once, and writes that no entry answers (R22,
//! R23).

use std::time::Duration;

use rollcall_shared::id::{ClientId, RequestId};
use rollcall_shared::limits;

use super::{carry, open, poll, registration, sequence, tell_only, told};
use crate::command::{Command, Generation, Write};
use crate::consensus::message::Message;
use crate::sessions::message::{SessionBody, SessionMessage};
use crate::world::World;
use crate::{Config, Input, LinkId, Output, Refused, Replica};

/// Three servers; what is written at server 1 stays open for a while, as server 2 may answer reads
/// and does not hear of it.
fn stalled() -> (World, [LinkId; 2]) {
    let mut world = World::started(3);
    let links = [world.link(1, "c"), world.link(1, "c")];
    for link in links {
        open(&mut world, 1, link, 1);
        told(&mut world, 1, link);
    }
    world.pass(100);
    world.cut(&[2], &[3]);
    (world, links)
}

/// Server 1 is told by its leader that a write was not taken.
fn overload(world: &mut World, request: u64) {
    let leader = world.core(1).leader().unwrap().0;
    let epoch = world.core(1).epoch();
    let (client, request) = ("c".parse().unwrap(), RequestId(request));
    let body = SessionBody::Overloaded { client, request };
    world.forge(leader, 1, Message::Session(SessionMessage { epoch, body }));
}

fn write(link: LinkId, request: u64, write: Write) -> Input {
    Input::Write { link, request: RequestId(request), write }
}

/// Server 1 writes a device for which there is no room: leader 3 has that in its log, and server 2
/// too, but not committed, when it is lost. Server 2 makes room and gets the write again.
#[test]
fn no_room_for_the_first_copy_says_nothing_of_the_second() {
    let mut world = World::started(3);
    let (link, owner) = (world.link(1, "c"), world.link(2, "owner"));
    for device in 1..=limits::DEVICES as u64 {
        world.tell(2, write(owner, device, registration("ann", &format!("d{device}"))));
    }
    open(&mut world, 1, link, 1);
    told(&mut world, 1, link);
    world.pass(100);
    tell_only(&mut world, 1, write(link, 2, registration("ann", "more")));
    poll(&mut world, 1);
    carry(&mut world, 1, 3);
    world.cut(&[3], &[1]);
    world.server(3).replica = None;
    world.unlink(3, 2);
    let (username, device) = ("ann".parse().unwrap(), "d1".parse().unwrap());
    tell_only(&mut world, 2, write(owner, 2000, Write::Disconnect { username, device }));
    world.settle();
    world.pass(300);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(told(&mut world, 1, link), ["OutcomeUnknown"], "the second one was applied");
    world.tell(1, write(link, 2, registration("ann", "more")));
    world.pass(50);
    assert_eq!(told(&mut world, 1, link), ["connected"]);
}

#[test]
fn no_room_for_the_only_copy_is_said() {
    let mut world = World::started(3);
    let (link, owner) = (world.link(1, "c"), world.link(2, "owner"));
    for device in 1..=limits::DEVICES as u64 {
        world.tell(2, write(owner, device, registration("ann", &format!("d{device}"))));
    }
    world.tell(1, write(link, 2, registration("ann", "more")));
    world.pass(50);
    assert_eq!(told(&mut world, 1, link), ["Full"]);
}

#[test]
fn a_write_that_one_leader_had_is_not_refused_by_the_next() {
    let (mut world, [link, _]) = stalled();
    sequence(&mut world, 1, link, 2);
    world.unlink(1, 3);
    world.settle();
    overload(&mut world, 2);
    assert_eq!(told(&mut world, 1, link), ["OutcomeUnknown"]);
}

#[test]
fn a_write_that_no_log_has_is_refused() {
    let (mut world, [link, _]) = stalled();
    sequence(&mut world, 1, link, 2);
    overload(&mut world, 2);
    assert_eq!(told(&mut world, 1, link), ["Overloaded"]);
}

#[test]
fn of_two_links_with_one_write_neither_knows_whose_was_refused() {
    let (mut world, links) = stalled();
    sequence(&mut world, 1, links[0], 2);
    sequence(&mut world, 1, links[1], 2);
    overload(&mut world, 2);
    for link in links {
        assert_eq!(told(&mut world, 1, link), ["OutcomeUnknown"]);
    }
}

#[test]
fn a_write_may_be_applied_after_its_link_has_ended() {
    let (mut world, links) = stalled();
    sequence(&mut world, 1, links[0], 2);
    sequence(&mut world, 1, links[1], 2);
    world.tell(1, Input::Unlinked { link: links[0] });
    overload(&mut world, 2);
    assert_eq!(told(&mut world, 1, links[1]), ["OutcomeUnknown"]);
}

#[test]
fn a_leader_that_settles_has_each_write_once() {
    let mut world = World::started(3);
    let link = world.link(2, "c");
    sequence(&mut world, 2, link, 1);
    world.pass(100);
    world.server(3).replica = None;
    world.unlink(3, 1);
    world.unlink(3, 2);
    let before = world.core(2).last();
    for request in 2..5 {
        tell_only(&mut world, 2, write(link, request, Write::Sequence { count: 1 }));
    }
    world.settle();
    world.pass(300);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(told(&mut world, 2, link), ["number 1", "number 2", "number 3", "number 4"]);
    assert_eq!(world.core(2).last().0 - before.0, 3);
}

#[test]
fn one_number_for_two_kinds_of_write_is_answered_by_the_entry_of_each() {
    let mut world = World::started(3);
    let (one, other) = (world.link(1, "c"), world.link(1, "c"));
    open(&mut world, 1, one, 1);
    open(&mut world, 1, other, 1);
    let (username, device) = ("ann".parse().unwrap(), "d".parse().unwrap());
    tell_only(&mut world, 1, write(one, 5, Write::Sequence { count: 1 }));
    tell_only(&mut world, 1, write(other, 5, Write::Disconnect { username, device }));
    world.settle();
    world.pass(50);
    assert_eq!(told(&mut world, 1, one).last().unwrap(), "number 1");
    assert_eq!(told(&mut world, 1, other).last().unwrap(), "Reused");
}

#[test]
fn a_late_copy_from_an_earlier_session_answers_nobody() {
    let mut world = World::started(3);
    let link = world.link(3, "c");
    open(&mut world, 3, link, 1);
    told(&mut world, 3, link);
    let (client, request): (ClientId, _) = ("c".parse().unwrap(), RequestId(5));
    let write = Write::Sequence { count: 1 };
    let command = Command::Write { client, generation: Generation(0), request, write };
    let now = world.now;
    world.server(3).replica.as_mut().unwrap().consensus_mut().propose(now, command).unwrap();
    sequence(&mut world, 3, link, 5);
    assert_eq!(told(&mut world, 3, link), ["number 1"]);
}

#[test]
fn a_client_has_so_many_writes_under_way_and_no_more() {
    let (mut world, [link, other]) = stalled();
    for request in 2..2 + 4 * limits::WINDOW as u64 {
        let link = if request % 2 == 0 { link } else { other };
        sequence(&mut world, 1, link, request);
        assert_eq!(told(&mut world, 1, link), [""; 0]);
    }
    sequence(&mut world, 1, link, 1000);
    assert_eq!(told(&mut world, 1, link), ["Overloaded"]);
    // One that is under way already may be in the log.
    sequence(&mut world, 1, link, 3);
    assert_eq!(told(&mut world, 1, link), ["OutcomeUnknown"]);
    world.pass(200);
    assert_eq!(told(&mut world, 1, other).len(), 2 * limits::WINDOW);
    sequence(&mut world, 1, link, 1001);
    world.pass(50);
    assert!(told(&mut world, 1, link).last().unwrap().starts_with("number"));
}

#[test]
fn a_link_has_so_many_requests_waiting_and_no_more() {
    let (mut world, _) = stalled();
    world.cut(&[1], &[2, 3]);
    let link = world.link(1, "fresh");
    for request in 0..2 * limits::WINDOW as u64 {
        open(&mut world, 1, link, 2 * request);
        sequence(&mut world, 1, link, 2 * request + 1);
    }
    assert_eq!(told(&mut world, 1, link), [""; 0]);
    open(&mut world, 1, link, 1000);
    sequence(&mut world, 1, link, 1001);
    assert_eq!(told(&mut world, 1, link), ["Overloaded", "Overloaded"]);
}

#[test]
fn a_leaders_own_client_is_answered_in_time_too() {
    let mut world = World::started(1);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    let mut replica = world.server(1).replica.take().unwrap();
    // From here on its disk is silent.
    replica.handle(world.now, write(link, 2, Write::Sequence { count: 1 }));
    assert_eq!(refusals(&mut replica), []);
    let late = world.now + Config::PATIENCE;
    assert!(replica.poll_timeout().is_some_and(|at| at <= late));
    replica.handle_timeout(late + Duration::from_millis(1));
    assert_eq!(refusals(&mut replica), [Refused::OutcomeUnknown]);
}

fn refusals(replica: &mut Replica) -> Vec<Refused> {
    let refusal = |output: Output| match output {
        Output::Refused { why, .. } => Some(why),
        _ => None,
    };
    std::iter::from_fn(|| replica.poll_output()).filter_map(refusal).collect()
}
