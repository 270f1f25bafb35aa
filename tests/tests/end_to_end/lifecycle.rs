//! What browsers do to pages: they hide them and throttle their timers, freeze them, keep them for the
//! way back.
//!
//! All of it in the headless Chromium, which does so by itself once chromedriver no longer asks it not
//! to (`Browser::open_everyday`). Windows are minimised and pages frozen by the DevTools protocol. Each
//! test sees in the page that its timers are slow, or stand. Timers that run once a minute, which takes
//! five minutes, are left to the session's injected clock (`shared/src/session/tests/links.rs`).
//!
//! Chromium 156 answers a server's pings for a frozen page, and ends its sockets when it goes on.

use rollcall_tests::{cluster::Cluster, server::Server};
use serde_json::json;

use crate::life::Life;

#[tokio::test]
async fn a_hidden_page_with_slow_timers_loses_nothing() {
    // A server's sign of life is due more often than timers run.
    let server = Server::with(&["--heartbeat-ms", "900"]);
    let mut life = Life::begin("hidden", &server, &[server.url()]).await;
    life.page.hide().await;
    life.page.wait_true("slow timers", SLOW).await;
    life.others_come_and_go(&server).await;
    life.has_heard_all().await;
    let gaps = "return life.seen.gaps.length";
    let gaps = life.page.value(gaps).await.as_u64().expect("a length is a number");
    let several = format!("return life.seen.gaps.length >= {gaps} + 5");
    life.page.wait_true("several heartbeats", &several).await;
    life.goes_on(&server).await;
    life.page
        .assert_equal("hidden", life.page.value("return document.hidden").await, json!(true))
        .await;
    life.page.wait_true("slow timers all the time", SLOW).await;
    life.page.show().await;
    life.goes_on(&server).await;
    let states = life.page.value("return life.seen.states").await;
    life.page.assert_equal("states that the link went through", states, json!([])).await;
}

#[tokio::test]
async fn a_hidden_page_with_slow_timers_leaves_a_server_that_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let mut life = Life::of_cluster("hidden-killed", &cluster).await;
    life.page.hide().await;
    life.page.wait_true("slow timers", SLOW).await;
    let home = home(&life, &cluster).await;
    cluster.kill9(home);
    let other = cluster.leader().await;
    life.others_come_and_go(cluster.server(other)).await;
    life.has_heard_all().await;
    life.goes_on(cluster.server(other)).await;
    life.page.show().await;
    life.goes_on(cluster.server(other)).await;
}

#[tokio::test]
async fn a_frozen_page_goes_on_without_a_gap_though_its_server_was_killed() {
    let mut cluster = Cluster::start(3).await;
    let mut life = Life::of_cluster("frozen", &cluster).await;
    let home = home(&life, &cluster).await;
    life.page.hide().await;
    life.page.freeze().await;
    cluster.kill9(home);
    let other = cluster.leader().await;
    life.others_come_and_go(cluster.server(other)).await;
    cluster.restart(home).await;
    cluster.is_admitted(home).await;
    life.others_come_and_go(cluster.server(home)).await;
    life.page.wait_true("a page that stands still", "return life.still() > 2500").await;
    life.has_heard_nothing().await;
    life.page.thaw().await;
    life.was_told("resume").await;
    life.page.show().await;
    life.has_heard_all().await;
    life.goes_on(cluster.server(other)).await;
}

#[tokio::test]
async fn a_page_that_is_frozen_for_long_keeps_its_registration() {
    let server = Server::with(&["--heartbeat-ms", "300", "--session-grace-ms", "4000"]);
    let mut life = Life::begin("frozen-long", &server, &[server.url()]).await;
    life.page.hide().await;
    life.page.freeze().await;
    life.others_come_and_go(&server).await;
    // Three heartbeats and the grace, and half a second for a server that is late.
    life.page.wait_true("a page that stands still", "return life.still() > 5400").await;
    life.has_heard_nothing().await;
    life.is_registered(&server).await;
    life.page.thaw().await;
    life.page.show().await;
    life.has_heard_all().await;
    life.goes_on(&server).await;
}

#[tokio::test]
async fn a_page_that_was_left_goes_on_when_somebody_comes_back() {
    let cluster = Cluster::start(3).await;
    let mut life = Life::of_cluster("left", &cluster).await;
    life.leave().await;
    life.others_come_and_go(cluster.server(1)).await;
    life.page.back().await;
    // Else it is another page, which was loaded anew.
    life.was_told("pageshow again").await;
    life.has_heard_all().await;
    life.goes_on(cluster.server(1)).await;
}

#[tokio::test]
async fn the_next_page_of_a_site_takes_over_the_session_of_the_one_that_was_left() {
    let cluster = Cluster::start(3).await;
    let life = Life::of_cluster("turned", &cluster).await;
    let client = "return life.rollcall.welcome.client";
    let before = life.page.value(client).await;
    life.page.value("window.life = undefined").await;
    // The one that was left is kept and holds the lock of the client's id, until the next one asks.
    life.turn().await;
    life.registers_as_before().await;
    let after = life.page.value(client).await;
    life.page.assert_equal("the client's id", &after, &before).await;
    life.page.back().await;
    life.registers_as_before().await;
    life.page.wait_equal("the client's id", client, before).await;
    life.is_registered(cluster.server(1)).await;
}

/// The server that the page is at home with now.
async fn home(life: &Life, cluster: &Cluster) -> u64 {
    let script = "return (await life.rollcall.getStatus()).node";
    let home = life.page.value(script).await.as_u64().expect("a server's id is a number");
    assert!(cluster.running().contains(&home), "server {home} does not run");
    home
}

/// The last three timers of a tenth of a second took a whole one.
const SLOW: &str =
    "return life.seen.gaps.length > 3 && life.seen.gaps.slice(-3).every((gap) => gap > 900)";
