//! `rollcall lookup`: where users are.

use clap::Args;
use rollcall_shared::id::Username;
use rollcall_shared::message::{Address, UserAddress};

use super::args::ClientArgs;
use super::escape::Escaped;
use super::failure::Failure;
use super::{client, output, values};

/// Look up where users are
///
/// Prints the addresses of all devices of the users named, all true at one and the same revision.
/// With --json it prints the payload of the reply, `{"users": […], "unknown": […], "revision": …}`.
/// Where a name is unknown, the others are printed all the same and the exit status is 1.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Lookup {
    /// Users to look up, up to 1000
    #[arg(required = true, num_args = 1..=1000, value_name = "NAME",
          value_parser = values::username)]
    usernames: Vec<Username>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Lookup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let cluster = client::connect(&self.client).await?;
        let names = self.usernames.iter().map(Username::as_str);
        let answer = cluster.get_user_address(names).await?;
        if self.client.json {
            output::json(&answer)?;
        } else {
            for line in output::columns(&rows(&answer)) {
                output::line(line)?;
            }
        }
        cluster.close().await;
        match answer.unknown.as_slice() {
            [] => Ok(()),
            unknown => {
                let names: Vec<&str> = unknown.iter().map(Username::as_str).collect();
                Err(Failure::Refused(format!(
                    "unknown at revision {}: {}",
                    answer.revision,
                    names.join(", ")
                )))
            }
        }
    }
}

fn rows(answer: &UserAddress) -> Vec<Vec<String>> {
    let of = |username: &Username, address: &Address| address_row(username, address);
    answer
        .users
        .iter()
        .flat_map(|user| user.addresses.iter().map(|address| of(&user.username, address)))
        .collect()
}

/// A registration as cells: who, device, where, since which revision, what else.
pub(super) fn address_row(username: &Username, address: &Address) -> Vec<String> {
    let meta = address.meta.as_ref().map_or("", |meta| meta.as_str());
    vec![
        Escaped::new(username.as_str()).to_string(),
        Escaped::new(address.device.as_str()).to_string(),
        std::net::SocketAddr::new(address.ip, address.port).to_string(),
        format!("revision {}", address.revision),
        Escaped::new(meta).to_string(),
    ]
}

const EXAMPLES: &str = "\
EXAMPLES
  Where ann and bob are:
    rollcall lookup ann bob

  Only ann's first address, for a script:
    rollcall lookup ann --json | jq -r '.users[0].addresses[0] | \"\\(.ip):\\(.port)\"'";
