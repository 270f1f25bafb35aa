//! The console with thousands of people, by keyboard, and as narrow as a phone.

use rollcall_tests::{server::Server, wire::Client};
use serde_json::json;

use crate::console::Console;

#[tokio::test]
async fn thousands_of_people_are_a_few_rows_that_keys_and_a_phone_reach() {
    let server = Server::patient();
    let mut client = Client::new(&server).await;
    for number in 0..PEOPLE {
        client.register(&format!("person-{number:04}"), 4711).await;
    }
    let console = Console::open("many_people", &server).await;
    let page = &console.page;
    let count = "return Number(document.getElementById('people-count').dataset.value)";
    page.wait_equal("everybody", count, PEOPLE).await;
    // Only what can be seen is drawn: that is why thousands do not stutter.
    let drawn =
        "const n = document.querySelectorAll('[data-user]').length; return n > 5 && n < 150";
    page.wait_true("a screenful of rows", drawn).await;

    page.value(&press("/")).await;
    page.wait_equal("the focus", "return document.activeElement.id", "filter").await;
    page.fill("#filter", "person-4321").await;
    console.rows(&[("person-4321", "default")]).await;

    page.click("#tryit-toggle").await;
    let open = "return document.getElementById('tryit-toggle').getAttribute('aria-expanded')";
    page.wait_equal("the drawer open", open, "true").await;
    page.value(&press("Escape")).await;
    page.wait_equal("the drawer closed by Escape", open, "false").await;
    let nameless = page.value(NAMELESS).await;
    page.assert_equal("controls without a name", nameless, json!([])).await;

    page.resize(390, 800).await;
    // The scroll bar of the page, which is long now, takes a part of its width.
    let fits = "return document.documentElement.scrollWidth <= innerWidth && innerWidth < 760";
    page.wait_true("a page no wider than a phone", fits).await;
    console.rows(&[("person-4321", "default")]).await;
    page.assert_no_complaints().await;
}

/// A key as the focused element gets it.
fn press(key: &str) -> String {
    format!(
        "(document.activeElement ?? document.body).dispatchEvent(\
         new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }})); return true"
    )
}

/// Controls that are there and that a screen reader could not name.
const NAMELESS: &str = "return [...document.querySelectorAll('button, input')].filter(it => it.checkVisibility() && \
    !(it.innerText || it.textContent || '').trim() && !it.ariaLabel && \
    !it.getAttribute('aria-labelledby') && !(it.labels && it.labels.length)).map(it => it.outerHTML)";
const PEOPLE: u64 = 5000;
