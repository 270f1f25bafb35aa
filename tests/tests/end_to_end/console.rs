//! The web console as a person uses it: who it shows, what happened, and its "Try it" drawer.
//!
//! Reads the page by the hooks it offers (`data-…`, `rollcallConsole`) and by the words it shows.

use std::collections::BTreeMap;

use rollcall_tests::{browser::Browser, server::Server};
use serde_json::{Value, json};

use crate::people::{self, People};

/// A console in a browser of its own.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) page: Browser,
}

impl Console {
    /// Opens the console of a server and waits until it is live.
    pub(crate) async fn open(name: &str, server: &Server) -> Self {
        let console = Self { page: Browser::open(name, &server.http()).await };
        console.is_live().await;
        console
    }

    /// Waits until the page is connected and shows the present.
    pub(crate) async fn is_live(&self) {
        self.page.wait_equal("the live console", VIEW, json!(["connected", "live"])).await;
    }

    /// Waits until the page says that it is cut off and shows the last picture it had.
    pub(crate) async fn is_cut_off(&self) {
        self.page.wait_equal("the console cut off", VIEW, json!(["disconnected", "last"])).await;
        let banner = "const banner = document.getElementById('banner'); \
                      return banner.checkVisibility() && banner.innerText.includes('cut off')";
        self.page.wait_true("the banner that says so", banner).await;
    }

    /// Fails if the page itself scrolls, up and down or sideways: only its parts may.
    pub(crate) async fn fits_its_window(&self) {
        let script = "const page = document.documentElement; \
            return [page.scrollWidth - innerWidth, page.scrollHeight - innerHeight]";
        let beyond = self.page.value(script).await;
        self.page.assert_equal("pixels beyond the window", beyond, json!([0, 0])).await;
    }

    /// Waits until exactly these are listed.
    pub(crate) async fn shows(&self, what: &str, expected: &People) {
        self.page
            .wait(what, PEOPLE, |rows| {
                people::difference(expected, &people::from_rows(rows)).map_or(Ok(()), Err)
            })
            .await;
    }

    /// Who the page has in its list.
    pub(crate) async fn people(&self) -> People {
        people::from_rows(&self.page.value(PEOPLE).await)
    }

    /// Scrolls through the whole list and returns what its rows show: where each device is.
    pub(crate) async fn drawn(&self) -> BTreeMap<(String, String), String> {
        let rows = self.page.value(ALL_ROWS).await;
        let rows = rows.as_array().unwrap_or_else(|| panic!("not a list: {rows}"));
        let text = |value: &Value| value.as_str().expect("text of a cell is text").to_owned();
        rows.iter().map(|row| ((text(&row[0]), text(&row[1])), text(&row[2]))).collect()
    }

    /// Waits until the rows that are drawn are exactly these names with their devices.
    pub(crate) async fn rows(&self, expected: &[(&str, &str)]) {
        let expected: Vec<Value> =
            expected.iter().map(|(user, device)| json!([user, device])).collect();
        self.page.wait_equal("the rows of the list", ROWS, expected).await;
        let users = "return Number(document.getElementById('people-count').dataset.value)";
        let count = "return new Set(rollcallConsole.people().map(p => p.username)).size";
        let online = self.page.value(count).await;
        self.page.wait_equal("the number of people", users, online).await;
    }

    /// Waits until a line of "What happens" says this.
    pub(crate) async fn feed_says(&self, words: &str) {
        self.page
            .wait(&format!("\"{words}\" in the feed"), FEED, |lines| {
                let lines = lines.as_array().map(Vec::as_slice).unwrap_or_default();
                let said = |line: &Value| line.as_str().is_some_and(|line| line.starts_with(words));
                if lines.iter().any(said) { Ok(()) } else { Err(format!("it says {lines:?}")) }
            })
            .await;
    }

    /// Fails if a line of "What happens" has these words.
    pub(crate) async fn feed_does_not_say(&self, words: &str) {
        let lines = self.page.value(FEED).await;
        let said = lines.to_string().contains(words);
        self.page.assert_equal(&format!("\"{words}\" in {lines}"), said, false).await;
    }

    /// Opens the drawer "Try it".
    pub(crate) async fn try_it(&self) {
        self.page.click("#tryit-toggle").await;
        self.page.wait_true("the drawer", "return !document.getElementById('tryit').hidden").await;
    }

    /// Joins as someone, by the drawer's form.
    pub(crate) async fn join(&self, username: &str, device: &str, ip: &str, port: u16) {
        self.page.fill("#join-form [name=username]", username).await;
        self.page.fill("#join-form [name=device]", device).await;
        self.page.fill("#join-form [name=ip]", ip).await;
        self.page.fill("#join-form [name=port]", &port.to_string()).await;
        self.page.click("#join-form [type=submit]").await;
        self.answers("join-result", &format!("{username} joined")).await;
    }

