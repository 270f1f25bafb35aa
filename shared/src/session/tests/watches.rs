//! Subscriptions over links, recoveries and lives of the cluster.

use super::*;

fn user(name: &str, revision: u64) -> String {
    format!(
        r#"{{"username":"{name}","addresses":[
            {{"device":"d","ip":"10.0.0.1","port":1,"revision":{revision}}}]}}"#
    )
}

fn change(subscription: u64, name: &str, revision: u64) -> String {
    format!(
        r#"{{"subscription":{subscription},"username":"{name}","device":"d","ip":"10.0.0.1",
            "port":1,"revision":{revision},"online":true}}"#
    )
}

fn gone(subscription: u64, name: &str, revision: u64) -> String {
    format!(
        r#"{{"subscription":{subscription},"username":"{name}","device":"d","reason":"left",
            "revision":{revision},"online":false}}"#
    )
}

fn subscribed(subscription: u64, revision: u64, users: &[String], more: &str) -> String {
    let users = users.join(",");
    format!(r#"{{"subscription":{subscription},"revision":{revision},"users":[{users}]{more}}}"#)
}

/// A rig with a watch that saw a1@3 and a2@4 and stands at revision 5, on link 1.
fn watching() -> (Rig, WatchId) {
    let mut rig = Rig::connected();
    let watch = rig.watch("a");
    rig.expect(&[r#"1< Subscribe#2 {"prefix":"a"}"#]);
    let users = [user("a1", 3), user("a2", 4)];
    rig.reply(1, 2, "Subscribed", &subscribed(9, 5, &users, ""));
    rig.expect(&["done 1 ok {}"]);
    (rig, watch)
}

fn reconnect(rig: &mut Rig, more: &str) {
    rig.lose(1, 1006);
    rig.pass(100);
    rig.open(2);
    rig.drain();
    rig.welcome(2, more);
    rig.poll();
    rig.said.drain(..2); // It is connected, at another server.
}

#[track_caller]
fn check_view(rig: &Rig, watch: WatchId, revision: u64, expected: &str) {
    let (view, at) = rig.session.view(watch).unwrap();
    let seen: Vec<_> = view
        .users()
        .flat_map(|user| {
            let name = user.username;
            user.addresses.into_iter().map(move |it| format!("{name}@{}", it.revision))
        })
        .collect();
    assert_eq!((seen.join(" ").as_str(), at), (expected, Revision(revision)));
}

#[test]
fn changes_are_told_once_and_kept() {
    let (mut rig, watch) = watching();
    check_view(&rig, watch, 5, "a1@3 a2@4");
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.push(1, "UserUpdated", &change(9, "a1", 5));
    rig.push(1, "UserUpdated", &change(9, "a1", 8));
    rig.push(1, "UserDisconnected", &gone(9, "a2", 9));
    rig.push(1, "UserDisconnected", &gone(8, "a1", 10));
    rig.expect(&["+a3:d@6", "=a1:d@8", "-a2:d@9 left"]);
    check_view(&rig, watch, 9, "a1@8 a3@6");
}

#[test]
fn a_recovered_watch_goes_on_where_it_was() {
    let (mut rig, watch) = watching();
    reconnect(&mut rig, r#","resumed":true"#);
    rig.expect(&[r#"2< Subscribe#4 {"prefix":"a","since":5}"#]);
    rig.reply(2, 4, "Subscribed", &subscribed(1, 5, &[], r#","recovered":true"#));
    rig.push(2, "UserDisconnected", &gone(1, "a1", 7));
    rig.expect(&["-a1:d@7 left"]);
    check_view(&rig, watch, 7, "a2@4");
}

#[test]
fn what_was_missed_comes_as_differences() {
    let (mut rig, watch) = watching();
    reconnect(&mut rig, "");
    rig.drain();
    let users = [user("a2", 8), user("a4", 9)];
    rig.reply(2, 4, "Subscribed", &subscribed(1, 9, &users, r#","recovered":false"#));
    rig.expect(&["resync 1", "-a1:d@9 expired", "=a2:d@8", "+a4:d@9"]);
    check_view(&rig, watch, 9, "a2@8 a4@9");
}

#[test]
fn another_life_of_the_cluster_is_not_asked_since() {
    let (mut rig, watch) = watching();
    reconnect(&mut rig, r#","cluster":"d""#);
    rig.expect(&[r#"2< Subscribe#4 {"prefix":"a"}"#]);
    check_view(&rig, watch, 5, "a1@3 a2@4");
    // Lost before it was answered: the revision is of no use on the next link either.
    rig.lose(2, 1006);
    rig.pass(100);
    rig.open(3);
    rig.drain();
    rig.welcome(3, r#","cluster":"d""#);
    assert_eq!(rig.drain().last().unwrap(), r#"3< Subscribe#6 {"prefix":"a"}"#);
    rig.reply(3, 6, "Subscribed", &subscribed(1, 2, &[user("a1", 2)], ""));
    rig.expect(&["resync 1", "=a1:d@2", "-a2:d@2 expired"]);
    rig.push(3, "UserConnected", &change(1, "a9", 3));
    rig.expect(&["+a9:d@3"]);
    check_view(&rig, watch, 3, "a1@2 a9@3");
}

#[test]
fn a_large_set_comes_in_parts() {
    let mut rig = Rig::connected();
    let watch = rig.watch("a");
    rig.drain();
    rig.reply(1, 2, "Subscribed", &subscribed(1, 5, &[user("a1", 1)], r#","more":true"#));
    let part = format!(r#"{{"users":[{}],"more":true}}"#, user("a2", 2));
    rig.reply(1, 2, "Users", &part);
    rig.expect(&[]);
    assert!(rig.session.view(watch).is_none());
    let part = format!(r#"{{"users":[{}],"more":false}}"#, user("a3", 3));
    rig.reply(1, 2, "Users", &part);
    rig.push(1, "UserConnected", &change(1, "a4", 6));
    rig.expect(&["done 1 ok {}", "+a4:d@6"]);
    check_view(&rig, watch, 6, "a1@1 a2@2 a3@3 a4@6");
}

#[test]
fn parts_of_a_lost_link_count_for_nothing() {
    let mut rig = Rig::connected();
    let watch = rig.watch("a");
    rig.reply(1, 2, "Subscribed", &subscribed(1, 5, &[user("a1", 1)], r#","more":true"#));
    reconnect(&mut rig, r#","resumed":true"#);
    rig.expect(&[r#"2< Subscribe#4 {"prefix":"a"}"#]);
    rig.reply(2, 2, "Users", r#"{"users":[],"more":false}"#);
    rig.reply(2, 4, "Subscribed", &subscribed(1, 6, &[user("a2", 1)], ""));
    rig.expect(&["done 1 ok {}"]);
    check_view(&rig, watch, 6, "a2@1");
}

#[test]
fn unsubscribing_is_final() {
    let (mut rig, watch) = watching();
    rig.session.unsubscribe(rig.now(), watch);
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&[r#"1< Unsubscribe#3 {"subscription":9}"#, "done 2 ok {}"]);
    rig.reply(1, 3, "Unsubscribed", r#"{"subscription":9}"#);
    rig.expect(&[]);
    rig.session.unsubscribe(rig.now(), watch);
    rig.expect(&["done 3 not_found"]);
    reconnect(&mut rig, r#","resumed":true"#);
    rig.expect(&[]);
}

#[test]
fn an_unsubscription_comes_true_with_the_end_of_its_link() {
    let (mut rig, watch) = watching();
    rig.session.unsubscribe(rig.now(), watch);
    rig.drain();
    rig.lose(1, 1006);
    rig.expect(&["open 2 ws://b", "state connecting"]);
}

#[test]
fn a_grant_nobody_waits_for_is_given_back() {
    let mut rig = Rig::connected();
    rig.watch("a");
    rig.pass(4000);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(1000);
    rig.expect(&[r#"1< Subscribe#2 {"prefix":"a"}"#, "1< Ping#3 {}", "done 1 timeout"]);
    rig.reply(1, 2, "Subscribed", &subscribed(4, 5, &[], ""));
    rig.expect(&[r#"1< Unsubscribe#4 {"subscription":4}"#]);
}

#[test]
fn a_watch_nobody_waits_for_is_not_asked_for_again() {
    let mut rig = Rig::connected();
    rig.watch("a");
    rig.drain();
    for _ in 0..50 {
        rig.refuse(1, 2, "overloaded", true);
        rig.pass(100);
    }
    assert!(rig.drain().contains(&"done 1 timeout".to_owned()));
    rig.refuse(1, 2, "overloaded", true);
    rig.pass(1000);
    rig.expect(&[]);
}

#[test]
fn a_watch_that_is_refused_later_ends() {
    let (mut rig, _) = watching();
    reconnect(&mut rig, "");
    rig.drain();
    rig.refuse(2, 4, "overloaded", true);
    rig.pass(100);
    rig.expect(&[r#"2< Subscribe#4 {"prefix":"a","since":5}"#]);
    rig.refuse(2, 4, "forbidden", false);
    rig.expect(&["ended 1 forbidden"]);
}

#[test]
fn a_change_that_cannot_be_read_leaves_no_gap() {
    let (mut rig, _) = watching();
    rig.push(1, "UserConnected", r#"{"subscription":9}"#);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
}

/// A cluster with a watch that stands at revision 5 on link 1. Ids are used up to `size` + 1.
fn watching_in(size: u64) -> (Rig, WatchId) {
    let mut rig = Rig::cluster(size);
    let watch = rig.watch("a");
    let users = [user("a1", 3), user("a2", 4)];
    rig.reply(1, size + 1, "Subscribed", &subscribed(9, 5, &users, ""));
    rig.drain();
    (rig, watch)
}

/// The home has no quorum, another one has: returns the link to that. One id is used.
fn move_home(rig: &mut Rig, to: &[u64]) -> u64 {
    let (from, id) = (rig.home().unwrap(), rig.session.next_request);
    for link in to {
        rig.reply_to(*link, 1, "Status", "{}"); // A late answer, which shows that it serves.
    }
    rig.sequence();
    let refusal = r#"{"code":"no_quorum","message":"m","retry":true}"#;
    rig.reply_to(from, id, "Error", refusal);
    let home = rig.home().unwrap();
    assert!(to.contains(&home), "{home}");
    rig.reply_to(home, id, "SequenceNumber", "{}");
    rig.poll();
    let shown = |output: &Output| {
        let line = describe(output, &|id| id);
        line.contains("scribe#") || line.starts_with(['+', '-', '='])
    };
    rig.said.retain(shown);
    home
}

#[test]
fn a_watch_moves_with_the_home_and_tells_everything_once() {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.expect(&[r#"2< Subscribe#5 {"prefix":"a","since":5}"#]);
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&["+a3:d@6"]);
    rig.reply(2, 5, "Subscribed", &subscribed(9, 7, &[], r#","recovered":true"#));
    rig.expect(&[r#"1< Unsubscribe#6 {"subscription":9}"#]);
    // From here on the second tells; it has the same number there.
    rig.push(1, "UserDisconnected", &gone(9, "a1", 7));
    rig.push(2, "UserConnected", &change(9, "a3", 6));
    rig.push(2, "UserDisconnected", &gone(9, "a1", 7));
    rig.push(1, "UserConnected", &change(9, "a4", 8));
    rig.push(2, "UserConnected", &change(9, "a4", 8));
    rig.reply(1, 6, "Unsubscribed", "{}");
    rig.expect(&["-a1:d@7 left", "+a4:d@8"]);
    check_view(&rig, watch, 8, "a2@4 a3@6 a4@8");
}

#[test]
fn a_new_home_that_is_behind_tells_nothing_twice() {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.push(1, "UserDisconnected", &gone(9, "a1", 8));
    rig.drain();
    let users = [user("a1", 3), user("a2", 4), user("a3", 6)];
    rig.reply(2, 5, "Subscribed", &subscribed(1, 7, &users, r#","recovered":false"#));
    rig.expect(&[r#"1< Unsubscribe#6 {"subscription":9}"#]);
    rig.push(2, "UserDisconnected", &gone(1, "a1", 8));
    rig.push(2, "UserUpdated", &change(1, "a2", 9));
    rig.expect(&["=a2:d@9"]);
    check_view(&rig, watch, 9, "a2@9 a3@6");
    // Where it is ahead, the differences are told.
    move_home(&mut rig, &[1]);
    rig.push(2, "UserConnected", &change(1, "a4", 10));
    rig.drain();
    let users = [user("a2", 9), user("a4", 10), user("a5", 11)];
    rig.reply(1, 8, "Subscribed", &subscribed(3, 11, &users, r#","recovered":false"#));
    rig.expect(&[
        "resync 1",
        "-a3:d@11 expired",
        "+a5:d@11",
        r#"2< Unsubscribe#9 {"subscription":1}"#,
    ]);
    check_view(&rig, watch, 11, "a2@9 a4@10 a5@11");
}

#[test]
fn a_home_that_moves_twice_takes_the_watch_along() {
    for in_order in [true, false] {
        let (mut rig, watch) = watching_in(3);
        let second = move_home(&mut rig, &[2, 3]);
        let third = move_home(&mut rig, &[5 - second]);
        let since = r#"{"prefix":"a","since":5}"#;
        rig.expect(&[
            &format!("{second}< Subscribe#6 {since}"),
            &format!("{third}< Subscribe#8 {since}"),
        ]);
        let granted = subscribed(1, 5, &[], r#","recovered":true"#);
        let (one, other) = if in_order {
            rig.reply(second, 6, "Subscribed", &granted);
            rig.push(second, "UserConnected", &change(1, "a3", 6));
            rig.reply(third, 8, "Subscribed", &granted);
            (&["1< Unsubscribe#9", "+a3:d@6"][..], format!("{second}< Unsubscribe#10"))
        } else {
            rig.reply(third, 8, "Subscribed", &granted);
            rig.push(third, "UserConnected", &change(1, "a3", 6));
            rig.reply(second, 6, "Subscribed", &granted);
            (&["1< Unsubscribe#9", "+a3:d@6"][..], format!("{second}< Unsubscribe#10"))
        };
        let said = rig.drain();
        let expected = one.iter().copied().chain([other.as_str()]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().zip(expected).all(|(line, start)| line.starts_with(start)), "{said:?}");
        rig.push(second, "UserConnected", &change(1, "a4", 7));
        rig.push(third, "UserConnected", &change(1, "a3", 6));
        rig.push(third, "UserConnected", &change(1, "a5", 8));
        rig.expect(&["+a5:d@8"]);
        check_view(&rig, watch, 8, "a1@3 a2@4 a3@6 a5@8");
    }
}

#[test]
fn a_home_that_comes_back_still_has_the_watch() {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    move_home(&mut rig, &[1]);
    rig.expect(&[r#"2< Subscribe#5 {"prefix":"a","since":5}"#]);
    rig.reply(2, 5, "Subscribed", &subscribed(4, 6, &[], r#","recovered":true"#));
    rig.expect(&[r#"2< Unsubscribe#7 {"subscription":4}"#]);
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&["+a3:d@6"]);
    // It was given back: the next time it is asked for anew.
    move_home(&mut rig, &[2]);
    rig.expect(&[r#"2< Subscribe#9 {"prefix":"a","since":6}"#]);
    rig.lose(1, 1006);
    rig.drain();
    rig.reply(2, 9, "Subscribed", &subscribed(5, 6, &[], r#","recovered":true"#));
    rig.push(2, "UserConnected", &change(5, "a4", 7));
    assert_eq!(rig.drain(), ["+a4:d@7"], "its old link is gone");
    check_view(&rig, watch, 7, "a1@3 a2@4 a3@6 a4@7");
}

#[test]
fn a_subscription_that_was_to_wait_on_a_home_that_is_left_is_forgotten() {
    let (mut rig, _) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.refuse(2, 5, "overloaded", true);
    move_home(&mut rig, &[1]);
    rig.drain();
    rig.pass(200);
    rig.expect(&[]);
    move_home(&mut rig, &[2]);
    rig.expect(&[r#"2< Subscribe#8 {"prefix":"a","since":5}"#]);
}

#[test]
fn the_first_answer_may_come_from_an_old_home() {
    let mut rig = Rig::cluster(2);
    let watch = rig.watch("a");
    rig.expect(&[r#"1< Subscribe#3 {"prefix":"a"}"#]);
    move_home(&mut rig, &[2]);
    rig.expect(&[r#"2< Subscribe#5 {"prefix":"a"}"#]);
    rig.reply(1, 3, "Subscribed", &subscribed(1, 5, &[user("a1", 3)], ""));
    rig.expect(&["done 1 ok {}"]);
    rig.push(1, "UserConnected", &change(1, "a2", 6));
    rig.expect(&["+a2:d@6"]);
    let users = [user("a1", 3), user("a2", 6), user("a3", 7)];
    rig.reply(2, 5, "Subscribed", &subscribed(1, 7, &users, ""));
    // That leaves out what was told since; it is asked for what came after.
    rig.expect(&[
        r#"2< Unsubscribe#6 {"subscription":1}"#,
        r#"2< Subscribe#7 {"prefix":"a","since":6}"#,
    ]);
    rig.reply(2, 7, "Subscribed", &subscribed(2, 6, &[], r#","recovered":true"#));
    rig.push(2, "UserConnected", &change(2, "a3", 7));
    rig.expect(&[r#"1< Unsubscribe#8 {"subscription":1}"#, "+a3:d@7"]);
    check_view(&rig, watch, 7, "a1@3 a2@6 a3@7");
}

/// A watch on link 1 that the new home, link 2, knows nothing of, as it has just begun anew. Seven ids are
/// used.
fn staying() -> (Rig, WatchId) {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.reply_to(1, 1, "Status", "{}"); // It serves again.
    rig.expect(&[r#"2< Subscribe#5 {"prefix":"a","since":5}"#]);
    let users = [user("a1", 3), user("a2", 4), user("a3", 6)];
    rig.reply(2, 5, "Subscribed", &subscribed(1, 7, &users, r#","recovered":false"#));
    rig.expect(&[r#"2< Unsubscribe#6 {"subscription":1}"#]);
    rig.reply(2, 6, "Unsubscribed", r#"{"subscription":1}"#);
    rig.lookup("x");
    rig.reply(2, 7, "UserAddress", "{}");
    rig.drain();
    (rig, watch)
}

#[test]
fn a_watch_stays_where_more_is_known_until_its_next_change() {
    let (mut rig, watch) = staying();
    rig.pass(3000);
    assert!(!rig.drain().iter().any(|line| line.contains("Subscribe")), "in vain again");
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&["+a3:d@6", r#"2< Subscribe#8 {"prefix":"a","since":6}"#]);
    rig.push(1, "UserConnected", &change(9, "a4", 8));
    rig.expect(&["+a4:d@8"]);
    rig.reply(2, 8, "Subscribed", &subscribed(2, 6, &[], r#","recovered":true"#));
    rig.expect(&[r#"1< Unsubscribe#9 {"subscription":9}"#]);
    check_view(&rig, watch, 8, "a1@3 a2@4 a3@6 a4@8");
}

#[test]
fn a_watch_that_stays_leaves_with_its_link() {
    let (mut rig, _) = staying();
    rig.lose(1, 1006);
    rig.expect(&[r#"2< Subscribe#8 {"prefix":"a","since":5}"#]);
    let users = [user("a1", 3), user("a2", 4), user("a3", 6)];
    rig.reply(2, 8, "Subscribed", &subscribed(2, 7, &users, r#","recovered":false"#));
    rig.expect(&["resync 1", "+a3:d@6"]);
}

#[test]
fn a_watch_that_stays_leaves_a_server_that_is_silent() {
    let (mut rig, _) = staying();
    // Twice nobody answers at home, and the copies of it elsewhere are late as well.
    for _ in 0..3 {
        rig.lookup("x");
        rig.session.handle_alive(rig.now(), LinkId(1));
        rig.pass(1000);
        rig.session.handle_alive(rig.now(), LinkId(1));
        rig.pass(1000);
    }
    let said = rig.drain();
    let again = said.iter().filter(|line| line.contains("Subscribe#")).count();
    assert!(again > 0, "{said:?}");
}

/// Whatever a server says, it is not asked without end.
#[test]
fn an_answer_that_says_nothing_of_what_was_missed_is_not_asked_for_again_and_again() {
    let (mut rig, _) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.reply_to(1, 1, "Status", "{}");
    rig.drain();
    let mut asked = 0;
    for id in [5, 7, 9, 11] {
        rig.reply(2, id, "Subscribed", &subscribed(1, 7, &[], ""));
        asked += rig.drain().iter().filter(|line| line.contains("< Subscribe#")).count();
    }
    assert_eq!(asked, 0);
}

#[test]
fn a_watch_leaves_a_home_that_is_silent() {
    let (mut rig, watch) = watching_in(2);
    rig.lookup("a");
    rig.pass(1000);
    rig.lookup("b");
    rig.pass(1000);
    assert_eq!(rig.home(), Some(2));
    let said = rig.drain();
    assert!(said.contains(&r#"2< Subscribe#7 {"prefix":"a","since":5}"#.to_owned()), "{said:?}");
    rig.reply(2, 7, "Subscribed", &subscribed(1, 5, &[], r#","recovered":true"#));
    rig.push(2, "UserConnected", &change(1, "a3", 6));
    assert_eq!(rig.drain(), [r#"1< Unsubscribe#8 {"subscription":9}"#, "+a3:d@6"]);
    // What the silent one has told meanwhile comes late.
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&[]);
    check_view(&rig, watch, 6, "a1@3 a2@4 a3@6");
}

#[test]
fn unsubscribing_while_it_moves_ends_both() {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.drain();
    rig.session.unsubscribe(rig.now(), watch);
    rig.expect(&[r#"1< Unsubscribe#6 {"subscription":9}"#, "done 3 ok {}"]);
    rig.reply(2, 5, "Subscribed", &subscribed(3, 5, &[], r#","recovered":true"#));
    rig.push(2, "UserConnected", &change(3, "a3", 6));
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&[r#"2< Unsubscribe#7 {"subscription":3}"#]);
    rig.reply(1, 6, "Unsubscribed", "{}");
    rig.reply(2, 7, "Unsubscribed", "{}");
    rig.expect(&[]);
}

#[test]
fn a_watch_that_is_refused_where_it_moves_to_ends_where_it_was() {
    let (mut rig, _) = watching_in(2);
    move_home(&mut rig, &[2]);
    rig.drain();
    rig.refuse(2, 5, "forbidden", false);
    rig.expect(&["ended 1 forbidden", r#"1< Unsubscribe#6 {"subscription":9}"#]);
    rig.push(1, "UserConnected", &change(9, "a3", 6));
    rig.expect(&[]);
}

#[test]
fn parts_of_a_set_that_come_from_two_homes_are_not_mixed() {
    let (mut rig, watch) = watching_in(2);
    move_home(&mut rig, &[2]);
    let first = subscribed(3, 8, &[user("b1", 7)], r#","recovered":false,"more":true"#);
    rig.reply(2, 5, "Subscribed", &first);
    move_home(&mut rig, &[1]);
    rig.drain();
    let rest = format!(r#"{{"users":[{}],"more":false}}"#, user("b2", 8));
    rig.reply(2, 5, "Users", &rest);
    rig.expect(&[r#"2< Unsubscribe#7 {"subscription":3}"#]);
    check_view(&rig, watch, 5, "a1@3 a2@4");
}
