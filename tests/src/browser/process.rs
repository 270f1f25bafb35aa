//! The processes behind a browser: chromedriver on a free port, and the Chromium it starts.
//!
//! Owns that all of them are gone in the end, whatever happened; WebDriver itself is the parent's.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, ErrorKind},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    PATIENCE,
    server::{process_is_alive, send_signal},
};

/// What to do where the browser is missing.
pub(super) const HOW_TO_INSTALL: &str = "the browser tests need `chromium` and `chromedriver` on \
    the PATH: run `cargo xtask test`, which installs them on Debian, or \
    `apt-get install chromium chromium-driver`";

/// A chromedriver and everything it started.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    port: u16,
    /// Profile and temporary files of the browser.
    folder: TempDir,
}

impl Driver {
    pub(super) fn start() -> Self {
        for _ in 1..STARTS {
            if let Some(driver) = Self::try_start() {
                return driver;
            }
        }
        Self::try_start().expect("chromedriver says on which port it listens")
    }

    /// Starts a driver; none if it ended at once. It takes a free port of IPv6, and then the same one
    /// of IPv4, which may be one of a server under test.
    fn try_start() -> Option<Self> {
        let folder = TempDir::with_prefix("rollcall-browser-").expect("a temporary folder");
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("chromedriver is missing; {HOW_TO_INSTALL}")
            }
            Err(error) => panic!("chromedriver does not start: {error}"),
        };
        let lines = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let (sender, port) = mpsc::channel();
        // It reads to the end, so that the driver never blocks on what it prints.
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(port) = port_of(&line) {
                    // Nobody listens any more once the port is known.
                    let _ = sender.send(port);
                }
            }
        });
        let port = port.recv_timeout(PATIENCE);
        // From here on the processes are ended by dropping.
        let mut driver = Self { child, port: 0, folder };
        driver.port = port.ok()?;
        Some(driver)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What to ask of a new session; chromedriver leaves these switches out, which it adds by itself.
    pub(super) fn capabilities(&self, without: &[&str]) -> Value {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let arguments: Vec<&str> = FLAGS.iter().copied().chain([profile.as_str()]).collect();
        json!({
            "goog:chromeOptions": {
                "binary": chromium(),
                "args": arguments,
                "excludeSwitches": without,
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        })
    }

    /// Kills the driver and all that it started, and waits until they are gone.
    pub(super) fn kill(&mut self) {
        let mut started = descendants(self.child.id());
        // An error means that it has ended already. Without it nothing new starts.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for &pid in &started {
            send_signal(pid, Signal::KILL);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            started.retain(|&pid| process_is_alive(pid));
            if started.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads `ChromeDriver was started successfully on port 36123.`
fn port_of(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

/// Chromium's executable on the `PATH`.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    found
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("chromium is missing; {HOW_TO_INSTALL}"))
}

/// All processes below one, as they are now.
fn descendants(root: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = processes().collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let below = parents.iter().filter(|(_, parent)| found.contains(parent));
        let below: Vec<u32> = below.map(|(pid, _)| *pid).collect();
        found.extend(below);
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

/// The id of every process with its parent's.
fn processes() -> impl Iterator<Item = (u32, u32)> {
    let entries = fs::read_dir("/proc").expect("Linux has /proc");
    entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // After the name, which may hold anything: state, then parent.
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
}

/// How often to try to start a driver.
const STARTS: usize = 5;

/// What chromedriver adds for tests that want nothing to happen to hidden pages and to those that were
/// left: without these, Chromium throttles timers and keeps pages for the way back, headless as well.
pub(super) const COMFORTS: [&str; 4] = [
    "disable-background-timer-throttling",
    "disable-renderer-backgrounding",
    "disable-backgrounding-occluded-windows",
    "disable-back-forward-cache",
];

/// Headless, alone and quiet: no service of its own, no first steps, no sandbox (tests run as root
/// in containers, and see only our own pages).
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--window-size=1440,900",
];
