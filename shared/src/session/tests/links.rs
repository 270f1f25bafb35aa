//! Opening, greeting, losing and moving links; liveness; the end.

use super::*;

#[test]
fn says_hello_and_waits_for_the_welcome() {
    let mut rig = Rig::new("ws://a");
    rig.expect(&["open 1 ws://a"]);
    rig.sequence();
    rig.expect(&[]);
    rig.open(1);
    rig.expect(&[r#"1< Hello#1 {"versions":[1]}"#]);
    rig.welcome(1, r#","next_id":40"#);
    rig.expect(&["state connected", r#"1< GetSequenceNumber#40 {"count":1}"#]);
    assert!(rig.session.welcome().unwrap().contains("next_id"));
    assert_eq!(rig.session.state(), State::Connected);
}

#[test]
fn ids_begin_at_the_wall_clock() {
    let config = Config { servers: vec!["ws://a".into()], ..Config::default() };
    let client = ClientId::new("me").unwrap();
    let session = Session::new(config, client, 1, 1_790_000_000_000, Instant::default());
    assert_eq!(session.next_request, 1_790_000_000_000 * 1024);
    assert!(session.next_request < limits::REQUEST_ID);
}

#[test]
fn tries_servers_in_turn_then_members() {
    let mut rig = Rig::new("ws://a ws://b");
    rig.drain();
    rig.lose(1, 1006);
    rig.expect(&["open 2 ws://b"]);
    rig.lose(2, 1006);
    rig.expect(&["state disconnected"]);
    rig.pass(99);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["open 3 ws://a", "state connecting"]);
    rig.lose(3, 1006);
    rig.expect(&["open 4 ws://b"]);
    rig.open(4);
    // `ws://b` is another name of `ws://a`.
    rig.welcome(4, r#","members":[{"node":1,"url":"ws://a"},{"node":3,"url":"ws://c"}]"#);
    rig.expect(&[r#"4< Hello#1 {"versions":[1]}"#, "state connected", "open 5 ws://c"]);
    rig.lose(4, 1001);
    rig.expect(&["state connecting"]);
    rig.open(5);
    rig.expect(&[r#"5< Hello#2 {"session":5,"versions":[1]}"#]);
    rig.welcome(5, r#","node":3,"resumed":true"#);
    rig.expect(&["state connected", "failover ws://b ws://c: closed with code 1001"]);
}

#[test]
fn seeds_are_tried_a_little_apart_until_one_serves() {
    let mut rig = Rig::new("ws://a ws://b ws://a ws://c");
    rig.expect(&["open 1 ws://c"]);
    rig.pass(249);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["open 2 ws://a"]);
    rig.open(2);
    rig.welcome(2, r#","node":2,"members":[{"node":2,"url":"ws://b"}]"#);
    rig.drain();
    // Nothing more is tried; what is under way goes on, and may be one more.
    rig.pass(3000);
    rig.expect(&[]);
    rig.open(1);
    rig.welcome(1, r#","node":2"#);
    rig.expect(&[r#"1< Hello#2 {"session":5,"versions":[1]}"#, "close 1 1000"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let mut rig = Rig::new("ws://a ws://b");
    rig.drain();
    rig.pass(250);
    rig.expect(&["open 2 ws://b"]);
    rig.open(2);
    rig.expect(&[r#"2< Hello#1 {"versions":[1]}"#]);
    rig.pass(4749);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["close 1 1000"]);
    rig.pass(100);
    rig.expect(&["open 3 ws://a"]);
    rig.lose(3, 1006);
    rig.pass(149);
    rig.drain();
    rig.pass(1);
    assert_eq!(rig.drain()[0], "close 2 1000");
    // What it says afterwards is of a link that is no more.
    rig.welcome(2, "");
    rig.lose(2, 1006);
    rig.expect(&[]);
}

#[test]
fn a_refused_hello_is_final_and_a_hindered_one_is_not() {
    let mut rig = Rig::with("ws://a ws://b", Token::Fixed("t".into()));
    rig.open(1);
    rig.expect(&["open 1 ws://a", r#"1< Hello#1 {"token":"t","versions":[1]}"#]);
    rig.refuse(1, 1, "no_quorum", true);
    rig.expect(&["close 1 1000", "open 2 ws://b"]);
    rig.open(2);
    rig.sequence();
    rig.drain();
    rig.refuse(2, 2, "unauthenticated", false);
    rig.expect(&["close 2 1000", "done 1 unauthenticated", "state closed"]);
    rig.sequence();
    rig.expect(&["done 2 unauthenticated"]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn close_codes_say_whether_to_come_back() {
    for (code, error) in [(4100, "unauthenticated"), (1009, "closed")] {
        let mut rig = Rig::connected();
        let watch = rig.watch("a");
        rig.reply(1, 2, "Subscribed", r#"{"subscription":1,"revision":1,"users":[]}"#);
        rig.sequence();
        rig.drain();
        rig.lose(1, code);
        let ended = format!("ended {} {error}", watch.0);
        rig.expect(&[&format!("done 2 {error}"), &ended, "state closed"]);
    }
}

#[test]
fn a_token_is_asked_for_before_each_link() {
    let mut rig = Rig::with("ws://a", Token::Ask);
    rig.expect(&["token 1"]);
    rig.session.handle_token(rig.now(), LinkId(1), Ok(Some("one".into())));
    rig.expect(&["open 1 ws://a"]);
    rig.open(1);
    rig.expect(&[r#"1< Hello#1 {"token":"one","versions":[1]}"#]);
    rig.welcome(1, "");
    rig.drain();
    // A token that expired on a link that stood may be replaced by another.
    rig.lose(1, 4100);
    rig.pass(100);
    rig.expect(&["state disconnected", "token 2", "state connecting"]);
    rig.session.handle_token(rig.now(), LinkId(2), Err("no".into()));
    rig.pass(100);
    rig.expect(&["state disconnected", "token 3", "state connecting"]);
    rig.session.handle_token(rig.now(), LinkId(3), Ok(None));
    rig.open(3);
    rig.drain();
    rig.lose(3, 4100);
    rig.expect(&["state closed"]);
}

#[test]
fn moves_at_once_when_a_server_goes_away() {
    let mut rig = Rig::connected();
    rig.push(1, "GoingAway", r#"{"reason":"shutdown"}"#);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
    let mut rig = Rig::new("ws://a");
    rig.open(1);
    rig.welcome(1, "");
    rig.push(1, "GoingAway", r#"{"reason":"shutdown"}"#);
    rig.drain();
    rig.pass(99);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["open 2 ws://a", "state connecting"]);
}

#[test]
fn silence_is_asked_about_and_ends_the_link() {
    let mut rig = Rig::connected();
    rig.pass(4999);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["1< Ping#2 {}"]);
    rig.reply(1, 2, "Pong", "{}");
    rig.pass(5000);
    rig.expect(&["1< Ping#3 {}"]);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(5000);
    rig.expect(&["1< Ping#4 {}"]);
    rig.pass(9999);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
}

#[test]
fn a_late_timer_is_a_wake_up_and_no_failure() {
    let mut rig = Rig::connected();
    rig.lookup("ann");
    rig.drain();
    rig.sleep(60_000);
    rig.expect(&["1< Ping#3 {}"]);
    rig.pass(500);
    rig.reply(1, 2, "UserAddress", "{}");
    rig.expect(&["done 1 ok {}"]);
    rig.pass(4999);
    rig.expect(&[]);
    assert_eq!(rig.session.state(), State::Connected);
}

#[test]
fn the_grace_after_a_wake_up_ends() {
    let mut rig = Rig::connected();
    rig.lookup("ann");
    rig.drain();
    rig.sleep(60_000);
    rig.drain();
    rig.pass(999);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting", "done 1 timeout"]);
}

#[test]
fn a_page_that_always_sleeps_gives_up_too() {
    let mut rig = Rig::connected();
    rig.lookup("ann");
    rig.drain();
    rig.sleep(60_000);
    rig.expect(&["1< Ping#3 {}"]);
    rig.sleep(60_000);
    rig.expect(&["1< Ping#4 {}", "done 1 timeout"]);
    rig.sleep(60_000);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
}

#[test]
fn a_hint_ends_the_wait_and_probes_the_link() {
    let mut rig = Rig::connected();
    rig.session.handle_wake(rig.now());
    rig.expect(&[]);
    rig.pass(2000);
    rig.session.handle_wake(rig.now());
    rig.session.handle_wake(rig.now());
    rig.expect(&["1< Ping#2 {}"]);
    rig.pass(1000);
    rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
    rig.lose(2, 1006);
    rig.expect(&["state disconnected"]);
    rig.session.handle_wake(rig.now());
    rig.expect(&["open 3 ws://a", "state connecting"]);
    rig.session.handle_wake(rig.now());
    rig.expect(&["open 4 ws://b"]);
    rig.session.handle_wake(rig.now());
    rig.expect(&[]);
}

#[test]
fn bad_messages_cost_the_link_only() {
    for text in ["", "{", "[]", r#"{"type":5}"#] {
        let mut rig = Rig::connected();
        rig.text(1, text);
        rig.expect(&["close 1 1000", "open 2 ws://b", "state connecting"]);
    }
    let mut rig = Rig::connected();
    rig.push(1, "OfTheFuture", "{}");
    rig.reply(1, 99, "Pong", "{}");
    rig.push(1, "Error", r#"{"code":"malformed"}"#);
    rig.expect(&[]);
}

#[test]
fn closing_says_goodbye_and_ends() {
    let mut rig = Rig::connected();
    rig.session.close(rig.now());
    rig.expect(&["close 1 1000", "state closed"]);
    assert_eq!(rig.session.poll_timeout(), None);
    rig.sequence();
    rig.expect(&["done 1 closed"]);
    rig.session.close(rig.now());
    rig.expect(&[]);
    // While a link is being opened there is nobody to say goodbye to.
    let mut rig = Rig::new("ws://a");
    rig.sequence();
    rig.session.close(rig.now());
    rig.expect(&["open 1 ws://a", "done 1 closed", "close 1 1000", "state closed"]);
}

#[test]
fn no_server_is_an_error_and_no_loop() {
    let mut rig = Rig::new("");
    assert!(rig.session.is_closed());
    rig.expect(&["state closed"]);
    rig.sequence();
    rig.expect(&["done 1 invalid_argument"]);
}

#[test]
fn the_status_needs_no_welcome() {
    let mut rig = Rig::new("ws://a ws://b");
    rig.session.call(rig.now(), Request::GetStatus);
    rig.lookup("ann");
    rig.drain();
    rig.open(1);
    // The lookup waits: it may need a leader, as the welcome does.
    let hello = r#"1< Hello#1 {"versions":[1]}"#;
    rig.expect(&[hello, "1< GetStatus#2 {}"]);
    rig.reply(1, 2, "Status", r#"{"leader":null}"#);
    rig.expect(&[r#"done 1 ok {"leader":null}"#]);
}

#[test]
fn a_status_that_a_link_took_along_is_asked_for_on_the_next() {
    let mut rig = Rig::new("ws://a ws://b");
    rig.open(1);
    rig.session.call(rig.now(), Request::GetStatus);
    rig.drain();
    rig.lose(1, 1006);
    rig.pass(100);
    rig.drain();
    rig.open(2);
    rig.expect(&[r#"2< Hello#3 {"versions":[1]}"#, "2< GetStatus#2 {}"]);
    rig.reply(2, 2, "Status", "{}");
    rig.expect(&["done 1 ok {}"]);
}

#[test]
fn why_nobody_welcomes_is_what_waiting_calls_are_told() {
    let mut rig = Rig::new("ws://a");
    rig.lookup("ann");
    rig.open(1);
    rig.refuse(1, 1, "no_quorum", true);
    rig.drain();
    rig.pass(10_000);
    assert!(rig.drain().contains(&"done 1 no_quorum".to_owned()));
    assert_eq!(rig.session.refusal().unwrap().code.as_str(), "no_quorum");
}

/// Its answer may say what is wrong: that the home is missing, and that there is no quorum.
#[test]
fn the_status_is_asked_of_who_waits_for_a_welcome_where_the_others_are_silent() {
    let mut rig = Rig::cluster(2);
    rig.lose(2, 1006);
    rig.pass(100);
    for _ in 0..2 {
        rig.lookup("ann");
        rig.pass(1000);
    }
    rig.drain();
    // While it greets.
    rig.open(3);
    rig.session.call(rig.now(), Request::GetStatus);
    rig.pass(1000);
    rig.expect(&[
        r#"3< Hello#6 {"session":5,"versions":[1]}"#,
        "1< GetStatus#7 {}",
        "3< GetStatus#7 {}",
    ]);
    rig.reply(3, 7, "Status", "{}");
    rig.expect(&["done 3 ok {}"]);
    rig.refuse(3, 6, "no_quorum", true);
    // Before it does.
    rig.session.call(rig.now(), Request::GetStatus);
    rig.pass(100);
    rig.drain();
    rig.open(4);
    rig.expect(&[r#"4< Hello#9 {"session":5,"versions":[1]}"#, "4< GetStatus#8 {}"]);
    rig.reply(4, 8, "Status", "{}");
    rig.expect(&["done 4 ok {}"]);
}
