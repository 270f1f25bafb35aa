//! The node with a storage and with links that fail, without sockets.

use rollcall_replica::consensus::journal::Record;

use super::*;
use crate::config::Config;
use crate::peers::outbox;
use crate::principals::Resolver;
use crate::server::start_replica;
use crate::storage::Memory;

/// A disk that says of the first record that it is not there; whoever asks again has not listened.
#[derive(Default)]
struct Broken {
    asked: bool,
}

impl Storage for Broken {
    fn store(&mut self, _: Record) {}

    fn poll_stored(&mut self, _: &mut Task<'_>) -> Poll<Result<Lsn, StorageFailed>> {
        assert!(!std::mem::replace(&mut self.asked, true), "nothing is asked after a failure");
        Poll::Ready(Err(StorageFailed))
    }
}

/// A node of one of two servers, and who hears why it ends.
fn node(storage: Box<dyn Storage>) -> (Node, oneshot::Receiver<StopReason>) {
    let members = vec![(NodeId(2), "ws://127.0.0.1:7102/peer".to_owned())];
    let config = Config { members, ..Config::default() };
    let replica = start_replica(&config).unwrap();
    let (arrivals, _) = mpsc::channel(1);
    let context =
        Context::new(config, None, Resolver::None, &replica, arrivals, mpsc::channel(1).0);
    let (over, is_over) = oneshot::channel();
    (Node::new(context, replica, storage, Vec::new(), over), is_over)
}

#[tokio::test]
async fn a_record_that_cannot_be_stored_ends_the_server() {
    let (node, over) = node(Box::<Broken>::default());
    let (to_node, shards) = mpsc::channel(1);
    let (_to_links, peers) = mpsc::channel(1);
    let (_told, clients) = mpsc::channel(1);
    let (_to_copy, copies) = mpsc::channel(1);
    let shard = async {
        assert_eq!(over.await, Ok(StopReason::Storage));
        // The node goes on until its shards have ended, and asks the disk nothing more.
        to_node.send(Vec::new()).await.unwrap();
        drop(to_node);
    };
    tokio::join!(node.run(Inbox { shards, peers, clients, copies }), shard);
}

#[tokio::test]
async fn a_link_that_takes_nothing_is_given_up_and_told_so() {
    let (mut node, _over) = node(Box::<Memory>::default());
    node.settle_all(0);
    let (outbox, mut due, given_up) = outbox(1);
    let (peer, link) = (NodeId(2), PeerLink(1));
    node.feed_peer(clock::now(), FromPeer::Up { peer, link, outbox });
    node.settle_all(1);
    assert!(matches!(due.try_recv(), Ok(ToPeer::Frames(_))), "it says HELLO");
    let filler = node.peers[&peer].outbox.due.try_send(ToPeer::Frames(Vec::new()));
    assert!(filler.is_ok(), "now it is full");
    // The next sign of life finds no room.
    while !node.peers.is_empty() {
        let wait = node.replica.poll_timeout().unwrap().since(clock::now());
        tokio::time::sleep(wait).await;
        node.replica.handle_timeout(clock::now());
        node.settle_all(0);
    }
    assert!(given_up.await.is_err(), "the link hears that nobody holds it");
    assert_eq!(node.replica.consensus().silence(clock::now(), peer), None);
}
