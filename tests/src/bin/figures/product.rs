//! The client library as it is, asked for one number after another.

use rollcall_client::Client;
use rollcall_tests::roaming::Place;
use tokio::time::Instant;

use crate::{Result, client::Answered};

/// A client of the library that turns to the first of these servers first.
pub(crate) async fn connect(places: &[Place]) -> Result<Client> {
    let client = Client::connect(places.iter().map(|place| format!("ws://{}/ws", place.address)));
    let client = client.await.map_err(|fault| fault.message)?;
    let node = client.welcome().map(|welcome| u64::from(welcome.node.0));
    if node == Some(places[0].id) { Ok(client) } else { Err("another server took it".into()) }
}

/// Takes a number. What the library gives up is asked anew, and the wait goes on.
pub(crate) async fn write(client: &Client) -> Result<Answered> {
    let (sent, mut copies) = (Instant::now(), 0);
    loop {
        copies += 1;
        match client.get_sequence_number().await {
            Ok(_) => {
                let node = client.welcome().map(|welcome| u64::from(welcome.node.0));
                let server = node.unwrap_or_default();
                return Ok(Answered { sent, at: Instant::now(), server, copies });
            }
            Err(fault) if fault.code.as_str() == "timeout" => {}
            Err(fault) => return Err(fault.message.into()),
        }
    }
}
