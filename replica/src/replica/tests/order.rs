//! What a link between servers carries about sessions: nothing before it has begun and the links of
//! clients are reported (R32), and no answer to what an earlier link asked.

use rollcall_shared::id::{NodeId, RequestId};

use super::{carry, open, poll, relink, sequence, tell_only, told};
use crate::command::{Applied, Write, Written};
use crate::consensus::ids::PeerLink;
use crate::consensus::message::Message;
use crate::world::World;
use crate::{Input, LinkId, Output};

fn number(link: LinkId, request: u64) -> Input {
    let write = Write::Sequence { count: 1 };
    Input::Write { link, request: RequestId(request), write }
}

/// What is on its way from one server to another on a link.
fn on_its_way(world: &World, from: u32, to: u32, link: PeerLink) -> Vec<&Message> {
    let there = world.wires.iter().filter(|wire| (wire.0, wire.1, wire.2) == (from, to, link));
    there.map(|(.., frame)| &frame.message).collect()
}

#[test]
fn a_write_does_not_overtake_one_that_an_earlier_link_lost() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    told(&mut world, 1, link);
    tell_only(&mut world, 1, number(link, 2));
    poll(&mut world, 1);
    let fresh = relink(&mut world, 1, 3);
    poll(&mut world, 3);
    carry(&mut world, 3, 1);
    tell_only(&mut world, 1, number(link, 3));
    poll(&mut world, 1);
    let session = |message: &&Message| matches!(message, Message::Session(_));
    assert!(!on_its_way(&world, 1, 3, fresh).iter().any(session), "nothing is reported yet");
    world.settle();
    world.pass(200);
    let written = |output: Output| match output {
        Output::Written { request, written, .. } => Some((request.0, written)),
        _ => None,
    };
    let numbers = |first| Written::Applied(Applied::Numbers { first, count: 1 });
    let all: Vec<_> = world.outputs(1).into_iter().filter_map(written).collect();
    assert_eq!(all, [(2, numbers(1)), (3, numbers(2))]);
}

#[test]
fn a_report_for_a_link_that_is_gone_goes_nowhere() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    relink(&mut world, 1, 3);
    for id in [1, 3] {
        poll(&mut world, id);
    }
    carry(&mut world, 1, 3);
    poll(&mut world, 3);
    // The leader speaks: this server follows, on a link that ends before it says so.
    carry(&mut world, 3, 1);
    let fresh = relink(&mut world, 1, 3);
    poll(&mut world, 1);
    let sent = on_its_way(&world, 1, 3, fresh);
    assert!(matches!(sent[..], [Message::Hello(_)]), "{sent:?}");
    world.settle();
    world.pass(100);
    sequence(&mut world, 1, link, 2);
    world.pass(50);
    assert_eq!(told(&mut world, 1, link).last().unwrap(), "number 1");
}

#[test]
fn a_session_is_told_only_on_the_link_that_asked() {
    let mut world = World::started(3);
    let used = world.link(2, "used");
    open(&mut world, 2, used, 1);
    world.pass(100);
    let link = world.link(1, "c");
    tell_only(&mut world, 1, Input::Open { link, request: RequestId(1) });
    poll(&mut world, 1);
    carry(&mut world, 1, 3);
    poll(&mut world, 3);
    // The session is opened by an entry that all have.
    for id in [1, 2] {
        carry(&mut world, 3, id);
        poll(&mut world, id);
        carry(&mut world, id, 3);
    }
    let fresh = relink(&mut world, 1, 3);
    poll(&mut world, 1);
    carry(&mut world, 1, 3);
    poll(&mut world, 3);
    assert!(world.core(3).commit() == world.core(3).last(), "the session is open");
    let session = |message: &&Message| matches!(message, Message::Session(_));
    assert!(!on_its_way(&world, 3, 1, fresh).iter().any(session));
    world.settle();
    assert_eq!(told(&mut world, 1, link).len(), 1);
}

/// Sent all the same, it would have no number, and the other server would take it for damage.
#[test]
fn what_waits_for_a_link_that_has_ended_goes_nowhere() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    told(&mut world, 1, link);
    tell_only(&mut world, 1, number(link, 2));
    let ended = world.server(1).links[&3];
    tell_only(&mut world, 1, Input::PeerDown { peer: NodeId(3), link: ended });
    poll(&mut world, 1);
    assert!(on_its_way(&world, 1, 3, ended).is_empty());
}
