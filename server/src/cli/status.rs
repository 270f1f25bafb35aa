//! `rollcall status`: how one server sees itself and the cluster.

mod health;

use std::time::Duration;

use clap::Args;
use rollcall_shared::message::{MemberState, MemberStatus, Role, Status as Answer};

use super::args::ClientArgs;
use super::escape::Escaped;
use super::failure::Failure;
use super::output::counted;
use super::{client, output};

/// Show how a server sees the cluster
///
/// Asks the first server of --server that answers how the cluster is, who leads (marked *), what it
/// is itself, and what it holds. The answer is that server's own view, given even while it is cut
/// off from the others. With --json it prints the payload of the reply.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    #[command(flatten)]
    client: ClientArgs,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let cluster = client::begin(&self.client).await?;
        let answer = cluster.get_status().await?;
        cluster.close().await;
        if self.client.json {
            return output::json(&answer);
        }
        output::columns(&facts(&answer)).into_iter().try_for_each(output::line)?;
        output::columns(&members(&answer)).into_iter().try_for_each(output::line)
    }
}

fn facts(status: &Answer) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let shown = |text: &str| Escaped::new(text).to_string();
    let leader = status.leader.map_or_else(|| "unknown".to_owned(), |leader| leader.to_string());
    let cluster = if status.cluster.is_empty() { "unknown" } else { &status.cluster };
    let lookups = if status.readable { "answered here" } else { "not answered here" };
    vec![
        row("health", health::words(status)),
        row("server", format!("{}, {}", status.node, status.role.as_str())),
        row("lookups", lookups.to_owned()),
        row("version", shown(&status.version)),
        row("up for", uptime(Duration::from_millis(status.uptime_ms))),
        row("cluster", shown(cluster)),
        row("leader", format!("{leader}, epoch {}", status.epoch)),
        row("revision", status.revision.to_string()),
        row(
            "users",
            format!("{} with {}", status.users, counted(status.registrations, "registration")),
        ),
        row("sessions", status.sessions.to_string()),
        row(
            "links",
            format!(
                "{} here, with {}",
                status.connections,
                counted(status.subscriptions, "subscription")
            ),
        ),
    ]
}

fn members(status: &Answer) -> Vec<Vec<String>> {
    let row = |member: &MemberStatus| {
        let leads = status.leader == Some(member.node);
        let mark = if leads { "*" } else { "" };
        let mut row = vec!["member".to_owned(), member.node.to_string(), mark.to_owned()];
        row.extend(known(member, leads));
        row.push(Escaped::new(&member.url).to_string());
        row
    };
    status.members.iter().map(row).collect()
}

/// State or role, epoch, lag and links of a member, as far as they are known.
fn known(member: &MemberStatus, leads: bool) -> [String; 4] {
    let state = match member.state {
        MemberState::Up => member.role.map_or("up", Role::as_str),
        MemberState::Down => "down",
    };
    let said = |value: Option<u64>, words: fn(u64) -> String| value.map_or_else(String::new, words);
    [
        state.to_owned(),
        said(member.epoch, |epoch| format!("epoch {epoch}")),
        // The leader is what the others are behind.
        said(member.lag.filter(|_| !leads), |lag| match lag {
            0 => "in step".to_owned(),
            lag => format!("{lag} behind"),
        }),
        said(member.links, |links| counted(links, "link")),
    ]
}

fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

const EXAMPLES: &str = "\
EXAMPLES
  The local cluster of `rollcall dev`:
    rollcall status

  One server in particular, for a script:
    rollcall status --server ws://127.0.0.1:7101/ws --json | jq .leader";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_has_two_units_at_most() {
        let shown = |seconds| uptime(Duration::from_secs(seconds));
        assert_eq!(shown(59), "59 s");
        assert_eq!(shown(61), "1 min 1 s");
        assert_eq!(shown(3_661), "1 h 1 min");
        assert_eq!(shown(90_061), "1 d 1 h");
    }
}
