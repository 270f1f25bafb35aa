//! What may be read without asking, and for how long (R19): the picture that is shown.

use std::time::Duration;

use super::{carry, connect, poll, tell_only};
use crate::Input;
use crate::world::World;

/// How long what a server shows may be read, if at all.
fn shown_for(world: &World, id: u32) -> Option<Duration> {
    let until = world.replica(id).readable_until(world.now)?;
    Some(until.since(world.now))
}

#[test]
fn all_servers_show_what_they_have_for_as_long_as_a_lease() {
    let mut world = World::started(3);
    world.pass(1_000);
    for id in 1..=3 {
        let left = shown_for(&world, id).expect("it has a lease");
        assert!(!left.is_zero() && left <= Duration::from_millis(150), "{id}: {left:?}");
    }
    world.cut(&[1], &[2, 3]);
    world.pass(200);
    assert_eq!(shown_for(&world, 1), None, "nobody renews it");
}

#[test]
fn a_follower_that_holds_more_than_it_applied_shows_nothing() {
    let mut world = World::started(3);
    let link = world.link(3, "c");
    connect(&mut world, 3, link, 1, "ann");
    world.pass(1_000);
    assert!(shown_for(&world, 1).is_some());
    let write = super::Write::Sequence { count: 1 };
    tell_only(&mut world, 3, Input::Write { link, request: super::RequestId(2), write });
    poll(&mut world, 3);
    carry(&mut world, 3, 1);
    assert_eq!(shown_for(&world, 1), None, "the entry may be committed once it is acknowledged");
    world.settle();
    world.pass(100);
    assert!(shown_for(&world, 1).is_some());
}

/// Nothing that others do takes the leadership from a leader that is a commit quorum by itself.
#[test]
fn a_leader_that_is_a_quorum_alone_needs_no_lease() {
    for members in [1, 2] {
        let mut world = World::started(members);
        world.pass(1_000);
        let left = shown_for(&world, members).expect("it leads");
        assert!(left > Duration::from_secs(1_000_000), "{members} members: {left:?}");
    }
}

#[test]
fn a_server_that_has_stopped_waits_for_nothing() {
    let mut world = World::started(3);
    world.pass(1_000);
    let now = world.now;
    let mut replica = world.replica(1).clone();
    assert!(replica.poll_timeout().is_some());
    replica.handle(now, Input::Shutdown);
    while replica.poll_output().is_some() {}
    assert_eq!(replica.poll_timeout(), None);
    // However late it is, it tells no client that it is cut off.
    replica.handle_timeout(now + Duration::from_secs(60));
    assert!(replica.poll_output().is_none());
}

/// A new leader may commit nothing while leases of the old one may run, and answers reads all the
/// same: so do its followers, although they hold more by then.
#[test]
fn reads_do_not_wait_for_writes_that_may_not_commit_yet() {
    let mut world = World::started(3);
    world.pass(1_000);
    world.crash(3);
    while world.leader().is_none() {
        world.pass(1);
    }
    let leader = world.leader().unwrap();
    let link = world.link(leader, "c");
    connect(&mut world, leader, link, 1, "ann");
    // Several heartbeats, with which a lease could be given.
    world.pass(80);
    assert_eq!(super::online(&world, leader), 0, "nothing is committed yet");
    for id in [1, 2] {
        let read = world.read(id);
        world.pass(5);
        assert!(world.is_read(id, read), "server {id}");
    }
    world.pass(100);
    assert_eq!(super::online(&world, leader), 1);
}

#[test]
fn a_leader_hands_over_as_soon_as_its_last_write_is_there() {
    let mut world = World::started(3);
    world.pass(1_000);
    let link = world.link(3, "c");
    connect(&mut world, 3, link, 1, "ann");
    let write = super::Write::Sequence { count: 1 };
    tell_only(&mut world, 3, Input::Write { link, request: super::RequestId(2), write });
    tell_only(&mut world, 3, Input::Shutdown);
    let before = world.now;
    world.settle();
    assert_eq!(world.leader(), Some(2), "no heartbeat is waited for");
    assert_eq!(world.now, before);
}
