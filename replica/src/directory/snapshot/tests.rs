//! Tests of snapshots: what is cut into pieces is put together as it was, and what does not fit
//! together is refused.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use rollcall_shared::message::RequestKind;

use super::*;
use crate::command::{Command, Refusal};
use crate::directory::tests::apply;
use crate::directory::tests::model::any_commands;
use crate::directory::{Bounds, Effect, Outcome};
use crate::transcript;

fn state(commands: &[Command]) -> Directory {
    let mut directory = Directory::new(Revision(1000), Bounds::default());
    run(&mut directory, commands);
    directory
}

fn run(directory: &mut Directory, commands: &[Command]) -> Vec<(Outcome, Vec<Effect>)> {
    let apply = |command: &Command| {
        let mut effects = Vec::new();
        (apply(directory, command.clone(), &mut effects), effects)
    };
    commands.iter().map(apply).collect()
}

/// All pieces of a state, each as it would arrive.
fn cut(directory: &Directory, max_bytes: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut from = Some(Cursor::start());
    while let Some(cursor) = from {
        let piece = directory.piece(&cursor, max_bytes);
        let bytes = postcard::to_allocvec(&piece).unwrap();
        assert!(
            !piece.items.is_empty() && piece.next.as_ref() > Some(&cursor) || piece.next.is_none()
        );
        assert!(bytes.len() <= max_bytes || piece.items.len() == 1, "{} bytes", bytes.len());
        from = piece.next.clone();
        pieces.push(postcard::from_bytes(&bytes).unwrap());
    }
    pieces
}

fn build(pieces: Vec<Piece>) -> Result<Directory, BadPiece> {
    let mut builder = Builder::default();
    for piece in pieces {
        builder.push(piece)?;
    }
    builder.finish()
}

fn hash(directory: &Directory) -> u64 {
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn what_was_cut_is_whole_again(
        commands in any_commands(),
        at in any::<prop::sample::Index>(),
        max_bytes in 0_usize..4000,
    ) {
        let (before, after) = commands.split_at(at.index(commands.len()));
        let mut directory = state(before);
        let mut again = build(cut(&directory, max_bytes)).unwrap();
        prop_assert_eq!(&again, &directory);
        prop_assert_eq!(hash(&again), hash(&directory));
        prop_assert_eq!(run(&mut again, after), run(&mut directory, after));
        prop_assert_eq!(&again, &directory);
    }

    #[test]
    fn a_cursor_of_another_state_goes_on_at_the_next_item(
        one in any_commands(),
        other in any_commands(),
    ) {
        let (one, other) = (state(&one), state(&other));
        let all = other.piece(&Cursor::start(), usize::MAX).items;
        for cursor in cut(&one, 0).into_iter().filter_map(|piece| piece.next) {
            let rest = all.iter().filter(|item| item.place() > cursor.0).cloned();
            prop_assert_eq!(other.piece(&cursor, usize::MAX).items, rest.collect::<Vec<_>>());
        }
        prop_assert_eq!(other.piece(&Cursor(Place::End), usize::MAX).items, []);
    }

    #[test]
    fn bytes_that_are_no_piece_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((piece, _)) = postcard::take_from_bytes::<Piece>(&bytes) {
            let mut builder = Builder::default();
            // Such a piece is taken for the one that is due.
            builder.next = piece.from.clone();
            let _ = builder.push(piece);
        }
    }

    /// Some bytes of a state are others: what is taken all the same is a state like any.
    #[test]
    fn a_damaged_state_is_refused_or_lives_on(
        commands in any_commands(),
        after in any_commands(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..4), 1..4),
    ) {
        let mut bytes = postcard::to_allocvec(&cut(&state(&commands), usize::MAX)).unwrap();
        // Small numbers stay small and letters letters, so that the bytes can mostly be read.
        for (at, by) in damage {
            let at = at.index(bytes.len());
            bytes[at] = bytes[at].wrapping_add(by);
        }
        let pieces = postcard::from_bytes::<Vec<Piece>>(&bytes);
        if let Some(Ok(mut directory)) = pieces.ok().map(build) {
            prop_assert_eq!(&build(cut(&directory, 0)).unwrap(), &directory);
            run(&mut directory, &after);
            prop_assert_eq!(&build(cut(&directory, 0)).unwrap(), &directory);
        }
    }
}

