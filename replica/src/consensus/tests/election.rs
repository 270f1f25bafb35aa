//! Who leads when somebody is gone, and who does not (R2–R12a, R21, R24, R25).

use super::*;
use crate::Input;
use crate::consensus::ids::{Epoch, ReadId};
use crate::consensus::journal::Record;
use crate::consensus::message::Message;

#[test]
fn when_the_leader_dies_the_next_id_leads() {
    for members in 3..=7 {
        let mut world = World::started(members);
        let (index, _) = world.write(members).unwrap();
        world.crash(members);
        world.pass(400);
        assert_eq!(world.leader(), Some(members - 1), "{members} members");
        let (next, committed) = world.write(members - 1).unwrap();
        assert!(committed && next > index);
        world.start(members);
        world.pass(600);
        assert_eq!(world.leader(), Some(members - 1), "a returning server disturbs nobody");
        assert_eq!(world.core(members).commit(), next);
    }
}

#[test]
fn of_two_halves_the_one_with_the_leader_works() {
    let mut world = World::started(4);
    world.write(4).unwrap();
    world.cut(&[4, 1], &[3, 2]);
    world.pass(3_000);
    assert_eq!(world.leader(), Some(4));
    assert!(world.write(4).unwrap().1);
    let read = world.read(3);
    world.pass(1_000);
    assert!(!world.is_read(3, read));
    world.heal();
    world.pass(1_000);
    assert_eq!(world.leader(), Some(4));
    assert!(!world.is_read(3, read), "it was told that there is no answer");
    let read = world.read(3);
    assert!(world.is_read(3, read));
}

#[test]
fn of_two_servers_the_leader_works_alone_and_the_follower_never() {
    let mut world = World::started(2);
    world.cut(&[1], &[2]);
    world.pass(2_000);
    assert!(world.write(2).unwrap().1);
    assert_eq!(world.leader(), Some(2));
    world.crash(2);
    world.pass(5_000);
    assert_eq!(world.leader(), None);
    world.heal();
    world.start(2);
    world.pass(2_000);
    assert!(world.leader().is_some());
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_answers_nothing() {
    let mut world = World::started(3);
    world.write(3).unwrap();
    world.cut(&[3], &[1, 2]);
    world.pass(200);
    let read = world.read(3);
    world.pass(1_000);
    assert!(!world.is_read(3, read));
    assert_eq!(world.leader(), Some(2));
    assert!(world.write(3).is_none());
}

/// R12a: one follower promised an epoch whose candidate gave up, and obeys nothing below it.
#[test]
fn a_leader_takes_a_new_epoch_for_a_follower_that_promised_too_much() {
    let mut world = World::started(3);
    let (index, _) = world.write(3).unwrap();
    world.forge(2, 1, Message::Prepare { epoch: Epoch(1) });
    assert_eq!(world.core(1).epoch(), Epoch(1));
    world.pass(300);
    assert_eq!(world.leader(), Some(3));
    assert_eq!(world.core(3).epoch(), Epoch(3), "the next one of its own");
    world.crash(2);
    world.pass(200);
    let (next, committed) = world.write(3).unwrap();
    assert!(committed && next > index, "server 1 follows again");
}

/// R12a where the leader is a commit quorum by itself: nobody else acknowledges anything. Found by
/// the simulator.
#[test]
fn a_leader_of_two_takes_a_new_epoch_for_the_other_one() {
    let mut world = World::started(2);
    let (index, _) = world.write(2).unwrap();
    world.crash(1);
    world.server(1).disk.apply(&Record::Promise(Epoch(1)));
    world.start(1);
    world.pass(1_500);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(world.core(1).stored().established, world.core(2).epoch());
    assert_eq!(world.core(1).commit(), index);
}

#[test]
fn a_leader_that_shuts_down_hands_over() {
    let mut world = World::started(3);
    world.write(3).unwrap();
    world.tell(3, Input::Shutdown);
    world.pass(1);
    assert_eq!(world.servers[&3].stopped, Some(StopReason::Shutdown));
    assert_eq!(world.leader(), Some(2));
    assert!(world.write(2).unwrap().1, "all promised: there is no lease to wait for");
}

#[test]
fn followers_answer_reads_by_their_lease() {
    let mut world = World::started(3);
    let (index, _) = world.write(3).unwrap();
    world.pass(100);
    for id in 1..=3 {
        assert_eq!(world.core(id).read_point(world.now), Some(index));
        let (now, read) = (world.now, ReadId(9_000));
        world.server(id).replica.as_mut().unwrap().handle(now, Input::Read { read });
        world.drain();
        assert!(world.is_read(id, read), "without a question to the leader");
    }
}
