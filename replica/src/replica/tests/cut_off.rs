//! Servers that hear of no leader (R34).

use super::{open, told};
use crate::Output;
use crate::world::World;

const CUTOFF: u64 = 2_000;

fn times_told(world: &mut World) -> usize {
    world.outputs(1).iter().filter(|output| matches!(output, Output::CutOff)).count()
}

#[test]
fn a_link_that_got_its_session_in_a_moment_of_contact_is_told_to_move_too() {
    let mut world = World::started(3);
    world.cut(&[1], &[2, 3]);
    world.pass(CUTOFF + 500);
    assert_eq!(times_told(&mut world), 1);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    // The leader hears the report and answers; no heartbeat comes that echoes a time.
    world.heal();
    assert_eq!(told(&mut world, 1, link).len(), 1);
    world.cut(&[1], &[2, 3]);
    world.pass(CUTOFF - 100);
    assert_eq!(times_told(&mut world), 0, "the answer was contact");
    world.pass(200);
    assert_eq!(times_told(&mut world), 1);
    world.pass(3 * CUTOFF);
    assert_eq!(times_told(&mut world), 0, "once per silence");
}

#[test]
fn a_moment_of_contact_without_an_answer_is_none() {
    let mut world = World::started(3);
    world.cut(&[1], &[2, 3]);
    world.pass(CUTOFF + 500);
    assert_eq!(times_told(&mut world), 1);
    world.heal();
    world.cut(&[1], &[2, 3]);
    world.pass(3 * CUTOFF);
    assert_eq!(times_told(&mut world), 0);
}

#[test]
fn a_server_without_a_leader_tells_its_clients_once() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    for _ in 0..3 {
        world.cut(&[1], &[2, 3]);
        world.pass(3 * CUTOFF);
        assert_eq!(times_told(&mut world), 1);
        world.heal();
        world.pass(500);
        assert_eq!(times_told(&mut world), 0);
    }
}
