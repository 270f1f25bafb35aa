//! A console on a cluster of several servers, as a person reads it: the top bar, a card for each server, and
//! who came and went.

use std::collections::BTreeMap;

use rollcall_client::{Client, Ip, Registration};
use rollcall_tests::{PATIENCE, browser::Browser, cluster::Cluster};
use serde_json::{Value, json};

use crate::console::Console;

/// What the top bar and the cards say.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// The health in words.
    pub(crate) health: String,
    /// How this page is linked, in words.
    pub(crate) page: String,
    pub(crate) cards: BTreeMap<u64, Card>,
}

/// What the card of a server says.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) role: String,
    pub(crate) up: bool,
    pub(crate) figures: String,
    /// Whether it is said to be the one of this page.
    pub(crate) here: bool,
}

impl Panel {
    fn from_json(found: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let card = |card: &Value| {
            let node = text(&card["node"]).parse().expect("a card is of a server");
            let (role, figures) = (text(&card["role"]), text(&card["figures"]));
            (node, Card { role, up: card["up"] == "true", figures, here: card["here"] == true })
        };
        let cards = found["cards"].as_array().expect("a list").iter().map(card).collect();
        Self { health: text(&found["health"]), page: text(&found["page"]), cards }
    }

    /// The servers whose cards have this role.
    pub(crate) fn with_role(&self, role: &str) -> Vec<u64> {
        let those = self.cards.iter().filter(|(_, card)| card.role == role);
        those.map(|(node, _)| *node).collect()
    }

    /// The one server that is said to lead, if the top bar says the same: "…, server 2 leads".
    pub(crate) fn leader(&self) -> Result<u64, String> {
        match self.with_role("leader")[..] {
            [leader] if self.health.ends_with(&format!(", server {leader} leads")) => Ok(leader),
            _ => Err(format!("no leader in {self:?}")),
        }
    }

    /// The leader of a cluster of three that is whole, in step and of one epoch.
    pub(crate) fn whole(&self) -> Result<u64, String> {
        let leader = self.leader()?;
        let epoch = self.cards[&leader].figures.split(" · ").next().unwrap_or_default();
        let in_place = |(node, card): (&u64, &Card)| {
            let figures: Vec<_> = card.figures.split(" · ").collect();
            let links = figures.last().is_some_and(|last| last.contains(" link"));
            let rest = figures[..figures.len() - 1].to_vec();
            let leads = card.role == "leader" && *node == leader && rest == [epoch];
            let follows = card.role == "follower" && rest == [epoch, "in step"];
            card.up && links && (leads || follows)
        };
        let healthy = format!("Healthy: 3 of 3, server {leader} leads");
        let is_whole = self.cards.len() == 3 && self.cards.iter().all(in_place);
        if is_whole && self.health == healthy && epoch.starts_with("epoch ") {
            Ok(leader)
        } else {
            Err(format!("{self:?}"))
        }
    }

    /// The server of this page, if card and top bar say the same.
    pub(crate) fn own(&self) -> Result<u64, String> {
        let mut here = self.cards.iter().filter(|(_, card)| card.here);
        match (here.next(), here.next()) {
            (Some((node, _)), None) if self.page == format!("Live, server {node}") => Ok(*node),
            _ => Err(format!("no server of this page in {self:?}")),
        }
    }
}

impl Console {
    /// Opens the console of one server of a cluster, which notes from now on who comes and goes.
    pub(crate) async fn of(name: &str, cluster: &Cluster, server: u64) -> Self {
        let console = Self::open(name, cluster.server(server)).await;
        console.page.value(NOTE_CHANGES).await;
        console
    }

    /// Waits until the panel is what the check takes.
    pub(crate) async fn panel<T>(
        &self,
        what: &str,
        check: impl Fn(&Panel) -> Result<T, String>,
    ) -> T {
        self.page.wait(what, PANEL, |found| check(&Panel::from_json(found))).await
    }

    /// Fails unless exactly this happened to people since the console was opened, in this order:
    /// each as "joined ann".
    pub(crate) async fn nothing_happened_but(&self, expected: &[&str]) {
        let happened = self.page.value("return window.happened").await;
        self.page.assert_equal("what happened to people", happened, json!(expected)).await;
    }

    /// The same of this console's page as [`complains_of_lost_servers_only`].
    pub(crate) async fn complains_of_lost_servers_only(&self) {
        complains_of_lost_servers_only(&self.page).await;
    }
}

/// Fails if a page complained about anything but servers that are not there, or that closed a link
/// while something was being sent on it: the browser itself says these.
pub(crate) async fn complains_of_lost_servers_only(page: &Browser) {
    let lost = |text: &String| {
        text.contains("WebSocket connection to") && text.contains("net::ERR_")
            || text.contains("WebSocket is already in CLOSING or CLOSED state")
    };
    let complaints = page.complaints().await;
    let others: Vec<_> = complaints.iter().filter(|text| !lost(text)).collect();
    page.assert_equal("complaints besides lost servers", others, vec![]).await;
}

/// Registers somebody at a server, for as long as the client is kept.
pub(crate) async fn join(cluster: &Cluster, server: u64, username: &str) -> Client {
    let builder = Client::builder().servers([cluster.url(server)]).timeout(PATIENCE);
    let client = builder.connect().await.expect("the server runs");
    let place = Registration::new(Ip::Literal([192, 0, 2, 1].into()), 4711);
    client.connect_user(username, place).await.expect("the name is free");
    client
}

const PANEL: &str = "const text = node => node.textContent.replaceAll('\\u00a0', ' '); \
    const words = id => text(document.querySelector(`#${id} span`)); \
    const cards = [...document.querySelectorAll('#members > .member[data-node]')].map(card => ({ ...card.dataset, \
      figures: text(card.querySelector('.figures')), here: card.querySelector('.here').checkVisibility() })); \
    return { health: words('health'), page: words('page-state'), cards }";

const NOTE_CHANGES: &str = "window.happened = []; \
    rollcallConsole.store.onChange(({ kind, entry }) => window.happened.push(`${kind} ${entry?.username ?? ''}`.trim())); \
    return true";
