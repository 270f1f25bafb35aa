//! No server at all for a while: what is held stands through what is shorter than the grace, and is
//! made again, and told, after what is longer.

use futures::StreamExt as _;
use rollcall_client::{Client, Event, Revision, State};
use rollcall_tests::{
    cluster::Cluster,
    crowd::{connect, follower::Follower, here, urls},
    proxy::{Network, Proxy},
    wire::{self, within},
};
use serde_json::json;

use crate::names::{lead, links_are, ways};

#[tokio::test]
async fn an_outage_shorter_than_the_grace_is_not_noticed() {
    let held = Held::begin(&["--heartbeat-ms", "400"]).await;
    let mut events = held.client.events();
    held.ways.iter().for_each(Proxy::cut);
    // It has to find out by itself that no link carries anything.
    while event(&mut events, state).await == State::Connected {}
    held.ways.iter().for_each(Proxy::heal);
    while event(&mut events, state).await != State::Connected {}
    assert_eq!(revision_of(&held.client, "ann").await, held.written);
    held.client.connect_user("marker", here(1)).await.expect("it is served");
    let mut observer = held.observer().await;
    assert_eq!(observer.expect_push("UserConnected").await["username"], "marker");
}

#[tokio::test]
async fn after_an_outage_longer_than_the_grace_all_is_renewed() {
    let held = Held::begin(&["--session-grace-ms", "500", "--heartbeat-ms", "400"]).await;
    let mut events = held.client.events();
    held.ways.iter().for_each(Proxy::cut);
    // By then the servers have given it up too, and the grace has passed.
    wire::eventually("she is gone", async || {
        let mut observer = wire::Client::anonymous(held.cluster.server(1)).await;
        if observer.is_online("ann").await { Err("she is there".to_owned()) } else { Ok(()) }
    })
    .await;
    held.ways.iter().for_each(Proxy::heal);
    assert_eq!(event(&mut events, renewed).await, "ann");
    let mut observer = held.observer().await;
    let gone = observer.expect_push("UserDisconnected").await;
    assert_eq!((&gone["username"], &gone["reason"]), (&json!("ann"), &json!("expired")));
    assert_eq!(observer.expect_push("UserConnected").await["username"], "ann");
}

#[tokio::test]
async fn what_ended_with_the_cluster_is_renewed() {
    let mut cluster = Cluster::strict(3, &[]).await;
    let client = connect(urls(&cluster)).await;
    client.connect_user("ann", here(7)).await.expect("it is served");
    let mut events = client.events();
    for id in [1, 2, 3] {
        cluster.kill9(id);
    }
    cluster.restart_all(&[1, 2, 3]).await;
    assert_eq!(event(&mut events, renewed).await, "ann");
    let found = client.get_user_address(["ann"]).await.expect("it is served");
    assert_eq!(found.users[0].addresses[0].port, 7);
}

#[tokio::test]
async fn a_cluster_on_disk_that_was_killed_whole_takes_nobody_with_it() {
    let mut cluster = Cluster::on_disk(3, &[]).await;
    let client = connect(urls(&cluster)).await;
    let written = client.connect_user("ann", here(7)).await.expect("it is served").revision;
    let follower = Follower::start(&client).await;
    let number = client.get_sequence_number().await.expect("it is served");
    for id in [1, 2, 3] {
        cluster.kill9(id);
    }
    cluster.restart_all(&[1, 2, 3]).await;
    cluster.wait_ready().await;
    assert_eq!(revision_of(&client, "ann").await, written);
    assert!(client.get_sequence_number().await.expect("it is served") > number);
    let marker = client.connect_user("marker", here(1)).await.expect("it is served").revision;
    let followed = follower.until(marker.0).await;
    assert_eq!((followed.faults, followed.changes), (vec![], 1), "the marker alone");
}

/// A client that holds ann and reaches each server by a way that can be cut.
struct Held {
    _network: Network,
    ways: Vec<Proxy>,
    cluster: Cluster,
    client: Client,
    /// At which revision she was registered.
    written: Revision,
}

impl Held {
    async fn begin(flags: &[&str]) -> Self {
        let (network, ways, names) = ways();
        let cluster = Cluster::advertised(3, &names, flags).await;
        lead(&ways, &cluster);
        let client = connect(vec![names[&1].clone()]).await;
        let written = client.connect_user("ann", here(7)).await.expect("it is served").revision;
        links_are(&cluster, &[1, 1, 1]).await;
        Self { _network: network, ways, cluster, client, written }
    }

    /// Somebody who is told all that happened since she was registered.
    async fn observer(&self) -> wire::Client {
        let mut observer = wire::Client::anonymous(self.cluster.server(1)).await;
        observer.call("Subscribe", json!({ "all": true, "since": self.written })).await;
        observer
    }
}

/// The next event that `wanted` makes something of.
async fn event<T>(
    events: &mut (impl futures::Stream<Item = Event> + Unpin),
    wanted: impl Fn(&Event) -> Option<T>,
) -> T {
    within("the event", async {
        loop {
            let next = events.next().await.expect("the client lives");
            if let Some(found) = wanted(&next) {
                return found;
            }
        }
    })
    .await
}

fn state(event: &Event) -> Option<State> {
    match event {
        Event::State { state, .. } => Some(*state),
        _ => None,
    }
}

fn renewed(event: &Event) -> Option<String> {
    match event {
        Event::RegistrationRenewed { username, .. } => Some(username.to_string()),
        _ => None,
    }
}

/// The revision at which somebody was registered.
async fn revision_of(client: &Client, name: &str) -> Revision {
    let found = client.get_user_address([name]).await.expect("it is served");
    found.users[0].addresses[0].revision
}
