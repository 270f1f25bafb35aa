//! Scenarios of sessions: lives and principals, retries, the window, the sequence.

use rollcall_shared::id::{ClientId, RequestId, Revision};

use super::{apply, check};
use crate::command::{Command, Generation, Opened, Principal, Write, Written};
use crate::directory::{Bounds, Directory, Outcome};

#[test]
fn a_session_opens_ends_and_opens_anew() {
    check(
        r#"
        > expire a#1
        not live
        > a#1 1 sequence 1
        not current
        > open a
        live #3, next id 1
        > a 7 sequence 1
        numbers 1 to 1
        > open a
        live #3, next id 8
        > expire a#2
        not live
        > expire a#4
        not live
        > expire a#3
        ended
        > users
        at @100: 0 users, 0 devices, 0 sessions
        > a#3 8 sequence 1
        not current
        > open a
        live #10, next id 8

        # A command for the life before has no effect on this one.
        > a#3 8 connect ann/phone 10.0.0.1:80
        not current
        > expire a#3
        not live
        > a 8 sequence 1
        numbers 2 to 2
        > open a
        live #10, next id 9
        > users
        at @100: 0 users, 0 devices, 1 sessions
        "#,
    );
}

#[test]
fn a_client_id_belongs_to_one_principal() {
    check(
        r#"
        > open a as sam
        live #1, next id 1
        > open a as tom
        forbidden
        > open a
        forbidden
        > expire a#1
        ended
        > open a as tom
        forbidden
        > users
        at @100: 0 users, 0 devices, 0 sessions
        > open a as sam
        live #6, next id 1
        "#,
    );
}

#[test]
fn sessions_open_while_there_is_room() {
    check(
        r#"
        > open a
        live #1, next id 1
        > open b
        live #2, next id 1
        > open c
        live #3, next id 1
        > expire b
        ended
        > open d
        live #5, next id 1
        > open e
        live #6, next id 1
        > open f
        full
        # One that was known finds no room either; one that is live needs none.
        > open b
        full
        > open a
        live #1, next id 1
        > open a as sam
        forbidden
        > open b as sam
        forbidden
        > expire d
        ended
        > open b
        live #13, next id 1
        > users
        at @100: 0 users, 0 devices, 4 sessions
        "#,
    );
}

#[test]
fn a_retry_gets_the_first_outcome() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > a 2 sequence 3
        numbers 1 to 3
        > a 3 disconnect ann/phone
        disconnected ann/phone @102
          @102 ann/phone left, offline
        > a 4 disconnect ann/phone
        DisconnectUser: NotFound

        # None of these is applied a second time.
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
        > a 2 sequence 3
        numbers 1 to 3
        > a 3 disconnect ann/phone
        disconnected ann/phone @102
        > a 4 disconnect ann/phone
        DisconnectUser: NotFound

        # Nor after the session has ended, nor in the next one, whatever generation they name.
        > expire a
        ended
        > a#1 2 sequence 3
        numbers 1 to 3
        > open a
        live #12, next id 5
        > a#1 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
        > a 2 sequence 3
        numbers 1 to 3
        > a 5 sequence 1
        numbers 4 to 4
        > users
        at @102: 0 users, 0 devices, 1 sessions
        "#,
    );
}

#[test]
fn a_number_is_used_by_one_kind() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > a 1 disconnect ann/phone
        reused
        > a 1 sequence 1
        reused
        > a 2 disconnect bob/phone
        DisconnectUser: NotFound
        > a 2 connect bob/phone 10.0.0.1:80
        reused
        > expire a
        ended
          @102 ann/phone expired, offline
        > a#1 1 sequence 1
        reused
        "#,
    );
}

#[test]
fn the_last_64_writes_are_remembered() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1-64 sequence 1
        numbers 64 to 64
        > a 1 sequence 1
        numbers 1 to 1
        > a 65 sequence 1
        numbers 65 to 65
        > a 1 sequence 1
        stale
        > a 1 disconnect ann/phone
        stale
        > a 2 sequence 1
        numbers 2 to 2
        > expire a
        ended
        > a 1 sequence 1
        stale
        > open a
        live #73, next id 66
        "#,
    );
}

