//! `rollcall connect`: be online until told to leave.

use clap::Args;
use futures::StreamExt as _;
use rollcall_client::{Client, Event, Registration, State};
use rollcall_shared::id::{Device, Username};
use rollcall_shared::message::Ip;
use rollcall_shared::meta::Meta;

use super::args::ClientArgs;
use super::escape::Escaped;
use super::failure::Failure;
use super::signals::Signals;
use super::watch::clock;
use super::{client, output, values};

/// Be online until Ctrl-C
///
/// Registers a user's device at an address and holds the registration until Ctrl-C or SIGTERM,
/// which ends it at once. Shows what it holds and what happens to it: a lost server, the next one
/// found, the registration made again, or taken over by another session, which ends the command
/// with status 1. With --json it prints the payload of the reply; what happens later goes to
/// standard error.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Connect {
    /// The user
    #[arg(value_name = "NAME", value_parser = values::username)]
    username: Username,
    /// IP address where the user is reached, or "observed" for the one the server sees
    #[arg(value_name = "IP", value_parser = values::ip)]
    ip: Ip,
    /// Port where the user is reached, 1 to 65535
    #[arg(value_name = "PORT", value_parser = values::port)]
    port: u16,
    /// Which of the user's devices this is
    #[arg(long, value_name = "DEVICE", value_parser = values::device,
          default_value = Device::DEFAULT)]
    device: Device,
    /// What else others shall know, as a JSON object of at most 1024 bytes
    #[arg(long, value_name = "JSON", value_parser = values::meta)]
    meta: Option<Meta>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Connect {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut signals = Signals::listen()?;
        let connecting = client::connect(&self.client);
        let Some(cluster) = client::unless_ended(connecting, &mut signals).await? else {
            return Ok(());
        };
        let mut events = cluster.events();
        let registering = cluster.connect_user(self.username.as_str(), self.wanted());
        let held = match client::unless_ended(registering, &mut signals).await {
            Ok(Some(held)) => held,
            // It may have been registered all the same.
            other => {
                client::leave(&cluster, &mut signals).await;
                return other.map(drop);
            }
        };
        if self.client.json {
            output::json(&held)?;
        } else {
            self.say(&format!(
                "holds {} at revision {}, by {}",
                self.registration(),
                held.revision,
                server(&cluster)
            ))?;
        }
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = signals.next() => break,
            };
            match event {
                Some(event) => self.follow(&cluster, &event)?,
                None => return Err(client::ending(&cluster).await),
            }
        }
        client::leave(&cluster, &mut signals).await;
        self.say(&format!("has left {}", self.registration()))
    }

    fn wanted(&self) -> Registration {
        let registration = Registration::new(self.ip, self.port).device(self.device.as_str());
        match &self.meta {
            Some(meta) => registration.meta(meta),
            None => registration,
        }
    }

    /// Shows what happened; an error where nothing is held any more.
    fn follow(&self, cluster: &Client, event: &Event) -> Result<(), Failure> {
        let is_ours = |username: &Username, device: &Device| {
            *username == self.username && *device == self.device
        };
        match event {
            // Every further attempt that fails would say so again.
            Event::State { previous: State::Connected, state, .. } if *state != State::Closed => {
                self.say("is disconnected; tries again")
            }
            Event::State { state: State::Connected, .. } => {
                let resumed = cluster.welcome().is_some_and(|welcome| welcome.resumed);
                let outcome = if resumed {
                    "the registration still stands"
                } else {
                    "the registration had ended and is made again"
                };
                self.say(&format!("is connected again, by {}: {outcome}", server(cluster)))
            }
            Event::Failover { reason, .. } => {
                self.say(&format!("is served by {} now: {reason}", server(cluster)))
            }
            Event::SessionReplaced { username, device } if is_ours(username, device) => {
                Err(Failure::Refused(format!("another session took over {}", self.registration())))
            }
            Event::RegistrationLost { username, device, error } if is_ours(username, device) => {
                Err(Failure::Refused(format!("{} is lost: {error}", self.registration())))
            }
            _ => Ok(()),
        }
    }

    fn registration(&self) -> String {
        format!("{} ({})", Escaped::new(self.username.as_str()), Escaped::new(self.device.as_str()))
    }

    /// Tells a person what happened; with `--json` beside the answer.
    fn say(&self, what: &str) -> Result<(), Failure> {
        let line = format!("{}  {}", clock(), Escaped::new(what));
        if self.client.json {
            eprintln!("{line}");
            return Ok(());
        }
        output::line(line)
    }
}

/// The server that holds the session's link, as far as known.
fn server(cluster: &Client) -> String {
    cluster.welcome().map_or_else(|| "?".to_owned(), |welcome| format!("server {}", welcome.node))
}

const EXAMPLES: &str = "\
EXAMPLES
  Be online as ann, reached at 203.0.113.7, port 4711:
    rollcall connect ann 203.0.113.7 4711

  A second device, at the address the server sees, with something to know about it:
    rollcall connect ann observed 4711 --device phone --meta '{\"room\": \"blue\"}'";
