//! `rollcall watch`: who is there, then every change.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use futures::StreamExt as _;
use rollcall_client::{Change, ChangeKind, Client, Watch as Subscription};
use rollcall_shared::id::{Prefix, SubscriptionId, Username};
use rollcall_shared::limits;
use rollcall_shared::message::{Envelope, Filter, Reason, Subscribed, tag};

use super::args::ClientArgs;
use super::escape::Escaped;
use super::failure::Failure;
use super::lookup::address_row;
use super::signals::Signals;
use super::{client, output, values};

/// Watch who comes and goes
///
/// Prints who is online among the users watched, then each change as it happens, without a gap,
/// until Ctrl-C: `+` a device appeared, `~` it is reached differently, `-` it is gone. Watches
/// everybody unless told whom. With --json it prints the messages themselves, one a line: the
/// `Subscribed` first, then each push.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    client: ClientArgs,
}

/// Whom to watch; everybody where nothing is said.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
struct Selection {
    /// Users to watch, up to 1000
    #[arg(value_name = "NAME", value_parser = values::username)]
    usernames: Vec<Username>,
    /// Watch the users whose names begin with this
    #[arg(long, value_name = "PREFIX", value_parser = values::prefix)]
    prefix: Option<Prefix>,
    /// Watch all users (what is done when nothing else is said)
    #[arg(long)]
    all: bool,
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let filter = self.filter()?;
        let mut signals = Signals::listen()?;
        let connecting = client::connect(&self.client);
        let Some(cluster) = client::unless_ended(connecting, &mut signals).await? else {
            return Ok(());
        };
        let subscribing = cluster.subscribe(filter);
        let Some(mut watch) = client::unless_ended(subscribing, &mut signals).await? else {
            return Ok(());
        };
        if self.client.json {
            print_subscribed(&watch, client::origin(&cluster).as_deref())?;
        } else {
            print_snapshot(&watch)?;
        }
        loop {
            let change = tokio::select! {
                change = watch.next() => change,
                () = signals.next() => break,
            };
            match change {
                Some(change) if self.client.json => print_message(&change)?,
                Some(change) => output::line(describe(&change))?,
                None => return Err(ended(&watch, &cluster).await),
            }
        }
        client::leave(&cluster, &mut signals).await;
        Ok(())
    }

    fn filter(&self) -> Result<Filter, Failure> {
        let Selection { usernames, prefix, .. } = &self.selection;
        if usernames.len() > limits::USERNAMES {
            let text = format!("at most {} names can be watched by name", limits::USERNAMES);
            return Err(Failure::Usage(text));
        }
        Ok(match prefix {
            Some(prefix) => Filter::Prefix(prefix.clone()),
            None if usernames.is_empty() => Filter::All,
            None => Filter::Usernames(usernames.clone()),
        })
    }
}

async fn ended(watch: &Subscription, cluster: &Client) -> Failure {
    match watch.ended() {
        Some(error) => error.into(),
        None => client::ending(cluster).await,
    }
}

fn print_subscribed(watch: &Subscription, origin: Option<&str>) -> Result<(), Failure> {
    output::json(&Envelope {
        r#type: tag::SUBSCRIBED,
        origin,
        id: None,
        payload: Subscribed {
            subscription: ONLY,
            revision: watch.revision(),
            recovered: None,
            users: watch.users().to_vec(),
            more: false,
        },
    })
}

fn print_message(change: &Change) -> Result<(), Failure> {
    output::json(&Envelope {
        r#type: change.kind.tag(),
        origin: Some(&*change.origin),
        id: None,
        payload: &change.change,
    })
}

fn print_snapshot(watch: &Subscription) -> Result<(), Failure> {
    let users = watch.users();
    let rows: Vec<Vec<String>> = users
        .iter()
        .flat_map(|user| user.addresses.iter().map(|address| address_row(&user.username, address)))
        .collect();
    let (users, devices) = (users.len(), rows.len());
    let count = match devices {
        0 => "nobody is online".to_owned(),
        _ => format!("{users} online with {}", output::counted(devices, "device")),
    };
    output::line(format_args!("{}  {count} at revision {}", clock(), watch.revision()))?;
    for line in output::columns(&rows) {
        output::line(format_args!("{}  = {line}", " ".repeat(CLOCK_WIDTH)))?;
    }
    Ok(())
}

/// A change on one line, aligned with its neighbours as far as their names allow.
fn describe(change: &Change) -> String {
    let (sign, change) = (sign(change.kind), &change.change);
    let name = Escaped::new(change.username.as_str()).to_string();
    let device = Escaped::new(change.device.as_str()).to_string();
    let place = match (change.ip, change.port) {
        (Some(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
        _ => match (change.reason, change.online) {
            (Some(Reason::Left), true) => "left, others stay",
            (Some(Reason::Left), false) => "left",
            (_, true) => "expired, others stay",
            (_, false) => "expired",
        }
        .to_owned(),
    };
    let meta = change.meta.as_ref().map_or("", |meta| meta.as_str());
    let revision = change.revision;
    let line = format!(
        "{}  {sign} {name:<16}  {device:<10}  {place:<21}  revision {revision:<8}  {}",
        clock(),
        Escaped::new(meta)
    );
    line.trim_end().to_owned()
}

const fn sign(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Connected => '+',
        ChangeKind::Updated => '~',
        ChangeKind::Disconnected => '-',
    }
}

/// The time of day in UTC, to the second.
pub(super) fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}Z", now / 3600 % 24, now / 60 % 60, now % 60)
}

/// A client numbers its subscriptions from 1, and this command makes no other.
const ONLY: SubscriptionId = SubscriptionId(1);
const CLOCK_WIDTH: usize = "00:00:00Z".len();

const EXAMPLES: &str = "\
EXAMPLES
  Everybody:
    rollcall watch

  A team, and two people:
    rollcall watch --prefix team-
    rollcall watch ann bob

  Who leaves, for a script:
    rollcall watch --json | jq -r 'select(.type == \"UserDisconnected\").payload.username'";
