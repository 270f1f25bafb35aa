//! The server is killed and comes back with its memory lost: a console says so, recovers, and what it
//! held is there again.

use rollcall_client::{Client, Ip, Registration};
use rollcall_tests::server::Server;

use crate::{console::Console, people};

#[tokio::test]
async fn a_page_recovers_from_a_killed_server() {
    let mut server = Server::start();
    let console = Console::open("server-restart", &server).await;
    console.try_it().await;
    console.join("ann", "phone", "203.0.113.7", 4711).await;
    let native = connect(&server).await;
    let place = |last| Registration::new(Ip::Literal([192, 0, 2, last].into()), 4712);
    native.connect_user("bob", place(1)).await.expect("bob is free");
    let both = [("ann", "phone"), ("bob", "default")];
    console.rows(&both).await;
    console.page.assert_no_complaints().await;

    server.kill9();
    console.is_cut_off().await;
    console.feed_says("This page was cut off").await;
    // The last picture stays in view.
    console.rows(&both).await;

    server.restart();
    console.is_live().await;
    console.feed_says("This page is back").await;
    console.rows(&both).await;
    agrees_with_lookup(&console, &server, &["ann", "bob"]).await;

    // Not just the picture: what happens from now on shows, and what is asked is answered.
    native.connect_user("bob", place(2)).await.expect("bob is held");
    let carl = connect(&server).await;
    carl.connect_user("carl", place(3)).await.expect("carl is free");
    console.feed_says("carl joined").await;
    // Registered again as they were: only the revisions are new, which is no news.
    console.feed_does_not_say("changed").await;
    agrees_with_lookup(&console, &server, &["ann", "bob", "carl"]).await;
    assert_eq!(console.take_number().await, 1, "this life of the cluster counts anew");
    console.leave("ann").await;
    console.rows(&[("bob", "default"), ("carl", "default")]).await;

    let complaints = console.page.complaints().await;
    let other: Vec<_> = complaints.iter().filter(|text| !is_refused_connection(text)).collect();
    console.page.assert_equal("complaints besides the lost server", other, vec![]).await;
}

async fn connect(server: &Server) -> Client {
    let builder = Client::builder().servers([server.url()]).timeout(rollcall_tests::PATIENCE);
    builder.connect().await.expect("the server runs")
}

/// Waits until the page lists exactly what `rollcall lookup` says: all of these names.
async fn agrees_with_lookup(console: &Console, server: &Server, names: &[&str]) {
    rollcall_tests::wire::eventually("the console and `rollcall lookup` agree", async || {
        let (expected, unknown) = people::look_up(server, names).await;
        if !unknown.is_empty() {
            return Err(format!("unknown: {unknown:?}"));
        }
        people::difference(&expected, &console.people().await).map_or(Ok(()), Err)
    })
    .await;
}

/// What a browser says by itself where nobody listens.
fn is_refused_connection(complaint: &str) -> bool {
    complaint.contains("WebSocket connection to") && complaint.contains("ERR_CONNECTION_REFUSED")
}
