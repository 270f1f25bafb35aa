//! How servers see themselves and each other: `GetStatus`, `Welcome`, metrics.

use rollcall_tests::{
    cluster::Cluster,
    http::Metrics,
    wire::{Client, eventually},
};
use serde_json::{Value, json};

/// What a server says of another one.
fn member(status: &Value, id: u64) -> &Value {
    let members = status["members"].as_array().expect("a list");
    let found = members.iter().find(|member| member["node"] == id);
    found.unwrap_or_else(|| panic!("no member {id} in {status}"))
}

/// Waits until every server that runs says so of this one.
async fn all_say(cluster: &Cluster, id: u64, field: &str, value: Value) {
    for observer in cluster.running() {
        eventually("the others have noticed", async || {
            let status = cluster.status(observer).await.ok_or("no status")?;
            let found = &member(&status, id)[field];
            if *found == value { Ok(()) } else { Err(format!("server {observer}: {status}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn all_servers_tell_the_same_story() {
    let mut cluster = Cluster::start(3).await;
    let mut lives = Vec::new();
    for id in [1, 2, 3] {
        let mut client = Client::new(cluster.server(id)).await;
        let welcome = client.call("Hello", json!({})).await;
        assert_eq!(welcome["node"], id);
        let members = welcome["members"].as_array().expect("a list");
        let ids: Vec<_> = members.iter().filter_map(|member| member["node"].as_u64()).collect();
        assert_eq!(ids.len(), 3, "{welcome}");
        assert!([1, 2, 3].iter().all(|id| ids.contains(id)), "{welcome}");
        let status = client.call("GetStatus", json!({})).await;
        assert_eq!(status["node"], id);
        lives.extend([welcome["cluster"].clone(), status["cluster"].clone()]);
    }
    assert!(lives[0].as_str().is_some_and(|life| !life.is_empty()), "{lives:?}");
    assert!(lives.iter().all(|life| *life == lives[0]), "{lives:?}");
    eventually("all say of each what it is", async || {
        let leader = cluster.leader().await;
        for (observer, id) in [1, 2, 3].into_iter().flat_map(|one| [(one, 1), (one, 2), (one, 3)]) {
            let status = cluster.status(observer).await.ok_or("no status")?;
            let role = if id == leader { "leader" } else { "follower" };
            let member = member(&status, id);
            if member["state"] != "up" || member["role"] != role {
                return Err(format!("server {observer} says of {id}, a {role}: {status}"));
            }
        }
        Ok(())
    })
    .await;

    let leader = cluster.leader().await;
    let before = cluster.status(leader).await.expect("it runs")["epoch"].as_u64();
    cluster.kill9(leader);
    all_say(&cluster, leader, "state", json!("down")).await;
    let next = cluster.leader().await;
    let after = cluster.status(next).await.expect("it runs");
    assert!(after["epoch"].as_u64() > before, "{after}");
    assert_eq!(after["cluster"], lives[0]);

    cluster.restart(leader).await;
    cluster.is_admitted(leader).await;
    all_say(&cluster, leader, "state", json!("up")).await;
    assert_eq!(cluster.status(leader).await.expect("it runs")["cluster"], lives[0]);
}

#[tokio::test]
async fn the_leader_knows_who_is_behind() {
    let mut cluster = Cluster::start(3).await;
    // Until the leader takes it for dead, it counts what the other has not heard of. On a machine that
    // sleeps through that time, once more.
    let mut seen_behind = false;
    for _ in 0..ATTEMPTS {
        let leader = cluster.leader().await;
        let late = cluster.others(leader)[0];
        eventually("all are level", async || {
            let status = cluster.status(leader).await.ok_or("no status")?;
            if member(&status, late)["lag"] == 0 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        cluster.stop(late).await;
        let mut writer = Client::new(cluster.server(leader)).await;
        let payload = json!({ "username": format!("user-{late}"), "ip": "::1", "port": 1 });
        writer.submit("ConnectUser", payload).await;
        writer.call("Ping", json!({})).await;
        let status = cluster.status(leader).await.expect("it runs");
        cluster.cont(late);
        seen_behind |= member(&status, late)["lag"].as_u64() > Some(0);
        if seen_behind {
            break;
        }
    }
    assert!(seen_behind, "the leader never saw that another server is behind");
}

const ATTEMPTS: usize = 5;

#[tokio::test]
async fn metrics_show_who_leads_and_what_is_passed_on() {
    let mut cluster = Cluster::start(3).await;
    let (leader, seen) = eventually("the leader stays while it is looked at", async || {
        let leader = cluster.leader().await;
        let epoch = cluster.status(leader).await.map(|status| status["epoch"].clone());
        let mut seen = Vec::new();
        for id in [1, 2, 3] {
            let before = passed_on(&cluster, id).await;
            Client::new(cluster.server(id)).await.call("GetSequenceNumber", json!({})).await;
            let passed_on = passed_on(&cluster, id).await - before;
            seen.push((id, Metrics::of(cluster.server(id)).await, passed_on));
        }
        let after = cluster.status(leader).await.map(|status| status["epoch"].clone());
        if epoch == after { Ok((leader, seen)) } else { Err(format!("{epoch:?}, {after:?}")) }
    })
    .await;
    for (id, metrics, passed_on) in seen {
        let leads = f64::from(u8::from(id == leader));
        assert_eq!(metrics.value("rollcall_role{role=\"leader\"}"), leads, "server {id}");
        assert_eq!(metrics.value("rollcall_role{role=\"follower\"}"), 1.0 - leads, "server {id}");
        assert!(metrics.value("rollcall_commit_index") > 0.0);
        assert_eq!(passed_on, 1.0 - leads, "server {id}");
        for other in cluster.others(id) {
            let sample = format!("rollcall_member_up{{member=\"{other}\"}}");
            assert_eq!(metrics.value(&sample), 1.0, "server {id}: {sample}");
            // Only the leader knows how far the others are.
            let lag = format!("rollcall_member_lag_entries{{member=\"{other}\"}}");
            assert_eq!(metrics.has(&lag), id == leader, "server {id}: {lag}");
        }
    }
    let before = Metrics::of(cluster.server(leader)).await;
    cluster.kill9(leader);
    let next = cluster.leader().await;
    let metrics = Metrics::of(cluster.server(next)).await;
    assert_eq!(metrics.value(&format!("rollcall_member_up{{member=\"{leader}\"}}")), 0.0);
    assert!(metrics.value("rollcall_elections_total") >= 2.0, "the first leader and this one");
    assert!(metrics.value("rollcall_epoch") > before.value("rollcall_epoch"));
    // A server alone has no lease, follows nobody, and sends its clients away.
    let last = cluster.others(leader).into_iter().find(|id| *id != next).expect("there are three");
    eventually("it answers by itself", async || value_is(&cluster, last, LEASE, 1.0).await).await;
    cluster.kill9(next);
    eventually("its lease ends", async || value_is(&cluster, last, LEASE, 0.0).await).await;
    let cut_off = "rollcall_cut_off_total";
    eventually("it is cut off", async || value_is(&cluster, last, cut_off, 1.0).await).await;
    let metrics = Metrics::of(cluster.server(last)).await;
    assert_eq!(metrics.value("rollcall_role{role=\"leader\"}"), 0.0);
}

const LEASE: &str = "rollcall_read_lease";

async fn value_is(cluster: &Cluster, id: u64, sample: &str, wanted: f64) -> Result<(), String> {
    let found = Metrics::of(cluster.server(id)).await.value(sample);
    if found == wanted { Ok(()) } else { Err(format!("{sample} is {found}")) }
}

/// How many requests for numbers a server could not answer by itself.
async fn passed_on(cluster: &Cluster, id: u64) -> f64 {
    let sample = "rollcall_relayed_requests_total{what=\"write\"}";
    Metrics::of(cluster.server(id)).await.value(sample)
}
