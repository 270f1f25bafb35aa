//! A page whose network goes away and comes back.
//!
//! The DevTools protocol takes the page offline (`Network.emulateNetworkConditions`): it gets the
//! events, and opens no connection any more. WebSockets that are open Chromium leaves alone, so these
//! lead through a proxy which carries nothing meanwhile. The client's own next try is longer than a
//! test waits: only the event can bring the page back.

use rollcall_tests::{
    proxy::{Network, Proxy},
    server::Server,
};
use serde_json::json;

use crate::life::Life;

#[tokio::test]
async fn a_page_is_back_as_soon_as_the_network_is() {
    let (_network, proxy, server) = behind_a_proxy();
    let mut life = begin("offline", &proxy, &server).await;
    go_offline(&life, &proxy).await;
    life.others_come_and_go(&server).await;
    life.has_heard_nothing().await;
    come_back(&mut life, &proxy, &server).await;
}

#[tokio::test]
async fn a_hidden_page_is_back_as_soon_as_the_network_is() {
    let (_network, proxy, server) = behind_a_proxy();
    let mut life = begin("offline-hidden", &proxy, &server).await;
    life.page.hide().await;
    go_offline(&life, &proxy).await;
    life.others_come_and_go(&server).await;
    life.has_heard_nothing().await;
    come_back(&mut life, &proxy, &server).await;
    life.page
        .assert_equal("hidden", life.page.value("return document.hidden").await, json!(true))
        .await;
}

/// A server that clients know by the address of the proxy, and that takes no silent link for dead.
fn behind_a_proxy() -> (Network, Proxy, Server) {
    let network = Network::new();
    let proxy = network.open();
    let server = Server::advertised(&url(&proxy), &["--heartbeat-ms", "120000"]);
    proxy.lead_to(server.address());
    (network, proxy, server)
}

fn url(proxy: &Proxy) -> String {
    format!("ws://{}/ws", proxy.address())
}

async fn begin(name: &str, proxy: &Proxy, server: &Server) -> Life {
    let options = json!({ "minReconnectDelay": 120_000, "maxReconnectDelay": 120_000 });
    Life::with(name, server, &[url(proxy)], options).await
}

/// Takes the network away and waits until the page has noticed, and waits long before its next try.
async fn go_offline(life: &Life, proxy: &Proxy) {
    // A link on which something came just now is not asked for a sign of life.
    life.page.wait_true("a silent link", "return life.silent() > 1100").await;
    proxy.cut();
    life.page.go_offline().await;
    life.was_told("offline").await;
    life.page
        .wait("a page that waits", "return [life.seen.states.at(-1), Date.now()]", |found| {
            let at = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
            let waits = at(&found[0]["retry_at_ms"]) > at(&found[1]) + 60_000;
            if found[0]["state"] == "disconnected" && waits {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .await;
}

async fn come_back(life: &mut Life, proxy: &Proxy, server: &Server) {
    proxy.heal();
    life.page.go_online().await;
    life.was_told("online").await;
    life.has_heard_all().await;
    life.goes_on(server).await;
}
