//! Very many entries that are committed at once: applied in steps, between which all else goes on.

use std::time::Duration;

use rollcall_shared::id::Revision;
use rollcall_shared::time::Instant;

use super::*;
use crate::command::Principal;
use crate::consensus::config::{Config as ConsensusConfig, Genesis, Members, Timings};
use crate::consensus::ids::{Boot, ClusterId, Index, ProcessId, ReadId};
use crate::directory::Bounds;
use crate::{Config, consensus};

const AT_ONCE: u64 = 20;

/// The next start of a server alone that has this disk, and where time stands there.
fn restarted(world: &World) -> (Replica, Instant) {
    let consensus = ConsensusConfig {
        me: NodeId(1),
        members: Members::new([NodeId(1)]).unwrap(),
        timings: Timings::default(),
        bounds: Bounds::default(),
        process: ProcessId(99),
        new_boot: Boot(99),
        genesis: Genesis { cluster: ClusterId(99), first_revision: Revision(1) },
        seed: 1,
        piece_bytes: ConsensusConfig::PIECE_BYTES,
    };
    let (patience, snapshot_every) = (Config::PATIENCE, 64);
    let config = Config { consensus, patience, snapshot_every, apply_at_once: AT_ONCE };
    let disk = world.servers[&1].disk.clone();
    let now = world.now + Duration::from_secs(1);
    (Replica::new(now, config, disk), now)
}

/// A server alone with so many writes and more in its log, none of which is in a snapshot.
fn with_writes(count: u64) -> World {
    let mut world = World::new(1);
    world.snapshot_every = 1_000_000;
    world.start(1);
    let link = world.link(1, "c");
    for request in 1..=count {
        sequence(&mut world, 1, link, request);
    }
    world.crash(1);
    world
}

/// One round of outputs, the disk being done at once.
fn round(replica: &mut Replica, now: Instant, stored: &mut u64) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(output) = replica.poll_output() {
        if matches!(output, Output::Store(_)) {
            *stored += 1;
            replica.handle(now, Input::Stored { through: Lsn(*stored) });
        } else {
            outputs.push(output);
        }
    }
    outputs
}

#[test]
fn what_is_committed_at_once_is_applied_in_steps() {
    let world = with_writes(200);
    let (mut replica, now) = restarted(&world);
    let mut stored = 0;
    replica.handle_timeout(now);
    let who = |name: &str| (name.parse().unwrap(), Principal::Client(name.parse().unwrap()));
    for (link, name) in [(1, "c"), (2, "d")] {
        let (client, principal) = who(name);
        let link = LinkId(link);
        replica.handle(now, Input::Linked { link, client, principal });
        replica.handle(now, Input::Open { link, request: RequestId(201) });
    }
    replica.handle(now, Input::Read { read: ReadId(1) });
    let (mut rounds, mut answered) = (0, 0);
    loop {
        let before = replica.applied();
        let outputs = round(&mut replica, now, &mut stored);
        rounds += 1;
        assert!(replica.applied().0 - before.0 <= AT_ONCE, "{before:?} {:?}", replica.applied());
        let is_answer =
            |output: &&Output| matches!(output, Output::Opened { .. } | Output::Readable { .. });
        let answers = outputs.iter().filter(is_answer).count();
        answered += answers;
        let behind = replica.applied() < replica.consensus().commit();
        assert!(answers == 0 || replica.applied() > Index(200), "{outputs:?}");
        assert_eq!(replica.poll_timeout() == Some(now), behind, "the next round is due at once");
        if !behind {
            break;
        }
        assert!(replica.readable_until(now).is_none(), "there is more");
        replica.handle_timeout(now);
    }
    assert!(rounds >= 200 / AT_ONCE, "there were {rounds}");
    assert_eq!(answered, 3, "both links have their sessions, and the read is answered");
    assert_eq!(replica.directory().next_number(), 201);
    // The newest place for a snapshot among all that was to be applied, and no other.
    assert_eq!(replica.consensus().stored().log.snapshot_index(), Index(192));
}

/// A follower that gets more in each round than it would apply falls behind no further than that.
#[test]
fn of_very_many_a_part_is_applied_in_each_round() {
    let world = with_writes(2000);
    let (mut replica, now) = restarted(&world);
    let mut stored = 0;
    replica.handle_timeout(now);
    round(&mut replica, now, &mut stored);
    let mut behind = replica.consensus().commit().0 - replica.applied().0;
    assert!(behind > 1900, "{behind}");
    while behind > 0 {
        let before = replica.applied().0;
        replica.handle_timeout(now);
        round(&mut replica, now, &mut stored);
        let done = replica.applied().0 - before;
        assert_eq!(done, AT_ONCE.max(behind / 16).min(behind));
        behind -= done;
    }
}

/// R32: timers of sessions begin once it is known which are live.
#[test]
fn a_leader_is_settled_once_all_is_applied() {
    let world = with_writes(100);
    let (mut replica, mut now) = restarted(&world);
    let mut stored = 0;
    replica.handle_timeout(now);
    round(&mut replica, now, &mut stored);
    assert!(replica.consensus().is_settled() && replica.live_sessions() == 1);
    // It takes longer than a session outlives its link.
    for _ in 0..20 {
        now = now + Duration::from_secs(1);
        replica.handle_timeout(now);
        round(&mut replica, now, &mut stored);
        let deadline = replica.leading.as_ref().unwrap().next_deadline().unwrap();
        if replica.applied() == replica.consensus().commit() {
            assert_eq!(deadline, now + Duration::from_millis(GRACE));
            assert_eq!(replica.live_sessions(), 1);
            return;
        }
        assert!(deadline < now + Duration::from_millis(GRACE));
    }
    panic!("it is still behind");
}

#[test]
fn what_was_committed_before_the_end_is_applied_before_it() {
    let world = with_writes(100);
    let (mut replica, now) = restarted(&world);
    let mut stored = 0;
    replica.handle_timeout(now);
    round(&mut replica, now, &mut stored);
    assert!(replica.applied() < replica.consensus().commit());
    replica.handle(now, Input::Shutdown);
    let outputs = round(&mut replica, now, &mut stored);
    assert!(matches!(outputs.last(), Some(Output::Stop(consensus::StopReason::Shutdown))));
    assert_eq!(replica.applied(), replica.consensus().commit());
    assert_eq!(replica.poll_timeout(), None);
}
