//! Chromium's DevTools protocol, which its driver passes on, and what it can make happen to a page that
//! the driver itself cannot: it is hidden, frozen, offline.
//!
//! Pages see what they would see in a person's browser, events and all.

use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::Browser;

impl Browser {
    /// Hides the page, as somebody does who minimises the window.
    pub async fn hide(&self) {
        self.set_window("minimized").await;
        self.wait_true("a hidden page", "return document.hidden").await;
    }

    /// Shows the page again.
    pub async fn show(&self) {
        self.set_window("normal").await;
        self.wait_true("a page in view", "return !document.hidden").await;
    }

    async fn set_window(&self, state: &str) {
        let window = self.devtools("Browser.getWindowForTarget", json!({})).await;
        let change = json!({ "windowId": window["windowId"], "bounds": { "windowState": state } });
        self.devtools("Browser.setWindowBounds", change).await;
    }

    /// Freezes the page: nothing of its own runs any more. What a test asks of it does.
    pub async fn freeze(&self) {
        self.devtools("Page.setWebLifecycleState", json!({ "state": "frozen" })).await;
    }

    /// Lets a frozen page go on.
    pub async fn thaw(&self) {
        self.devtools("Page.setWebLifecycleState", json!({ "state": "active" })).await;
    }

    /// Takes the page off the network: it opens no connection any more, and is told so. WebSockets that
    /// are open stay.
    pub async fn go_offline(&self) {
        self.set_network(true).await;
    }

    /// Lets the page on the network again.
    pub async fn go_online(&self) {
        self.set_network(false).await;
    }

    async fn set_network(&self, offline: bool) {
        let unlimited = -1;
        let network = json!({
            "offline": offline,
            "latency": 0,
            "downloadThroughput": unlimited,
            "uploadThroughput": unlimited,
        });
        self.devtools("Network.emulateNetworkConditions", network).await;
    }

    /// Takes every certificate for good from now on.
    pub async fn trust_everybody(&self) {
        self.devtools("Security.setIgnoreCertificateErrors", json!({ "ignore": true })).await;
    }

    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        self.run(command, self.client.issue_cmd(Devtools(body))).await
    }
}

/// A command with its parameters.
#[derive(Debug)]
struct Devtools(String);

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.clone()))
    }
}
