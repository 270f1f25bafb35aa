//! Scenarios of registrations: devices, ownership, takeover, the end with the session, the bounds.

use super::check;

#[test]
fn devices_come_change_and_go() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > a 2 connect ann/desk [2001:db8::1]:81 {"room":7}
        connected ann/desk @102
          @102 ann/desk appears, [2001:db8::1]:81 {"room":7}
        > users
        at @102: 1 users, 2 devices, 1 sessions
        ann/desk [2001:db8::1]:81 {"room":7} @102 of a
        ann/phone 10.0.0.1:80 @101 of a

        # All of a registration is replaced, meta included.
        > a 3 connect ann/desk 10.0.0.1:82
        connected ann/desk @103
          @103 ann/desk changes, 10.0.0.1:82
        > a 4 connect ann/desk 10.0.0.1:82 {"room":8}
        connected ann/desk @104
          @104 ann/desk changes, 10.0.0.1:82 {"room":8}
        > a 5 connect ann/desk 10.0.0.2:82 {"room":8}
        connected ann/desk @105
          @105 ann/desk changes, 10.0.0.2:82 {"room":8}

        # `online` says whether another device is left.
        > a 6 disconnect ann/phone
        disconnected ann/phone @106
          @106 ann/phone left, online
        > a 7 disconnect ann/desk
        disconnected ann/desk @107
          @107 ann/desk left, offline
        > users
        at @107: 0 users, 0 devices, 1 sessions
        "#,
    );
}

#[test]
fn an_equal_registration_changes_nothing() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1 connect ann/phone 10.0.0.1:80 {"a":1}
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80 {"a":1}
        > a 2 connect bob/phone 10.0.0.1:80 {"a":1}
        connected bob/phone @102
          @102 bob/phone appears, 10.0.0.1:80 {"a":1}
        > a 3 connect ann/phone 10.0.0.1:80 {"a":1}
        connected ann/phone @101
        > a 4 disconnect ann/phone
        disconnected ann/phone @103
          @103 ann/phone left, offline
        > a 5 connect ann/phone 10.0.0.1:80 {"a":1}
        connected ann/phone @104
          @104 ann/phone appears, 10.0.0.1:80 {"a":1}
        "#,
    );
}

#[test]
fn a_registration_is_its_owners() {
    check(
        r#"
        > open a
        live #1, next id 1
        > open b
        live #2, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80

        # The same address does not make it b's.
        > b 1 connect ann/phone 10.0.0.1:80
        ConnectUser: UsernameTaken
        > b 2 disconnect ann/phone
        DisconnectUser: NotOwner
        > b 3 disconnect ann/desk
        DisconnectUser: NotFound
        > b 4 disconnect bob/phone
        DisconnectUser: NotFound

        # Without tokens anyone may add another device.
        > b 5 connect ann/desk 10.0.0.2:80
        connected ann/desk @102
          @102 ann/desk appears, 10.0.0.2:80

        # Refusals are outcomes: a retry is refused alike, also when the name is free by then.
        > a 2 disconnect ann/phone
        disconnected ann/phone @103
          @103 ann/phone left, online
        > b 1 connect ann/phone 10.0.0.1:80
        ConnectUser: UsernameTaken
        > b 3 disconnect ann/desk
        DisconnectUser: NotFound
        > b 6 connect ann/phone 10.0.0.1:80
        connected ann/phone @104
          @104 ann/phone appears, 10.0.0.1:80
        > a 3 disconnect ann/phone
        DisconnectUser: NotOwner
        "#,
    );
}

#[test]
fn the_same_principal_takes_over() {
    check(
        r#"
        > open a as sam
        live #1, next id 1
        > open b as sam
        live #2, next id 1
        > open c as tom
        live #3, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > a 2 connect ann/desk 10.0.0.1:81
        connected ann/desk @102
          @102 ann/desk appears, 10.0.0.1:81

        # One change, never a leave and a join; the address is the same, but the session is not.
        > b 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @103
          replaced for a: ann/phone
          @103 ann/phone changes, 10.0.0.1:80
        > b 2 connect ann/phone 10.0.0.1:80
        connected ann/phone @103
        > c 1 connect ann/phone 10.0.0.1:80
        ConnectUser: UsernameTaken

        # The late goodbye of the old session, and its end, leave what it lost alone.
        > a 3 disconnect ann/phone
        DisconnectUser: NotOwner
        > expire a
        ended
          @104 ann/desk expired, online
        > users
        at @104: 1 users, 1 devices, 2 sessions
        ann/phone 10.0.0.1:80 @103 of b
        > expire b
        ended
          @105 ann/phone expired, offline
        "#,
    );
}

