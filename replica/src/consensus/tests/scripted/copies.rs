//! Snapshots that are copied, and copies that are broken off (R10, R11).

use super::*;
use crate::command::Principal;
use crate::consensus::message::Position;
use crate::directory::Directory;
use crate::directory::snapshot::Cursor;

/// A snapshot of that many clients, none of which has done anything.
fn clients(count: u64) -> Directory {
    let mut directory = Directory::new(Revision(1), Bounds::default());
    for index in 1..=count {
        let client = format!("client-{index:04}").parse().unwrap();
        let principal = Principal::Client("somebody".parse().unwrap());
        let open = Command::Open { client, principal };
        directory.apply(Index(index), open, &mut Vec::new());
    }
    directory
}

/// The leader of epoch 0, which has taken a snapshot of so many clients and holds one entry more.
fn leader_with(count: u64) -> Scripted {
    let mut leader = Scripted::leader();
    grow(&mut leader, count);
    take_snapshot(&mut leader, count);
    grow(&mut leader, count + 1);
    leader
}

/// Entries up to that one, committed without server 1.
fn grow(leader: &mut Scripted, last: u64) {
    while leader.core.last() < Index(last) {
        leader.write();
        if leader.core.last().0.is_multiple_of(10_000) {
            leader.hear(2, ack(leader.core.last().0));
        }
    }
    leader.hear(2, ack(last));
    leader.said();
    assert_eq!(leader.core.commit(), Index(last));
}

fn take_snapshot(leader: &mut Scripted, index: u64) {
    leader.core.compact(leader.now, Index(index), clients(index));
    leader.drain();
}

/// Server 1, which lost its disk.
fn empty() -> Scripted {
    Scripted::new(1, 3, Boot(99))
}

/// A new link between both.
fn relink(leader: &mut Scripted, follower: &mut Scripted) {
    follower.take_closed();
    follower.said();
    leader.said();
    follower.link(3);
    leader.link(1);
}

/// Carries what is copied until `most` pieces of a snapshot have come; how many did.
fn carry(leader: &mut Scripted, follower: &mut Scripted, most: usize) -> usize {
    let mut pieces = 0;
    while pieces < most {
        let (said, asked) = (leader.said(), follower.said());
        let is_of_copy = |m: &Message| {
            matches!(m, Message::NewEpoch { .. } | Message::Part { .. } | Message::Fetch { .. })
        };
        let to = |said: Vec<(u32, Message)>, peer: u32| {
            said.into_iter().filter(move |(to, message)| *to == peer && is_of_copy(message))
        };
        let (mut moved, mut fetched) = (false, Vec::new());
        for (_, message) in to(said, 1) {
            let piece = matches!(message, Message::Part { part: Part::Snapshot { .. }, .. });
            pieces += usize::from(piece);
            moved = true;
            follower.hear(3, message);
            fetched.append(&mut follower.said());
        }
        for (_, message) in to(asked, 3).chain(to(fetched, 3)) {
            moved = true;
            leader.hear(1, message);
        }
        if !moved {
            break;
        }
    }
    pieces
}

/// How many pieces a copy from this leader has that nothing disturbs.
fn pieces_of(mut leader: Scripted) -> usize {
    let mut follower = empty();
    relink(&mut leader, &mut follower);
    let pieces = carry(&mut leader, &mut follower, usize::MAX);
    assert_eq!(follower.core.last(), leader.core.last());
    assert_eq!(follower.core.copies_gone_on_with(), 0);
    pieces
}

/// A follower of which the link broke when it had so many pieces.
fn broken_after(pieces: usize) -> (Scripted, Scripted) {
    let (mut leader, mut follower) = (leader_with(50), empty());
    relink(&mut leader, &mut follower);
    assert_eq!(carry(&mut leader, &mut follower, pieces), pieces);
    (leader, follower)
}

