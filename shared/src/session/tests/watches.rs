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
    rig.session.poll_output();
    rig.session.poll_output();
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
    assert_eq!(rig.drain()[2], r#"3< Subscribe#6 {"prefix":"a"}"#);
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
    rig.expect(&[r#"1< Unsubscribe#3 {"subscription":9}"#]);
    rig.reply(1, 3, "Unsubscribed", r#"{"subscription":9}"#);
    rig.expect(&[r#"done 2 ok {"subscription":9}"#]);
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
    rig.expect(&["done 2 ok {}", "state disconnected"]);
}

#[test]
fn a_grant_nobody_waits_for_is_given_back() {
    let mut rig = Rig::connected();
    rig.watch("a");
    rig.pass(4000);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(1000);
    rig.expect(&[r#"1< Subscribe#2 {"prefix":"a"}"#, "done 1 timeout"]);
    rig.reply(1, 2, "Subscribed", &subscribed(4, 5, &[], ""));
    rig.expect(&[r#"1< Unsubscribe#3 {"subscription":4}"#]);
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
    rig.expect(&["close 1 1000", "state disconnected"]);
}
