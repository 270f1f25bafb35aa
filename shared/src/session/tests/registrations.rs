//! Held registrations: over new lives of the session, takeovers, late outcomes and the end.

use super::*;

/// A rig that holds `names`, with ids used up to 1 + their number.
fn holding(names: &[&str]) -> Rig {
    let mut rig = Rig::connected();
    for name in names {
        rig.connect(name, 7);
    }
    for at in 0..names.len() {
        rig.reply(1, 2 + at as u64, "Connected", "{}");
    }
    rig.drain();
    rig
}

const OTHER_SESSION: &str = r#","session":6"#;

fn reconnect(rig: &mut Rig, link: u64, more: &str) {
    rig.lose(link, 1006);
    rig.pass(100);
    rig.open(link + 1);
    rig.drain();
    rig.welcome(link + 1, more);
}

const ANN: &str = r#"{"device":"default","ip":"observed","port":7,"username":"ann"}"#;

#[test]
fn a_resumed_session_registers_nothing_again() {
    let mut rig = holding(&["ann"]);
    reconnect(&mut rig, 1, r#","resumed":true"#);
    rig.expect(&["state connected", "failover ws://a ws://b: closed with code 1006"]);
}

#[test]
fn a_new_life_registers_again_under_new_ids() {
    let mut rig = holding(&["ann", "bob"]);
    rig.disconnect("bob");
    rig.reply(1, 4, "Disconnected", "{}");
    rig.drain();
    reconnect(&mut rig, 1, OTHER_SESSION);
    assert_eq!(rig.drain()[2..], [format!("2< ConnectUser#6 {ANN}")]);
    rig.reply(2, 6, "Connected", "{}");
    rig.expect(&["renewed ann"]);
    // Another life of the cluster is a new life of the session, whatever it says of itself.
    reconnect(&mut rig, 2, r#","session":6,"resumed":true,"cluster":"d""#);
    assert_eq!(rig.drain().last(), Some(&format!("3< ConnectUser#8 {ANN}")));
    rig.reply(3, 8, "Connected", "{}");
    rig.expect(&["renewed ann"]);
}

#[test]
fn an_unanswered_registration_is_retried_then_made_again() {
    let mut rig = Rig::connected();
    rig.connect("ann", 7);
    rig.drain();
    reconnect(&mut rig, 1, OTHER_SESSION);
    assert_eq!(rig.drain()[2..], [format!("2< ConnectUser#2 {ANN}")]);
    // The retry repeats the first outcome, which ended with the session.
    rig.reply(2, 2, "Connected", "{}");
    rig.expect(&["done 1 ok {}", &format!("2< ConnectUser#4 {ANN}")]);
    rig.reply(2, 4, "Connected", "{}");
    rig.expect(&["renewed ann"]);
}

#[test]
fn a_refused_restoration_is_told_and_forgotten() {
    let mut rig = holding(&["ann"]);
    reconnect(&mut rig, 1, OTHER_SESSION);
    rig.drain();
    rig.refuse(2, 4, "username_taken", false);
    rig.expect(&["lost ann username_taken"]);
    reconnect(&mut rig, 2, r#","session":7"#);
    assert_eq!(rig.drain().len(), 2, "nothing is held any more");
}

#[test]
fn what_was_taken_over_is_not_held() {
    let mut rig = holding(&["ann"]);
    rig.push(1, "SessionReplaced", r#"{"username":"ann","device":"default"}"#);
    rig.expect(&["replaced ann"]);
    reconnect(&mut rig, 1, OTHER_SESSION);
    assert_eq!(rig.drain().len(), 2);
}

#[test]
fn writes_about_one_device_wait_for_each_other() {
    let mut rig = Rig::connected();
    rig.connect("ann", 7);
    rig.connect("ann", 8);
    rig.disconnect("ann");
    rig.connect("bob", 9);
    let said = rig.drain();
    assert_eq!(said.len(), 2, "{said:?}");
    rig.refuse(1, 2, "overloaded", true);
    rig.pass(100);
    rig.drain();
    rig.reply(1, 2, "Connected", "{}");
    assert!(
        rig.drain()[1].contains(r#"ConnectUser#4 {"device":"default","ip":"observed","port":8"#)
    );
    rig.refuse(1, 4, "too_large", false);
    assert!(rig.drain()[1].starts_with("1< DisconnectUser#5"));
    rig.reply(1, 5, "Disconnected", "{}");
    rig.expect(&["done 3 ok {}"]);
}

#[test]
fn a_late_success_nobody_waits_for_is_undone() {
    let mut rig = Rig::connected();
    rig.connect("ann", 7);
    rig.drain();
    rig.pass(3000);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(2000);
    rig.expect(&["1< Ping#3 {}", "done 1 timeout"]);
    rig.reply(1, 2, "Connected", "{}");
    rig.expect(&[r#"1< DisconnectUser#4 {"device":"default","username":"ann"}"#]);
    rig.reply(1, 4, "Disconnected", "{}");
    rig.pass(2000);
    rig.expect(&[]);
}

#[test]
fn a_late_success_is_left_to_a_newer_call() {
    let mut rig = Rig::connected();
    rig.connect("ann", 7);
    rig.drain();
    rig.pass(3000);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(2000);
    rig.connect("ann", 8);
    rig.expect(&["1< Ping#3 {}", "done 1 timeout"]);
    rig.reply(1, 2, "Connected", "{}");
    assert!(rig.drain()[0].contains(r#""port":8"#));
    rig.reply(1, 4, "Connected", "{}");
    rig.expect(&["done 2 ok {}"]);
}

#[test]
fn closing_takes_back_what_is_held() {
    let mut rig = holding(&["ann"]);
    rig.connect("bob", 8);
    rig.drain();
    rig.session.close(rig.now());
    rig.expect(&["done 2 closed", r#"1< DisconnectUser#4 {"device":"default","username":"ann"}"#]);
    // Bob's registration is under way: it is taken back too.
    rig.reply(1, 3, "Connected", "{}");
    rig.expect(&[r#"1< DisconnectUser#5 {"device":"default","username":"bob"}"#]);
    rig.reply(1, 4, "Disconnected", "{}");
    rig.expect(&[]);
    rig.reply(1, 5, "Disconnected", "{}");
    rig.expect(&["close 1 1000", "state closed"]);
}

#[test]
fn closing_waits_for_a_bounded_time() {
    let mut rig = holding(&["ann"]);
    rig.session.close(rig.now());
    rig.drain();
    rig.pass(1999);
    rig.expect(&["1< Ping#4 {}"]);
    rig.pass(1);
    rig.expect(&["close 1 1000", "state closed"]);
    let mut rig = holding(&["ann"]);
    rig.session.close(rig.now());
    rig.drain();
    rig.lose(1, 1006);
    rig.expect(&["state closed"]);
}
