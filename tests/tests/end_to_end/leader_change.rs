//! A real cluster of three in the console: who leads, a leader that is killed and comes back, and a page
//! whose own server is gone.

use rollcall_tests::{cluster::Cluster, http};
use serde_json::json;

use crate::{
    console::Console,
    panel::{Panel, join},
    types,
};

#[tokio::test]
async fn a_killed_leader_is_missing_until_it_is_back_and_another_one_leads() {
    let mut cluster = Cluster::start(3).await;
    let first = cluster.leader().await;
    let [home, other] = cluster.others(first).try_into().expect("two others");
    let console = Console::of("leader-killed", &cluster, home).await;
    console.panel("who leads", Panel::leader).await;
    console.page.value(COUNT_CROWNS).await;
    let _ann = join(&cluster, other, "ann").await;
    console.rows(&[("ann", "default")]).await;
    console.panel("the whole cluster", Panel::whole).await;
    is_of_the_declared_types(&cluster).await;

    let first = console.panel("who leads", Panel::leader).await;
    cluster.kill9(first);
    let second = console
        .panel("another leader, the old one missing", |panel| {
            let leader = panel.leader()?;
            let words = format!("Degraded: 2 of 3, server {leader} leads");
            let missing = &panel.cards[&first];
            let says = format!("server {} does not reach it", panel.own()?);
            let right = panel.health == words
                && panel.with_role("missing") == [first]
                && !missing.up
                && missing.figures == says;
            if right && leader != first { Ok(leader) } else { Err(format!("{panel:?}")) }
        })
        .await;
    console.feed_says(&format!("Server {first} is missing")).await;
    console.feed_says(&format!("Server {second} leads now")).await;
    is_of_the_declared_types(&cluster).await;

    let _bob = join(&cluster, cluster.running()[0], "bob").await;
    console.rows(&[("ann", "default"), ("bob", "default")]).await;

    cluster.restart(first).await;
    console.panel("the whole cluster again", Panel::whole).await;
    console.feed_says(&format!("Server {first} is back")).await;
    console.nothing_happened_but(&["joined ann", "joined bob"]).await;
    console.rows(&[("ann", "default"), ("bob", "default")]).await;

    // A new leader's card gives one sign; one that leads again after a while without gives none.
    let (crowned, led) = (crowns(&console).await, led(&console).await);
    assert!(led.len() > 1 && led.contains(&second), "server {second} is not among {led:?}");
    console.page.assert_equal("signs", &crowned[..], &led[1..]).await;
    console.complains_of_lost_servers_only().await;
}

#[tokio::test]
async fn a_page_moves_on_when_its_server_is_killed() {
    let mut cluster = Cluster::start(3).await;
    // Its server is the leader too: nothing worse can happen to one of three.
    let home = cluster.leader().await;
    let away = cluster.others(home)[0];
    let console = Console::of("own-server-killed", &cluster, home).await;
    let _ann = join(&cluster, away, "ann").await;
    console.try_it().await;
    console.join("bea", "phone", "203.0.113.7", 4711).await;
    let both = [("ann", "default"), ("bea", "phone")];
    console.rows(&both).await;
    let before = console.panel("the whole cluster", Panel::whole).await;
    let home = home_of(&console).await;

    cluster.kill9(home);
    let (leader, own) = console
        .panel("the page with another server", |panel| {
            let (leader, own) = (panel.leader()?, panel.own()?);
            let right = panel.health == format!("Degraded: 2 of 3, server {leader} leads")
                && panel.with_role("missing") == [home];
            if right && own != home { Ok((leader, own)) } else { Err(format!("{panel:?}")) }
        })
        .await;
    let address = cluster.address(own);
    console.feed_says(&format!("This page moved to server {own}, {address}")).await;
    console.feed_says(&format!("Server {home} is missing")).await;
    if leader != before {
        console.feed_says(&format!("Server {leader} leads now")).await;
    }
    console.is_live().await;

    // What the page holds and sees has come along.
    let _carl = join(&cluster, cluster.running()[0], "carl").await;
    console.rows(&[both[0], both[1], ("carl", "default")]).await;
    let (users, unknown, _) = console.look_up("ann bea carl").await;
    assert_eq!((users, unknown), (json!(["ann", "bea", "carl"]), json!([])));
    assert_eq!(console.take_number().await, 1);
    console.leave("bea").await;
    console.rows(&[both[0], ("carl", "default")]).await;
    console.nothing_happened_but(&["joined ann", "joined bea", "joined carl", "left bea"]).await;

    // Where it came from is one of three again, and what the page may move to next.
    cluster.restart(home).await;
    console.panel("the whole cluster again", Panel::whole).await;
    cluster.kill9(own);
    console
        .panel("the page with a third server", |panel| {
            let third = panel.own()?;
            if third != own && panel.with_role("missing") == [own] {
                panel.leader()
            } else {
                Err(format!("{panel:?}"))
            }
        })
        .await;
    console.rows(&[both[0], ("carl", "default")]).await;
    console.nothing_happened_but(&["joined ann", "joined bea", "joined carl", "left bea"]).await;
    console.complains_of_lost_servers_only().await;
}

