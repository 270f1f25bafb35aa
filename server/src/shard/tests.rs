//! A shard alone, without the node that owns the state and without sockets.

use std::rc::Rc;

use rollcall_replica::command::{Principal, Write};
use rollcall_replica::consensus::StopReason;
use rollcall_replica::consensus::ids::ReadId;
use rollcall_replica::{Input, Output, Replica};
use rollcall_shared::close::CloseCode;
use rollcall_shared::id::{ClientId, NodeId, RequestId, Revision};
use tokio::sync::mpsc;

use super::Shard;
use crate::clock;
use crate::config::Config;
use crate::context::Context;
use crate::link::{Closing, Link};
use crate::node::{Delivery, Step, shard_of_read};
use crate::principals::Resolver;
use crate::push::Announcement;
use crate::server::start_replica;
use crate::storage::Memory;

/// The replica of a server that is alone and has done what it has to.
fn replica() -> (Replica, Memory) {
    let (mut replica, mut storage) =
        (start_replica(&Config::default()).unwrap(), Memory::default());
    storage.run(&mut replica);
    (replica, storage)
}

/// A shard of a server whose state is `replica`'s, and a link.
fn shard(replica: &Replica) -> (Rc<Shard>, Rc<Link>) {
    let users = replica.users().clone();
    let (arrivals, _) = mpsc::channel(1);
    let context = Context::new(
        Config::default(),
        None,
        Resolver::None,
        replica,
        arrivals,
        mpsc::channel(1).0,
    );
    context.publish(replica, clock::now(), true);
    let shard = Shard::new(context, 0, users);
    let address = "127.0.0.1:1".parse().unwrap();
    let link = shard.link(address, address);
    (shard, link)
}

/// Registers `name`: what the node would deliver.
fn connect((replica, storage): &mut (Replica, Memory), request: u64, name: &str) -> Delivery {
    let link = rollcall_replica::LinkId(1 << 50 | request);
    let client = ClientId::new(name).unwrap();
    let principal = Principal::Client(client.clone());
    replica.handle(clock::now(), Input::Linked { link, client, principal });
    let (ip, port) = ("10.0.0.1".parse().unwrap(), 1);
    let (username, device) = (name.parse().unwrap(), "d".parse().unwrap());
    let write = Write::Connect { username, device, ip, port, meta: None };
    replica.handle(clock::now(), Input::Write { link, request: RequestId(1), write });
    let said = storage.run(replica);
    let steps = said.into_iter().filter_map(|output| match output {
        Output::Changed(change) => Some(Step::Changed(Announcement::new(change))),
        _ => None,
    });
    let steps = vec![steps.collect()];
    Delivery { users: replica.users().clone(), steps, outputs: Vec::new() }
}

/// What the link's driver would send now, as type and whether it says where `ann` is.
fn sent(shard: &Shard, link: &Rc<Link>) -> Vec<(String, bool)> {
    shard.refill(link);
    let tag = |text: &str| {
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        message["type"].as_str().unwrap().to_owned()
    };
    link.take_sent().iter().map(|text| (tag(text), text.contains("\"ann\",\"addresses"))).collect()
}

fn is(tag: &str, names_ann: bool) -> (String, bool) {
    (tag.to_owned(), names_ann)
}

const LOOKUP: &str = r#"{"type":"GetUserAddress","id":2,"payload":{"usernames":["ann"]}}"#;
const SUBSCRIBE: &str = r#"{"type":"Subscribe","id":3,"payload":{"all":true}}"#;

