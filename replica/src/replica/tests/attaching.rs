//! Links and the sessions they get: reports, snapshots, refusals and expiry (R29–R33).

use rollcall_shared::id::{RequestId, SessionNumber};
use rollcall_shared::time::Instant;

use super::{GRACE, UNHEARD, connect, online, open, poll, sequence, tell_only, told};
use crate::command::Generation;
use crate::consensus::message::Message;
use crate::sessions::attached::Attached;
use crate::sessions::message::{Session, SessionBody, SessionMessage};
use crate::world::World;
use crate::{Input, LinkId, NoSession, Output};

/// More than one message reports.
const MANY: usize = 2_500;

/// Server 1 gets this answer for a link, whatever it asked.
fn answer(world: &mut World, link: LinkId, session: Result<Session, NoSession>) {
    let epoch = world.core(1).epoch();
    let body = SessionBody::Attached { link, session };
    world.forge(3, 1, Message::Session(SessionMessage { epoch, body }));
}

#[test]
fn many_links_are_reported_in_many_messages() {
    let mut world = World::started(3);
    let links: Vec<_> = (0..MANY).map(|client| world.link(1, &format!("c{client}"))).collect();
    for link in &links {
        tell_only(&mut world, 1, Input::Open { link: *link, request: RequestId(1) });
    }
    world.settle();
    world.pass(100);
    for (client, link) in links.iter().enumerate() {
        connect(&mut world, 1, *link, 2, &format!("user{client}"));
    }
    world.record = Some(Vec::new());
    world.crash(3);
    world.pass(300);
    let attach = |message: &Message| match message {
        Message::Session(SessionMessage { body: SessionBody::Attach(links), .. }) => {
            Some(links.len())
        }
        _ => None,
    };
    let reports = world.record.take().unwrap();
    let sizes: Vec<_> = reports.iter().filter_map(|frame| attach(&frame.message)).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    // All of them were heard.
    world.pass(2 * GRACE);
    assert_eq!(online(&world, 2), MANY);
}

#[test]
fn a_snapshot_tells_which_links_keep_a_session_alive() {
    let mut world = World::started(3);
    let used = world.link(3, "used");
    sequence(&mut world, 3, used, 1);
    world.crash(1);
    let away = world.link(2, "c");
    connect(&mut world, 2, away, 1, "ann");
    for request in 2..60 {
        sequence(&mut world, 3, used, request);
        world.pass(5);
    }
    // A link that never asks, at a server that does not know the session yet.
    world.cut(&[1], &[2, 3]);
    world.start(1);
    world.link(1, "c");
    world.heal();
    world.pass(500);
    assert!(world.outputs(1).iter().any(|output| matches!(output, Output::Installed { .. })));
    world.tell(2, Input::Unlinked { link: away });
    world.pass(GRACE + UNHEARD + 500);
    assert_eq!(online(&world, 3), 1);
}

#[test]
fn a_snapshot_ends_the_links_of_sessions_it_does_not_have() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    connect(&mut world, 1, link, 1, "ann");
    let used = world.link(3, "used");
    sequence(&mut world, 3, used, 1);
    world.pass(50);
    told(&mut world, 1, link);
    world.cut(&[1], &[2, 3]);
    world.pass(GRACE + UNHEARD + 500);
    assert_eq!(online(&world, 3), 0);
    for request in 2..60 {
        sequence(&mut world, 3, used, request);
        world.pass(5);
    }
    let ahead = world.link(1, "d");
    world.outputs(1);
    let snapshot = world.core(3).stored().log.snapshot().cloned().unwrap();
    let replica = world.server(1).replica.as_mut().unwrap();
    // One that the leader opened after the snapshot.
    let (generation, number) = (Generation(1_000), SessionNumber(1_000));
    replica.handle_attached(ahead, Ok(Session { generation, number, next_id: RequestId(1) }));
    replica.install(&snapshot);
    poll(&mut world, 1);
    assert_eq!(told(&mut world, 1, link), ["ended"]);
    assert_eq!(told(&mut world, 1, ahead), [""; 0]);
}

