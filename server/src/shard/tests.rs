//! A shard alone, without the node that owns the state and without sockets.

use std::rc::Rc;

use rollcall_replica::command::{Principal, Write};
use rollcall_replica::{Input, Output, Replica};
use rollcall_shared::id::{ClientId, RequestId};
use tokio::sync::mpsc;

use super::Shard;
use crate::clock;
use crate::config::Config;
use crate::context::Context;
use crate::link::Link;
use crate::node::{Delivery, Step};
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
    let context = Context::new(Config::default(), None, Resolver::None, replica, arrivals);
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
    shard.handle_delivery(delivery).await;
    assert_eq!(sent(&shard, &link), [is("Subscribed", true)]);
    // What comes after it is pushed.
    let delivery = connect(&mut replica, 2, "bob");
    shard.context.publish(&replica.0, clock::now(), true);
    shard.handle_delivery(delivery).await;
    assert_eq!(sent(&shard, &link), [is("UserConnected", false)]);
}