#[test]
fn numbers_may_have_gaps_and_come_out_of_order() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 9000 sequence 1
        numbers 1 to 1
        > a 8990 sequence 1
        numbers 2 to 2
        > a 8995 sequence 1
        numbers 3 to 3
        > open a
        live #1, next id 9001
        > a 9001-9061 sequence 1
        numbers 64 to 64

        # All of these are remembered; what is older than the last 64 writes is not applied, since
        # its result could not be kept for a retry.
        > a 8990 sequence 1
        numbers 2 to 2
        > a 8989 sequence 1
        stale
        > a 8991 sequence 1
        numbers 65 to 65
        > a 8991 sequence 1
        numbers 65 to 65
        > a 8990 sequence 1
        stale
        > a 9007199254740991 sequence 1
        numbers 66 to 66
        > open a
        live #1, next id 9007199254740991
        "#,
    );
}

#[test]
fn the_sequence_is_one_for_all() {
    check(
        r#"
        > open a
        live #1, next id 1
        > open b
        live #2, next id 1
        > a 1 sequence 1
        numbers 1 to 1
        > b 1 sequence 10000
        numbers 2 to 10001
        > a 2 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > expire b
        ended
        > a 3 sequence 2
        numbers 10002 to 10003
        "#,
    );
}

#[test]
fn the_last_100000_ended_sessions_are_remembered() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1 sequence 1
        numbers 1 to 1
        > open b
        live #3, next id 1
        > b 1 sequence 1
        numbers 2 to 2
        > expire a
        ended
        > expire b
        ended

        # A session that was opened anew is not among the ended ones, however long ago it ended.
        > open c
        live #7, next id 1
        > expire c
        ended
        > open c
        live #9, next id 1
        > crowd 99998
        > a#1 1 sequence 1
        numbers 1 to 1
        > crowd 1
        > a#1 1 sequence 1
        not current
        > b#3 1 sequence 1
        numbers 2 to 2
        > c 1 sequence 1
        numbers 3 to 3
        > open a as sam
        live #200012, next id 1
        > users
        at @100: 0 users, 0 devices, 2 sessions
        "#,
    );
}

/// Opens the session of `name`, takes `count` numbers in it one by one, and ends it.
fn live_a_life(directory: &mut Directory, name: &str, count: u64) -> Generation {
    let client = ClientId::new(name).unwrap();
    let principal = Principal::Client(client.clone());
    let open = Command::Open { client: client.clone(), principal };
    let Outcome::Opened(Opened::Live { generation, next_id }) =
        apply(directory, open, &mut Vec::new())
    else {
        panic!("a live session");
    };
    for request in next_id.0..next_id.0 + count {
        take(directory, name, generation, request);
    }
    apply(directory, Command::Expire { client, generation }, &mut Vec::new());
    generation
}

fn take(directory: &mut Directory, name: &str, generation: Generation, request: u64) -> Written {
    let (client, request) = (ClientId::new(name).unwrap(), RequestId(request));
    let write = Write::Sequence { count: 1 };
    let command = Command::Write { client, generation, request, write };
    match apply(directory, command, &mut Vec::new()) {
        Outcome::Written(written) => written,
        other => panic!("a write ends as written, not {other:?}"),
    }
}

#[test]
fn ended_sessions_are_forgotten_when_they_remember_too_much_together() {
    let mut directory = Directory::new(Revision(0), Bounds::default());
    directory.max_ended_results = 10;
    let first = live_a_life(&mut directory, "a", 4);
    let second = live_a_life(&mut directory, "b", 4);
    // A session that lives again counts for nothing until it ends again, with all it remembers.
    live_a_life(&mut directory, "a", 1);
    assert_eq!(directory.ended_results, 9);
    assert!(matches!(take(&mut directory, "b", second, 1), Written::Applied(_)));
    // The eleventh result is one too many: the session that ended first is forgotten.
    live_a_life(&mut directory, "c", 2);
    assert_eq!(take(&mut directory, "b", second, 1), Written::NotCurrent);
    assert!(matches!(take(&mut directory, "a", first, 1), Written::Applied(_)));
    assert_eq!(directory.ended_results, 7);
}
