//! Too few servers in the console: who is missing and what that means, the last list, and what follows when
//! servers come back, with their memory and without.

use rollcall_client::Client;
use rollcall_tests::{browser::Browser, cluster::Cluster, server::Server};
use serde_json::json;

use crate::{
    console::Console,
    panel::{Panel, join},
};

#[tokio::test]
async fn two_of_three_stop_and_wake_up() {
    let (mut cluster, console, home, lost, _ann) = begin("two-stopped").await;
    for id in lost {
        cluster.stop(id).await;
    }
    says_who_is_missing(&console, home, lost).await;
    for id in lost {
        cluster.cont(id);
    }
    console.panel("the whole cluster again", Panel::whole).await;
    console.is_live().await;
    console.page.wait_equal("colours again", GREYED, "none").await;
    console.page.wait_equal("the banner", BANNER, json!([null, null])).await;

    // Nobody left meanwhile, and what happens from now on shows.
    let _bob = join(&cluster, home, "bob").await;
    console.rows(&[("ann", "default"), ("bob", "default")]).await;
    console.nothing_happened_but(&["joined ann", "joined bob"]).await;
    console.complains_of_lost_servers_only().await;
}

#[tokio::test]
async fn two_of_three_lose_their_memory_and_then_all_do() {
    let (mut cluster, console, home, lost, _ann) = begin("two-killed").await;
    for id in lost {
        cluster.kill9(id);
    }
    says_who_is_missing(&console, home, lost).await;
    // Its server sends the page away, for there may be a better one: that changes nothing.
    let state = "return document.body.dataset.state";
    console.page.wait_equal("a page without a link", state, "disconnected").await;
    says_who_is_missing(&console, home, lost).await;
    asks_in_vain(&console).await;
    fits_a_phone(&console).await;

    for id in lost {
        cluster.restart(id).await;
    }
    let text = format!(
        "Servers {} and {} are back without memory, with no vote until a majority takes them in. \
         To begin anew with nobody registered, restart server {home} as well.",
        lost[0], lost[1]
    );
    console.page.wait_equal("what it means", BANNER, json!(["No quorum", text])).await;
    console
        .panel("one of three that counts", |panel| {
            let right = panel.with_role("blank") == lost && panel.health == "No quorum: 1 of 3";
            if right { Ok(()) } else { Err(format!("{panel:?}")) }
        })
        .await;

    cluster.kill9(home);
    cluster.restart(home).await;
    console.panel("another life of the cluster", Panel::whole).await;
    console.feed_says("The cluster began anew: its memory was lost").await;
    // Who is still there registers again by itself.
    console.rows(&[("ann", "default")]).await;
    console.is_live().await;
    console.complains_of_lost_servers_only().await;
}

#[tokio::test]
async fn a_page_that_comes_without_a_quorum_is_told_too() {
    let (mut cluster, console, home, lost, _ann) = begin("late").await;
    for id in lost {
        cluster.stop(id).await;
    }
    says_who_is_missing(&console, home, lost).await;
    console.page.reload().await;
    let banner = json!(["No quorum", missing(lost)]);
    console.page.wait_equal("the banner of a new page", BANNER, banner).await;
    // It has no list yet, and does not say that nobody is there.
    let view = "return [document.body.dataset.view, document.getElementById('people-empty').checkVisibility()]";
    console.page.wait_equal("no list", view, json!(["loading", false])).await;
    for id in lost {
        cluster.cont(id);
    }
    console.panel("the whole cluster again", Panel::whole).await;
    console.rows(&[("ann", "default")]).await;
    console.is_live().await;
}

