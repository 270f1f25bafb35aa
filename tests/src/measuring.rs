//! What the programs that measure have in common: how they speak, how they are ended, and what they
//! say of the machine.

use std::{fmt::Display, fs, io::Write as _};

use tokio::signal::unix::{SignalKind, signal};

/// Waits until somebody wants the program to end.
pub async fn interrupted() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let [Ok(mut interrupt), Ok(mut terminate)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes a line for whoever reads; when nobody does any more, all is said.
pub fn say(line: impl Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// The load averages of the last 1, 5 and 15 minutes, where the system says them.
pub fn load_averages() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<_> = text.split_whitespace().take(3).collect();
    if three.is_empty() { "unknown".to_owned() } else { three.join(" ") }
}
