//! Questions that several stories ask of one server.

use futures::future::join_all;
use rollcall_tests::{
    cluster::Cluster,
    server::Server,
    wire::{Client, eventually, failed, succeeded},
};
use serde_json::{Value, json};

/// What a server did with a request that it may not be able to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The payload of the reply that was asked for.
    Answer(Value),
    /// `no_quorum`: not applied.
    NoQuorum,
    /// `outcome_unknown`: perhaps applied.
    Unknown,
    /// Nothing: it closed the link, as a server does that is cut off (R34). Perhaps applied.
    Closed,
}

impl Said {
    /// Whether it told neither a value nor an outcome.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(self, Self::NoQuorum | Self::Closed)
    }
}

/// Asks a server for one thing on a link of its own.
pub(crate) async fn ask(server: &Server, kind: &str, payload: Value) -> Said {
    let mut client = Client::new(server).await;
    let id = client.submit(kind, payload).await;
    hear(&mut client, id, kind).await
}

/// Waits for what comes of a request.
pub(crate) async fn hear(client: &mut Client, id: u64, kind: &str) -> Said {
    let Some(reply) = client.reply_unless_closed(id).await else {
        client.expect_close(4002).await;
        return Said::Closed;
    };
    if reply["type"] != "Error" {
        return Said::Answer(succeeded(kind, &reply));
    }
    if reply["payload"]["code"] == "outcome_unknown" {
        return Said::Unknown;
    }
    failed("no_quorum", &reply);
    Said::NoQuorum
}

/// Looks a name up at a server.
pub(crate) async fn look_up(server: &Server, name: &str) -> Said {
    ask(server, "GetUserAddress", json!({ "usernames": [name] })).await
}

/// Looks a name up at a server that will answer, and says at which port it is.
pub(crate) async fn port_of(server: &Server, name: &str) -> Option<u64> {
    eventually("the lookup is answered", async || match look_up(server, name).await {
        Said::Answer(answer) => Ok(port(&answer)),
        said => Err(format!("{said:?}")),
    })
    .await
}

/// The port in a lookup of one name; none if nobody has it.
pub(crate) fn port(answer: &Value) -> Option<u64> {
    answer["users"][0]["addresses"][0]["port"].as_u64()
}

/// Waits until these servers answer no lookup any more, and know of no leader.
///
/// A lease that was given before the fault lets them answer for a moment, rightly.
pub(crate) async fn fall_silent(cluster: &Cluster, ids: &[u64]) {
    join_all(ids.iter().map(async |id| {
        eventually("the server knows that it is alone", async || {
            let said = look_up(cluster.server(*id), "nobody").await;
            let status = cluster.status(*id).await.expect("it runs");
            let alone = status["leader"].is_null() && status["role"] != "leader";
            if said.is_silence() && alone { Ok(()) } else { Err(format!("{said:?}: {status}")) }
        })
        .await;
    }))
    .await;
}

/// Asks each of these servers for everything there is: none answers, neither with a value nor with
/// an outcome, and none says that it is ready.
pub(crate) async fn expect_no_answers(cluster: &Cluster, ids: &[u64]) {
    // At once, for each may take its time to find that it has no answer.
    join_all(ids.iter().map(async |id| {
        let requests = [
            ("GetUserAddress", json!({ "usernames": ["nobody"] })),
            ("GetSequenceNumber", json!({})),
            ("ConnectUser", json!({ "username": "nobody", "ip": "192.0.2.1", "port": 1 })),
            ("Subscribe", json!({ "all": true })),
            ("Hello", json!({})),
        ];
        let asked = requests.map(async |(kind, payload)| {
            let said = ask(cluster.server(*id), kind, payload).await;
            assert!(said.is_silence(), "{kind} at server {id}: {said:?}");
        });
        let readiness = async {
            assert!(!cluster.is_ready(*id).await, "server {id} says that it is ready");
            // What it knows by itself it always says.
            let mut client = Client::new(cluster.server(*id)).await;
            client.call("Ping", json!({})).await;
            assert_eq!(client.call("GetStatus", json!({})).await["readable"], false);
        };
        tokio::join!(join_all(asked), readiness);
    }))
    .await;
}

/// Sessions that outlive any story: for registrations whose client has a link only while it writes.
pub(crate) const LASTING: &[&str] = &["--session-grace-ms", "120000"];

/// Sends a request to these servers in turn until one gives it an outcome.
pub(crate) async fn insist(
    cluster: &Cluster,
    ids: &[u64],
    client: &str,
    id: u64,
    kind: &str,
    payload: Value,
) -> Value {
    let mut turn = ids.iter().cycle();
    eventually("one of the servers answers", async || {
        let server = cluster.server(*turn.next().expect("there are servers"));
        let mut link = Client::with_id(server, client).await;
        link.submit_as(id, kind, payload.clone()).await;
        match hear(&mut link, id, kind).await {
            Said::Answer(answer) => Ok(answer),
            said => Err(format!("{kind}: {said:?}")),
        }
    })
    .await
}