#[tokio::test]
async fn a_cluster_that_has_not_begun_says_for_whom_it_waits() {
    let member = |id: u32| format!("{id}=ws://127.0.0.1:{id}/peer");
    let server = Server::with(&["--member", &member(2), "--member", &member(3)]);
    let page = Browser::open("not-begun", &server.http()).await;
    let text = "A new cluster begins once all of its servers have met. One that exists takes this \
        server in as soon as it has a leader.";
    page.wait_equal("the banner", BANNER, json!(["Waiting for servers 2 and 3", text])).await;
    let health = "return document.querySelector('#health span').textContent";
    page.wait_equal("health", health, "Starting: 1 of 3").await;
    page.assert_no_complaints().await;
}

/// A whole cluster, a console on one of its servers, the two other servers, and ann.
async fn begin(name: &str) -> (Cluster, Console, u64, [u64; 2], Client) {
    let cluster = Cluster::start(3).await;
    let console = Console::of(name, &cluster, 1).await;
    let ann = join(&cluster, 1, "ann").await;
    console.rows(&[("ann", "default")]).await;
    console.page.assert_equal("colours", console.page.value(GREYED).await, json!("none")).await;
    // On a busy machine it may have moved.
    let own = |panel: &Panel| panel.whole().and_then(|_| panel.own());
    let home = console.panel("the whole cluster and the page's server", own).await;
    let lost = cluster.others(home).try_into().expect("two others");
    (cluster, console, home, lost, ann)
}

/// Waits until the page says which two are missing and what that means, and shows the last list
/// greyed.
async fn says_who_is_missing(console: &Console, home: u64, lost: [u64; 2]) {
    console
        .panel("one of three", |panel| {
            let says = format!("server {home} does not reach it");
            let right = panel.health == "No quorum: 1 of 3"
                && panel.with_role("missing") == lost
                && lost.iter().all(|id| panel.cards[id].figures == says)
                && panel.with_role("leader").is_empty();
            if right { Ok(()) } else { Err(format!("{panel:?}")) }
        })
        .await;
    let banner = json!(["No quorum", missing(lost)]);
    console.page.wait_equal("the banner", BANNER, banner).await;
    console.page.wait_equal("a greyed list", GREYED, "grayscale(1)").await;
    console.rows(&[("ann", "default")]).await;
    console.nothing_happened_but(&["joined ann"]).await;
}

fn missing([one, other]: [u64; 2]) -> String {
    format!(
        "Servers {one} and {other} are missing. Until 2 of 3 are together, nobody can join, leave or \
         be looked up. The list is the last that was confirmed."
    )
}

/// In a narrow window the page does not scroll sideways, and what matters is in view.
async fn fits_a_phone(console: &Console) {
    console.page.resize(390, 800).await;
    let script = "const inside = id => { \
          const { left, right, top, bottom } = document.getElementById(id).getBoundingClientRect(); \
          return right > left && left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight; }; \
        const cards = [...document.querySelectorAll('#members > .member')]; \
        return [innerWidth < 760, document.documentElement.scrollWidth <= innerWidth, inside('health'), \
          inside('page-state'), inside('banner'), cards.filter(card => card.checkVisibility()).length]";
    let expected = json!([true, true, true, true, true, 3]);
    console.page.wait_equal("the page on a phone", script, expected).await;
    console.page.resize(1440, 900).await;
}

/// Asking something says why there is no answer.
async fn asks_in_vain(console: &Console) {
    console.try_it().await;
    console.page.fill("#lookup-form [name=usernames]", "ann").await;
    console.page.click("#lookup-form [type=submit]").await;
    let refused = "const result = document.getElementById('lookup-result'); \
        return [result.dataset.tone, result.innerText]";
    let words = json!(["bad", "The cluster has no quorum now; nothing was changed. no_quorum"]);
    console.page.wait_equal("the refusal", refused, words).await;
    console.page.click("#tryit-close").await;
}

const BANNER: &str = "return ['title', 'text'].map(part => document.getElementById(`banner-${part}`)) \
    .map(node => node.checkVisibility() ? node.textContent : null)";

const GREYED: &str = "return getComputedStyle(document.querySelector('.people')).filter";
