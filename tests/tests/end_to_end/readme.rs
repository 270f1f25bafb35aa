//! The README's examples in JavaScript do what the README says, each run as a page has it.

use rollcall_tests::{browser::Browser, server::Server, site::Site, wire::Client};
use serde_json::json;

#[tokio::test]
async fn the_example_for_pages_joins_and_hears_of_others() {
    let server = Server::patient();
    let [page, _] = examples();
    let (_site, page) = open("readme-page", &server, page).await;
    let mut actor = Client::new(&server).await;
    actor.call("Subscribe", json!({ "usernames": ["bob"] })).await;
    if !actor.is_online("bob").await {
        actor.expect_push("UserConnected").await;
    }
    let address = actor.lookup(&["bob"]).await["users"][0]["addresses"][0].take();
    assert_eq!((&address["ip"], &address["port"]), (&json!("203.0.113.8"), &json!(4711)));
    // It begins to watch soon after: dora comes again until she is heard of.
    let heard = "return said.some(([type, name]) => type === 'UserConnected' && name === 'dora')";
    rollcall_tests::wire::eventually("the page hears of dora", async || {
        actor.request("DisconnectUser", json!({ "username": "dora" })).await;
        actor.register("dora", 1).await;
        if page.value(heard).await == true { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    page.assert_no_complaints().await;
    page.close().await;
    actor.expect_push("UserDisconnected").await;
}

#[tokio::test]
async fn the_example_without_a_client_gets_its_answer() {
    let server = Server::patient();
    let mut holder = Client::new(&server).await;
    holder.register("ann", 4711).await;
    let [_, bare] = examples();
    let (_site, page) = open("readme-bare", &server, bare).await;
    let answer = "const { type, id, payload } = JSON.parse(said[0]?.[0] ?? '{}'); \
                  return [type, id, payload?.users[0]?.addresses[0]?.port]";
    page.wait_equal("the answer", answer, json!(["UserAddress", 1, 4711])).await;
    page.assert_no_complaints().await;
}

/// The README's examples for pages: with the browser client, and with nothing.
fn examples() -> [&'static str; 2] {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```js\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<_> = blocks.collect();
    blocks.try_into().unwrap_or_else(|blocks| panic!("not two examples: {blocks:?}"))
}

/// Opens a page of another origin whose script is this example, for this server.
async fn open(name: &str, server: &Server, example: &str) -> (Site, Browser) {
    let host = server.address().to_string();
    let example = format!("{LISTEN}{example}").replace("127.0.0.1:7101", &host);
    let page = include_str!("pages/page.html").replace("MODULE", "./example.js");
    let files = vec![("/page.html", page), ("/example.js", example)];
    let site = Site::serve(files, &[server.http(), format!("ws://{host}")]).await;
    let browser = Browser::open(name, &site.url("/page.html")).await;
    (site, browser)
}

/// Keeps what an example says.
const LISTEN: &str = "window.said = []; console.log = (...words) => said.push(words);\n";