#[test]
fn a_copy_goes_on_where_the_link_broke() {
    let all = pieces_of(leader_with(50));
    assert!(all > 10, "there are {all} pieces");
    // With the last piece the snapshot is whole, but for the entries after it.
    for before in [1, all / 2, all - 1, all] {
        let (mut leader, mut follower) = broken_after(before);
        relink(&mut leader, &mut follower);
        let after = carry(&mut leader, &mut follower, usize::MAX);
        assert_eq!(before + after, all + 1, "one piece says which snapshot it is");
        assert_eq!(follower.core.last(), leader.core.last());
        assert_eq!(follower.core.copies_gone_on_with(), 1);
        assert_eq!(follower.core.copies.aside.held(), None);
        let taken = follower.core.stored().log.snapshot().unwrap();
        assert_eq!(taken.directory, clients(50));
        assert_eq!(follower.take_closed(), [3].map(|peer| (peer, CloseReason::Joined)));
    }
}

#[test]
fn a_copy_goes_on_from_link_to_link() {
    let all = pieces_of(leader_with(50));
    let (mut leader, mut follower, mut pieces) = (leader_with(50), empty(), 0);
    for _ in 0..all {
        relink(&mut leader, &mut follower);
        pieces += carry(&mut leader, &mut follower, 3);
    }
    assert_eq!(follower.core.last(), leader.core.last());
    assert!(pieces <= all + all / 2 + 1, "of three pieces one is the first again, not {pieces}");
}

/// The snapshots of two servers are the same one where they are of one index.
#[test]
fn a_copy_goes_on_from_another_server() {
    let all = pieces_of(leader_with(50));
    let (_, mut follower) = broken_after(all / 2);
    let mut other = leader_with(50);
    relink(&mut other, &mut follower);
    assert_eq!(all / 2 + carry(&mut other, &mut follower, usize::MAX), all + 1);
    assert_eq!(follower.core.copies_gone_on_with(), 1);
}

#[test]
fn a_copy_of_another_snapshot_begins_anew() {
    let (_, mut follower) = broken_after(5);
    let mut other = leader_with(51);
    relink(&mut other, &mut follower);
    assert_eq!(carry(&mut other, &mut follower, usize::MAX), pieces_of(leader_with(51)));
    assert_eq!(follower.core.last(), Index(52));
    assert_eq!(follower.core.copies_gone_on_with(), 0);
    assert_eq!(follower.core.stored().log.snapshot().unwrap().directory, clients(51));
}

/// Whose admissions differ is another snapshot, even if all else is the same.
#[test]
fn the_whole_name_of_a_snapshot_counts() {
    let (_, mut follower) = broken_after(5);
    follower.link(3);
    follower.hear(3, new_epoch(0, 51, &[(0, 1)]));
    follower.said();
    let piece = clients(50).piece(&Cursor::start(), PIECE_BYTES);
    let (index, epoch, admissions) = (Index(50), Epoch(0), Default::default());
    let part = Part::Snapshot { index, epoch, cluster: CLUSTER, admissions, piece };
    follower.hear(3, Message::Part { epoch, part });
    assert_eq!(follower.core.copies_gone_on_with(), 0);
    let asked = |m: &Message| matches!(m, Message::Fetch { from: Position::Snapshot(..), .. });
    assert_eq!(follower.said_to(3, asked), 1, "it goes on after the first piece");
}

#[test]
fn nothing_is_kept_of_a_copy_with_a_piece_that_does_not_fit() {
    let (mut leader, mut follower) = broken_after(5);
    let piece = clients(50).piece(&Cursor::start(), PIECE_BYTES);
    let newest = leader.core.stored().log.snapshot().unwrap();
    let (index, epoch, admissions) = (newest.index, newest.epoch, newest.admissions.clone());
    let part = Part::Snapshot { index, epoch, cluster: CLUSTER, admissions, piece };
    follower.hear(3, Message::Part { epoch, part });
    assert_eq!(follower.take_closed().len(), 1);
    assert_eq!(follower.core.copies.aside.held(), None);
    relink(&mut leader, &mut follower);
    assert_eq!(carry(&mut leader, &mut follower, usize::MAX), pieces_of(leader_with(50)));
}

