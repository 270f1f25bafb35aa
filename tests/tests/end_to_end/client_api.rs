//! The browser client in a page that another origin serves, under a strict policy: all its calls, in
//! the page and in a module worker, and what a reload keeps.

use rollcall_tests::{
    browser::Browser,
    http,
    server::{Server, send_signal},
    site::Site,
    wire,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::types;

#[tokio::test]
async fn every_call_works_in_pages_and_workers_of_other_origins() {
    let server = Server::start();
    let site = site(&server, "./page.js").await;
    let page = Browser::open("client-api", &site.url("/page.html")).await;
    let seen = page
        .wait("the end of the page's work", "return window.seen ?? null", |seen| {
            if seen.is_null() { Err("it is not done".to_owned()) } else { Ok(seen.clone()) }
        })
        .await;
    if !seen["failure"].is_null() {
        page.fail(&format!("a call failed: {}", seen["failure"])).await;
    }
    let types = http::get(&server, "/client/rollcall.d.ts").await.text();
    for place in ["page", "worker"] {
        for (interface, value) in [("Status", "status"), ("Welcome", "welcome")] {
            types::check(&types, interface, &seen[place][value]);
        }
        check_example(place, &seen[place]);
        check_refusals(place, &seen[place]["refusals"]);
        let life =
            json!(["connecting", ["connecting", "connected"], ["connected", "closed"], "closed"]);
        assert_eq!(seen[place]["life"], life, "{place}");
        let left = json!([["UserConnected", "loop-user"], true]);
        assert_eq!(seen[place]["leftLoop"], left, "{place}");
    }
    let numbers = |place: &str, at: usize| seen[place]["numbers"][at].as_u64();
    assert!(numbers("page", 2) < numbers("worker", 0), "numbers grow: {seen}");
    let unexpected: Vec<String> =
        page.complaints().await.into_iter().filter(|text| !text.contains("/nothing")).collect();
    page.assert_equal("complaints besides the server that is not there", unexpected, vec![]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_session_and_does_not_blink() {
    let server = Server::patient();
    let mut watcher = wire::Client::new(&server).await;
    let mut actor = wire::Client::new(&server).await;
    let watch = watcher.call("Subscribe", json!({ "all": true })).await;
    let site = site(&server, "./stay.js").await;
    let page = Browser::open("reload", &site.url("/page.html")).await;
    let before = held(&page).await;
    page.value("window.held = undefined").await;
    page.reload().await;
    let after = held(&page).await;
    page.assert_equal("client id and revision after the reload", &after, &before).await;
    let stored = page.value("return sessionStorage.getItem('rollcall.clientId')").await;
    page.assert_equal("the client id in the tab's storage", &stored, &after["client"]).await;

    let pushes = watcher.pushes_until_marker(&watch["subscription"], &mut actor).await;
    let told: Vec<_> =
        pushes.iter().map(|push| (&push["type"], &push["payload"]["username"])).collect();
    assert_eq!(told, [(&json!("UserConnected"), &json!("rita"))], "and nothing at the reload");

    // A server that takes the request and says nothing: the call ends by its own timeout.
    send_signal(server.pid(), Signal::STOP);
    let code = page.value("return window.ask()").await;
    send_signal(server.pid(), Signal::CONT);
    page.assert_equal("the code of a call without an answer", code, json!("timeout")).await;
    page.assert_no_complaints().await;
}

/// What the page of `stay.js` holds, once it does.
async fn held(page: &Browser) -> Value {
    page.wait("the page's registration", "return window.held ?? null", |held| {
        if held["revision"].is_u64() {
            Ok(json!({"client": held["client"], "revision": held["revision"]}))
        } else {
            Err(held.to_string())
        }
    })
    .await
}

/// A site of another origin whose page loads `module`, for this server.
async fn site(server: &Server, module: &str) -> Site {
    let host = server.address().to_string();
    let page = include_str!("pages/page.html").replace("MODULE", module);
    let mut files = vec![("/page.html", page)];
    let scripts = [
        ("/api.js", include_str!("pages/api.js")),
        ("/page.js", include_str!("pages/page.js")),
        ("/worker.js", include_str!("pages/worker.js")),
        ("/stay.js", include_str!("pages/stay.js")),
    ];
    files.extend(scripts.map(|(path, text)| (path, text.replace("127.0.0.1:7101", &host))));
    Site::serve(files, &[server.http(), format!("ws://{host}")]).await
}

fn check_example(place: &str, seen: &Value) {
    let lookup = &seen["lookup"];
    let revision = lookup["revision"].as_u64().unwrap_or_else(|| panic!("{place}: {lookup}"));
    let users = &lookup["users"];
    let of_ann = &users[0]["addresses"][0];
    assert_eq!(users.as_array().map(Vec::len), Some(1), "{place}: {lookup}");
    assert_eq!(users[0]["username"], "ann", "{place}: {lookup}");
    assert_eq!(
        (&of_ann["device"], &of_ann["ip"], &of_ann["port"]),
        (&json!("default"), &json!("203.0.113.7"), &json!(4711)),
        "{place}: {lookup}"
    );
    assert!(of_ann["revision"].as_u64().is_some_and(|at| at <= revision), "{place}: {lookup}");
    assert_eq!(lookup["unknown"], json!(["bob"]), "{place}");

    let numbers: Vec<u64> = serde_json::from_value(seen["numbers"].clone())
        .unwrap_or_else(|error| panic!("{place}: {error}: {}", seen["numbers"]));
    assert_eq!(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 6], "{place}");
    assert_eq!(seen["team"], json!([["team-here", 1]]), "{place}");
    let changes = json!([
        ["UserConnected", "team-new"],
        ["UserUpdated", "team-new"],
        ["UserConnected", "team-new"],
        ["UserDisconnected", "team-new"]
    ]);
    assert_eq!(seen["changes"], changes, "{place}");
    let status = &seen["status"];
    assert_eq!((&status["node"], &status["role"]), (&json!(1), &json!("leader")), "{place}");
    assert_eq!(seen["ping"], true, "{place}");
    assert_eq!(seen["gone"], json!(["UserDisconnected", "ann", "left", false]), "{place}");
    assert_eq!(seen["states"], json!([["connected", "closed"]]), "{place}");
    check_refusal(place, "closed", &seen["afterClose"]);
}

fn check_refusals(place: &str, seen: &Value) {
    let tries = seen.as_array().unwrap_or_else(|| panic!("{place}: no refusals: {seen}"));
    assert!(tries.len() > 10, "{place}: {seen}");
    for one in tries {
        check_refusal(place, one[0].as_str().expect("a code"), &one[1]);
    }
}

/// `expected` is a code, and the field at fault if one is.
fn check_refusal(place: &str, expected: &str, found: &Value) {
    let (code, field) =
        expected.split_once(' ').map_or((expected, None), |(code, field)| (code, Some(field)));
    assert_eq!(found["code"], code, "{place}, {expected}: {found}");
    assert_eq!(found["field"].as_str(), field, "{place}, {expected}: {found}");
    assert_eq!(found["isError"], true, "{place}, {expected}: {found}");
    assert_eq!(found["hasMessage"], true, "{place}, {expected}: {found}");
}
