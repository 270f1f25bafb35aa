//! Each rule of the ledger is kept by what is right, and finds what is wrong.

use super::*;

fn numbers(first: u64, count: u64) -> Value {
    json!({ "first": first, "count": count })
}

/// A directory where `ann` got this value at this revision, seen at another one.
fn picture(value: u64, written: u64, revision: u64) -> Value {
    let (ip, port) = address_of(value);
    let address = json!({ "device": "default", "ip": ip, "port": port, "revision": written });
    let users = json!([{ "username": "ann", "addresses": [address] }]);
    json!({ "users": users, "unknown": [], "revision": revision })
}

fn nobody(revision: u64) -> Value {
    json!({ "users": [], "unknown": ["ann"], "revision": revision })
}

fn push(kind: &str, value: u64, revision: u64) -> Value {
    let (ip, port) = address_of(value);
    let payload = json!({ "username": "ann", "ip": ip, "port": port, "revision": revision });
    json!({ "type": kind, "payload": payload })
}

/// A ledger in which these values of `ann` were written at these revisions.
fn written(revisions: &[u64]) -> Ledger {
    let mut ledger = Ledger::default();
    for revision in revisions {
        let write = ledger.write("ann");
        ledger.acknowledge(&write, &json!({ "revision": revision })).expect("it is in order");
    }
    ledger
}

fn feed_from(revision: u64) -> Feed {
    Feed { start: revision, since: revision, ..Feed::default() }
}

#[track_caller]
fn finds(verdict: Verdict, fault: &str) {
    let found = verdict.expect_err("it is a fault");
    assert!(found.contains(fault), "{found}");
}

#[test]
fn addresses_stand_for_values() {
    for value in [0, 1, PORTS - 1, PORTS, 7 * PORTS + 5] {
        let (ip, port) = address_of(value);
        assert_eq!(value_at(&json!({ "ip": ip, "port": port })), Ok(value));
    }
    assert!(value_at(&json!({ "ip": "9.9.9.9", "port": 1 })).is_err());
}

#[test]
fn a_number_is_handed_out_once_and_after_those_before() {
    let mut ledger = Ledger::default();
    let (first, second) = (ledger.ask_number(), ledger.ask_number());
    ledger.take_numbers(first, &numbers(5, 2)).expect("they are new");
    // It was asked for before the others were answered.
    ledger.take_numbers(second, &numbers(3, 2)).expect("they are new");
    finds(ledger.take_numbers(second, &numbers(4, 1)), "twice");
    let late = ledger.ask_number();
    finds(ledger.take_numbers(late, &numbers(2, 1)), "when 6 was out");
}

#[test]
fn a_lookup_shows_what_was_acknowledged_before_it_or_newer() {
    let mut ledger = written(&[10, 20]);
    let early = ledger.lookup();
    let write = ledger.write("ann");
    // It may show a write that is on its way, and then nobody may be shown less.
    ledger.answer(&early, &picture(2, 20, 20)).expect("it is current");
    ledger.answer(&early, &picture(3, 30, 30)).expect("it is newer");
    ledger.answer(&early, &picture(2, 20, 25)).expect("both were sent at once");
    let late = ledger.lookup();
    finds(ledger.answer(&late, &picture(2, 20, 30)), "when 3 was known");
    finds(ledger.answer(&late, &picture(3, 30, 29)), "when 30 was known");
    finds(ledger.answer(&late, &nobody(30)), "ann = 0");
    finds(ledger.answer(&late, &picture(4, 40, 40)), "nobody wrote");
    finds(ledger.acknowledge(&write, &json!({ "revision": 31 })), "at 31 and at 30");
}

#[test]
fn revisions_grow_with_what_is_written() {
    let mut ledger = written(&[10]);
    let write = ledger.write("ann");
    finds(ledger.acknowledge(&write, &json!({ "revision": 10 })), "when 10 was known");
    let lookup = ledger.lookup();
    finds(ledger.answer(&lookup, &picture(1, 11, 20)), "at 11 and at 10");
    finds(ledger.answer(&lookup, &picture(2, 9, 20)), "between");
    finds(ledger.answer(&lookup, &picture(2, 30, 20)), "in a state of 20");
}

#[test]
fn a_subscriber_is_told_each_change_once_and_in_order() {
    let mut ledger = written(&[10, 20, 30]);
    let mut feed = feed_from(10);
    ledger.push(&mut feed, &push("UserUpdated", 2, 20)).expect("it is next");
    finds(ledger.compare(&feed), "not told of Some((30,");
    for again in [20, 15] {
        let verdict = ledger.push(&mut feed, &push("UserUpdated", 3, again)).map(|_| ());
        finds(verdict, "after one at 20");
    }
    ledger.push(&mut feed, &push("UserUpdated", 3, 30)).expect("it is next");
    ledger.compare(&feed).expect("it was told everything");
    let mut late = feed_from(20);
    ledger.push(&mut late, &push("UserUpdated", 3, 30)).expect("it is next");
    ledger.compare(&late).expect("it began later");
    let mut hasty = feed_from(10);
    ledger.push(&mut hasty, &push("UserUpdated", 3, 30)).expect("nobody can tell yet");
    finds(ledger.compare(&hasty), "not told of Some((20,");
}

#[test]
fn nobody_appears_twice_or_leaves() {
    let mut ledger = written(&[10, 20]);
    let mut feed = feed_from(5);
    for message in [push("UserUpdated", 1, 10), push("UserConnected", 2, 20)] {
        finds(ledger.push(&mut feed, &message).map(|_| ()), "odd");
    }
    let left = push("UserDisconnected", 2, 30);
    finds(ledger.push(&mut feed, &left).map(|_| ()), "nobody left");
}

#[test]
fn a_push_is_an_observation_like_a_lookup() {
    let mut ledger = written(&[10]);
    let write = ledger.write("ann");
    let mut feed = feed_from(10);
    ledger.push(&mut feed, &push("UserUpdated", 2, 20)).expect("it is next");
    let lookup = ledger.lookup();
    finds(ledger.answer(&lookup, &picture(1, 10, 20)), "when 2 was known");
    ledger.acknowledge(&write, &json!({ "revision": 20 })).expect("it was sent before");
    ledger.compare(&feed).expect("it was told everything");
}

#[test]
fn who_resumes_goes_on_where_it_was_or_sees_no_older_picture() {
    let mut ledger = written(&[10, 20, 30]);
    let lookup = ledger.lookup();
    let mut feed = feed_from(20);
    let recovered = json!({ "revision": 20, "recovered": true, "users": [] });
    ledger.subscribed(&mut feed, &lookup, &recovered).expect("it goes on");
    let elsewhere = json!({ "revision": 30, "recovered": true, "users": [] });
    finds(ledger.subscribed(&mut feed, &lookup, &elsewhere), "recovered from 20");
    finds(ledger.subscribed(&mut feed, &lookup, &picture(2, 20, 20)), "a picture at 20");
    ledger.subscribed(&mut feed, &lookup, &picture(3, 30, 30)).expect("it is current");
    // What the picture showed need not be pushed.
    ledger.compare(&feed).expect("it was told everything");
}
