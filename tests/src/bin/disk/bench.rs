//! `rollcall bench`, run against servers, and what it found.

use std::{path::Path, process::Stdio};

use rollcall_tests::server::bare_command;
use serde_json::Value;
use tokio::process::Command;

use crate::Result;

/// What to ask, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    pub(crate) workload: &'static str,
    pub(crate) connections: u32,
    pub(crate) in_flight: u32,
    pub(crate) seconds: u32,
}

/// What a run of it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) per_second: f64,
    /// The median of how long a request took, microseconds.
    pub(crate) p50: f64,
}

impl Bench {
    /// Many clients that always have 1024 requests under way together.
    pub(crate) const fn many(workload: &'static str) -> Self {
        Self { workload, connections: 64, in_flight: 16, seconds: 3 }
    }

    /// One client, one request after the other.
    pub(crate) const fn single() -> Self {
        Self { workload: "sequence", connections: 1, in_flight: 1, seconds: 2 }
    }

    /// The same for a second, so that what is measured next finds all in place.
    pub(crate) const fn warm_up(self) -> Self {
        Self { seconds: 1, ..self }
    }

    /// Runs it; links go to these servers in turn.
    pub(crate) async fn run(self, servers: &[String], scratch: &Path) -> Result<Found> {
        let Self { workload, connections, in_flight, seconds } = self;
        let mut command = Command::from(bare_command(scratch));
        command.args(["bench", "--json", "--workload", workload]);
        for (flag, value) in
            [("--connections", connections), ("--in-flight", in_flight), ("--seconds", seconds)]
        {
            command.args([flag, &value.to_string()]);
        }
        servers.iter().for_each(|url| _ = command.args(["--server", url]));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("bench fails: {said}").into());
        }
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let number = |value: &Value| value.as_f64().ok_or("bench says no number");
        let p50 = number(&found["latency_us"]["p50"])?;
        Ok(Found { per_second: number(&found["per_second"])?, p50 })
    }
}