#[test]
fn a_link_that_loses_its_session_to_another_principal_is_ended() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    open(&mut world, 1, link, 1);
    told(&mut world, 1, link);
    tell_only(&mut world, 1, Input::Open { link, request: RequestId(2) });
    answer(&mut world, link, Err(NoSession::Forbidden));
    assert_eq!(told(&mut world, 1, link)[..2], ["NoSession(Forbidden)", "ended"]);
}

#[test]
fn a_link_that_gets_no_session_stays() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    tell_only(&mut world, 1, Input::Open { link, request: RequestId(1) });
    answer(&mut world, link, Err(NoSession::Forbidden));
    assert_eq!(told(&mut world, 1, link)[..1], ["NoSession(Forbidden)"]);
}

#[test]
fn the_next_number_is_above_all_that_was_applied_here() {
    let mut world = World::started(3);
    let (link, other) = (world.link(1, "c"), world.link(2, "c"));
    sequence(&mut world, 2, other, 7);
    world.pass(50);
    let generation = world.replica(1).directory().live_session(&"c".parse().unwrap()).unwrap().0;
    tell_only(&mut world, 1, Input::Open { link, request: RequestId(8) });
    let number = SessionNumber(0);
    answer(&mut world, link, Ok(Session { generation, number, next_id: RequestId(1) }));
    let next = |output: &Output| match output {
        Output::Opened { next_id, .. } => Some(*next_id),
        _ => None,
    };
    assert_eq!(world.outputs(1).iter().find_map(next), Some(RequestId(8)));
}

#[test]
fn an_answer_ahead_of_what_is_applied_stands() {
    let mut world = World::started(3);
    let link = world.link(1, "c");
    tell_only(&mut world, 1, Input::Open { link, request: RequestId(1) });
    let (generation, number) = (Generation(1_000), SessionNumber(1_000));
    answer(&mut world, link, Ok(Session { generation, number, next_id: RequestId(5) }));
    let next = |output: &Output| match output {
        Output::Opened { next_id, .. } => Some(*next_id),
        _ => None,
    };
    assert_eq!(world.outputs(1).iter().find_map(next), Some(RequestId(5)));
}

#[test]
fn many_sessions_do_not_end_all_at_once() {
    let mut world = World::started(1);
    let links: Vec<_> = (0..MANY).map(|client| world.link(1, &format!("c{client}"))).collect();
    for link in &links {
        open(&mut world, 1, *link, 1);
    }
    world.pass(2_000);
    for link in links {
        world.tell(1, Input::Unlinked { link });
    }
    let mut ended = Vec::new();
    let end = world.now.as_micros() + 2 * GRACE * 1_000;
    while let Some(at) = world.replica(1).poll_timeout().filter(|at| at.as_micros() < end) {
        assert!(at > world.now || ended.is_empty(), "a loop that needs no time");
        let before = world.core(1).last();
        world.now = at;
        world.server(1).replica.as_mut().unwrap().handle_timeout(at);
        ended.push(world.core(1).last().0 - before.0);
        world.settle();
    }
    ended.retain(|count| *count > 0);
    assert_eq!(ended, [1000, 1000, 500]);
    assert_eq!(world.replica(1).live_sessions(), 0);
}

#[test]
fn a_leader_without_its_lease_ends_no_session_and_comes_back_to_it() {
    let mut world = World::started(3);
    let link = world.link(3, "c");
    connect(&mut world, 3, link, 1, "ann");
    world.pass(UNHEARD + 100);
    world.tell(3, Input::Unlinked { link });
    world.pass(GRACE - 200);
    let (last, timer) = (world.core(3).last(), timer(&world));
    // For a while nothing arrives.
    for _ in 0..10 {
        world.now = world.replica(3).poll_timeout().unwrap();
        let now = world.now;
        world.server(3).replica.as_mut().unwrap().handle_timeout(now);
        poll(&mut world, 3);
        assert!(world.replica(3).poll_timeout().unwrap() > now, "a loop that needs no time");
    }
    assert!(timer.is_some_and(|at| at < world.now));
    assert_eq!(self::timer(&world), timer);
    assert_eq!(world.core(3).last(), last);
    world.settle();
    world.pass(100);
    assert_eq!(online(&world, 3), 0);
}

fn timer(world: &World) -> Option<Instant> {
    world.replica(3).leading.as_ref().and_then(Attached::next_deadline)
}