#[test]
fn a_lookup_waits_for_no_write() {
    let (shard, link) = shard(&replica().0);
    // There is no node that would ever answer this one.
    shard.handle_text(&link, r#"{"type":"GetSequenceNumber","id":1}"#);
    shard.handle_text(&link, LOOKUP);
    shard.handle_text(&link, r#"{"type":"Ping","id":3}"#);
    assert_eq!(sent(&shard, &link), [is("UserAddress", false), is("Pong", false)]);
    // The link and its write are on their way to the node, together.
    assert_eq!(shard.outbox.borrow().len(), 2);
}

#[tokio::test]
async fn nothing_is_behind_what_is_published() {
    let mut replica = replica();
    let (shard, link) = shard(&replica.0);
    let delivery = connect(&mut replica, 1, "ann");
    // The node publishes, then delivers: in between, another shard may already have answered.
    shard.context.publish(&replica.0, clock::now(), true);
    shard.handle_text(&link, LOOKUP);
    assert_eq!(sent(&shard, &link), [is("UserAddress", true)]);
    // A subscription must not begin with less, and waits.
    shard.handle_text(&link, SUBSCRIBE);
    assert_eq!(sent(&shard, &link), []);
    shard.handle_delivery(delivery);
    assert_eq!(sent(&shard, &link), [is("Subscribed", true)]);
    // What comes after it is pushed.
    let delivery = connect(&mut replica, 2, "bob");
    shard.context.publish(&replica.0, clock::now(), true);
    shard.handle_delivery(delivery);
    assert_eq!(sent(&shard, &link), [is("UserConnected", false)]);
}

/// A shard of one of three servers that has heard of no leader, and a link.
fn shard_without_leader() -> (Rc<Shard>, Rc<Link>) {
    let member = |id: u32| (NodeId(id), format!("ws://127.0.0.1:710{id}/peer"));
    let config = Config { members: vec![member(2), member(3)], ..Config::default() };
    let replica = start_replica(&config).unwrap();
    let (arrivals, _) = mpsc::channel(1);
    let context =
        Context::new(config, None, Resolver::None, &replica, arrivals, mpsc::channel(1).0);
    context.publish(&replica, clock::now(), true);
    let shard = Shard::new(context, 2, replica.users().clone());
    let address = "127.0.0.1:1".parse().unwrap();
    let link = shard.link(address, address);
    (shard, link)
}

/// The reads that are on their way to the node; the batch leaves with them.
fn take_reads(shard: &Shard) -> Vec<ReadId> {
    let batch = std::mem::take(&mut *shard.outbox.borrow_mut());
    shard.reads.borrow_mut().sent();
    let read = |input| match input {
        Input::Read { read } => Some(read),
        _ => None,
    };
    batch.into_iter().filter_map(read).collect()
}

/// A delivery without changes.
fn answers(shard: &Shard, outputs: Vec<Output>) -> Delivery {
    let users = shard.context.view.load().as_ref().clone();
    Delivery { users, steps: Vec::new(), outputs }
}

#[tokio::test]
async fn what_the_server_may_not_answer_by_itself_waits_for_one_read_of_all_that_came_together() {
    let (shard, link) = shard_without_leader();
    shard.handle_text(&link, LOOKUP);
    shard.handle_text(&link, SUBSCRIBE);
    let together = take_reads(&shard);
    assert_eq!(together.len(), 1);
    assert_eq!(shard_of_read(together[0]), 2, "the answer finds its shard");
    // What comes after the question has left needs another: a write may have ended in between.
    shard.handle_text(&link, LOOKUP);
    let later = take_reads(&shard);
    assert_eq!(later.len(), 1);
    assert_ne!(later, together);
    assert_eq!(sent(&shard, &link), []);

    let readable = vec![Output::Readable { read: together[0] }];
    shard.handle_delivery(answers(&shard, readable));
    let mut answered = sent(&shard, &link);
    answered.sort();
    assert_eq!(answered, [is("Subscribed", false), is("UserAddress", false)]);
    let unreadable = vec![Output::Unreadable { read: later[0] }];
    shard.handle_delivery(answers(&shard, unreadable));
    assert_eq!(link.state().waiting, 0);
    let said = link.take_sent().concat();
    assert!(said.contains(r#""code":"no_quorum""#) && said.contains(r#""retry":true"#), "{said}");
}

#[tokio::test]
async fn a_link_that_ended_meanwhile_is_answered_nothing() {
    let (shard, link) = shard_without_leader();
    shard.handle_text(&link, SUBSCRIBE);
    let reads = take_reads(&shard);
    shard.unlink(&link);
    let readable = vec![Output::Readable { read: reads[0] }];
    shard.handle_delivery(answers(&shard, readable));
    assert!(link.take_sent().is_empty());
    assert_eq!(shard.context.metrics.subscriptions(), 0);
}

#[tokio::test]
async fn clients_of_a_server_that_is_cut_off_are_told_to_move() {
    let (shard, idle) = shard_without_leader();
    let of_session = shard.link(idle.peer, idle.local);
    shard.handle_text(&of_session, r#"{"type":"Hello","id":1,"origin":"client/c"}"#);
    // Nothing rests on a link that only asked how the server is.
    shard.handle_text(&idle, r#"{"type":"GetStatus","id":1}"#);
    shard.handle_delivery(answers(&shard, vec![Output::CutOff]));
    assert_eq!(of_session.state().closing, Some(Closing::Now(CloseCode::CutOff)));
    assert_eq!(idle.state().closing, None);
}

#[tokio::test]
async fn a_gap_ends_the_links_with_subscriptions_and_begins_the_history_anew() {
    let mut replica = replica();
    let (shard, subscriber) = shard(&replica.0);
    let other = shard.link(subscriber.peer, subscriber.local);
    shard.handle_text(&subscriber, SUBSCRIBE);
    assert_eq!(sent(&shard, &subscriber), [is("Subscribed", false)]);
    let mut delivery = connect(&mut replica, 1, "ann");
    let far = Revision(replica.0.users().revision().0 + 1_000);
    delivery.steps.push(vec![Step::Installed(far)].into());
    shard.handle_delivery(delivery);
    assert_eq!(subscriber.state().closing, Some(Closing::Now(CloseCode::CutOff)));
    assert_eq!(other.state().closing, None);
    let applied = shard.applied.borrow();
    assert_eq!((applied.history.floor(), applied.history.newest()), (far, far));
}

#[tokio::test]
async fn when_the_node_has_ended_nobody_waits_for_it() {
    let (shard, link) = shard_without_leader();
    shard.handle_text(&link, r#"{"type":"GetSequenceNumber","id":1,"origin":"client/c"}"#);
    assert_eq!(link.state().pending.len(), 1);
    let stop = vec![Output::Stop(StopReason::Shutdown)];
    shard.handle_delivery(answers(&shard, stop));
    assert!(link.state().pending.is_empty());
    assert_eq!(link.state().closing, Some(Closing::AfterQueue(CloseCode::Shutdown)));
    shard.stopped().await;
}
