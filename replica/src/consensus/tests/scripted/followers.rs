//! Followers and servers without a vote (R1, R3, R11, R19, R26–R28).

use super::*;
use crate::consensus::message::Opinion;

/// A server of three that lost its disk and holds the log up to entry 8, of which 5 are committed.
fn blank_of_three() -> Scripted {
    let mut blank = Scripted::new(1, 3, Boot(99));
    blank.link(3);
    blank.hear(3, new_epoch(0, 8, &[(0, 1)]));
    let log = std::iter::once(init(3)).chain((1..=7).map(|n| write(0, n))).collect();
    blank.hear(3, part(0, 1, log, 8));
    blank.take_closed();
    blank.link(3);
    blank.hear(3, new_epoch(0, 8, &[(0, 1)]));
    blank.hear(3, heartbeat(0, 5));
    assert_eq!(blank.core.role(), RoleKind::Blank);
    blank
}

#[test]
fn an_admission_that_is_not_committed_yet_replaces_nobody() {
    let mut blank = blank_of_three();
    blank.hear(3, append(0, 9, vec![admit(0, 1, Boot(99))], 6));
    assert_eq!(blank.stopped, None, "entry 9 admits this very server");
    blank.hear(3, append(0, 10, vec![], 9));
    assert_eq!(blank.core.role(), RoleKind::Follower);
}

#[test]
fn who_was_replaced_by_a_committed_admission_stops() {
    let mut old = Scripted::voter(1, 3, 3);
    old.hear(3, heartbeat(0, 4));
    old.hear(3, append(0, 5, vec![admit(0, 1, Boot(99))], 4));
    assert_eq!(old.stopped, None);
    old.hear(3, append(0, 6, vec![], 5));
    assert_eq!(old.stopped, Some(StopReason::Superseded));
    old.hear(3, heartbeat(0, 5));
}

/// A blank server promises nothing, but once it heard of a leader it obeys no earlier one.
#[test]
fn a_blank_server_obeys_the_newest_leader_only() {
    let mut blank = Scripted::new(1, 5, Boot(99));
    for peer in [5, 4] {
        blank.link(peer);
    }
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(5, part(0, 1, vec![init(5), write(0, 1)], 2));
    blank.take_closed();
    for peer in [5, 4] {
        blank.link(peer);
    }
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(4, new_epoch(1, 4, &[(0, 1), (1, 3)]));
    blank.hear(4, part(1, 3, vec![write(1, 2)], 4));
    blank.said();
    // The old leader was not heard to be replaced yet; what it commits now is not for this server.
    blank.hear(5, append(0, 3, vec![write(0, 3), write(0, 4)], 4));
    assert_eq!(blank.said_to(5, |m| matches!(m, Message::Nack { .. })), 1);
    blank.hear(5, new_epoch(0, 2, &[(0, 1)]));
    blank.hear(4, part(1, 4, vec![write(1, 5)], 4));
    assert_eq!(blank.core.last(), Index(4));
    assert_eq!(blank.core.stored().established, Epoch(1));
    assert_eq!(blank.take_closed(), []);
}

/// The leader says only once on a link what its log is, and answers each question once: a copy goes
/// on while the leader is suspected for a moment, whether it is of a new epoch or of this one.
#[test]
fn a_copy_goes_on_though_the_leader_is_suspected() {
    for epoch in [0, 1] {
        let mut follower = Scripted::voter(1, 3, 2);
        let leader = if epoch == 0 { 3 } else { 2 };
        let base = if epoch == 0 { 4 } else { 0 };
        let runs = [(Epoch(epoch), Index(base + 1))];
        let last = Index(6);
        let outline = Outline { base: (Index(base), Epoch(0)), runs: runs.to_vec(), last };
        let new_epoch = Message::NewEpoch { epoch: Epoch(epoch), init: last, outline };
        if epoch == 0 {
            follower.link(leader);
        }
        follower.hear(leader, new_epoch);
        assert_eq!(follower.said_to(leader, |m| matches!(m, Message::Fetch { .. })), 1);
        follower.pass(380);
        for peer in [2, 3] {
            follower.hear(peer, Message::Alive);
        }
        follower.pass(80);
        assert_eq!(follower.core.role(), RoleKind::Candidate, "it proposes an election");
        follower.said();
        follower.hear(leader, heartbeat(epoch, 3));
        let hurried = |m: &Message| matches!(m, Message::Fetch { .. } | Message::Ack { .. });
        assert_eq!(follower.said_to(leader, hurried), 0, "what was asked for is on its way");
        let rest = (3..6).map(|number| write(epoch, number)).collect();
        follower.hear(leader, part(epoch, 4, rest, 6));
        assert_eq!(follower.said_to(leader, |m| matches!(m, Message::Ack { .. })), 1);
        assert_eq!(follower.core.last(), last);
        assert_eq!(follower.take_closed(), []);
    }
}