#[test]
fn nothing_is_kept_once_there_is_a_log() {
    let (_, mut follower) = broken_after(5);
    follower.link(3);
    assert_eq!(follower.core.copies.aside.held(), Some(Index(50)));
    follower.hear(3, new_epoch(0, 2, &[(0, 1)]));
    assert_eq!(
        follower.core.copies.aside.held(),
        Some(Index(50)),
        "it is not known yet what will come"
    );
    follower.hear(3, part(0, 1, vec![init(3), write(0, 1)], 2));
    assert_eq!(follower.core.copies.aside.held(), None);
    assert_eq!(follower.core.last(), Index(2));
}

#[test]
fn a_copy_is_broken_off_by_a_new_epoch_and_goes_on_in_it() {
    let all = pieces_of(leader_with(50));
    let (leader, mut follower) = broken_after(5);
    follower.link(2);
    let (init, epoch) = (Index(51), Epoch(1));
    let outline = Outline { base: (Index(50), Epoch(0)), runs: vec![(Epoch(0), init)], last: init };
    follower.hear(2, Message::NewEpoch { epoch, init, outline });
    follower.said();
    let snapshot = leader.core.stored().log.snapshot().unwrap();
    let mut cursor = Some(Cursor::start());
    let mut pieces = 0;
    while let Some(at) = cursor.take() {
        pieces += 1;
        let part = Part::Snapshot {
            index: snapshot.index,
            epoch: snapshot.epoch,
            cluster: snapshot.cluster,
            admissions: snapshot.admissions.clone(),
            piece: snapshot.directory.piece(&at, PIECE_BYTES),
        };
        follower.hear(2, Message::Part { epoch, part });
        cursor = follower.said().into_iter().find_map(|(_, message)| match message {
            Message::Fetch { from: Position::Snapshot(_, cursor), .. } => Some(cursor),
            _ => None,
        });
    }
    assert_eq!(5 + pieces, all + 1);
    follower.hear(2, part(1, 51, vec![write(0, 51)], 51));
    assert_eq!(follower.core.stored().established, Epoch(1));
    assert_eq!(follower.core.last(), Index(51));
}

/// R11: what was being copied is offered again, and not for ever.
#[test]
fn a_broken_copy_is_waited_for_but_not_for_ever() {
    let (mut leader, mut follower) = broken_after(5);
    let held = |leader: &Scripted| leader.core.copies.offers.to(NodeId(1));
    leader.lose(1);
    for last in [1_000, 2_000] {
        grow(&mut leader, last);
        take_snapshot(&mut leader, last);
        assert_eq!((held(&leader), leader.core.stored().log.first()), (Some(Index(50)), Index(51)));
    }
    relink(&mut leader, &mut follower);
    let pieces = carry(&mut leader, &mut follower, 3);
    assert_eq!((pieces, follower.core.copies_gone_on_with()), (3, 1));
    leader.lose(1);
    // What had come till then, what comes for its sake, and one more.
    let last = 2_000 + 65_536 + 1;
    grow(&mut leader, last);
    take_snapshot(&mut leader, last);
    assert_eq!((held(&leader), leader.core.stored().log.first()), (None, Index(last + 1)));
    relink(&mut leader, &mut follower);
    carry(&mut leader, &mut follower, 1);
    assert_eq!(held(&leader), Some(Index(last)));
    assert_eq!(follower.core.copies_gone_on_with(), 1, "that is another snapshot");
}

/// R11: nothing is kept for a copy of an epoch that is over, though it is offered while it can be.
#[test]
fn a_snapshot_is_held_for_copies_of_this_epoch_only() {
    let (mut leader, _) = broken_after(5);
    leader.hear(2, Message::Prepare { epoch: Epoch(1) });
    assert_eq!(leader.core.copies.offers.to(NodeId(1)), Some(Index(50)));
    assert_eq!(leader.core.first_needed(Index(51)), Index(52), "nobody makes it keep anything");
    leader.core.compact(leader.now, Index(51), clients(51));
    assert_eq!(leader.core.copies.offers.to(NodeId(1)), None);
}

#[test]
fn who_has_the_log_is_offered_nothing() {
    let (mut leader, _) = broken_after(5);
    leader.hear(1, ack(51));
    assert_eq!(leader.core.copies.offers.to(NodeId(1)), None);
}
