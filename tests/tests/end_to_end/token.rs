//! A server that asks for tokens: its console asks the person for one, says when it is refused, and
//! goes on with a right one.
//!
//! Which tokens a server accepts is tested in `wire`.

use rollcall_tests::{browser::Browser, server::Server};
use serde_json::json;

use crate::console::Console;

#[tokio::test]
async fn the_console_asks_for_a_token() {
    let server = Server::with_tokens("[tokens]\n\"open-sesame\" = { sub = \"ann\" }\n", &[]);
    let page = Browser::open("token", &server.http()).await;
    page.wait_equal("the question", ASKED, json!(["This cluster asks who you are", true])).await;

    give(&page, "open-sesam").await;
    let refused = json!(["The servers do not accept this token", true]);
    page.wait_equal("the refusal", ASKED, refused).await;

    give(&page, "open-sesame").await;
    let console = Console { page };
    console.is_live().await;
    let command = "return document.getElementById('empty-command').innerText";
    let command = console.page.value(command).await;
    let command = command.as_str().expect("text of an element is text");
    assert!(command.starts_with("ROLLCALL_TOKEN="), "{command}");
    assert!(!command.contains("open-sesame"), "{command} shows the secret");
    console.try_it().await;
    console.join("ann", "phone", "203.0.113.7", 4711).await;
    console.rows(&[("ann", "phone")]).await;
    console.page.assert_no_complaints().await;
}

async fn give(page: &Browser, token: &str) {
    page.fill("#token-form [name=token]", token).await;
    page.click("#token-form [type=submit]").await;
}

/// What the page asks, and whether one can type at once.
const ASKED: &str = "const notice = document.getElementById('notice'); \
    return [notice.checkVisibility() && document.getElementById('notice-title').innerText, \
            document.activeElement.name === 'token']";
