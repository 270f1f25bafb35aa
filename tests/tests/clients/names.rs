//! By which names clients reach servers: seeds of several names, advertised URLs, and those that are dead.

use std::collections::BTreeMap;

use futures::future::join_all;
use rollcall_tests::{
    cluster::Cluster,
    crowd::connect,
    http::Metrics,
    proxy::{Network, Proxy},
    wire::{self, eventually},
};
use serde_json::json;

#[tokio::test]
async fn several_names_of_each_server_lead_to_one_link_to_each() {
    let cluster = Cluster::strict(3, &[]).await;
    let localhost = |id| cluster.url(id).replace("127.0.0.1", "localhost");
    let seeds = vec![localhost(1), cluster.url(1), localhost(2), localhost(3), cluster.url(2)];
    let clients = join_all((0..5).map(|_| connect(seeds.clone()))).await;
    links_are(&cluster, &[5, 5, 5]).await;
    for client in &clients {
        for _ in 0..20 {
            client.get_sequence_number().await.expect("it is served");
        }
    }
    links_are(&cluster, &[5, 5, 5]).await;
}

#[tokio::test]
async fn members_are_reached_under_their_advertised_urls() {
    let (_network, ways, names) = ways();
    let cluster = Cluster::advertised(3, &names, &["--heartbeat-ms", "300"]).await;
    lead(&ways, &cluster);
    let client = connect(vec![cluster.url(1)]).await;
    links_are(&cluster, &[1, 1, 1]).await;
    // The link of the way is the client's: it has to be opened anew when the way carries nothing.
    let before = opened(&cluster, 2).await;
    ways[1].stall();
    eventually("the link is replaced", async || {
        let now = opened(&cluster, 2).await;
        if now > before { Ok(()) } else { Err(format!("{now} were opened")) }
    })
    .await;
    links_are(&cluster, &[1, 1, 1]).await;
    client.get_sequence_number().await.expect("it is served");
}

#[tokio::test]
async fn where_an_advertised_url_is_dead_a_seed_is_used() {
    let (_network, ways, names) = ways();
    let cluster = Cluster::advertised(3, &names, &[]).await;
    lead(&ways, &cluster);
    // Who dials server 3 by its name is not heard.
    ways[2].cut();
    let client = connect(vec![cluster.url(1), cluster.url(3)]).await;
    links_are(&cluster, &[1, 1, 1]).await;
    client.get_sequence_number().await.expect("it is served");
    client.close().await;
    links_are(&cluster, &[0, 0, 0]).await;
    // Nor if it is refused there.
    ways[2].lead_to(([127, 0, 0, 1], 9).into());
    ways[2].heal();
    let client = connect(vec![cluster.url(1), cluster.url(3)]).await;
    links_are(&cluster, &[1, 1, 1]).await;
    client.get_sequence_number().await.expect("it is served");
}

#[tokio::test]
async fn a_server_that_began_anew_knows_the_names_of_those_that_it_does_not_hear() {
    let (_network, _ways, names) = ways();
    let mut cluster = Cluster::advertised(3, &names, &[]).await;
    let leader = cluster.leader().await;
    let [anew, unheard] = cluster.others(leader)[..] else { panic!("there are three") };
    cluster.kill9(anew);
    cluster.cut(&[anew], &[unheard]);
    cluster.restart(anew).await;
    cluster.is_admitted(anew).await;
    let mut client = wire::Client::new(cluster.server(anew)).await;
    let welcome = client.call("Hello", json!({ "versions": [1] })).await;
    let told: BTreeMap<u64, String> = welcome["members"]
        .as_array()
        .expect("members are a list")
        .iter()
        .map(|member| (member["node"].as_u64().expect("a number"), member["url"].to_string()))
        .collect();
    let quoted = names.iter().map(|(id, url)| (*id, format!("\"{url}\""))).collect();
    assert_eq!(told, quoted);
}

/// Ways to three servers, and the URLs of them.
pub(crate) fn ways() -> (Network, Vec<Proxy>, BTreeMap<u64, String>) {
    let network = Network::new();
    let ways: Vec<_> = (0..3).map(|_| network.open()).collect();
    let name = |way: &Proxy| format!("ws://{}/ws", way.address());
    let names = (1..).zip(ways.iter().map(name)).collect();
    (network, ways, names)
}

/// Lets each way end at its server.
pub(crate) fn lead(ways: &[Proxy], cluster: &Cluster) {
    for (way, place) in ways.iter().zip(cluster.places()) {
        way.lead_to(place.address);
    }
}

/// Waits until the servers have so many links of clients.
pub(crate) async fn links_are(cluster: &Cluster, wanted: &[u64]) {
    eventually("each server has its links", async || {
        let mut found = Vec::new();
        for place in cluster.places() {
            let metrics = Metrics::of(cluster.server(place.id)).await;
            found.push(metrics.value("rollcall_connections") as u64);
        }
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// How many links of clients were opened to a server.
async fn opened(cluster: &Cluster, id: u64) -> f64 {
    Metrics::of(cluster.server(id)).await.value("rollcall_connections_opened_total")
}
