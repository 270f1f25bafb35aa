//! How the console looks to those who need contrast or stillness, in both schemes of colours.

use rollcall_tests::server::Server;
use serde_json::{Value, json};

use crate::console::Console;

#[tokio::test]
async fn text_can_be_read_in_light_and_dark() {
    let mut server = Server::start();
    let console = Console::open("look", &server).await;
    console.try_it().await;
    console.join("ann", "phone", "203.0.113.7", 4711).await;
    console.look_up("ann bob").await;
    console.join("bea", "default", "2001:db8::7", 443).await;
    console.leave("bea").await;
    console.page.click("#people [data-user=ann]").await;
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        console.page.emulate(&[("prefers-color-scheme", scheme)]).await;
        readable(&console, &format!("{scheme}, with drawer and details")).await;
        // As buttons are while what they asked for is under way.
        console.page.value(&all_buttons("setAttribute('aria-disabled', 'true')")).await;
        readable(&console, &format!("{scheme}, with busy buttons")).await;
        console.page.value(&all_buttons("removeAttribute('aria-disabled')")).await;
        let ground = "return getComputedStyle(document.body).backgroundColor";
        grounds.push(console.page.value(ground).await);
    }
    assert_ne!(grounds[0], grounds[1], "both schemes look the same");

    console.page.click("#tryit-close").await;
    readable(&console, "dark, with the feed").await;
    console.page.fill("#filter", "nobody at all").await;
    readable(&console, "dark, with a filter that nobody fits").await;
    console.page.click("#nomatch-clear").await;
    server.kill9();
    console.is_cut_off().await;
    for scheme in ["light", "dark"] {
        console.page.emulate(&[("prefers-color-scheme", scheme)]).await;
        readable(&console, &format!("{scheme}, cut off")).await;
    }
}

#[tokio::test]
async fn nothing_moves_for_who_wants_stillness() {
    let server = Server::with(&["--session-grace-ms", "100"]);
    let console = Console::open("stillness", &server).await;
    console.page.run_before_pages(include_str!("scripts/motions.js")).await;
    for (wish, moves) in [("no-preference", true), ("reduce", false)] {
        console.page.emulate(&[("prefers-reduced-motion", wish)]).await;
        console.page.reload().await;
        console.is_live().await;
        console.try_it().await;
        console.join("ann", "phone", "203.0.113.7", 4711).await;
        console.rows(&[("ann", "phone")]).await;
        console.page.click("#people [data-user=ann]").await;
        console.join("ann", "phone", "203.0.113.8", 4712).await;
        console.leave("ann").await;
        console.rows(&[]).await;
        console.page.click("#tryit-close").await;
        console.feed_says("ann left").await;
        console.page.value(LEADER_CHANGES).await;
        let motions = console.page.value("return motions").await;
        let any = motions.as_array().is_some_and(|motions| !motions.is_empty());
        console.page.assert_equal(&format!("motion with {wish}: {motions}"), any, moves).await;
    }
    console.page.assert_no_complaints().await;
}

/// Fails if a text has too little contrast, once nothing moves any more.
async fn readable(console: &Console, when: &str) {
    let still = "return document.getAnimations().every(one => one.playState !== 'running')";
    console.page.wait_true("an end of all motion", still).await;
    let found = console.page.value(include_str!("scripts/contrast.js")).await;
    let count = found["count"].as_u64().unwrap_or(0);
    console.page.assert_equal(&format!("bad contrast, {when}"), &found["bad"], &json!([])).await;
    assert!(count > 20, "{when}: only {count} texts were looked at: {}", Value::to_string(&found));
}

fn all_buttons(what: &str) -> String {
    format!("for (const button of document.querySelectorAll('.button')) button.{what}; return true")
}

/// Shows a cluster whose leader changes in the panel of servers: the one motion that one server
/// alone cannot cause.
const LEADER_CHANGES: &str = "const { Cluster } = await import(location.origin + '/cluster.js'); \
    const members = [1, 2].map(node => ({ node, url: `ws://127.0.0.1:710${node}/ws`, state: 'up' })); \
    const panel = new Cluster(); \
    for (const leader of [1, 2]) panel.show({ status: { node: 1, leader, role: 'follower', members } }); \
    return document.querySelectorAll('#members [data-role=leader]').length";