#[test]
fn a_registration_taken_back_and_forth_ends_with_its_last_session() {
    check(
        r#"
        > open a as sam
        live #1, next id 1
        > open b as sam
        live #2, next id 1
        > a 1 connect ann/phone 10.0.0.1:80
        connected ann/phone @101
          @101 ann/phone appears, 10.0.0.1:80
        > b 1 connect ann/phone 10.0.0.2:80
        connected ann/phone @102
          replaced for a: ann/phone
          @102 ann/phone changes, 10.0.0.2:80
        > a 2 connect ann/phone 10.0.0.1:80
        connected ann/phone @103
          replaced for b: ann/phone
          @103 ann/phone changes, 10.0.0.1:80
        > expire b
        ended
        > expire a
        ended
          @104 ann/phone expired, offline
        "#,
    );
}

#[test]
fn expiry_gives_each_registration_its_own_revision() {
    check(
        r#"
        > open a
        live #1, next id 1
        > open b
        live #2, next id 1
        > a 1 connect bob/phone 10.0.0.1:80
        connected bob/phone @101
          @101 bob/phone appears, 10.0.0.1:80
        > a 2 connect ann/phone 10.0.0.1:80
        connected ann/phone @102
          @102 ann/phone appears, 10.0.0.1:80
        > a 3 connect ann/desk 10.0.0.1:80
        connected ann/desk @103
          @103 ann/desk appears, 10.0.0.1:80
        > b 1 connect bob/desk 10.0.0.1:80
        connected bob/desk @104
          @104 bob/desk appears, 10.0.0.1:80
        > a 4 connect carl/desk 10.0.0.1:80
        connected carl/desk @105
          @105 carl/desk appears, 10.0.0.1:80
        > a 5 disconnect carl/desk
        disconnected carl/desk @106
          @106 carl/desk left, offline
        > expire a
        ended
          @107 ann/desk expired, online
          @108 ann/phone expired, offline
          @109 bob/phone expired, online
        > users
        at @109: 1 users, 1 devices, 1 sessions
        bob/desk 10.0.0.1:80 @104 of b
        > expire a
        not live
        "#,
    );
}

#[test]
fn what_was_not_applied_is_not_remembered() {
    check(
        r#"
        > open a
        live #1, next id 1
        > a 1-9 connect u{}/phone 10.0.0.1:80
        connected u9/phone @109
          @109 u9/phone appears, 10.0.0.1:80
        > a 10-1500 connect ann/d{} 10.0.0.1:80
        full
        > users ann/d1008
        at @1109: 10 users, 1009 devices, 1 sessions
        ann/d1008 10.0.0.1:80 @1108 of a
        > open a
        live #1, next id 1010

        # No user has more than 1000 devices; what is there may change and go.
        > a 1010 connect ann/d9 10.0.0.1:80
        full
        > a 1010 connect ann/d10 10.0.0.2:80
        connected ann/d10 @1110
          @1110 ann/d10 changes, 10.0.0.2:80
        > a 1011 disconnect ann/d10
        disconnected ann/d10 @1111
          @1111 ann/d10 left, online
        > a 1012 connect ann/d9 10.0.0.1:80
        connected ann/d9 @1112
          @1112 ann/d9 appears, 10.0.0.1:80

        # There are at most 1010 registrations in these tests.
        > a 1013 connect bob/phone 10.0.0.1:80
        connected bob/phone @1113
          @1113 bob/phone appears, 10.0.0.1:80
        > a 1014 connect bob/desk 10.0.0.1:80
        full
        > a 1014 disconnect bob/phone
        disconnected bob/phone @1114
          @1114 bob/phone left, offline
        > a 1015 connect bob/desk 10.0.0.1:80
        connected bob/desk @1115
          @1115 bob/desk appears, 10.0.0.1:80
        "#,
    );
}
