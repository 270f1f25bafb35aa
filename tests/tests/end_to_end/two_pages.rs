//! Two consoles: what happens in one shows in the other, and the drawer "Try it" does what it says.

use rollcall_tests::server::Server;
use serde_json::json;

use crate::console::Console;

#[tokio::test]
async fn two_pages_see_each_other_come_and_go() {
    let server = Server::with(&["--session-grace-ms", "1500"]);
    let (watching, acting) = tokio::join!(
        Console::open("two-pages-watching", &server),
        Console::open("two-pages-acting", &server)
    );
    watching.rows(&[]).await;
    watching.fits_its_window().await;

    acting.try_it().await;
    acting.join("bea", "laptop", "2001:db8::7", 443).await;
    acting.join("ann", "phone", "203.0.113.7", 4711).await;
    watching.rows(&[("ann", "phone"), ("bea", "laptop")]).await;
    watching.feed_says("ann joined").await;
    watching.feed_says("bea joined").await;
    let people = watching.people().await;
    let of_ann = &people[&("ann".to_owned(), "phone".to_owned())];
    assert_eq!((of_ann.ip.as_str(), of_ann.port), ("203.0.113.7", 4711));
    acting.shows("the same list where it was joined", &people).await;

    acting.join("ann", "phone", "203.0.113.8", 4712).await;
    watching.feed_says("ann moved to").await;
    acting.leave("bea").await;
    watching.feed_says("bea left").await;
    watching.rows(&[("ann", "phone")]).await;
    acting.traces(&["ConnectUser", "Connected", "DisconnectUser", "Disconnected"]).await;

    for console in [&watching, &acting] {
        console.page.assert_no_complaints().await;
    }
    acting.page.kill().await;
    watching.feed_says("ann timed out").await;
    watching.rows(&[]).await;
    watching.page.assert_no_complaints().await;
}

#[tokio::test]
async fn the_drawer_looks_up_and_takes_numbers() {
    let server = Server::start();
    let console = Console::open("drawer", &server).await;
    console.try_it().await;
    console.join("ann", "phone", "203.0.113.7", 4711).await;
    console.fits_its_window().await;

    let (users, unknown, words) = console.look_up("ann bob").await;
    assert_eq!((users, unknown), (json!(["ann"]), json!(["bob"])));
    assert!(words.contains("203.0.113.7:4711"), "{words}");
    assert_eq!(console.take_number().await, 1);
    assert_eq!(console.take_number().await, 2);
    console.traces(&["GetUserAddress", "UserAddress", "GetSequenceNumber", "SequenceNumber"]).await;
    keeps_its_secret(&console).await;

    console.page.fill("#join-form [name=username]", "white space").await;
    console.page.click("#join-form [type=submit]").await;
    let refused = "const result = document.getElementById('join-result'); \
                   return result.dataset.tone === 'bad' && result.innerText.includes('invalid_argument')";
    console.page.wait_true("the refusal of a name with white space", refused).await;
    console.page.assert_no_complaints().await;
    runs_nothing_inline(&console).await;
}

/// The client id is a secret: the trace shows the messages without it.
async fn keeps_its_secret(console: &Console) {
    let script = "for (const details of document.querySelectorAll('#trace details')) details.open = true; \
        const id = sessionStorage.getItem('rollcall.clientId'); \
        const bodies = [...document.querySelectorAll('#trace pre')].map(body => body.textContent); \
        return [typeof id === 'string' && id.length >= 24, \
                bodies.some(body => body.includes('203.0.113.7')), \
                document.documentElement.outerHTML.includes(id)]";
    console.page.wait_equal("a trace without the secret", script, json!([true, true, false])).await;
}

/// The console's content security policy refuses inline script; that also proves that violations
/// would have been noticed.
async fn runs_nothing_inline(console: &Console) {
    let inject = "const script = document.createElement('script'); \
        script.textContent = 'window.ranInline = true'; \
        document.body.append(script); \
        return window.ranInline === undefined";
    console.page.wait_true("inline script refused", inject).await;
    let complaints = console.page.complaints().await;
    let told = complaints.iter().any(|complaint| complaint.contains("Content Security Policy"));
    console.page.assert_equal(&format!("a violation told: {complaints:?}"), told, true).await;
}
