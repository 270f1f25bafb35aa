//! The console's top bar and panel of servers: how the cluster is, in words, and how this page is
//! linked to it.

use rollcall_tests::{server::Server, wire::Client};
use serde_json::{Value, json};

use crate::console::Console;

#[tokio::test]
async fn the_panel_says_what_the_server_says_of_itself() {
    let server = Server::patient();
    let mut client = Client::new(&server).await;
    client.register("ann", 4711).await;
    let console = Console::open("cluster-panel", &server).await;
    let page = &console.page;
    let healthy = json!(["Healthy: 1 of 1, server 1 leads", "ok", "Live, server 1"]);
    page.wait_equal("health in words", WORDS, healthy).await;
    page.wait_equal("the title", "return document.title", "1 here · Rollcall").await;

    let status = client.call("GetStatus", json!({})).await;
    let id = status["cluster"].as_str().expect("the cluster has an id");
    page.wait_equal("the cluster's id", CLUSTER, json!([&id[..8], id])).await;
    let host = server.address().to_string();
    page.wait_equal(
        "one card, with epoch and links",
        MEMBERS,
        json!([{
            "node": "1", "role": "leader", "up": "true", "title": "Server 1 leader this page",
            "url": host, "figures": format!("epoch {} · 2 links", status["epoch"]),
        }]),
    )
    .await;
    let facts = page.value(FACTS).await;
    let expected = [("Registrations", json!("1")), ("Version", status["version"].clone())];
    for (name, value) in expected {
        page.assert_equal(name, &facts[name], &value).await;
    }
    let revision = facts["Revision"].as_str().unwrap_or_default().trim_start_matches('…');
    let newest = status["revision"].to_string();
    page.assert_equal("the end of the revision", newest.ends_with(revision), true).await;
    page.assert_equal("it is one", revision.is_empty(), false).await;
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn the_top_bar_says_that_nothing_is_known_any_more_and_who_is_there_again() {
    let mut server = Server::start();
    let console = Console::open("top-bar", &server).await;
    let page = &console.page;
    let before = page.wait("an id", CLUSTER, known_id).await;
    server.kill9();
    let unknown = json!(["Unknown: this page is cut off", "bad", "Cut off"]);
    page.wait_equal("no health", WORDS, unknown).await;
    let titled = "return document.title";
    page.wait_equal("the title", titled, "This page is cut off · Rollcall").await;
    server.restart();
    let healthy = json!(["Healthy: 1 of 1, server 1 leads", "ok", "Live, server 1"]);
    page.wait_equal("health again", WORDS, healthy).await;
    // Its memory is lost: that is another life of the cluster.
    page.wait("another id", CLUSTER, |found| {
        known_id(found).and_then(|id| if id == before { Err("the old id".into()) } else { Ok(id) })
    })
    .await;
}

#[tokio::test]
async fn a_cluster_of_several_servers_is_a_card_for_each() {
    let server = Server::start();
    let console = Console::open("cards", &server).await;
    // More kinds than a real one has at once: a panel of its own shows them, in a place of its own.
    let script = format!("{SHOW_SIX} {MEMBERS}");
    let card = |node: &str, role: &str, up: &str, title: &str, figures: &str| {
        let url = format!("127.0.0.1:710{node}");
        json!({ "node": node, "role": role, "up": up, "title": title, "url": url, "figures": figures })
    };
    let found = console.page.value(&script).await;
    let expected = json!([
        card(
            "1",
            "follower",
            "true",
            "Server 1 follower this page",
            "epoch 9 · in step · 12 links"
        ),
        card("2", "leader", "true", "Server 2 leader", "epoch 9 · 1 link"),
        card("3", "missing", "false", "Server 3 missing", "server 1 does not reach it"),
        card("4", "blank", "true", "Server 4 blank", "epoch 0 · 1,204 entries behind · 0 links"),
        // It has not heard yet that another one leads.
        card("5", "leader before", "true", "Server 5 leader before", "epoch 8 · 2 links"),
        card("6", "up", "true", "Server 6 up", ""),
    ]);
    console.page.assert_equal("six cards", found, expected).await;
}

fn known_id(found: &Value) -> Result<Value, String> {
    if found[1].is_string() { Ok(found[1].clone()) } else { Err(format!("{found}")) }
}

const WORDS: &str = "return [document.querySelector('#health span').textContent, \
    document.body.dataset.health, document.querySelector('#page-state span').textContent]";

/// The cluster's id as it is shown, and the whole of it, where it is shown.
const CLUSTER: &str = "const button = document.getElementById('cluster-id'); \
    return button.checkVisibility() ? [button.textContent, button.dataset.id] : []";

const MEMBERS: &str = "return [...document.querySelectorAll('#members > .member')].map(card => { \
    const text = part => card.querySelector(part).innerText.replace(/\\s+/g, ' ').trim(); \
    const { node, role, up } = card.dataset; \
    return { node, role, up, title: text('.title'), url: text('.url'), figures: text('.figures') }; })";

const FACTS: &str = "return Object.fromEntries([...document.querySelectorAll('#facts div')] \
    .map(fact => [fact.querySelector('dt').textContent, fact.querySelector('dd').textContent]))";

/// Puts another list in the place of the panel's, which the page goes on to fill elsewhere.
const SHOW_SIX: &str = "const { Cluster } = await import(location.origin + '/cluster.js'); \
    const list = document.getElementById('members'); \
    list.replaceWith(list.cloneNode(false)); \
    const member = (node, more) => ({ node, url: `ws://127.0.0.1:710${node}/ws`, state: 'up', ...more }); \
    const members = [member(3, { state: 'down', role: 'leader', links: 4 }), \
        member(2, { role: 'leader', epoch: 8, lag: 0, links: 1 }), \
        member(1, { role: 'follower', epoch: 9, lag: 0, links: 12 }), \
        member(4, { role: 'blank', epoch: 0, lag: 1204, links: 0 }), \
        member(5, { role: 'leader', epoch: 8, links: 2 }), member(6)]; \
    const status = { node: 1, role: 'follower', leader: 2, epoch: 9, connections: 12, members }; \
    new Cluster().show({ standing: 'live', status });";