#[tokio::test]
async fn a_page_leaves_a_server_that_does_not_answer() {
    let mut cluster = Cluster::start(3).await;
    let console = Console::of("own-server-silent", &cluster, 1).await;
    let _ann = join(&cluster, 2, "ann").await;
    console.rows(&[("ann", "default")]).await;
    console.panel("the whole cluster", Panel::whole).await;
    let home = home_of(&console).await;

    cluster.stop(home).await;
    let own = console
        .panel("the page with another server", |panel| {
            let own = panel.own()?;
            if own == home { Err(format!("{panel:?}")) } else { Ok(own) }
        })
        .await;
    let address = cluster.address(own);
    console.feed_says(&format!("This page moved to server {own}, {address}")).await;
    console.feed_says(&format!("Server {home} is missing")).await;
    let _bob = join(&cluster, own, "bob").await;
    console.rows(&[("ann", "default"), ("bob", "default")]).await;

    cluster.cont(home);
    console.panel("the whole cluster again", Panel::whole).await;
    console.is_live().await;
    console.nothing_happened_but(&["joined ann", "joined bob"]).await;
    console.complains_of_lost_servers_only().await;
}

/// The server that the page is at home with. Which one that is, chance decides while a page opens its
/// links; what it shows is from when it asked last, which it does each second.
async fn home_of(console: &Console) -> u64 {
    let asked = "return new Promise((done) => setTimeout(() => done(true), 2200))";
    console.page.value(asked).await;
    console.panel("the page's server", Panel::own).await
}

/// Holds what the running servers say of themselves against the types of the browser client.
async fn is_of_the_declared_types(cluster: &Cluster) {
    let running = cluster.running();
    let path = "/client/rollcall.d.ts";
    let declared = http::get(cluster.server(running[0]), path).await.text();
    for id in running {
        let status = cluster.status(id).await.expect("it runs");
        types::check(&declared, "Status", &status);
    }
}

/// Who led, as the page told it, from the leader on that was shown when [`COUNT_CROWNS`] began.
async fn led(console: &Console) -> Vec<u64> {
    let script = "return [window.crownedFrom, ...window.told().slice(window.toldBefore)]";
    let found = console.page.value(script).await;
    let mut nodes: Vec<u64> = serde_json::from_value(found).expect("numbers");
    nodes.dedup();
    nodes
}

/// At which servers' cards the page gave a sign that the leadership came there, in order.
async fn crowns(console: &Console) -> Vec<u64> {
    let found = console.page.value("return window.crowned").await;
    serde_json::from_value(found).expect("numbers")
}

const COUNT_CROWNS: &str = "window.told = () => [...document.querySelectorAll('#feed li .words')].reverse() \
      .map(line => /^Server ([0-9]+) leads now$/.exec(line.textContent)).filter(Boolean).map(found => Number(found[1])); \
    window.toldBefore = window.told().length; \
    window.crownedFrom = Number(document.querySelector('#members [data-role=leader]').dataset.node); \
    window.crowned = []; const { animate } = Element.prototype; \
    Element.prototype.animate = function (...words) { \
      if (this.matches('.member')) window.crowned.push(Number(this.dataset.node)); \
      return animate.apply(this, words); }; \
    return true";
