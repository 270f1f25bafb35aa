//! The list with thousands of people while hundreds come, go and move: the page's work is bounded by
//! what can be seen, nothing jumps, and in the end the list is right.
//!
//! Work is counted, not timed: the machine may be busy.

use rollcall_tests::{server::Server, wire::Client};
use serde_json::json;

use crate::{console::Console, people};

#[tokio::test]
async fn a_burst_among_thousands_is_as_much_work_as_what_is_seen() {
    let (server, mut actor) = crowd(PEOPLE).await;
    let console = Console::open("burst", &server).await;
    let page = &console.page;
    page.wait_equal("everybody", COUNT, PEOPLE).await;
    page.value(SCROLL_TO_THE_MIDDLE).await;
    page.wait_true("rows in the middle", DRAWN).await;
    page.value(&watch("null, y = null")).await;

    // Above the view, in it, and below it.
    for number in 0..BURST {
        let old = number * PEOPLE / BURST;
        match number % 3 {
            0 => send(&mut actor, "ConnectUser", &format!("person-{old:04}-new"), 1).await,
            1 => send(&mut actor, "ConnectUser", &format!("person-{old:04}"), 2).await,
            _ => send(&mut actor, "DisconnectUser", &format!("person-{old:04}"), 0).await,
        }
    }
    actor.reply(actor.last_id()).await;
    let names: Vec<String> = (0..PEOPLE)
        .map(|n| format!("person-{n:04}"))
        .chain((0..BURST).step_by(3).map(|n| format!("person-{:04}-new", n * PEOPLE / BURST)))
        .collect();
    let expected = look_up(&mut actor, &names).await;
    console.shows("what a lookup says", &expected).await;
    page.wait_true("an end of the drawing", SETTLED).await;

    let seen = page.value("return finish()").await;
    eprintln!("the page did {seen}");
    let count = |what: &str| seen[what].as_u64().expect("a count");
    assert!(count("rows") <= ROWS_MOST, "rows in the DOM: {seen}");
    assert!(count("most") <= CHANGES_OF_A_FRAME, "changes of the DOM in one frame: {seen}");
    // Whoever is looked at stays in place, whatever comes and goes above.
    page.assert_equal("places of a row in view", seen["tops"].as_array().map(Vec::len), Some(1))
        .await;
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn a_thousand_changes_at_once_are_drawn_once() {
    let (server, _actor) = crowd(PEOPLE / 10).await;
    let console = Console::open("at-once", &server).await;
    let page = &console.page;
    page.wait_equal("everybody", COUNT, PEOPLE / 10).await;
    page.wait_true("rows", DRAWN).await;
    page.value(&watch("null, y = null")).await;
    // As one message of the socket after another, before the next frame.
    page.value(APPLY_2000).await;
    page.wait_equal("those who joined", COUNT, PEOPLE / 10 + 1000).await;
    page.wait_true("an end of the drawing", SETTLED).await;
    let seen = page.value("return finish()").await;
    eprintln!("the page did {seen}");
    let total = seen["total"].as_u64().expect("a count");
    assert!(total < 200, "2,000 changes made {total} changes of the DOM: {seen}");
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn rows_never_move_under_the_pointer() {
    let (server, mut actor) = crowd(60).await;
    let console = Console::open("pointer", &server).await;
    let page = &console.page;
    page.wait_equal("everybody", COUNT, 60).await;
    let place = page.value(FIFTH_ROW).await;
    let at = |axis: usize| place[axis].as_f64().expect("a place in the window");
    page.point_at(at(0), at(1)).await;
    page.value(&watch(&format!("{}, y = {}", at(0), at(1)))).await;
    for number in 0..30 {
        send(&mut actor, "ConnectUser", &format!("above-{number}"), 1).await;
    }
    for name in ["person-0000", "person-0001"] {
        send(&mut actor, "DisconnectUser", name, 0).await;
    }
    actor.reply(actor.last_id()).await;
    // The count is right at once; the rows wait, and that is said, until the pointer has rested.
    page.wait_equal("the new count", COUNT, 88).await;
    page.wait_true("everything merged around the row", ALL_MERGED).await;
    let seen = page.value("return finish()").await;
    page.assert_equal("who stood under the pointer", &seen["under"], &place[2]).await;
    page.assert_equal("what waits", page.value(HELD).await, json!(null)).await;

    // Where it goes away, nothing waits any more: from the top, those who joined.
    page.point_at(5.0, 5.0).await;
    page.value("document.getElementById('people').scrollTop = 0").await;
    page.wait_equal("the first row", FIRST_ROW, "above-0").await;
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn what_waits_for_the_pointer_is_said_and_a_click_takes_it_in() {
    let (server, mut actor) = crowd(5).await;
    let console = Console::open("held", &server).await;
    let page = &console.page;
    page.wait_equal("everybody", COUNT, 5).await;
    let place = page.value(FIFTH_ROW).await;
    let at = |axis: usize| place[axis].as_f64().expect("a place in the window");
    page.value(&keep_pointing(at(0), at(1))).await;
    actor.register("above", 1).await;
    actor.unregister("person-0000").await;
    page.wait_equal("what waits", HELD, "1 new, 1 gone").await;
    page.wait_equal("the first row, which has left", FIRST_ROW, json!(null)).await;
    page.value("clearInterval(pointing); return true").await;
    page.click("#held").await;
    page.wait_equal("the first row", FIRST_ROW, "above").await;
    page.wait_equal("nothing that waits", HELD, json!(null)).await;
    page.assert_no_complaints().await;
}

#[tokio::test]
async fn the_keyboard_reaches_everybody_and_their_details() {
    let (server, _actor) = crowd(60).await;
    let console = Console::open("keyboard", &server).await;
    let page = &console.page;
    page.wait_equal("everybody", COUNT, 60).await;
    page.value("document.getElementById('people').focus(); return true").await;
    page.press("ArrowDown").await;
    page.wait_equal("the first row", ACTIVE, "person-0000").await;
    page.press("ArrowDown").await;
    page.wait_equal("the second row", ACTIVE, "person-0001").await;
    page.press("Enter").await;
    page.wait_equal("its details", DETAIL, "person-0001").await;
    page.press("End").await;
    page.wait_equal("the last row", ACTIVE, "person-0059").await;
    page.wait_equal("the last one's details", DETAIL, "person-0059").await;
    page.press("Escape").await;
    page.wait_equal("no details", DETAIL, json!(null)).await;
    page.press("Home").await;
    page.wait_equal("the first row again", ACTIVE, "person-0000").await;
    page.press("Enter").await;
    page.wait_equal("its details", DETAIL, "person-0000").await;
    page.press("Enter").await;
    page.wait_equal("no details again", DETAIL, json!(null)).await;
    page.assert_no_complaints().await;
}

/// A server with so many people, all held by one client.
async fn crowd(people: u64) -> (Server, Client) {
    let server = Server::patient();
    let mut client = Client::new(&server).await;
    for number in 0..people {
        send(&mut client, "ConnectUser", &format!("person-{number:04}"), 1).await;
    }
    client.reply(client.last_id()).await;
    (server, client)
}

/// Sends a write, and now and then waits for the replies, as the window demands.
async fn send(client: &mut Client, kind: &str, username: &str, port: u16) {
    let payload = json!({ "username": username, "ip": "203.0.113.7", "port": port });
    let id = client.submit(kind, payload).await;
    if id % 32 == 0 {
        client.reply(id).await;
    }
}

async fn look_up(client: &mut Client, names: &[String]) -> people::People {
    let mut found = people::People::new();
    for names in names.chunks(1000) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        found.extend(people::from_users(&client.lookup(&names).await["users"]));
    }
    found
}

fn watch(place: &str) -> String {
    format!("const x = {place}; {}", include_str!("scripts/watch_list.js"))
}

/// A pointer that never rests, as a hand's does.
fn keep_pointing(x: f64, y: f64) -> String {
    format!(
        "const grid = document.getElementById('people'); \
         const move = () => grid.dispatchEvent(new PointerEvent('pointermove', {{ clientX: {x}, clientY: {y} }})); \
         window.pointing = setInterval(move, 100); move(); return true"
    )
}

const PEOPLE: u64 = 5000;
const BURST: u64 = 900;
/// Rows that a list of any length may have in the DOM.
const ROWS_MOST: u64 = 100;
/// Attributes, texts and elements that may change in one frame: of each row a few, and of the feed.
const CHANGES_OF_A_FRAME: u64 = 500;

const COUNT: &str = "return Number(document.getElementById('people-count').dataset.value)";
const SCROLL_TO_THE_MIDDLE: &str = "const people = document.getElementById('people'); people.scrollTop = people.scrollHeight / 2; \
     return people.scrollTop";
/// The rows of what is in view now.
const DRAWN: &str = "const { top, bottom } = document.getElementById('people').getBoundingClientRect(); \
    return [...document.querySelectorAll('#people [data-user]')].filter(row => { \
      const place = row.getBoundingClientRect(); \
      return place.top > top && place.bottom < bottom; }).length >= 5";
/// Nothing was drawn for some frames.
const SETTLED: &str = "const before = watched().total; \
    for (let i = 0; i < 20; i += 1) await new Promise(requestAnimationFrame); \
    return watched().total - before < 3";
const FIRST_ROW: &str = "const rows = [...document.querySelectorAll('#people .person')] \
    .filter(row => row.checkVisibility()).sort((a, b) => a.ariaRowIndex - b.ariaRowIndex); \
    return rows[0].dataset.user ?? null";
/// Where the middle of the fifth row is, and who is there.
const FIFTH_ROW: &str = "const rows = [...document.querySelectorAll('#people [data-user]')] \
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex); \
    const { left, top, width, height } = rows[4].getBoundingClientRect(); \
    return [left + width / 2, top + height / 2, [rows[4].dataset.user]]";
const ALL_MERGED: &str = "return document.getElementById('people').ariaRowCount === '89'";
const HELD: &str = "const held = document.getElementById('held'); \
    return held.checkVisibility() ? held.textContent : null";
const ACTIVE: &str = "const id = document.getElementById('people').getAttribute('aria-activedescendant'); \
    return (id && document.getElementById(id)?.dataset.user) ?? null";
const DETAIL: &str = "const detail = document.getElementById('detail'); \
    return detail.checkVisibility() ? detail.querySelector('h3').textContent : null";
/// A thousand people join, and each moves.
const APPLY_2000: &str = "const { store } = rollcallConsole; \
    for (const type of ['UserConnected', 'UserUpdated']) { \
      for (let i = 0; i < 1000; i += 1) store.apply({ type, username: `person-${i}x`, device: 'default', \
        ip: '203.0.113.8', port: type.length, revision: 2 ** 52 + i, online: true }); } \
    return true";
