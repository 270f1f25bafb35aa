//! Requests: order, retries, the window, time limits.

use super::*;

#[test]
fn requests_in_flight_go_again_in_order_before_anything_newer() {
    let mut rig = Rig::connected();
    rig.sequence();
    rig.lookup("ann");
    rig.sequence();
    rig.drain();
    rig.reply(1, 2, "SequenceNumber", r#"{"first":1,"count":1}"#);
    rig.expect(&[r#"done 1 ok {"first":1,"count":1}"#]);
    rig.lose(1, 1006);
    rig.sequence();
    rig.pass(100);
    rig.open(2);
    rig.drain();
    rig.welcome(2, r#","resumed":true,"next_id":5"#);
    rig.expect(&[
        "state connected",
        "failover ws://a ws://b: closed with code 1006",
        r#"2< GetUserAddress#3 {"usernames":["ann"]}"#,
        r#"2< GetSequenceNumber#4 {"count":1}"#,
        r#"2< GetSequenceNumber#6 {"count":1}"#,
    ]);
    // A second copy of an answer changes nothing.
    rig.reply(2, 4, "SequenceNumber", r#"{"first":2,"count":1}"#);
    rig.reply(2, 4, "SequenceNumber", r#"{"first":2,"count":1}"#);
    rig.expect(&[r#"done 3 ok {"first":2,"count":1}"#]);
}

#[test]
fn retryable_errors_are_retried_under_the_same_id() {
    let mut rig = Rig::connected();
    rig.sequence();
    rig.drain();
    for code in ["no_quorum", "overloaded", "outcome_unknown"] {
        rig.refuse(1, 2, code, true);
        rig.expect(&[]);
        rig.pass(100);
        rig.expect(&[r#"1< GetSequenceNumber#2 {"count":1}"#]);
    }
    let payload = r#"{"code":"rate_limited","message":"m","retry":true,"retry_after_ms":700}"#;
    rig.reply(1, 2, "Error", payload);
    rig.pass(699);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&[r#"1< GetSequenceNumber#2 {"count":1}"#]);
    rig.refuse(1, 2, "forbidden", false);
    rig.expect(&["done 1 forbidden"]);
}

#[test]
fn a_call_that_is_only_refused_ends_with_the_refusal() {
    let mut rig = Rig::connected();
    rig.sequence();
    rig.drain();
    for _ in 0..49 {
        rig.refuse(1, 2, "no_quorum", true);
        rig.pass(100);
        rig.drain();
    }
    rig.refuse(1, 2, "no_quorum", true);
    rig.pass(100);
    rig.expect(&["done 1 no_quorum"]);
    // No copy of it can have been applied: it is forgotten.
    rig.pass(4000);
    rig.expect(&[]);
}

#[test]
fn a_sent_write_is_settled_after_its_call_gave_up() {
    let mut rig = Rig::connected();
    rig.sequence();
    rig.drain();
    rig.pass(4999);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.drain();
    rig.pass(1);
    rig.expect(&["done 1 timeout"]);
    // On a link that stands it is not sent twice.
    rig.pass(100);
    rig.expect(&[]);
    rig.lose(1, 1006);
    rig.open(2);
    rig.drain();
    rig.welcome(2, r#","resumed":true"#);
    assert_eq!(rig.drain()[2..], [r#"2< GetSequenceNumber#2 {"count":1}"#]);
    rig.reply(2, 2, "SequenceNumber", r#"{"first":1,"count":1}"#);
    rig.expect(&[]);
    rig.lose(2, 1006);
    rig.pass(250);
    rig.open(3);
    rig.drain();
    rig.welcome(3, r#","resumed":true"#);
    assert!(!rig.drain().iter().any(|line| line.contains("GetSequenceNumber")));
}

#[test]
fn a_read_is_forgotten_when_its_call_gave_up() {
    let mut rig = Rig::connected();
    rig.lookup("ann");
    rig.pass(4000);
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(1000);
    rig.drain();
    rig.reply(1, 2, "UserAddress", "{}");
    rig.lose(1, 1006);
    rig.pass(100);
    rig.open(2);
    rig.welcome(2, r#","resumed":true"#);
    let said = rig.drain();
    assert!(!said.iter().any(|line| line.contains("GetUserAddress")), "{said:?}");
}

#[test]
fn without_a_server_calls_are_unreachable() {
    let mut rig = Rig::new("ws://a");
    rig.sequence();
    rig.watch("a");
    rig.drain();
    for link in 1..=49 {
        rig.lose(link, 1006);
        rig.pass(100);
    }
    rig.drain();
    rig.pass(100);
    rig.expect(&["done 1 unreachable", "done 2 unreachable"]);
}

#[test]
fn the_window_holds_writes_back_but_no_reads() {
    let mut rig = Rig::connected();
    for _ in 0..limits::WINDOW + 2 {
        rig.sequence();
    }
    rig.lookup("ann");
    let said = rig.drain();
    assert_eq!(said.len(), limits::WINDOW + 1);
    assert!(said[limits::WINDOW].contains("GetUserAddress#66"), "{said:?}");
    for id in 3..=65 {
        rig.reply(1, id, "SequenceNumber", "{}");
    }
    assert_eq!(rig.drain().len(), 63, "the oldest is unanswered still: nothing new goes");
    rig.reply(1, 2, "SequenceNumber", "{}");
    rig.expect(&[
        "done 1 ok {}",
        r#"1< GetSequenceNumber#67 {"count":1}"#,
        r#"1< GetSequenceNumber#68 {"count":1}"#,
    ]);
}

#[test]
fn calls_are_bounded() {
    let mut rig = Rig::new("ws://a");
    for _ in 0..1024 {
        rig.sequence();
    }
    rig.expect(&["open 1 ws://a"]);
    rig.sequence();
    rig.expect(&["done 1025 overloaded"]);
}

#[test]
fn a_request_too_large_for_a_message_is_refused_here() {
    let mut rig = Rig::connected();
    let usernames =
        (0..3000).map(|at| Username::new(&format!("{at:0>128}")).unwrap()).collect::<Vec<_>>();
    let filter = Filter::Usernames(usernames.clone());
    rig.session.call(rig.now(), Request::GetUserAddress(GetUserAddress { usernames }));
    rig.session.subscribe(rig.now(), filter);
    rig.expect(&["done 1 invalid_argument", "done 2 invalid_argument"]);
}

#[test]
fn a_large_answer_comes_in_parts() {
    let mut rig = Rig::connected();
    rig.lookup("ann");
    rig.drain();
    let address =
        |device| format!(r#"{{"device":"{device}","ip":"10.0.0.1","port":1,"revision":1}}"#);
    let part = format!(
        r#"{{"users":[{{"username":"ann","addresses":[{}]}}],"unknown":[],"revision":7,"more":true}}"#,
        address("a")
    );
    rig.reply(1, 2, "UserAddress", &part);
    let part = format!(
        r#"{{"users":[{{"username":"ann","addresses":[{}]}}],"unknown":["bob"],"more":false}}"#,
        address("b")
    );
    rig.expect(&[]);
    rig.reply(1, 2, "Users", &part);
    let whole = format!(
        r#"done 1 ok {{"users":[{{"username":"ann","addresses":[{},{}]}}],"unknown":["bob"],"revision":7}}"#,
        address("a"),
        address("b")
    );
    rig.expect(&[&whole]);
}

#[test]
fn an_answer_of_another_type_is_a_fault_of_the_server() {
    let mut rig = Rig::connected();
    rig.sequence();
    rig.lookup("a");
    rig.drain();
    rig.reply(1, 2, "Pong", "{}");
    rig.expect(&["done 1 internal"]);
    // The rest of an answer whose beginning was told elsewhere is no answer at all.
    rig.reply(1, 3, "Users", r#"{"users":[],"more":false}"#);
    rig.expect(&[]);
    rig.reply(1, 3, "Connected", "{}");
    rig.expect(&["done 2 internal"]);
}

#[test]
fn the_session_keeps_its_own_requests() {
    let mut rig = Rig::connected();
    rig.session.call(rig.now(), Request::Hello(crate::message::Hello::default()));
    rig.expect(&["done 1 invalid_argument"]);
}
