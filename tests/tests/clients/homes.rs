//! Where clients are at home: spread over all servers, whichever of them they know.

use std::collections::BTreeMap;

use rollcall_client::Client;
use rollcall_tests::{cluster::Cluster, wire::eventually};

const CLIENTS: usize = 60;
/// By chance alone fewer are at one of three servers once in ten million runs.
const LEAST: usize = 5;

#[tokio::test]
async fn clients_of_one_seed_spread_over_all_servers() {
    let mut cluster = Cluster::start(3).await;
    let clients = connect(&cluster.url(1)).await;
    spread(&clients, &cluster.running()).await;
    // Who loses its home goes to either of the others.
    cluster.kill9(2);
    spread(&clients, &cluster.running()).await;
}

async fn connect(url: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect([url]).await.expect("the cluster serves"));
    }
    clients
}

async fn spread(clients: &[Client], servers: &[u64]) {
    eventually("clients at all servers", async || {
        let mut homes: BTreeMap<u64, usize> = servers.iter().map(|id| (*id, 0)).collect();
        for client in clients {
            let welcome = client.welcome().ok_or("a client has no home")?;
            *homes.entry(u64::from(welcome.node.0)).or_default() += 1;
        }
        let even = homes.len() == servers.len() && homes.values().all(|count| *count >= LEAST);
        if even { Ok(()) } else { Err(format!("{homes:?}")) }
    })
    .await;
}
