//! What the browser client tells an application unasked: states with the time of the next try, missed
//! changes, another server, a registration that was taken over.
//!
//! In the console's page, where it may be, as any page of the server's own origin.

use rollcall_tests::{browser::Browser, server::Server, site::Site, wire::Client};
use serde_json::{Value, json};

#[tokio::test]
async fn a_registration_that_is_taken_over_is_told() {
    let table = "[tokens]\n\"open-sesame\" = { sub = \"ann\" }\n";
    let server = Server::with_tokens(table, &[]);
    let page = Browser::open("replaced", &server.http()).await;
    let options = format!("servers: ['{}'], getToken: async () => 'open-sesame'", server.url());
    page.value(&listening(&server, &options)).await;
    page.value("await rollcall.connectUser('ann', { ip: 'observed', port: 1 }); return true").await;
    let mut other = Client::new(&server).await;
    other.call("Hello", json!({ "token": "open-sesame" })).await;
    other.register("ann", 2).await;
    let told = json!([{ "username": "ann", "device": "default" }]);
    page.wait_equal("the takeover", "return seen.sessionreplaced", told).await;
    // It is held no more: closing the page's client leaves the new one alone.
    page.value("rollcall.close(); return true").await;
    page.wait_equal("the last state", "return seen.state.at(-1).state", "closed").await;
    assert!(other.is_online("ann").await);
}

#[tokio::test]
async fn a_lost_server_is_told_with_the_next_try_and_what_was_missed() {
    let mut server = Server::start();
    let page = Browser::open("events", &server.http()).await;
    page.value(&listening(&server, &format!("servers: ['{}']", server.url()))).await;
    page.value("window.watch = await rollcall.subscribe({ all: true }); return true").await;
    let before = page.value("return Date.now()").await.as_u64().expect("a time");
    server.kill9();
    page.wait("a state with the next try", STATES, |states| {
        let lost = &states[0];
        let tries = lost["retry_at_ms"].as_u64().is_some_and(|at| at >= before);
        let right = lost["state"] == "disconnected" && lost["previous"] == "connected" && tries;
        if right { Ok(()) } else { Err(format!("{states}")) }
    })
    .await;
    server.restart();
    page.wait_equal("the last state", "return seen.state.at(-1)?.state", "connected").await;
    // Its memory is lost, so nobody can say what was missed.
    page.wait_equal("a resync", "return seen.resync", json!([{}])).await;
    let states = page.value(STATES).await;
    follows_on(&states);
    page.assert_equal("failovers", page.value("return seen.failover").await, json!([])).await;
}

#[tokio::test]
async fn another_server_that_takes_over_is_told() {
    let mut servers = [Server::start(), Server::start()];
    let urls = servers.each_ref().map(Server::url);
    let (_site, page) = site(&servers).await;
    let options = format!("servers: {}", json!(urls));
    page.value(&listening(&servers[0], &options)).await;
    let home = page.value(HOME).await;
    let lost = urls.iter().position(|url| home == *url).expect("it is one of them");
    servers[lost].kill9();
    page.wait("the failover", "return seen.failover", |told| {
        let ends = told[0]["from"] == urls[lost] && told[0]["to"] == urls[1 - lost];
        let reason = told[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty());
        if ends && reason { Ok(()) } else { Err(format!("{told}")) }
    })
    .await;
    page.wait_equal("where it is now", HOME, urls[1 - lost].clone()).await;
    follows_on(&page.value(STATES).await);
}

/// A page of another origin that may reach both.
async fn site(servers: &[Server; 2]) -> (Site, Browser) {
    let page = include_str!("pages/page.html").replace("MODULE", "./nothing.js");
    let files = vec![("/page.html", page), ("/nothing.js", String::new())];
    let [first, second] = servers;
    let reach = [first, second].map(|server| format!("ws://{}", server.address()));
    let allowed = [&reach[..], &[first.http(), second.http()]].concat();
    let site = Site::serve(files, &allowed).await;
    let browser = Browser::open("failover", &site.url("/page.html")).await;
    (site, browser)
}

/// Each state begins where the one before ended.
#[track_caller]
fn follows_on(states: &Value) {
    let states = states.as_array().expect("a list");
    for pair in states.windows(2) {
        assert_eq!(pair[0]["state"], pair[1]["previous"], "{states:?}");
    }
}

/// Connects with these options and keeps all events.
fn listening(server: &Server, options: &str) -> String {
    format!(
        "const {{ Rollcall }} = await import('{}/client/rollcall.js'); \
         window.seen = {{ state: [], failover: [], resync: [], sessionreplaced: [] }}; \
         window.rollcall = await Rollcall.connect({{ {options}, clientId: 'events-' + crypto.randomUUID() }}); \
         for (const [name, events] of Object.entries(seen)) rollcall.on(name, (event) => events.push(event)); \
         return true",
        server.http()
    )
}

const STATES: &str = "return seen.state";

/// The server that answers.
const HOME: &str = "return (await rollcall.getStatus()).members[0].url";
