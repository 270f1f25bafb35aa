//! The designed states of the console that one server can bring about: first start, loading, cut off,
//! not allowed, storms.

use rollcall_tests::{command::Running, server::Server, wire::Client};
use serde_json::json;

use crate::console::Console;

#[tokio::test]
async fn the_first_start_says_how_to_make_someone_appear() {
    let server = Server::start();
    let console = Console::open("first-start", &server).await;
    let page = &console.page;
    let text = "return document.getElementById('people-empty').innerText";
    page.wait_true("the empty state", &shown("people-empty")).await;
    let words = page.value(text).await;
    let words = words.as_str().expect("text of an element is text");
    assert!(words.contains("Nobody here yet"), "{words}");
    let command = page.value("return document.getElementById('empty-command').textContent").await;
    let command = command.as_str().expect("text of an element is text");

    // What it says is what one can do.
    let mut arguments = command.split_whitespace();
    assert_eq!(arguments.next(), Some("rollcall"), "{command}");
    let joins = Running::start(&arguments.collect::<Vec<_>>());
    console.rows(&[("ann", "default")]).await;
    page.wait_equal("the empty state", &shown("people-empty"), false).await;

    page.fill("#filter", "zzz").await;
    page.wait_true("the state of no match", &shown("people-nomatch")).await;
    let asked = "return document.getElementById('nomatch-text').textContent";
    page.wait_equal("what was looked for", asked, "zzz").await;
    page.click("#nomatch-clear").await;
    console.rows(&[("ann", "default")]).await;
    joins.interrupt();
    page.wait_true("the empty state again", &shown("people-empty")).await;
    page.click("#empty-tryit").await;
    page.wait_true("the drawer", &shown("tryit")).await;
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn a_page_that_waits_for_its_first_answer_is_loading() {
    let server = Server::start();
    let console = Console::open("loading", &server).await;
    let page = &console.page;
    page.run_before_pages(SILENT).await;
    page.reload().await;
    let view = "return [document.body.dataset.view, document.body.dataset.health, \
                document.querySelector('#health span').textContent]";
    page.wait_equal("the loading state", view, json!(["loading", "unknown", "Connecting"])).await;
    page.wait_true("the skeleton of a list", &shown("people-loading")).await;
    page.wait_equal("the empty state", &shown("people-empty"), false).await;
    let count = "return document.getElementById('people-count').textContent";
    page.wait_equal("no count yet", count, "–").await;
}

#[tokio::test]
async fn a_page_that_is_cut_off_keeps_its_last_picture_greyed_and_counts_down() {
    let mut server = Server::start();
    let console = Console::open("cut-off", &server).await;
    let page = &console.page;
    console.try_it().await;
    console.join("ann", "phone", "203.0.113.7", 4711).await;
    page.wait_equal("colours", GREYED, "none").await;
    server.kill9();
    console.is_cut_off().await;
    page.wait_equal("a greyed list", GREYED, "grayscale(1)").await;
    console.rows(&[("ann", "phone")]).await;
    page.wait("the banner's words", BANNER, |found| {
        let text = |index: usize| found[index].as_str().unwrap_or_default();
        let since = digits(text(1)) == "Since 00:00:00. You see the last picture it had.";
        let next = ["0 s, next try in 0 s", "0 s, trying now"].contains(&&*shortened(text(2)));
        let right = text(0) == "This page is cut off" && since && next;
        if right { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
    server.restart();
    console.is_live().await;
    page.wait_equal("colours again", GREYED, "none").await;
    page.wait_equal("the banner", &shown("banner"), false).await;
}

#[tokio::test]
async fn a_page_whose_token_does_not_allow_it_says_so() {
    let server = Server::start();
    let console = Console::open("forbidden", &server).await;
    let page = &console.page;
    page.run_before_pages(include_str!("scripts/forbidding.js")).await;
    page.reload().await;
    page.wait_true("the notice", &shown("notice")).await;
    let words = "return [document.body.dataset.view, \
        document.querySelector('#health span').textContent, \
        document.getElementById('notice-title').innerText, \
        document.getElementById('notice-text').innerText, \
        document.getElementById('token-form').checkVisibility()]";
    let expected = json!([
        "refused",
        "Not allowed",
        "Not allowed",
        "The token is valid but does not allow watching everyone.",
        true
    ]);
    page.wait_equal("what it says", words, expected).await;
}

#[tokio::test]
async fn hundreds_who_come_at_once_are_one_line() {
    let server = Server::start();
    let console = Console::open("storm", &server).await;
    let page = &console.page;
    page.value(APPLY_300).await;
    console.feed_says("300 people joined in 1 s").await;
    let lines = "return document.querySelectorAll('#feed li').length";
    page.wait_equal("lines of the feed", lines, 1).await;
    page.wait_equal("some of the names", NAMES, "guest-0, guest-1, guest-2 and 297 more").await;

    // Real ones too, as fast as they come: what is told adds up to all of them.
    page.reload().await;
    console.is_live().await;
    let mut client = Client::new(&server).await;
    for number in 0..300 {
        let payload = json!({ "username": format!("guest-{number}"), "ip": "::1", "port": 1 });
        let id = client.submit("ConnectUser", payload).await;
        if id % 32 == 0 {
            client.reply(id).await;
        }
    }
    page.wait_equal("everybody told", TOLD, 300).await;
    page.wait_true(
        "a storm among the lines",
        "return document.querySelector('#feed .storm') !== null",
    )
    .await;
    page.assert_no_complaints().await;
}

/// Whether an element can be seen.
fn shown(id: &str) -> String {
    format!("return document.getElementById('{id}').checkVisibility()")
}

/// Every digit as 0.
pub(crate) fn digits(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// Every number as 0.
fn shortened(text: &str) -> String {
    let mut text = digits(text);
    while text.contains("00") {
        text = text.replace("00", "0");
    }
    text
}

/// A WebSocket that never gets anywhere.
const SILENT: &str = "window.WebSocket = class { readyState = 0; addEventListener() {} removeEventListener() {} \
    close() {} send() {} };";

const GREYED: &str = "return getComputedStyle(document.querySelector('.people')).filter";

const BANNER: &str = "return ['title', 'text', 'count'].map(part => document.getElementById(`banner-${part}`)) \
    .map(node => node.checkVisibility() ? node.textContent : null)";

/// All in the same moment, as one page may hear it.
const APPLY_300: &str = "const now = Date.now(); \
    for (let i = 0; i < 300; i += 1) rollcallConsole.store.apply({ type: 'UserConnected', username: `guest-${i}`, \
      device: 'default', ip: '203.0.113.7', port: 1, revision: 2 ** 52 + i, online: true }, now); \
    return true";

const NAMES: &str = "return document.querySelector('#feed .storm small').textContent";

/// How many joined by the words of the feed.
const TOLD: &str = "return [...document.querySelectorAll('#feed li .words')].map(line => line.textContent) \
    .map(line => /^([0-9,]+) (people )?joined/.exec(line)?.[1].replace(',', '') ?? (/ joined/.test(line) ? 1 : 0)) \
    .reduce((sum, n) => sum + Number(n), 0)";
