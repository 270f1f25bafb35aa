//! A page that lives through something: it holds a registration and follows everybody, others come
//! and go.
//!
//! Knows what must hold whatever happened to the page; what happens is `lifecycle`'s and `network`'s.

use fantoccini::wd::WindowHandle;
use rollcall_client::{Client, Ip, Registration};
use rollcall_tests::{PATIENCE, browser::Browser, cluster::Cluster, server::Server, site::Site};
use serde_json::{Value, json};

/// A page of another origin than the servers'.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) page: Browser,
    site: Site,
    /// Of the page's registration.
    revision: Value,
    /// What the page is to be told, in order.
    due: Vec<Value>,
    guests: u32,
}

impl Life {
    /// Opens the page, which takes the client from this server and connects to these URLs.
    pub(crate) async fn begin(name: &str, server: &Server, urls: &[String]) -> Self {
        Self::with(name, server, urls, json!({})).await
    }

    /// The same with a cluster, all servers of which the page knows.
    pub(crate) async fn of_cluster(name: &str, cluster: &Cluster) -> Self {
        let urls: Vec<String> = cluster.running().into_iter().map(|id| cluster.url(id)).collect();
        Self::begin(name, cluster.server(1), &urls).await
    }

    /// The same as [`Self::begin`] with further options of the client.
    pub(crate) async fn with(name: &str, server: &Server, urls: &[String], options: Value) -> Self {
        let mut options = options;
        options["servers"] = json!(urls);
        // Servers elect a leader now and then where the machine is busy.
        options["timeout"] = json!(15_000);
        let life = include_str!("pages/life.js")
            .replace("127.0.0.1:7101", &server.address().to_string())
            .replace("OPTIONS", &options.to_string());
        let page = |module| include_str!("pages/page.html").replace("MODULE", module);
        let files = vec![
            ("/life.html", page("./life.js")),
            ("/life.js", life),
            ("/elsewhere.html", page("./nothing.js")),
            ("/nothing.js", String::new()),
        ];
        let site = Site::serve(files, &[urls, &[server.http()]].concat()).await;
        let page = Browser::open_everyday(name, &site.url("/life.html")).await;
        let revision = registered(&page).await;
        let due = vec![json!(["UserConnected", "page", revision])];
        Self { page, site, revision, due, guests: 0 }
    }

    /// Goes to a page of the same site that has nothing to do with Rollcall.
    pub(crate) async fn leave(&self) {
        self.page.goto(&self.site.url("/elsewhere.html")).await;
    }

    /// Goes on to the same page, as another one of the site that uses the client.
    pub(crate) async fn turn(&self) {
        self.page.goto(&self.site.url("/life.html?turned")).await;
    }

    /// Duplicates the tab, for a page that registers somebody else; returns both windows, the copy being
    /// the present one.
    pub(crate) async fn copy(&mut self, name: &str) -> [WindowHandle; 2] {
        let windows = self.page.open_copy(&self.site.url(&format!("/life.html?as={name}"))).await;
        let revision = registered(&self.page).await;
        self.due.push(json!(["UserConnected", name, revision]));
        windows
    }

    /// Lets somebody come, move and leave at a server.
    pub(crate) async fn others_come_and_go(&mut self, server: &Server) {
        self.guests += 1;
        let name = format!("guest-{}", self.guests);
        let guest = client(server).await;
        let place = |port| Registration::new(Ip::Literal([192, 0, 2, 1].into()), port);
        let came = guest.connect_user(&name, place(1)).await.expect("the name is free").revision;
        let moved = guest.connect_user(&name, place(2)).await.expect("it is held").revision;
        let left = guest.disconnect_user(&name, None).await.expect("it is held").revision;
        guest.close().await;
        let told = [("UserConnected", came), ("UserUpdated", moved), ("UserDisconnected", left)];
        self.due.extend(told.map(|(kind, revision)| json!([kind, name, revision])));
    }

    /// Waits until the page was told of everything once and in order, and of nothing else: so its own
    /// registration has not blinked either.
    pub(crate) async fn has_heard_all(&self) {
        let told = "return life.seen.changes";
        self.page.wait_equal("what the page is told", told, self.due.clone()).await;
    }

    /// Fails if the page was told of anything new.
    pub(crate) async fn has_heard_nothing(&self) {
        let told = self.page.value("return life.seen.changes.length").await;
        self.page.assert_equal("changes that were told", told, json!(1)).await;
    }

    /// Waits until the page's client is connected, and fails unless it is as if nothing had happened.
    pub(crate) async fn goes_on(&mut self, server: &Server) {
        self.page.wait_equal("the client's state", "return life.rollcall.state", "connected").await;
        let number = self.page.value("return life.rollcall.getSequenceNumber()").await;
        self.page.assert_equal("whether a call has its answer", number.is_u64(), true).await;
        self.others_come_and_go(server).await;
        self.has_heard_all().await;
        self.is_registered(server).await;
        let news = self.page.value("return life.seen.news").await;
        self.page.assert_equal("news of gaps and registrations", news, json!([])).await;
    }

    /// Fails unless a server knows the page's registration as it was made first.
    pub(crate) async fn is_registered(&self, server: &Server) {
        let found = client(server).await.get_user_address(["page"]).await.expect("it answers");
        let addresses = found.users.first().map_or(&[][..], |user| &user.addresses);
        let revision = json!(addresses.first().map(|address| address.revision));
        self.page.assert_equal("the registration's revision", &revision, &self.revision).await;
    }

    /// The registration of the page that is there now, once it has one.
    pub(crate) async fn registers_as_before(&self) {
        let revision = registered(&self.page).await;
        self.page.assert_equal("the registration's revision", &revision, &self.revision).await;
    }

    /// Waits until this has happened to the page.
    pub(crate) async fn was_told(&self, event: &str) {
        let script = format!("return life.seen.page.includes('{event}')");
        self.page.wait_true(event, &script).await;
    }
}

/// The revision of the registration that a page has, once it has one.
pub(crate) async fn registered(page: &Browser) -> Value {
    page.wait("the page's registration", "return window.life?.revision ?? null", |revision| {
        if revision.is_u64() { Ok(revision.clone()) } else { Err(revision.to_string()) }
    })
    .await
}

/// A client that begins at a server, with patience for elections.
async fn client(server: &Server) -> Client {
    let builder = Client::builder().servers([server.url()]).timeout(PATIENCE);
    builder.connect().await.expect("the server runs")
}
