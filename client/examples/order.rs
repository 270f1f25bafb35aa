//! Two senders whose messages travel badly, one receiver that puts them in order.
//!
//!     cargo run -p rollcall-client --example order -- ws://127.0.0.1:7101/ws

use std::time::Duration;

use futures::StreamExt as _;
use rollcall_client::Client;
use rollcall_client::order::{Config, Event, InOrder, Tag};
use tokio::sync::mpsc;

/// What travels: who, the number of the message before, its number, and what it says.
type Letter = (&'static str, u64, u64, String);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7101/ws".to_owned());
    let client = Client::connect([server]).await?;

    // Whoever takes a number after this one has us among its listeners: nothing may be missing.
    let begin = Some(client.get_sequence_number().await?);
    let patience = Duration::from_millis(800);
    let mut order = InOrder::new(Config { begin, patience, ..Config::default() });
    let (network, mut arrivals) = mpsc::channel(64);
    for name in ["ann", "bob"] {
        order.join(name);
        tokio::spawn(talk(client.clone(), name, network.clone()));
    }
    drop(network);

    let mut out = std::io::stdout().lock();
    loop {
        tokio::select! {
            letter = arrivals.recv() => match letter {
                Some((from, previous, number, text)) => {
                    write_line(&mut out, &format!("{:40}{number} {from}: {text}", ""))?;
                    if let Err(why) = order.push(Tag { from, previous, number }, text) {
                        write_line(&mut out, &format!("{number} was refused: {why:?}"))?;
                    }
                }
                None => order.end(),
            },
            event = order.next() => match event {
                Some(Event::Message { number, from, message }) => {
                    write_line(&mut out, &format!("{number} {from}: {message}"))?;
                }
                Some(Event::Missing(gap)) => {
                    write_line(&mut out, &format!("{} of {} is missing", gap.last, gap.from))?;
                }
                Some(Event::Late { number, .. }) => {
                    write_line(&mut out, &format!("{number} is late"))?;
                }
                None => break,
            },
        }
    }
    client.close().await;
    Ok(())
}

/// Says twenty things, each of which travels for up to 400 ms; every seventh is lost.
async fn talk(client: Client, name: &'static str, network: mpsc::Sender<Letter>) {
    let mut previous = 0;
    for said in 1..=20 {
        // One after the other, so that each knows the number of the one before.
        let Ok(number) = client.get_sequence_number().await else { return };
        let letter = (name, previous, number, format!("this is my message {said}"));
        previous = number;
        let network = network.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 7919 % 400)).await;
            if said % 7 != 0 {
                // An error says that the receiver has ended.
                let _ = network.send(letter).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn write_line(out: &mut impl std::io::Write, line: &str) -> std::io::Result<()> {
    writeln!(out, "{line}")
}
