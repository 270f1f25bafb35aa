//! Joins as a user, says who else is there and what changes, until Ctrl-C.
//!
//!     cargo run -p rollcall-client --example presence -- ann ws://127.0.0.1:7101/ws

use futures::StreamExt as _;
use rollcall_client::{ChangeKind, Client, Filter, Ip, Registration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "guest".to_owned());
    let server = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:7101/ws".to_owned());

    let client = Client::connect([server]).await?;
    client.connect_user(&name, Registration::new(Ip::Observed, 4711)).await?;
    let number = client.get_sequence_number().await?;

    let mut everyone = client.subscribe(Filter::All).await?;
    let mut out = std::io::stdout().lock();
    write_line(&mut out, &format!("{name} is number {number} of {}", everyone.users().len()))?;
    loop {
        tokio::select! {
            change = everyone.next() => {
                let Some(change) = change else { break };
                let what = match change.kind {
                    ChangeKind::Connected => "joined",
                    ChangeKind::Updated => "moved",
                    ChangeKind::Disconnected => "left",
                };
                write_line(&mut out, &format!("{} {what}", change.change.username))?;
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    client.close().await;
    Ok(())
}

fn write_line(out: &mut impl std::io::Write, line: &str) -> std::io::Result<()> {
    writeln!(out, "{line}")
}
