//! The console's verdict on the cluster in words, for every state there is: also those that are over in a
//! moment, or that need many servers. Read off the functions that decide, in the page.

use rollcall_tests::server::Server;
use serde_json::{Value, json};

use crate::{console::Console, states::digits};

#[tokio::test]
async fn every_state_of_the_cluster_has_its_words() {
    let server = Server::start();
    let console = Console::open("verdicts", &server).await;
    let cases = members().into_iter().chain(memories()).chain(links()).chain(lost_links());
    for (picture, expected) in cases {
        let script = format!("const given = {picture}; {ASSESS}");
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

/// Three servers: `state` or role of each.
fn of_three(states: [&str; 3], leader: Value) -> Value {
    let member = |(node, state): (u64, &str)| match state {
        "up" | "down" => json!({ "node": node, "state": state }),
        role => json!({ "node": node, "state": "up", "role": role }),
    };
    let members: Vec<_> = (1..).zip(states).map(member).collect();
    json!({ "node": 1, "cluster": "c", "leader": leader, "members": members })
}

/// What the members' states make of three servers.
fn members() -> [Case; 7] {
    let healthy = of_three(["up", "up", "up"], json!(3));
    let leaderless = of_three(["up", "up", "up"], Value::Null);
    [
        (json!({ "status": healthy }), ["ok", "Healthy: 3 of 3, server 3 leads", "", "", ""]),
        (
            json!({ "status": of_three(["up", "down", "up"], json!(3)) }),
            [
                "warn",
                "Degraded: 2 of 3, server 3 leads",
                "Server 2 is missing. No further loss can be borne.",
                "",
                "",
            ],
        ),
        (
            json!({ "status": leaderless, "unledSince": NOW - 5000 }),
            [
                "warn",
                "Electing: 3 of 3, no leader yet",
                "Changes and lookups wait until a leader is found.",
                "",
                "",
            ],
        ),
        (
            json!({ "status": leaderless, "unledSince": NOW - 5001 }),
            ["bad", "No quorum: 3 of 3", "", "No quorum", TOO_FEW],
        ),
        (
            json!({ "status": of_three(["up", "down", "down"], Value::Null), "unledSince": NOW }),
            ["bad", "No quorum: 1 of 3", "", "No quorum", TWO_MISSING],
        ),
        (
            json!({ "status": healthy, "noQuorum": true }),
            ["bad", "No quorum: 3 of 3", "", "No quorum", TOO_FEW],
        ),
        (
            json!({ "noQuorum": true }),
            [
                "bad",
                "No quorum",
                "",
                "No quorum",
                "Until a majority of the servers is together, nobody can join, leave or be looked \
                 up. The list is the last that was confirmed.",
            ],
        ),
    ]
}

/// What it means that servers have come back without their memory, or never had any.
fn memories() -> [Case; 5] {
    let starting = |states| {
        let mut status = of_three(states, Value::Null);
        status["cluster"] = json!("");
        json!({ "status": status, "unledSince": 0 })
    };
    [
        (
            json!({ "status": of_three(["leader", "follower", "blank"], json!(1)) }),
            [
                "warn",
                "Degraded: 2 of 3, server 1 leads",
                "Server 3 is catching up. No further loss can be borne.",
                "",
                "",
            ],
        ),
        (
            json!({ "status": of_three(["candidate", "down", "blank"], Value::Null), "unledSince": 0 }),
            [
                "bad",
                "No quorum: 1 of 3",
                "",
                "No quorum",
                "Server 2 is missing. Server 3 is back without memory, with no vote until a \
                 majority takes them in. Until 2 of 3 are together, nobody can join, leave or be \
                 looked up. The list is the last that was confirmed.",
            ],
        ),
        (
            json!({ "status": of_three(["blank", "candidate", "blank"], Value::Null), "unledSince": 0 }),
            [
                "bad",
                "No quorum: 1 of 3",
                "",
                "No quorum",
                "Servers 1 and 3 are back without memory, with no vote until a majority takes them \
                 in. To begin anew with nobody registered, restart server 2 as well.",
            ],
        ),
        (
            starting(["blank", "blank", "down"]),
            [
                "warn",
                "Starting: 2 of 3",
                "",
                "Waiting for server 3",
                "A new cluster begins once all of its servers have met. One that exists takes this \
                 server in as soon as it has a leader.",
            ],
        ),
        (starting(["blank", "blank", "blank"]), ["unknown", "Starting: 3 of 3", "", "", ""]),
    ]
}

/// What the page's own link makes of it, whatever the servers' states are.
fn links() -> [Case; 6] {
    let status = of_three(["up", "up", "up"], json!(1));
    [
        (json!({ "state": "connecting" }), ["unknown", "Connecting", "", "", ""]),
        (json!({ "refused": "forbidden", "status": status }), ["bad", "Not allowed", "", "", ""]),
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
            json!({ "asked": NOW - 3000, "status": status }),
            ["ok", "Healthy: 3 of 3, server 1 leads", "", "", ""],
        ),
        (
            json!({ "asked": NOW - 3001, "status": status }),
            [
                "bad",
                "Unknown: server 1 is silent",
                "",
                "Server 1 does not answer",
                "Since 00:00:00. You see the last picture it gave. The page moves to another server \
                 once it gives this one up.",
            ],
        ),
    ]
}

/// What a lost link makes of it: how long ago it was lost, whether servers answer, how many were tried.
fn lost_links() -> [Case; 9] {
    let (healthy, lone) =
        (of_three(["up", "up", "up"], json!(1)), of_three(["up", "down", "down"], Value::Null));
    let cut_off = [
        "bad",
        "Unknown: this page is cut off",
        "",
        "This page is cut off",
        "Since 00:00:00. You see the last picture it had.",
    ];
    let moving = ["unknown", "Moving to another server", "", "", ""];
    let no_quorum = ["bad", "No quorum: 1 of 3", "", "No quorum", TWO_MISSING];
    let lost = |since: u64, at: u64, tries: u64, status: &Value| {
        let unled = status["leader"].is_null().then_some(at);
        json!({ "state": "disconnected", "since": since, "statusAt": at, "tries": tries,
            "status": status, "unledSince": unled })
    };
    let mut alone = lost(NOW - 999, 1, 0, &healthy);
    alone["status"]["members"] = json!([{ "node": 1, "state": "up" }]);
    let mut elsewhere = lost(NOW - 999, 1, 0, &healthy);
    elsewhere["state"] = json!("connected");
    [
        (lost(NOW - 999, 1, 0, &healthy), moving),
        (alone, ["unknown", "Connecting again", "", "", ""]),
        // Linked anew, and nothing was heard of that server yet.
        (elsewhere, moving),
        (lost(NOW - 1000, 1, 1, &healthy), cut_off),
        // A server that told so closed the link over it.
        (lost(NOW - 60_000, NOW - 61_000, 2, &lone), no_quorum),
        (lost(NOW - 60_000, NOW - 61_000, 3, &lone), cut_off),
        (lost(NOW - 60_000, NOW - 2000, 2, &lone), no_quorum),
        (lost(NOW - 60_000, NOW - 2000, 3, &lone), cut_off),
        (
            json!({ "state": "disconnected", "since": 0, "tries": 1 }),
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

/// The present of all pictures, in milliseconds.
const NOW: u64 = 1_000_000;

const TOO_FEW: &str = "Too few servers can reach each other. Until 2 of 3 are together, nobody can \
    join, leave or be looked up. The list is the last that was confirmed.";

const TWO_MISSING: &str = "Servers 2 and 3 are missing. Until 2 of 3 are together, nobody can join, \
    leave or be looked up. The list is the last that was confirmed.";

const ASSESS: &str = "const { assess } = await import(location.origin + '/health.js'); \
    const { standing } = await import(location.origin + '/standing.js'); \
    const now = 1_000_000; \
    const picture = { state: 'connected', since: 0, retryAt: null, tries: 0, status: null, statusAt: 1, asked: null, \
      unledSince: null, refused: null, noQuorum: false, watching: true, ...given }; \
    picture.standing = standing(picture, now); \
    const { tone, words, hint, banner } = assess(picture, now); \
    return [tone, words, hint ?? '', banner?.title ?? '', banner?.text ?? '']";