    /// Leaves as someone this page joined as.
    pub(crate) async fn leave(&self, username: &str) {
        self.page.click(&format!("#held-list [aria-label='Leave as {username}']")).await;
        self.answers("join-result", &format!("{username} left")).await;
    }

    /// Looks names up and returns which the answer has and which it has not, with its words.
    pub(crate) async fn look_up(&self, usernames: &str) -> (Value, Value, String) {
        self.page.fill("#lookup-form [name=usernames]", usernames).await;
        self.page.click("#lookup-form [type=submit]").await;
        self.answers("lookup-result", "").await;
        let script = "const result = document.getElementById('lookup-result'); \
            const all = name => [...result.querySelectorAll(`[data-${name}]`)] \
                .map(node => node.dataset[name]); \
            return [all('user'), all('unknown'), result.innerText]";
        let found = self.page.value(script).await;
        let words = found[2].as_str().expect("text of an element is text").to_owned();
        (found[0].clone(), found[1].clone(), words)
    }

    /// Takes a sequence number.
    pub(crate) async fn take_number(&self) -> u64 {
        self.page.click("#sequence-button").await;
        let script = "const button = document.getElementById('sequence-button'); \
            if (button.getAttribute('aria-disabled') === 'true') return null; \
            const number = document.querySelector('#sequence-result [data-number]'); \
            return number && Number(number.dataset.number)";
        self.page
            .wait("a number", script, |number| number.as_u64().ok_or_else(|| number.to_string()))
            .await
    }

    /// Waits until the messages of these types are in the trace.
    pub(crate) async fn traces(&self, types: &[&str]) {
        let script = "return [...document.querySelectorAll('#trace li')] \
                      .map(line => line.dataset.type)";
        self.page
            .wait("the messages in the trace", script, |found| {
                let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
                let missing: Vec<_> =
                    types.iter().filter(|wanted| !found.contains(&json!(wanted))).collect();
                if missing.is_empty() {
                    Ok(())
                } else {
                    Err(format!("no {missing:?} in {found:?}"))
                }
            })
            .await;
    }

    /// Waits until an output of the drawer says that it worked, beginning with these words.
    async fn answers(&self, output: &str, words: &str) {
        let script = format!(
            "const output = document.getElementById('{output}'); \
             const button = output.closest('form')?.querySelector('[aria-disabled=true]'); \
             return button ? ['busy', ''] : [output.dataset.tone ?? '', output.innerText]"
        );
        self.page
            .wait(&format!("\"{words}\""), &script, |found| {
                let text = found[1].as_str().unwrap_or_default();
                if found[0] == "ok" && text.starts_with(words) {
                    Ok(())
                } else {
                    Err(format!("it says {found}"))
                }
            })
            .await;
    }
}

/// How the page stands.
const VIEW: &str = "return [document.body.dataset.state, document.body.dataset.view]";

/// Who is in its list; by way of JSON, which leaves out what is undefined.
const PEOPLE: &str = "return JSON.parse(JSON.stringify(rollcallConsole.people()))";

/// The lines of "What happens".
const FEED: &str = "return [...document.querySelectorAll('#feed li .words')] \
    .map(words => words.textContent)";

/// Name, device and address of every row as its cells show them, drawn where the list is scrolled to.
/// Before it scrolls, it waits until those who came and went are merged: scrolling holds that up.
const ALL_ROWS: &str = "const grid = document.getElementById('people'); \
    const frame = () => new Promise(requestAnimationFrame); \
    const merged = () => Number(grid.ariaRowCount) === rollcallConsole.store.size + 1; \
    for (let calm = 0; calm < 60; calm = merged() ? calm + 1 : 0) await frame(); \
    const rows = new Map(); \
    for (let top = 0; top < grid.scrollHeight; top += grid.clientHeight / 2) { \
      grid.scrollTop = top; \
      for (let i = 0; i < 3; i += 1) await frame(); \
      for (const row of grid.querySelectorAll('.person')) { \
        if (!row.checkVisibility()) continue; \
        const cell = name => row.querySelector(`.${name}`).textContent; \
        rows.set(row.ariaRowIndex, [cell('name'), cell('device'), cell('address')]); } } \
    grid.scrollTop = 0; \
    return [...rows.values()]";

/// The rows of those who are there, from top to bottom.
const ROWS: &str = "return [...document.querySelectorAll('#people [data-user]')] \
    .filter(row => row.checkVisibility()) \
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex) \
    .map(row => [row.dataset.user, row.dataset.device])";
