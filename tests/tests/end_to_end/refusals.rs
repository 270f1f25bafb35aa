//! What browsers refuse to connect to: a certificate that nobody vouches for, what the page's policy
//! does not allow, `ws://` on an `https://` page. Each fails with an error that says what to look at.
//!
//! Certificates are refused by Chromium as it is; the DevTools protocol makes it take them, which
//! shows that nothing else was in the way.

use rollcall_tests::{browser::Browser, server::Server, site::Site, tls::Tls};
use serde_json::{Value, json};

#[tokio::test]
async fn a_refused_certificate_is_among_the_causes() {
    let server = Server::start();
    let tls = Tls::before(server.address()).await;
    let url = format!("wss://{}/ws", tls.address());
    let (_site, page) = open("certificate", &server, std::slice::from_ref(&url)).await;
    let error = refused(&page, &server.http(), &url).await;
    page.assert_equal("the error", &error, &unreachable(ANY)).await;
    let complaints = page.complaints().await;
    let authority = complaints.iter().any(|text| text.contains("ERR_CERT_AUTHORITY_INVALID"));
    page.assert_equal("whether the certificate was it", authority, true).await;
    page.trust_everybody().await;
    connects(&page, &server.http(), &url).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_has_the_same_causes() {
    let mut server = Server::start();
    let other = Server::start();
    let (_site, page) = open("nobody", &other, &[server.url()]).await;
    connects(&page, &other.http(), &server.url()).await;
    server.kill9();
    let error = refused(&page, &other.http(), &server.url()).await;
    page.assert_equal("the error", &error, &unreachable(ANY)).await;
}

#[tokio::test]
async fn a_policy_that_forbids_a_server_is_named() {
    let (server, mut gone) = (Server::start(), Server::start());
    gone.kill9();
    let (_site, page) = open("policy", &server, &[gone.url()]).await;
    let error = refused(&page, &server.http(), &server.url()).await;
    let policy =
        format!("the page's Content-Security-Policy lacks {} in connect-src", server.url());
    page.assert_equal("the error", &error, &unreachable(&policy)).await;
    // Another one, which is allowed and not there, has nothing to do with that.
    let error = refused(&page, &server.http(), &gone.url()).await;
    page.assert_equal("the other error", &error, &unreachable(ANY)).await;
}

#[tokio::test]
async fn a_forbidden_server_is_given_up_at_once_each_time() {
    let server = Server::start();
    let (_site, page) = open("policy-tries", &server, &[]).await;
    // Of a server that says nothing, only one try or two would fit into the time of a call.
    let script = format!(
        "const {{ Rollcall }} = await import('{}/client/rollcall.js'); \
         const client = await Rollcall.connect({{ servers: ['{}'], lazy: true }}); \
         let failed = 0; \
         client.on('state', ({{ state }}) => (failed += state === 'disconnected')); \
         const code = await client.ping().catch((error) => error.code); \
         client.close(); \
         return [code, failed > 2]",
        server.http(),
        server.url()
    );
    let found = page.value(&script).await;
    page.assert_equal("the error, and three tries", found, json!(["unreachable", true])).await;
}

#[tokio::test]
async fn an_insecure_server_of_a_secure_page_is_named() {
    let server = Server::start();
    let tls = Tls::before(server.address()).await;
    let page = Browser::open("mixed", &server.http()).await;
    page.trust_everybody().await;
    let http = format!("https://{}", tls.address());
    page.goto(&format!("{http}/client/rollcall.d.ts")).await;
    let error = refused(&page, &http, "ws://rollcall.invalid/ws").await;
    let mixed = "a page at https:// may not open ws://rollcall.invalid/ws; use wss://";
    page.assert_equal("the error", &error, &unreachable(mixed)).await;
    connects(&page, &http, &format!("wss://{}/ws", tls.address())).await;
    // What this machine has is no danger to a secure page.
    connects(&page, &http, &server.url()).await;
}

/// A page that may take scripts from a server and connect to these URLs.
async fn open(name: &str, server: &Server, reach: &[String]) -> (Site, Browser) {
    let page = include_str!("pages/page.html").replace("MODULE", "./nothing.js");
    let files = vec![("/page.html", page), ("/nothing.js", String::new())];
    let site = Site::serve(files, &[reach, &[server.http()]].concat()).await;
    let page = Browser::open(name, &site.url("/page.html")).await;
    (site, page)
}

/// Lets the page connect to a URL, which takes as long as it takes on a busy machine.
async fn connects(page: &Browser, http: &str, url: &str) {
    let found = connect(page, http, url, 15_000).await;
    page.assert_equal(url, found, json!("connected")).await;
}

/// Lets the page fail to connect to a URL, and says with which error.
async fn refused(page: &Browser, http: &str, url: &str) -> Value {
    connect(page, http, url, 5000).await
}

async fn connect(page: &Browser, http: &str, url: &str, timeout_ms: u64) -> Value {
    let script = format!(
        "const {{ Rollcall }} = await import('{http}/client/rollcall.js'); \
         return Rollcall.connect({{ servers: ['{url}'], timeout: {timeout_ms} }}).then( \
           (client) => (client.close(), 'connected'), \
           ({{ code, message }}) => [code, message])"
    );
    page.value(&script).await
}

fn unreachable(reason: &str) -> Value {
    json!(["unreachable", format!("no server could be reached: {reason}")])
}

/// What the error says where a browser lets nobody know more.
const ANY: &str = "nothing runs there, its certificate is refused, or something between blocks it";
