//! Requests and watches over links to several servers: late, refused, lost, moved.

use super::*;

const COUNT: &str = r#" {"count":1}"#;

/// A cluster whose home has answered quickly, so that 250 ms is late there. Ids are used up to
/// `size` + 3.
fn quick(size: u64) -> Rig {
    let mut rig = Rig::cluster(size);
    for at in 1..=3 {
        rig.lookup("ann");
        rig.reply(1, size + at, "UserAddress", "{}");
    }
    rig.drain();
    rig
}

/// The home is late twice, and left.
fn freeze_home(rig: &mut Rig) {
    rig.lookup("a");
    rig.pass(300);
    rig.lookup("b");
    rig.pass(250);
}

/// The number and the link of the one request of this kind that was sent since the last time.
#[track_caller]
fn sent(rig: &mut Rig, kind: &str) -> (u64, u64) {
    let said = rig.drain();
    let mut found = said.iter().filter_map(|line| {
        let (link, rest) = line.split_once(&format!("< {kind}#"))?;
        Some((link.parse().unwrap(), rest.split_once(' ')?.0.parse().unwrap()))
    });
    let one = found.next().unwrap_or_else(|| panic!("no {kind}: {said:?}"));
    assert!(found.next().is_none(), "{said:?}");
    one
}

#[test]
fn what_is_late_is_asked_elsewhere_under_the_same_id() {
    let mut rig = Rig::cluster(3);
    rig.sequence();
    rig.expect(&[&format!("1< GetSequenceNumber#4{COUNT}")]);
    rig.pass(999);
    rig.expect(&[]);
    rig.pass(1); // Nothing is known of this server's times yet.
    rig.expect(&[&format!("2< GetSequenceNumber#4{COUNT}")]);
    rig.pass(1000);
    rig.expect(&[&format!("3< GetSequenceNumber#4{COUNT}")]);
    rig.reply(3, 4, "SequenceNumber", r#"{"first":1,"count":1}"#);
    rig.expect(&[r#"done 1 ok {"first":1,"count":1}"#]);
    // The others answer too.
    rig.reply(1, 4, "SequenceNumber", r#"{"first":1,"count":1}"#);
    rig.refuse(2, 4, "no_quorum", true);
    rig.pass(400);
    rig.expect(&[]);
}

#[test]
fn what_is_late_is_measured_by_what_is_usual() {
    let mut rig = quick(2);
    rig.lookup("ann");
    rig.pass(249);
    let lookup = r#"GetUserAddress#6 {"usernames":["ann"]}"#;
    rig.expect(&[&format!("1< {lookup}")]);
    rig.pass(1);
    rig.expect(&[&format!("2< {lookup}")]);
    rig.reply(2, 6, "UserAddress", "{}");
    rig.drain();
    // The first server is slow from now on, but it answers: soon it is waited for.
    rig.pass(100);
    rig.reply(1, 6, "UserAddress", "{}");
    let mut copies = Vec::new();
    for id in 7..27 {
        rig.lookup("ann");
        rig.session.handle_alive(rig.now(), LinkId(2));
        rig.pass(350);
        rig.reply(1, id, "UserAddress", "{}");
        let said = rig.drain();
        copies.push(said.iter().any(|line| line.starts_with("2< Get")));
        assert!(said.iter().any(|line| line.starts_with("done")));
    }
    assert!(!copies[3..].contains(&true), "{copies:?}");
    assert_eq!(rig.home(), Some(1));
}

#[test]
fn a_home_that_is_late_twice_is_left_with_all_that_waits_there() {
    let mut rig = quick(2);
    rig.sequence();
    rig.pass(200);
    rig.connect("bob", 1);
    rig.pass(49);
    rig.drain();
    rig.pass(1);
    rig.expect(&[&format!("2< GetSequenceNumber#6{COUNT}")]);
    rig.pass(200); // Late within the same moment.
    assert!(rig.drain()[0].starts_with("2< ConnectUser#7"));
    assert_eq!(rig.home(), Some(1));
    rig.sequence();
    rig.pass(50);
    rig.sequence();
    rig.pass(200);
    rig.expect(&[
        &format!("1< GetSequenceNumber#8{COUNT}"),
        &format!("1< GetSequenceNumber#9{COUNT}"),
        "1< Ping#10 {}",
        "failover ws://a ws://b: no answer in time",
        &format!("2< GetSequenceNumber#8{COUNT}"),
        &format!("2< GetSequenceNumber#9{COUNT}"),
    ]);
    assert_eq!(rig.session.state(), State::Connected);
    rig.sequence();
    rig.expect(&[&format!("2< GetSequenceNumber#11{COUNT}")]);
    for id in [6, 8, 9, 11] {
        rig.reply(2, id, "SequenceNumber", "{}");
    }
    rig.reply(2, 7, "Connected", "{}");
    assert_eq!(rig.drain().len(), 5);
}

#[test]
fn an_answer_in_between_forgives() {
    let mut rig = quick(2);
    for id in 0..10 {
        rig.lookup("ann");
        rig.pass(260);
        rig.reply(1, 6 + 2 * id, "UserAddress", "{}");
        rig.lookup("bob");
        rig.reply(1, 7 + 2 * id, "UserAddress", "{}");
    }
    assert_eq!(rig.home(), Some(1));
}

#[test]
fn a_demoted_server_is_one_again_after_its_pong() {
    let mut rig = quick(2);
    freeze_home(&mut rig);
    assert_eq!(rig.home(), Some(2));
    rig.reply(2, 6, "UserAddress", "{}");
    rig.reply(2, 7, "UserAddress", "{}");
    rig.drain();
    // Until then it is worse than one without a quorum.
    rig.sequence();
    rig.drain();
    rig.reply(1, 6, "UserAddress", "{}");
    rig.refuse(2, 9, "no_quorum", true);
    rig.expect(&[&format!("1< GetSequenceNumber#9{COUNT}")]);
    assert_eq!(rig.home(), Some(2));
    rig.reply(1, 9, "SequenceNumber", "{}");
    rig.reply(1, 8, "Pong", "{}");
    assert_eq!(rig.home(), Some(1), "it serves, and the other one does not");
}

/// Those that were stopped for a while get their clients back.
#[test]
fn a_demoted_server_gets_its_share_again() {
    let mut back = 0;
    for seed in 0..900 {
        let mut rig = Rig::cluster_by(seed, 3);
        let home = rig.home().unwrap();
        rig.lookup("a");
        rig.pass(1000);
        rig.lookup("b");
        rig.pass(1000);
        assert_ne!(rig.home(), Some(home));
        let said = rig.drain();
        let ping = said.iter().find_map(|line| line.strip_prefix(&format!("{home}< Ping#")));
        let ping = ping.unwrap().strip_suffix(" {}").unwrap().parse().unwrap();
        for link in (1..=3).filter(|link| *link != home) {
            rig.reply(link, 4, "UserAddress", "{}");
            rig.reply(link, 5, "UserAddress", "{}");
        }
        rig.pass(1000);
        // It goes on and answers everything in order.
        rig.reply(home, 4, "UserAddress", "{}");
        rig.reply(home, 5, "UserAddress", "{}");
        rig.reply(home, ping, "Pong", "{}");
        back += u32::from(rig.home() == Some(home));
    }
    assert!((240..=360).contains(&back), "{back}");
}

#[test]
fn the_last_server_is_waited_for() {
    let mut rig = quick(1);
    freeze_home(&mut rig);
    rig.drain();
    assert_eq!(rig.home(), Some(1));
    rig.pass(3000);
    rig.expect(&[]); // One `Ping` is enough, and copies on one link would be of no use.
    rig.reply(1, 5, "UserAddress", "{}");
    rig.expect(&["done 4 ok {}"]);
}

#[test]
fn without_a_quorum_each_server_is_asked_at_once_then_comes_a_pause() {
    let mut rig = Rig::cluster(3);
    rig.sequence();
    rig.drain();
    rig.refuse(1, 4, "no_quorum", true);
    let second = rig.home().unwrap();
    let third = 5 - second;
    let url = |link| if link == 2 { "ws://b" } else { "ws://c" };
    let said = rig.drain();
    assert_eq!(
        said,
        [
            format!("failover ws://a {}: no quorum", url(second)),
            format!("{second}< GetSequenceNumber#4{COUNT}")
        ]
    );
    rig.refuse(second, 4, "no_quorum", true);
    assert_eq!(rig.home(), Some(third));
    assert_eq!(rig.drain()[1], format!("{third}< GetSequenceNumber#4{COUNT}"));
    rig.refuse(third, 4, "no_quorum", true);
    rig.pass(99);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&[&format!("{third}< GetSequenceNumber#4{COUNT}")]);
    // After the pause each may be asked anew.
    rig.refuse(third, 4, "no_quorum", true);
    assert_eq!(rig.drain().len(), 1);
    assert_eq!(rig.home(), Some(third), "the others are no better");
}

#[test]
fn another_refusal_is_not_asked_about_elsewhere() {
    let mut rig = Rig::cluster(2);
    rig.sequence();
    rig.drain();
    rig.refuse(1, 3, "overloaded", true);
    rig.expect(&[]);
    rig.pass(100);
    rig.expect(&[&format!("1< GetSequenceNumber#3{COUNT}")]);
    rig.refuse(1, 3, "forbidden", false);
    rig.expect(&["done 1 forbidden"]);
}

#[test]
fn of_two_copies_both_may_be_refused() {
    let mut rig = quick(2);
    rig.sequence();
    rig.pass(250);
    rig.drain();
    rig.refuse(1, 6, "no_quorum", true);
    rig.expect(&["failover ws://a ws://b: no quorum"]); // The other copy may be answered.
    rig.refuse(2, 6, "no_quorum", true);
    rig.expect(&[]); // Both have said so.
    rig.pass(100);
    rig.expect(&[&format!("2< GetSequenceNumber#6{COUNT}")]);
    // One copy is refused, the other one is applied.
    rig.pass(250);
    rig.expect(&[&format!("1< GetSequenceNumber#6{COUNT}")]);
    rig.refuse(1, 6, "overloaded", true);
    rig.pass(100);
    rig.expect(&[]);
    rig.reply(2, 6, "SequenceNumber", "{}");
    rig.expect(&["done 4 ok {}"]);
}

#[test]
fn what_was_under_way_on_a_lost_link_moves_at_once() {
    for goes_away in [false, true] {
        let mut rig = quick(2);
        rig.sequence();
        rig.pass(250);
        rig.lookup("ann");
        rig.connect("bob", 1);
        rig.refuse(1, 8, "overloaded", true);
        rig.drain();
        let closed = if goes_away {
            rig.push(1, "GoingAway", "{}");
            1
        } else {
            rig.lose(1, 1006);
            0
        };
        // Of the first there is a copy already; what paused goes at once too.
        let said = rig.drain();
        let starts =
            ["failover ws://a ws://b: ", "2< GetUserAddress#7 ", "2< ConnectUser#8 "].into_iter();
        assert_eq!(said.len(), closed + 3);
        assert!(said[closed..].iter().zip(starts).all(|(it, start)| it.starts_with(start)));
        rig.lookup("eve");
        rig.reply(2, 7, "UserAddress", "{}");
        rig.reply(2, 8, "Connected", "{}");
        rig.reply(2, 6, "SequenceNumber", "{}");
        let said = rig.drain();
        assert_eq!(said[0], r#"2< GetUserAddress#9 {"usernames":["eve"]}"#);
        assert_eq!(said[1..], ["done 5 ok {}", "done 6 ok {}", "done 4 ok {}"]);
    }
}

#[test]
fn a_lost_copy_that_was_the_only_one_left_is_sent_again() {
    let mut rig = quick(2);
    rig.sequence();
    rig.pass(250);
    rig.drain();
    rig.refuse(1, 6, "overloaded", true);
    rig.lose(2, 1006);
    rig.expect(&[&format!("1< GetSequenceNumber#6{COUNT}")]);
}

#[test]
fn the_loss_of_another_link_moves_nothing_else() {
    let mut rig = quick(3);
    rig.lookup("ann");
    rig.lookup("bob");
    rig.watch("a");
    rig.drain();
    rig.lose(2, 1006);
    rig.lose(3, 1006);
    rig.expect(&[]);
}

#[test]
fn a_ping_of_the_application_is_a_request_as_any_other() {
    let mut rig = quick(2);
    rig.session.call(rig.now(), Request::Ping);
    rig.pass(250);
    rig.expect(&["1< Ping#6 {}", "2< Ping#6 {}"]);
    rig.reply(2, 6, "Pong", "{}");
    rig.expect(&["done 4 ok {}"]);
    rig.reply(1, 6, "Pong", "{}");
    rig.expect(&[]);
}

fn part(name: &str, more: bool) -> String {
    format!(
        r#"{{"users":[{{"username":"{name}","addresses":[]}}],"unknown":[],"revision":7,"more":{more}}}"#
    )
}

#[track_caller]
fn expect_users(rig: &mut Rig, names: &[&str]) {
    let said = rig.drain();
    let user = |name: &&str| format!(r#"{{"username":"{name}","addresses":[]}}"#);
    let users = names.iter().map(user).collect::<Vec<_>>().join(",");
    let done = said.iter().find(|line| line.starts_with("done"));
    assert!(done.is_some_and(|line| line.contains(&format!("[{users}]"))), "{said:?}");
}

#[test]
fn parts_of_two_answers_are_not_mixed() {
    let mut rig = quick(2);
    rig.lookup("x");
    rig.pass(250);
    rig.reply(1, 6, "UserAddress", &part("a1", true));
    rig.reply(2, 6, "UserAddress", &part("b1", true));
    rig.reply(2, 6, "Users", &part("b2", true));
    rig.reply(1, 6, "Users", &part("a2", true));
    rig.reply(2, 6, "Users", &part("b3", false));
    assert!(!rig.drain().iter().any(|line| line.starts_with("done")));
    rig.reply(1, 6, "Users", &part("a3", false));
    expect_users(&mut rig, &["a1", "a2", "a3"]);
    // An answer in one piece overtakes one that comes in parts.
    rig.lookup("x");
    rig.pass(1000);
    rig.reply(1, 7, "UserAddress", &part("a1", true));
    rig.reply(2, 7, "UserAddress", &part("b1", false).replace(r#","more":false"#, ""));
    expect_users(&mut rig, &["b1"]);
}

#[test]
fn a_large_answer_is_not_late_as_long_as_it_comes() {
    let mut rig = quick(2);
    rig.lookup("x");
    rig.drain();
    rig.reply(1, 6, "UserAddress", &part("a0", true));
    for _ in 0..4 {
        rig.pass(900);
        rig.reply(1, 6, "Users", &part("a", true));
        rig.expect(&[]);
    }
    rig.pass(1000);
    assert_eq!(sent(&mut rig, "GetUserAddress"), (2, 6), "it is now");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let mut rig = quick(2);
    rig.lookup("x");
    rig.pass(250);
    rig.reply(1, 6, "UserAddress", &part("a1", true));
    // The other answer is let pass, all of it.
    rig.reply(2, 6, "UserAddress", &part("b1", true));
    rig.reply(2, 6, "Users", &part("b2", false));
    rig.drain();
    rig.lose(1, 1006);
    assert_eq!(sent(&mut rig, "GetUserAddress"), (2, 6));
    rig.reply(2, 6, "UserAddress", &part("c1", true));
    rig.reply(2, 6, "Users", &part("c2", false));
    expect_users(&mut rig, &["c1", "c2"]);
}

#[test]
fn a_refusal_says_nothing_of_a_copy_that_was_lost() {
    let mut rig = quick(2);
    rig.sequence();
    rig.lose(1, 1006);
    rig.drain();
    for _ in 0..50 {
        rig.session.handle_alive(rig.now(), LinkId(2));
        rig.refuse(2, 6, "overloaded", true);
        rig.pass(100);
    }
    assert!(rig.drain().contains(&"done 4 timeout".to_owned()), "it may have been applied");
    rig.refuse(2, 6, "overloaded", true);
    rig.pass(100);
    assert!(rig.drain().contains(&format!("2< GetSequenceNumber#6{COUNT}")));
}

#[test]
fn a_write_that_gave_up_goes_on_at_all_that_may_have_it() {
    let mut rig = quick(2);
    rig.connect("ann", 7);
    rig.pass(4000);
    for link in [1, 2] {
        rig.session.handle_alive(rig.now(), LinkId(link));
    }
    rig.pass(1000);
    assert_eq!(rig.drain().last().unwrap(), "done 4 timeout");
    rig.refuse(1, 6, "no_quorum", true);
    rig.lose(2, 1006);
    let said = rig.drain();
    assert!(said.last().unwrap().starts_with("1< ConnectUser#6"), "{said:?}");
    rig.reply(1, 6, "Connected", "{}");
    assert_eq!(sent(&mut rig, "DisconnectUser").0, 1);
}