#[test]
fn a_question_for_a_read_point_is_asked_of_the_next_leader() {
    let mut follower = Scripted::voter(1, 3, 2);
    follower.hear(3, heartbeat(0, 3));
    follower.core.read(follower.now, ReadId(7));
    follower.drain();
    assert_eq!(follower.said_to(3, |m| matches!(m, Message::Read { .. })), 1);
    follower.hear(2, new_epoch(1, 3, &[(0, 1)]));
    follower.hear(2, heartbeat(1, 3));
    let asked = follower.said();
    let asked = asked.iter().find_map(|(to, message)| match message {
        Message::Read { read } if *to == 2 => Some(*read),
        _ => None,
    });
    let read = asked.expect("the new leader is asked");
    follower.hear(2, Message::ReadPoint { read, epoch: Epoch(1), point: Index(3) });
    assert_eq!(follower.read, [ReadId(7)]);
}

#[test]
fn a_log_begins_with_init() {
    let mut blank = Scripted::new(1, 3, first_boot(1));
    blank.link(3);
    blank.hear(3, new_epoch(0, 1, &[(0, 1)]));
    blank.hear(3, part(0, 1, vec![write(0, 1)], 1));
    assert_eq!(blank.take_closed().len(), 1, "what does not begin with INIT is no log");
    blank.link(3);
    blank.hear(3, Message::Init { entry: init(3) });
    assert_eq!(blank.core.last(), Index(1));
}

#[test]
fn a_heartbeat_that_cannot_be_leaves_the_election_as_it_was() {
    let mut follower = Scripted::voter(1, 3, 1);
    let echo = Some(follower.now + Duration::from_secs(9));
    let (epoch, commit, grant) = (Epoch(1), Index(2), Duration::ZERO);
    let sent = follower.now;
    follower.hear(2, Message::Heartbeat(Heartbeat { epoch, commit, sent, echo, grant }));
    assert_eq!(follower.core.epoch(), Epoch(0), "nothing was promised");
    assert_eq!(follower.take_closed().len(), 1);
}

#[test]
fn a_candidate_that_asks_again_ends_a_rival_proposal() {
    let mut follower = Scripted::voter(1, 3, 1);
    follower.hear(2, Message::Prepare { epoch: Epoch(1) });
    assert_eq!(follower.said_to(2, |m| matches!(m, Message::Promise(_))), 1);
    follower.pass(390);
    for peer in [2, 3] {
        follower.hear(peer, Message::Alive);
    }
    follower.pass(60);
    let proposed = follower.said();
    let round = proposed.iter().rev().find_map(|(_, message)| match message {
        Message::Propose { round } => Some(*round),
        _ => None,
    });
    let round = round.expect("it proposes");
    follower.hear(2, Message::Prepare { epoch: Epoch(1) });
    let opinion = Opinion {
        round,
        agrees: true,
        promised: Epoch(1),
        established: Epoch(0),
        pending: [Epoch(1)].into(),
        commit: Index(1),
        snapshot: Index(0),
    };
    follower.hear(3, Message::Opinion(opinion));
    follower.pass(30);
    assert_eq!(follower.core.epoch(), Epoch(1), "the candidate is at work");
    assert_eq!(
        follower.said_to(3, |m| matches!(m, Message::Elect { .. } | Message::Prepare { .. })),
        0
    );
}
