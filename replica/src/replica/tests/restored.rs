//! A cluster that begins with what a backup held.

use rollcall_shared::id::{RequestId, Revision};

use super::{GRACE, UNHEARD, connect, online, open, sequence, told};
use crate::consensus::ids::Index;
use crate::consensus::log::Op;
use crate::directory::Directory;
use crate::world::World;
use crate::{Input, Output};

/// What a cluster of one holds after a while: two clients, one online as ann, and 3 numbers taken.
fn old_life() -> Directory {
    let mut world = World::started(1);
    let (one, two) = (world.link(1, "c1"), world.link(1, "c2"));
    connect(&mut world, 1, one, 1, "ann");
    for number in 2..=4 {
        sequence(&mut world, 1, one, number);
    }
    connect(&mut world, 1, two, 9, "bob");
    world.tell(1, Input::Unlinked { link: two });
    world.pass(GRACE + 100);
    let directory = world.replica(1).directory().clone();
    assert_eq!((directory.users().len(), directory.next_number()), (1, 4));
    directory
}

/// Three servers, of which the one that begins has been given a state to begin with.
fn restored(state: &Directory) -> World {
    let mut world = World::new(3);
    world.server(3).disk.restored = Some(state.clone());
    for id in 1..=3 {
        world.start(id);
    }
    world.pass(200);
    world
}

#[test]
fn a_new_cluster_goes_on_from_it() {
    let old = old_life();
    let mut world = restored(&old);
    assert_eq!(world.leader(), Some(3));
    for id in 1..=3 {
        assert_eq!(online(&world, id), 1, "server {id}");
        let directory = world.replica(id).directory();
        assert!(
            directory.revision() > old.revision() && directory.first_revision() > old.revision()
        );
        let installed = |output: &Output| matches!(output, Output::Installed { .. });
        assert!(world.outputs(id).iter().any(installed), "subscriptions begin anew");
    }
    let link = world.link(2, "c1");
    sequence(&mut world, 2, link, 5);
    assert_eq!(told(&mut world, 2, link), ["number 4"]);
    // What it did before is remembered.
    sequence(&mut world, 2, link, 4);
    assert_eq!(told(&mut world, 2, link), ["number 3"]);
    let ended = world.link(1, "c2");
    open(&mut world, 1, ended, 10);
    let next = world.replica(1).directory().next_id(&"c2".parse().unwrap());
    assert_eq!(next, Some(RequestId(10)), "{:?}", told(&mut world, 1, ended));
}

#[test]
fn who_does_not_come_back_expires() {
    let mut world = restored(&old_life());
    world.pass(GRACE - 1_000);
    assert_eq!(online(&world, 1), 1);
    world.pass(UNHEARD + 2_000);
    assert_eq!(online(&world, 1), 0);
}

/// Sessions of the new life are told from those of the old one, which have the indices of its log.
#[test]
fn sessions_of_the_old_life_are_below_those_of_the_new() {
    let old = old_life();
    let mut world = restored(&old);
    let link = world.link(3, "new");
    open(&mut world, 3, link, 1);
    let generation = |world: &World, client: &str| {
        let client = client.parse().unwrap();
        world.replica(1).directory().live_session(&client).map(|(generation, _)| generation)
    };
    let (new, kept) = (generation(&world, "new").unwrap(), generation(&world, "c1").unwrap());
    assert!(new > kept && new.0 > old.applied().0, "{new:?} {kept:?}");
    // Of c1 there is no link any more: when it comes back later, it has another life.
    world.pass(GRACE + UNHEARD + 1_000);
    let back = world.link(3, "c1");
    open(&mut world, 3, back, 20);
    assert!(generation(&world, "c1").unwrap() > new);
}

#[test]
fn it_goes_on_through_snapshots_and_restarts() {
    let mut world = restored(&old_life());
    for id in 1..=3 {
        world.crash(id);
    }
    for id in 1..=3 {
        world.start(id);
    }
    world.pass(5_000);
    let link = world.link(1, "c1");
    for number in 5..50 {
        sequence(&mut world, 1, link, number);
    }
    assert!(world.core(1).stored().log.snapshot_index() > Index(0), "it takes snapshots");
    world.crash(3);
    world.server(3).disk = crate::consensus::journal::Stored::empty(rollcall_shared::id::NodeId(3));
    world.start(3);
    world.pass(5_000);
    assert_eq!(online(&world, 3), 1, "a server that lost its disk has copied it");
    assert_eq!(world.replica(3).directory(), world.replica(1).directory());
    assert_eq!(world.replica(3).directory().next_number(), 49);
}

/// A server that holds INIT alone would have another state than one that was given the rest.
#[test]
fn the_first_entry_goes_nowhere_without_what_it_loads() {
    let mut world = World::new(3);
    world.server(3).disk.restored = Some(old_life());
    world.record = Some(Vec::new());
    for id in 1..=3 {
        world.start(id);
    }
    world.pass(500);
    let sent = world.record.take().unwrap_or_default();
    let init = |frame: &&crate::consensus::message::Frame| {
        matches!(frame.message, crate::consensus::message::Message::Init { .. })
    };
    assert_eq!(sent.iter().filter(init).count(), 0);
    assert_eq!(world.leader(), Some(3));
    // Everybody has the whole of it or nothing, whatever is lost on the way.
    for id in 1..=3 {
        let log = &world.core(id).stored().log;
        let Op::Init(init) = &log.entry(Index(1)).expect("it is held").op else { panic!("INIT") };
        assert!(init.restored && init.first_revision > Revision(0));
        assert!(log.last() > Index(2));
    }
}

/// Only a state that was there before a cluster begins counts.
#[test]
fn a_cluster_that_has_begun_is_not_begun_again() {
    let mut world = World::started(3);
    world.crash(3);
    world.server(3).disk.restored = Some(old_life());
    world.start(3);
    world.pass(5_000);
    assert_eq!(online(&world, 3), 0);
}