#[test]
fn the_largest_items_are_no_larger_than_said() {
    let username: Username = "u".repeat(128).parse().unwrap();
    let device: Device = "d".repeat(64).parse().unwrap();
    let client: ClientId = "c".repeat(64).parse().unwrap();
    let revision = Revision(u64::MAX);
    let names = || (username.clone(), device.clone());
    let connected = || {
        let (username, device) = names();
        Applied::Connected { username, device, revision }
    };
    let refused =
        Applied::Refused { kind: RequestKind::ConnectUser, refusal: Refusal::UsernameTaken };
    let numbers = Applied::Numbers { first: u64::MAX, count: u32::MAX };
    let session = |result: &Applied| SessionItem {
        client: client.clone(),
        principal: Principal::Subject("s".repeat(128).parse().unwrap()),
        generation: Generation(u64::MAX),
        ended_at: Some(Index(u64::MAX)),
        dropped: RequestId(u64::MAX),
        results: vec![(RequestId(u64::MAX), result.clone()); 64],
    };
    let applied = Index(u64::MAX);
    let counters = CountersItem {
        first: revision,
        revision,
        applied,
        next_number: u64::MAX,
        earlier: u64::MAX,
        bounds: Bounds { registrations: usize::MAX, sessions: usize::MAX },
    };
    let ((username, device), holder) = (names(), client.clone());
    let meta = Some(Meta::new(&format!(r#"{{"m":"{}"}}"#, "x".repeat(1016))).unwrap());
    let (ip, port) = (IpAddr::from([0xff; 16]), u16::MAX);
    let registration = RegistrationItem { username, device, ip, port, meta, revision, holder };
    let sessions = [connected(), refused, numbers].map(|result| Item::Session(session(&result)));
    let others = [Item::Counters(counters), Item::Registration(registration)];
    for item in sessions.into_iter().chain(others) {
        let bytes = postcard::to_allocvec(&item).unwrap().len();
        let said = item.bytes();
        assert!((bytes..bytes + 6 * 64).contains(&said), "{bytes} are said to be {said}");
    }
    let (username, device) = names();
    let place = Cursor(Place::Registration(username, device));
    let none = Piece { from: place.clone(), items: vec![], next: Some(place) };
    assert!(postcard::to_allocvec(&none).unwrap().len() + 10 <= PIECE_BYTES);
}

/// Three sessions, of which the third has ended, and three registrations.
fn small() -> Directory {
    let mut directory = Directory::new(Revision(1000), Bounds::default());
    let open = |words: &[&str]| {
        let (client, principal) = transcript::parse_identity(words);
        Command::Open { client, principal }
    };
    let write = |name: &str, generation, request, words: &[&str]| Command::Write {
        client: name.parse().unwrap(),
        generation: Generation(generation),
        request: RequestId(request),
        write: transcript::parse_write(words),
    };
    let commands = [
        open(&["a"]),
        open(&["b", "as", "sam"]),
        open(&["c"]),
        write("a", 1, 1, &["connect", "ann/desk", "10.0.0.1:80"]),
        write("a", 1, 2, &["connect", "ann/phone", "10.0.0.1:81", r#"{"a":1}"#]),
        write("b", 2, 1, &["connect", "bob/desk", "10.0.0.1:82"]),
        write("c", 3, 1, &["sequence", "3"]),
        write("c", 3, 2, &["disconnect", "ann/desk"]),
        Command::Expire { client: "c".parse().unwrap(), generation: Generation(3) },
    ];
    run(&mut directory, &commands);
    directory
}

const COUNTERS: usize = 0;
const A: usize = 1;
const B: usize = 2;
const C: usize = 3;
const ANN_DESK: usize = 4;
const ANN_PHONE: usize = 5;

/// What becomes of the small state after a change of its items.
fn changed(change: impl FnOnce(&mut Vec<Item>)) -> Option<BadPiece> {
    let mut piece = small().piece(&Cursor::start(), usize::MAX);
    change(&mut piece.items);
    build(vec![piece]).err()
}

fn counters(change: impl FnOnce(&mut CountersItem)) -> Option<BadPiece> {
    changed(|items| match &mut items[COUNTERS] {
        Item::Counters(counters) => change(counters),
        other => panic!("the counters are first, not {other:?}"),
    })
}

fn session(at: usize, change: impl FnOnce(&mut SessionItem)) -> Option<BadPiece> {
    changed(|items| match &mut items[at] {
        Item::Session(session) => change(session),
        other => panic!("not a session: {other:?}"),
    })
}

fn registration(at: usize, change: impl FnOnce(&mut RegistrationItem)) -> Option<BadPiece> {
    changed(|items| match &mut items[at] {
        Item::Registration(registration) => change(registration),
        other => panic!("not a registration: {other:?}"),
    })
}

#[test]
fn items_come_once_and_in_order() {
    assert_eq!(changed(|_| ()), None);
    for at in COUNTERS..ANN_PHONE {
        assert_eq!(changed(|items| items.swap(at, at + 1)), Some(BadPiece::Order), "{at}");
        let twice = |items: &mut Vec<Item>| items.insert(at, items[at].clone());
        assert_eq!(changed(twice), Some(BadPiece::Order), "{at}");
    }
    assert_eq!(changed(|items| drop(items.remove(COUNTERS))), Some(BadPiece::Order));
    assert_eq!(changed(Vec::clear), Some(BadPiece::Order));
}

#[test]
fn numbers_are_below_the_counters() {
    let number = Some(BadPiece::Number);
    assert_eq!(counters(|c| c.first = c.revision.next()), number);
    assert_eq!(counters(|c| c.revision = Revision(1002)), number);
    assert_eq!(counters(|c| c.first = Revision(1001)), number);
    assert_eq!(counters(|c| c.revision = Revision(u64::MAX)), number);
    assert_eq!(counters(|c| c.applied = Index(u64::MAX)), number);
    assert_eq!(counters(|c| c.applied = Index(8)), number);
    assert_eq!(counters(|c| c.next_number = 0), number);
    assert_eq!(counters(|c| c.next_number = 3), number);
    assert_eq!(session(A, |s| s.generation = Generation(0)), number);
    assert_eq!(session(A, |s| s.generation = Generation(10)), number);
    assert_eq!(session(C, |s| s.ended_at = Some(Index(10))), number);
    // Before it was opened.
    assert_eq!(session(C, |s| s.generation = Generation(10)), number);
    assert_eq!(session(C, |s| s.generation = Generation(9)), number);
    // By an entry that opened another one.
    assert_eq!(session(B, |s| s.generation = Generation(1)), number);
    assert_eq!(session(C, |s| s.generation = Generation(2)), number);
    assert_eq!(session(B, |s| s.ended_at = Some(Index(9))), number);
    assert_eq!(registration(ANN_DESK, |r| r.revision = Revision(1000)), number);
    assert_eq!(registration(ANN_DESK, |r| r.revision = Revision(1004)), number);
}

#[test]
fn a_registration_has_a_live_session() {
    let holder = Some(BadPiece::Holder);
    assert_eq!(changed(|items| drop(items.remove(A))), holder);
    assert_eq!(session(A, |s| s.ended_at = Some(Index(8))), holder);
    assert_eq!(registration(ANN_DESK, |r| r.holder = "c".parse().unwrap()), holder);
    assert_eq!(registration(ANN_DESK, |r| r.holder = "b".parse().unwrap()), None);
}

#[test]
fn a_session_remembers_what_it_can() {
    let fill = |count: u64, dropped: u64| {
        move |s: &mut SessionItem| {
            let result = s.results[0].1.clone();
            let numbers = dropped + 1..dropped + 1 + count;
            s.results = numbers.map(|number| (RequestId(number), result.clone())).collect();
            s.dropped = RequestId(dropped);
        }
    };
    assert_eq!(session(A, fill(64, 7)), None);
    assert_eq!(session(A, fill(64, 0)), None);
    assert_eq!(session(A, fill(63, 0)), None);
    let results = Some(BadPiece::Results);
    assert_eq!(session(A, fill(63, 7)), results);
    assert_eq!(session(A, fill(65, 0)), results);
    assert_eq!(session(A, |s| s.results.swap(0, 1)), results);
    assert_eq!(session(A, |s| s.results[1].0 = RequestId(1)), results);
    assert_eq!(session(A, |s| s.results[0].0 = RequestId(0)), results);
    let above = |s: &mut SessionItem| {
        fill(64, 7)(s);
        s.dropped = RequestId(8);
    };
    assert_eq!(session(A, above), results);
}

#[test]
fn bounds_come_with_a_snapshot() {
    let pieces = || cut(&small(), usize::MAX);
    assert_eq!(build(pieces()).map(|directory| directory.bounds()), Ok(small().bounds()));
    // A state may hold more than may be added to it: the bounds were lowered meanwhile.
    let mut lowered = small();
    let bounds = Bounds { registrations: 2, sessions: 1 };
    let next = lowered.applied().next();
    lowered.apply(next, Command::Bounds(bounds), &mut Vec::new());
    assert_eq!(build(cut(&lowered, 0)), Ok(lowered.clone()));
    let client = Principal::Client("late".parse().unwrap());
    let open = Command::Open { client: "late".parse().unwrap(), principal: client };
    let outcome = lowered.apply(lowered.applied().next(), open, &mut Vec::new());
    assert_eq!(outcome, Outcome::Opened(crate::command::Opened::Full));
    let ended = |max_results| {
        let mut builder = Builder::default();
        builder.directory.max_ended_results = max_results;
        pieces().into_iter().try_for_each(|piece| builder.push(piece))
    };
    assert_eq!((ended(2), ended(1)), (Ok(()), Err(BadPiece::Full)));
    let devices = |count: usize| {
        changed(|items| {
            let Item::Registration(last) = items[ANN_PHONE].clone() else {
                panic!("not a registration: {:?}", items[ANN_PHONE]);
            };
            let more = (0..count).map(|number| {
                let device = format!("phone{number:04}").parse().unwrap();
                Item::Registration(RegistrationItem { device, ..last.clone() })
            });
            items.splice(ANN_PHONE + 1..ANN_PHONE + 1, more);
        })
    };
    assert_eq!((devices(998), devices(999)), (None, Some(BadPiece::Full)));
}

#[test]
fn at_most_so_many_sessions_have_ended() {
    let ended = |count: u64| {
        let mut piece = Directory::new(Revision(0), Bounds::default()).piece(&Cursor::start(), 0);
        let applied = Index(2 * count);
        let counters = CountersItem {
            first: Revision(0),
            revision: Revision(0),
            applied,
            next_number: 1,
            earlier: 0,
            bounds: Bounds::default(),
        };
        let sessions = (1..=count).map(|number| {
            let client: ClientId = format!("c{number:06}").parse().unwrap();
            let principal = Principal::Client(client.clone());
            let (generation, ended_at) = (Generation(2 * number - 1), Some(Index(2 * number)));
            let (dropped, results) = (RequestId(0), Vec::new());
            let session = SessionItem { client, principal, generation, ended_at, dropped, results };
            Item::Session(session)
        });
        piece.items = std::iter::once(Item::Counters(counters)).chain(sessions).collect();
        build(vec![piece]).err()
    };
    assert_eq!((ended(100_000), ended(100_001)), (None, Some(BadPiece::Full)));
}

#[test]
fn pieces_follow_one_another() {
    let pieces = cut(&small(), 0);
    assert_eq!(pieces.len(), 7);
    let mut builder = Builder::default();
    for piece in &pieces {
        assert_eq!(builder.clone().finish().err(), Some(BadPiece::Unfinished));
        assert_eq!(builder.next(), &piece.from);
        let others = pieces.iter().filter(|other| *other != piece);
        for other in others {
            assert_eq!(builder.push(other.clone()), Err(BadPiece::Elsewhere));
        }
        // It does not go on where it ends: back, further on, or not at all.
        for next in [&piece.from, &pieces[0].from, &Cursor(Place::End)] {
            let piece = Piece { next: Some(next.clone()), ..piece.clone() };
            assert_eq!(builder.clone().push(piece), Err(BadPiece::Order));
        }
        let empty = Piece { items: vec![], next: Some(piece.from.clone()), ..piece.clone() };
        assert_eq!(builder.clone().push(empty), Err(BadPiece::Order));
        assert_eq!(builder.push(piece.clone()), Ok(()));
    }
    assert!(builder.is_whole());
    for piece in pieces {
        assert_eq!(builder.push(piece), Err(BadPiece::Elsewhere));
    }
    assert_eq!(builder.finish().unwrap(), small());
}

proptest! {
    /// Loaded in a new life, a state is the same but for where its numbers go on, and can be cut into
    /// pieces and loaded again.
    #[test]
    fn what_is_loaded_is_what_there_was(commands in any_commands(), more in any_commands()) {
        let mut old = Directory::new(Revision(1000), Bounds::default());
        let mut effects = Vec::new();
        for command in commands {
            let next = old.applied().next();
            old.apply(next, command, &mut effects);
        }
        let mut again = old;
        for life in 1..3 {
            let first = Revision(1_000_000 * life);
            let mut new = Directory::to_be_loaded(first, Bounds::default());
            let mut index = Index(1);
            for piece in again.pieces() {
                index = index.next();
                new.apply(index, Command::Load(piece), &mut effects);
            }
            prop_assert_eq!(new.revision(), first);
            prop_assert_eq!(new.applied(), Index(0), "the cluster is not in use by that");
            prop_assert_eq!(new.next_number(), again.next_number());
            prop_assert!(new.generation_at(Index(1)) > again.generation_at(again.applied()));
            let users = |state: &Directory| {
                let each = state.users().matching("", None);
                each.map(|(name, user)| (name.clone(), user.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(users(&new), users(&again));
            prop_assert!(new.each_live_session().eq(again.each_live_session()));
            for command in more.clone() {
                index = index.next();
                new.apply(index, command, &mut effects);
            }
            prop_assert_eq!(build(cut(&new, 300)), Ok(new.clone()));
            again = new;
        }
    }
}
