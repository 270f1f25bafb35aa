//! Leaders and candidates (R2, R11, R18, R28).

use std::collections::BTreeSet;

use super::*;
use crate::consensus::message::Promise;
use crate::directory::Directory;

/// A follower that lacks what the leader has forgotten is told so once, not with every
/// acknowledgement that was on its way.
#[test]
fn a_follower_far_behind_is_greeted_once() {
    let mut leader = Scripted::leader();
    while leader.core.last().0 < 70_000 {
        for _ in 0..1_000 {
            leader.write();
        }
        leader.hear(2, ack(leader.core.last().0));
    }
    let commit = leader.core.commit();
    assert_eq!(commit, leader.core.last(), "no lease was given that a write would wait for");
    leader.said();
    let directory = Directory::new(Revision(1), Bounds::default());
    leader.core.compact(leader.now, commit, directory);
    leader.drain();
    for _ in 0..5 {
        leader.hear(1, ack(2));
    }
    assert_eq!(leader.said_to(1, |m| matches!(m, Message::NewEpoch { .. })), 1);
}

fn beats(leader: &mut Scripted, peers: &[u32]) {
    leader.pass(25);
    for &peer in peers {
        let (echo, sent) = (leader.now, leader.now);
        leader.hear(peer, Message::HeartbeatAck { epoch: Epoch(0), echo, sent });
    }
}

/// R18: who held no write up is given a lease again as soon as it is there again.
#[test]
fn only_who_made_a_write_wait_to_the_end_is_penalised() {
    for waited in [false, true] {
        let mut leader = Scripted::leader();
        for _ in 0..4 {
            beats(&mut leader, &[1, 2]);
        }
        leader.write();
        leader.hear(2, ack(3));
        assert_eq!(leader.core.commit(), Index(2), "server 1 may answer reads, and lacks it");
        if !waited {
            leader.hear(1, ack(3));
            assert_eq!(leader.core.commit(), Index(3));
        }
        // The lease of the link that ends now runs on.
        leader.link(1);
        leader.hear(1, ack(3));
        for _ in 0..6 {
            beats(&mut leader, &[1, 2]);
        }
        leader.write();
        for peer in [1, 2] {
            leader.hear(peer, ack(4));
        }
        assert_eq!(leader.core.commit(), Index(4));
        leader.said();
        leader.pass(25);
        let granted = |m: &Message| matches!(m, Message::Heartbeat(h) if !h.grant.is_zero());
        assert_eq!(leader.said_to(1, granted) > 0, !waited);
    }
}

/// R28: a server that was replaced does not lead, even if it is the only one that could be best.
#[test]
fn who_was_replaced_does_not_lead() {
    let mut old = Scripted::voter(1, 3, 3);
    old.hear(3, append(0, 5, vec![admit(0, 1, Boot(99))], 4));
    assert!(old.core.campaign(old.now, Epoch(2)));
    old.drain();
    for peer in [2, 3] {
        let promise = Promise {
            epoch: Epoch(2),
            established: Epoch(0),
            pending: BTreeSet::from([Epoch(2)]),
            last: Index(4),
            commit: Index(4),
            admissions: crate::consensus::admissions::Admissions::default(),
            hold: Duration::ZERO,
        };
        old.hear(peer, Message::Promise(promise));
    }
    old.hear(3, part(2, 5, vec![], 4));
    assert_ne!(old.core.role(), RoleKind::Leader);
}
