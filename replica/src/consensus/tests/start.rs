//! The beginning of a cluster, and servers that lost their disk (R0, R12, R26–R28).

use super::*;

#[test]
fn the_highest_id_begins_when_all_are_there() {
    for members in 1..=7 {
        let world = World::started(members);
        assert_eq!(world.leader(), Some(members), "{members} members");
        for id in 1..=members {
            assert!(matches!(world.core(id).entry(Index(1)).unwrap().op, Op::Init(_)));
            assert_ne!(world.core(id).role(), RoleKind::Blank);
        }
    }
}

#[test]
fn nothing_begins_while_one_is_missing() {
    let mut world = World::new(3);
    world.start(3);
    world.start(2);
    world.pass(5_000);
    assert_eq!(world.roles(), [None, Some(RoleKind::Blank), Some(RoleKind::Blank)]);
    world.start(1);
    world.pass(100);
    assert_eq!(world.leader(), Some(3));
}

/// An empty server that INIT names may come back late, and needs it from whoever has it. Found by the
/// simulator.
#[test]
fn the_first_entry_is_kept_until_the_cluster_is_in_use() {
    let mut world = World::new(3);
    world.snapshot_every = 1;
    for id in 1..=3 {
        world.start(id);
    }
    let begun = |world: &World| world.core(3).entry(Index(1)).is_some();
    while !begun(&world) {
        world.pass(1);
    }
    world.crash(1);
    world.pass(5_000);
    assert!((2..=3).all(|id| world.core(id).entry(Index(1)).is_some()));
    assert_eq!(world.leader(), None, "nobody serves clients before all were there");
    world.start(1);
    world.pass(5_000);
    assert!((1..=3).all(|id| world.core(id).entry(Index(1)).is_none()));
}

/// Once all were there the cluster is in use, although no client has asked for anything: the loss of
/// a server then is like any other.
#[test]
fn a_cluster_that_nobody_has_used_goes_on_when_its_leader_is_lost() {
    let mut world = World::started(3);
    let leader = world.leader().unwrap();
    world.crash(leader);
    world.pass(5_000);
    let next = world.leader().unwrap();
    assert_ne!(next, leader);
    assert!(world.write(next).unwrap().1);
}

#[test]
fn all_servers_commit_what_one_leader_writes() {
    for members in 1..=7 {
        let mut world = World::started(members);
        let (index, committed) = world.write(members).unwrap();
        assert!(committed);
        world.pass(50);
        assert!((1..=members).all(|id| world.core(id).commit() == index));
    }
}

#[test]
fn a_server_that_lost_its_disk_is_admitted_again() {
    let mut world = World::started(3);
    world.write(3).unwrap();
    world.crash(1);
    world.lose_disk(1);
    world.start(1);
    world.pass(600);
    assert_eq!(world.core(1).role(), RoleKind::Follower);
    assert_eq!(world.core(1).commit(), world.core(3).commit());
    // Its vote counts: the other follower may go.
    world.crash(2);
    world.pass(200);
    assert!(world.write(3).unwrap().1);
}

#[test]
fn an_old_server_stops_when_another_was_admitted_in_its_place() {
    let mut world = World::started(3);
    world.write(3).unwrap();
    world.crash(1);
    let old = world.server(1).disk.clone();
    world.lose_disk(1);
    world.start(1);
    world.pass(600);
    world.crash(1);
    world.server(1).disk = old;
    world.start(1);
    world.pass(600);
    assert_eq!(world.servers[&1].stopped, Some(StopReason::Superseded));
}

#[test]
fn a_leader_that_restarts_needs_a_new_epoch() {
    let mut world = World::started(3);
    let (index, _) = world.write(3).unwrap();
    for id in 1..=3 {
        world.crash(id);
    }
    for id in 1..=3 {
        world.start(id);
    }
    world.pass(1_000);
    let leader = world.leader().unwrap();
    assert!(world.core(leader).epoch().0 > 0);
    assert!(world.core(leader).commit() >= index);
}
