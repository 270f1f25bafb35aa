//! Several tabs of one person: each is a session of its own, a duplicated one too, and reloads keep them.
//! And how the docs share one session among them.
//!
//! A tab is duplicated by `window.open`, which copies what the tab has stored just the same. The other
//! tabs of a browser are windows that WebDriver opens.

use rollcall_tests::{
    browser::Browser, cluster::Cluster, server::Server, site::Site, wire::Client,
};
use serde_json::{Value, json};

use crate::life::{Life, registered};

#[tokio::test]
async fn a_duplicated_tab_is_a_session_of_its_own_and_reloads_keep_both() {
    let cluster = Cluster::start(3).await;
    let mut life = Life::of_cluster("duplicated", &cluster).await;
    let original = life.page.value(CLIENT).await;
    let [first, _copy] = life.copy("copy").await;
    let found = life.page.value("return life.found").await;
    life.page.assert_equal("the id in the copied storage", &found, &original).await;
    let copied = life.page.value(CLIENT).await;
    assert_ne!(copied, original, "two tabs have one session");
    // The first one goes on as if nothing had happened.
    life.page.switch_to(&first).await;
    life.page.assert_equal("the first one's id", &life.page.value(CLIENT).await, &original).await;
    life.goes_on(cluster.server(1)).await;
    reload(&life.page, &original).await;
    let windows = life.copy("another").await;
    let another = life.page.value(CLIENT).await;
    assert!(![&original, &copied].contains(&&another), "two tabs have one session");
    reload(&life.page, &another).await;
    life.page.switch_to(&windows[0]).await;
    life.is_registered(cluster.server(2)).await;
}

#[tokio::test]
async fn tabs_share_a_session_as_the_docs_show() {
    let server = Server::patient();
    let page = include_str!("pages/page.html").replace("MODULE", "./nothing.js");
    let files = vec![("/page.html", page), ("/nothing.js", String::new())];
    let site = Site::serve(files, &[server.url(), server.http()]).await;
    let page = Browser::open("shared", &site.url("/page.html")).await;
    share(&page, &server).await;
    page.wait_equal("ann in the first tab", USERS, json!(["ann"])).await;
    let mut guest = Client::new(&server).await;
    let before = guest.lookup(&["ann"]).await;

    let [first, second] = page.open_window(&site.url("/page.html")).await;
    share(&page, &server).await;
    page.wait_equal("ann in the second tab", USERS, json!(["ann"])).await;
    guest.register("guest-1", 1).await;
    page.wait_equal("who came", CAME, json!(["guest-1"])).await;
    page.assert_equal("sessions of this browser", sessions(&server).await, 2.0).await;

    page.switch_to(&first).await;
    page.close_window().await;
    page.switch_to(&second).await;
    page.wait_equal("who is here", USERS, json!(["ann", "guest-1"])).await;
    guest.register("guest-2", 1).await;
    page.wait_equal("who came", CAME, json!(["guest-1", "guest-2"])).await;
    let after = guest.lookup(&["ann"]).await;
    let of_ann = |found: &Value| found["users"][0]["addresses"].clone();
    page.assert_equal("ann's registration", of_ann(&after), of_ann(&before)).await;
    page.assert_no_complaints().await;
}

/// Loads a page again, which goes on with this session: it has the same registration, and its calls
/// are not taken for those before.
async fn reload(page: &Browser, client: &Value) {
    let number = "return life.rollcall.getSequenceNumber()";
    let before = page.value(number).await.as_u64();
    let revision = registered(page).await;
    page.value("window.life = undefined").await;
    page.reload().await;
    page.assert_equal("the registration's revision", registered(page).await, revision).await;
    page.assert_equal("the client's id", &page.value(CLIENT).await, client).await;
    let after = page.value(number).await.as_u64();
    page.assert_equal("whether numbers go on", before < after, true).await;
}

/// Does in the page what the docs do to share a session.
async fn share(page: &Browser, server: &Server) {
    let docs = include_str!("../../../docs/browser-client.md");
    let recipe = docs.split_once("**Share one session among tabs.**").map(|(_, rest)| rest);
    let code = recipe.and_then(|rest| rest.split("```js\n").nth(1)?.split("```").next());
    let code = code.expect("the docs have the recipe");
    let script = format!(
        "const {{ Rollcall }} = await import('{}/client/rollcall.js'); \
         const servers = ['{}']; \
         window.shown = []; \
         const show = (data) => shown.push(data); \
         {code}\n return true",
        server.http(),
        server.url()
    );
    page.value(&script).await;
}

/// How many sessions a server has, that of the test's own client included.
async fn sessions(server: &Server) -> f64 {
    rollcall_tests::http::Metrics::of(server).await.value("rollcall_sessions")
}

const CLIENT: &str = "return life.rollcall.welcome.client";

/// Whom the tab was told of last as being here.
const USERS: &str =
    "return shown.findLast(({ users }) => users)?.users.map(({ username }) => username)";

/// Who was told to have come.
const CAME: &str = "return shown.flatMap(({ change }) => change?.type === 'UserConnected' ? [change.username] : []) \
    .filter((name) => name !== 'ann')";
