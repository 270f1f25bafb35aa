//! A real headless Chromium with one page: opens, waits for what the page shows, clicks, types, and
//! says what the page complained about.
//!
//! Knows nothing of Rollcall. Every wait has a deadline; one that fails leaves a picture of the page
//! in `target/e2e`. Chromium or its driver missing is a failure, never a reason to skip.

mod devices;
mod devtools;
mod process;
mod windows;

use std::{
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, error::CmdError,
    wd::WebDriverCompatibleCommand,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use url::{ParseError, Url};

use crate::PATIENCE;
use process::Driver;

/// A Chromium of its own, with a profile of its own, that shows one page.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    /// After the client, so that the browser is gone last.
    driver: Driver,
    name: String,
}

impl Browser {
    /// Starts a browser and opens a page; `name` tells it apart in messages and pictures.
    pub async fn open(name: &str, url: &str) -> Self {
        Self::start(name, url, &[]).await
    }

    /// Starts a browser that treats pages as a person's does: it throttles the timers of hidden ones,
    /// and keeps those that were left for the way back.
    pub async fn open_everyday(name: &str, url: &str) -> Self {
        Self::start(name, url, &process::COMFORTS).await
    }

    async fn start(name: &str, url: &str, without: &[&str]) -> Self {
        let driver = Driver::start();
        let capabilities = driver.capabilities(without);
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let Ok(session) = timeout(PATIENCE, builder.connect(&driver.url())).await else {
            panic!("{name}: Chromium did not start in {PATIENCE:?}");
        };
        let client = session.unwrap_or_else(|error| {
            panic!("{name}: Chromium did not start: {error}\n{}", process::HOW_TO_INSTALL)
        });
        let browser = Self { client, driver, name: name.to_owned() };
        browser.goto(url).await;
        browser
    }

    /// Goes to another page and waits until it is loaded.
    pub async fn goto(&self, url: &str) {
        self.run("open the page", self.client.goto(url)).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.run("reload the page", self.client.refresh()).await;
    }

    /// Goes back to the page before.
    pub async fn back(&self) {
        self.run("go back", self.client.back()).await;
    }

    /// Clicks what a selector finds, once it is there and can be clicked.
    pub async fn click(&self, css: &str) {
        self.with_element(css, "click", |element| async move { element.click().await }).await;
    }

    /// Types into a field in place of what it holds.
    pub async fn fill(&self, css: &str, text: &str) {
        self.with_element(css, "type into", |element| async move {
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// Runs a function body in the page, waits for its promise if it returns one, and returns the
    /// result.
    pub async fn value(&self, script: &str) -> Value {
        self.run(script, self.client.execute(script, vec![])).await
    }

    /// Repeats a function body in the page until its result is what the check takes; returns that.
    pub async fn wait<T>(
        &self,
        what: &str,
        script: &str,
        check: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // While a page loads, there is nothing to ask yet.
            let found = match timeout(left, self.client.execute(script, vec![])).await {
                Ok(Ok(value)) => check(&value),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the page does not answer".to_owned()),
            };
            match found {
                Ok(found) => return found,
                Err(why) if Instant::now() >= deadline => {
                    self.fail(&format!("{what} did not come in {PATIENCE:?}: {why}")).await
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Waits until a function body in the page returns this.
    pub async fn wait_equal(&self, what: &str, script: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        self.wait(what, script, |found| {
            if *found == expected { Ok(()) } else { Err(format!("{found} is not {expected}")) }
        })
        .await;
    }

    /// Waits until a function body in the page returns something true.
    pub async fn wait_true(&self, what: &str, script: &str) {
        self.wait_equal(what, script, true).await;
    }

    /// Fails with a picture of the page unless both are equal.
    pub async fn assert_equal<T: PartialEq + Debug>(&self, what: &str, found: T, expected: T) {
        if found != expected {
            self.fail(&format!("{what}\n   found: {found:?}\nexpected: {expected:?}")).await;
        }
    }

    /// What the page and the browser have complained about since this was last asked: errors that
    /// nobody caught, failed loads, violations of the content security policy, `console.error`.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.run("read the console", self.client.issue_cmd(ReadConsole)).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let serious = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        serious.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    /// Fails if the page complained about anything.
    pub async fn assert_no_complaints(&self) {
        let complaints = self.complaints().await;
        if !complaints.is_empty() {
            self.fail(&format!("the page complained:\n{}", complaints.join("\n"))).await;
        }
    }

    /// Saves a picture of the page and returns where.
    pub async fn picture(&self, path: &Path) {
        let picture = self.run("take a picture", self.client.screenshot()).await;
        fs::write(path, picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Changes the size of the window.
    pub async fn resize(&self, width: u32, height: u32) {
        self.run("resize", self.client.set_window_size(width, height)).await;
    }

    /// Says goodbye: closes the page as a person does, then the browser.
    pub async fn close(self) {
        self.run("close", self.client.clone().close()).await;
    }

    /// Kills the browser, as a power cut would: no handler of the page runs any more.
    pub async fn kill(mut self) {
        // Else the client's end would ask the driver to close the page.
        self.run("let go of the session", self.client.persist()).await;
        self.driver.kill();
    }

    /// Panics with the page's state and where its picture is.
    pub async fn fail(&self, why: &str) -> ! {
        let state = self.describe().await;
        let picture = self.keep_picture().await;
        panic!("{}: {why}\nthe page: {state}\nits picture: {picture}", self.name);
    }

    async fn describe(&self) -> String {
        let script = "return {url: location.href, body: {...document.body.dataset}, \
                      text: document.body.innerText.slice(0, 1500)}";
        let complaints = timeout(LAST_WORDS, self.client.issue_cmd(ReadConsole)).await;
        match timeout(LAST_WORDS, self.client.execute(script, vec![])).await {
            Ok(Ok(state)) => format!("{state:#}\nits console: {complaints:?}"),
            other => format!("says nothing ({other:?})"),
        }
    }

    async fn keep_picture(&self) -> String {
        let path = pictures().join(format!("{}.png", self.name));
        match timeout(LAST_WORDS, self.client.screenshot()).await {
            Ok(Ok(picture)) => match fs::write(&path, picture) {
                Ok(()) => path.display().to_string(),
                Err(error) => format!("could not be written to {}: {error}", path.display()),
            },
            other => format!("could not be taken ({:?})", other.map(|taken| taken.err())),
        }
    }

    async fn with_element<F: Future<Output = Result<(), CmdError>>>(
        &self,
        css: &str,
        what: &str,
        act: impl Fn(Element) -> F,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = match self.client.find(Locator::Css(css)).await {
                Ok(element) => act(element).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => return,
                // Not there yet, moving, or just replaced.
                Err(_) if Instant::now() < deadline => sleep(POLL).await,
                Err(error) => self.fail(&format!("could not {what} {css}: {error}")).await,
            }
        }
    }

    async fn run<T>(&self, what: &str, due: impl Future<Output = Result<T, CmdError>>) -> T {
        match timeout(PATIENCE, due).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => self.fail(&format!("could not {what}: {error}")).await,
            Err(_) => self.fail(&format!("could not {what} in {PATIENCE:?}")).await,
        }
    }
}

/// Chromium's own command for what its console shows; reading takes the entries away.
#[derive(Debug)]
struct ReadConsole;

impl WebDriverCompatibleCommand for ReadConsole {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

/// Where pictures of failed pages go.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder.canonicalize().unwrap_or(folder)
}

/// Between two looks at the page.
const POLL: Duration = Duration::from_millis(50);

/// How long a page that failed may take to say in which state it is.
const LAST_WORDS: Duration = Duration::from_secs(5);
