//! The console's verdict on the cluster in words, for every state there is: also those that one server
//! alone cannot be in. Read off the function that decides, in the page.

use rollcall_tests::server::Server;
use serde_json::{Value, json};

use crate::{console::Console, states::digits};

#[tokio::test]
async fn every_state_of_the_cluster_has_its_words() {
    let server = Server::start();
    let console = Console::open("verdicts", &server).await;
    for (picture, expected) in members().into_iter().chain(links()) {
        let script = format!("const picture = {picture}; {ASSESS}");
        let mut found = console.page.value(&script).await;
        // Whatever time zone the machine is in.
        if let Some(text) = found[4].as_str().filter(|text| text.contains("ince ")) {
            found[4] = digits(text).into();
        }
        console.page.assert_equal(&picture.to_string(), found, json!(expected)).await;
    }
}

/// A picture of the link and the cluster; then tone, words, hint, and the banner's title and text.
type Case = (Value, [&'static str; 5]);

/// What the members' states make of three servers.
fn members() -> [Case; 6] {
    let of_three = |states: [&str; 3], leader: Value| {
        let member = |(node, state): (u64, &str)| json!({ "node": node, "state": state });
        let members: Vec<_> = (1..).zip(states).map(member).collect();
        json!({ "state": "connected", "status": { "leader": leader, "members": members } })
    };
    let mut without_answer = of_three(["up", "up", "up"], json!(3));
    without_answer["noQuorum"] = json!(true);
    [
        (
            of_three(["up", "up", "up"], json!(3)),
            ["ok", "Healthy: 3 of 3, server 3 leads", "", "", ""],
        ),
        (
            of_three(["up", "down", "up"], json!(3)),
            [
                "warn",
                "Working: 2 of 3, server 3 leads",
                "Server 2 is missing. No further loss can be borne.",
                "",
                "",
            ],
        ),
        (
            of_three(["up", "up", "up"], json!(null)),
            [
                "warn",
                "Electing: 3 of 3, no leader yet",
                "Changes and lookups wait until a leader is found.",
                "",
                "",
            ],
        ),
        (
            of_three(["up", "down", "down"], json!(null)),
            [
                "bad",
                "No quorum: 1 of 3",
                "",
                "No quorum",
                "Servers 2 and 3 are missing. Until 2 of 3 are together, nobody can join, leave or \
                 be looked up. Nothing that was confirmed is lost; the list is the last confirmed one.",
            ],
        ),
        (
            without_answer,
            [
                "bad",
                "No quorum: 3 of 3",
                "",
                "No quorum",
                "Too few servers can reach each other. Until 2 of 3 are together, nobody can join, \
                 leave or be looked up. Nothing that was confirmed is lost; the list is the last \
                 confirmed one.",
            ],
        ),
        (
            json!({ "state": "connected", "noQuorum": true }),
            [
                "bad",
                "No quorum",
                "",
                "No quorum",
                "Too few servers can reach each other. Until a majority is together, nobody can \
                 join, leave or be looked up. Nothing that was confirmed is lost; the list is the \
                 last confirmed one.",
            ],
        ),
    ]
}

/// What the page's own link makes of it, whatever the servers' states are.
fn links() -> [Case; 6] {
    let status = json!({ "leader": 1, "members": [{ "node": 1, "state": "up" }] });
    [
        (json!({ "state": "connecting" }), ["unknown", "Connecting", "", "", ""]),
        (
            json!({ "state": "connected", "refused": "forbidden", "status": status }),
            ["bad", "Not allowed", "", "", ""],
        ),
        (
            json!({ "state": "connecting", "refused": "unauthenticated" }),
            ["bad", "Not allowed", "", "", ""],
        ),
        (
            json!({ "state": "closed", "status": status }),
            [
                "bad",
                "Unknown: this page is cut off",
                "",
                "This page is closed",
                "Reload it to connect again.",
            ],
        ),
        (
            json!({ "state": "disconnected", "since": 0, "status": status }),
            [
                "bad",
                "Unknown: this page is cut off",
                "",
                "This page is cut off",
                "Since 00:00:00. You see the last picture it had.",
            ],
        ),
        (
            json!({ "state": "disconnected", "since": 0 }),
            [
                "bad",
                "No server answers",
                "",
                "No server answers",
                "Tried since 00:00:00. The page goes on by itself as soon as one does.",
            ],
        ),
    ]
}

const ASSESS: &str = "const { assess } = await import(location.origin + '/health.js'); \
    const { tone, words, hint, banner } = assess(picture); \
    return [tone, words, hint ?? '', banner?.title ?? '', banner?.text ?? '']";
