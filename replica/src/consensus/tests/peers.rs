//! What peers may send: any bytes, any message out of turn. It ends the link at worst, never the
//! server, and the others go on.

use std::sync::LazyLock;

use proptest::prelude::*;

use rollcall_shared::id::{NodeId, RequestId};

use super::*;
use crate::Input;
use crate::command::Write;
use crate::consensus::message::{Frame, Message, Part};
use crate::wire;

/// Every message of a small world with elections, a lost disk, a stale leader, a snapshot, clients of
/// a follower and a hand-over, as bytes.
static RECORDED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut recorded = Vec::new();
    let mut world = World::new(3);
    world.record = Some(Vec::new());
    for id in 1..=3 {
        world.start(id);
    }
    world.pass(100);
    world.write(3);
    world.read(1);
    world.cut(&[3], &[1, 2]);
    world.pass(100);
    world.heal();
    world.pass(1_500);
    world.write(2);
    world.crash(1);
    world.lose_disk(1);
    world.start(1);
    world.pass(500);
    talk_of_clients(&mut world);
    world.tell(2, Input::Shutdown);
    world.pass(500);
    for frame in world.record.take().unwrap() {
        let bytes = wire::encode(&frame);
        assert_eq!(wire::decode(&bytes), Ok(frame), "what is written is read");
        recorded.push(bytes);
    }
    recorded
});

/// Sessions, relayed writes, a question for a read point, and more entries than a snapshot leaves.
fn talk_of_clients(world: &mut World) {
    let link = world.link(1, "client");
    for request in 1..60 {
        let write = Write::Sequence { count: 1 };
        world.tell(1, Input::Write { link, request: RequestId(request), write });
    }
    world.crash(1);
    world.start(1);
    // It has no lease yet.
    world.read(1);
    let again = world.link(1, "client");
    world.tell(1, Input::Open { link: again, request: RequestId(99) });
    world.tell(1, Input::Unlinked { link: again });
    world.crash(1);
    world.lose_disk(1);
    world.start(1);
    world.pass(500);
}

#[test]
fn every_kind_of_message_of_the_core_was_recorded() {
    let mut kinds: Vec<String> = RECORDED
        .iter()
        .map(|bytes| format!("{:?}", wire::decode(bytes).unwrap().message))
        .map(|text| text.split([' ', '(', '{']).next().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds.dedup();
    let expected = [
        "Ack",
        "Alive",
        "Append",
        "Elect",
        "Fetch",
        "Heartbeat",
        "HeartbeatAck",
        "Hello",
        "Init",
        "Nack",
        "NewEpoch",
        "Opinion",
        "Part",
        "Prepare",
        "Promise",
        "Propose",
        "Read",
        "ReadPoint",
        "Session",
    ];
    for kind in expected {
        assert!(kinds.iter().any(|k| k == kind), "{kind} is not among {kinds:?}");
    }
    assert_eq!(kinds.len(), expected.len(), "{kinds:?}");
    let snapshot = |bytes: &Vec<u8>| {
        let message = wire::decode(bytes).unwrap().message;
        matches!(message, Message::Part { part: Part::Snapshot { .. }, .. })
    };
    assert!(RECORDED.iter().any(snapshot), "no part of a snapshot was recorded");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = wire::decode(&bytes);
    }

    /// A peer that repeats, mixes up and damages real messages, at a server in any role.
    #[test]
    fn no_message_out_of_turn_stops_a_server(
        to in 1_u32..4,
        from in 1_u32..4,
        picks in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()),
            1..40,
        ),
        cut in any::<bool>(),
    ) {
        prop_assume!(to != from);
        let mut world = World::started(3);
        world.write(3);
        if cut {
            world.cut(&[3], &[1, 2]);
            world.pass(450);
            world.heal();
        }
        for (which, at, with, damage) in picks {
            let mut bytes = which.get(&RECORDED).clone();
            if damage {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            let Ok(frame) = wire::decode(&bytes) else { continue };
            world.forge(from, to, frame.message);
        }
        // It may have said anything, but it cannot stop the world: when it is gone, the rest works.
        world.crash(from);
        world.pass(30_000);
        let others: Vec<u32> = (1..=3).filter(|id| *id != from).collect();
        for id in others {
            prop_assert!(world.servers[&id].replica.is_some());
        }
    }
}

#[test]
fn a_message_that_was_lost_doubled_or_reordered_ends_the_link() {
    let mut world = World::started(3);
    let link = world.servers[&1].links[&2];
    let now = world.now;
    let core = world.server(1).replica.as_mut().unwrap();
    let frame = Frame { number: 9_999, message: Message::Alive };
    core.handle(now, Input::Received { peer: NodeId(2), link, frame });
    world.settle();
    assert_ne!(world.servers[&1].links.get(&2), Some(&link));
}
