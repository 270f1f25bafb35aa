//! The clients of a witness: writers that move about, readers that stay with one server, subscribers
//! that follow from server to server.
//!
//! Each says to the ledger what it asks before it asks, and what it heard when it heard it. A fault
//! ends it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Shared, Stage,
    ledger::{Feed, Verdict},
};
use crate::{
    PATIENCE,
    roaming::{ATTEMPT, Heard, Link, PAUSE, Place, Roaming, Trouble, refusal},
};

/// One client, by its number; a reader by its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worker {
    Writer(usize),
    Reader(u64),
    Follower(usize),
}

/// Writes a name of its own and takes numbers, in turn, wherever it is served. Gives back the client:
/// what it wrote stands for as long as that has a link.
pub(super) async fn write(
    shared: Arc<Shared>,
    number: usize,
    places: Vec<Place>,
) -> Result<Roaming, String> {
    let name = format!("{PREFIX}{number}");
    let mut client = Roaming::new(places, shared.notes.clone());
    for round in 1_u64.. {
        let Some(phase) = shared.phase() else { break };
        if round.is_multiple_of(ROUNDS_AT_A_SERVER) {
            client.move_on();
        }
        let write = shared.ledger().write(&name);
        let reply = client.insist("ConnectUser", &write.payload()).await?;
        expect("Connected", &reply)?;
        shared.ledger().acknowledge(&write, &reply["payload"])?;
        shared.progress().wrote(number);

        let after = shared.ledger().ask_number();
        let reply = client.insist("GetSequenceNumber", &json!({ "count": 1 + round % 3 })).await?;
        expect("SequenceNumber", &reply)?;
        shared.ledger().take_numbers(after, &reply["payload"])?;

        shared.progress().serve(Worker::Writer(number), phase);
        sleep(PACE).await;
    }
    Ok(client)
}

/// Looks up all names at one server, again and again.
pub(super) async fn read(shared: Arc<Shared>, place: Place) -> Verdict {
    let worker = Worker::Reader(place.id);
    let mut link = None;
    for id in 1.. {
        let Some(phase) = shared.phase() else { break };
        match read_at(&shared, place, &mut link, id).await? {
            Ok(()) => {
                let mut progress = shared.progress();
                progress.reads += 1;
                progress.serve(worker, phase);
            }
            Err(trouble) => {
                shared.notes.add(format_args!("lookup at server {}: {trouble:?}", place.id));
                shared.progress().refused += 1;
                sleep(PAUSE).await;
            }
        }
        sleep(PACE).await;
    }
    Ok(())
}

/// Looks up all names at one server until it has answered.
pub(super) async fn read_once(shared: &Shared, place: Place) -> Verdict {
    let deadline = Instant::now() + PATIENCE;
    let mut link = None;
    for id in 1.. {
        let Err(trouble) = read_at(shared, place, &mut link, id).await? else { break };
        if Instant::now() > deadline {
            return Err(format!("server {} answers no lookup: {trouble:?}", place.id));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn read_at(
    shared: &Shared,
    place: Place,
    link: &mut Option<Link>,
    id: u64,
) -> Result<Result<(), Trouble>, String> {
    if link.is_none() {
        // Without a name: it reads only, so that a server that is cut off keeps the link.
        *link = Link::open(place, None).await;
    }
    let Some(open) = link else { return Ok(Err(Trouble::Unreachable)) };
    let lookup = shared.ledger().lookup();
    if lookup.is_empty() {
        return Ok(Err(Trouble::Refused("there is nobody yet".to_owned())));
    }
    let reply = match open.ask(id, "GetUserAddress", &lookup.payload()).await {
        Ok(reply) => reply,
        Err(trouble) => {
            *link = None;
            return Ok(Err(trouble));
        }
    };
    if let Some(trouble) = refusal(&reply) {
        return Ok(Err(trouble));
    }
    expect("UserAddress", &reply)?;
    let answer = shared.ledger().answer(&lookup, &reply["payload"]);
    answer.map(Ok).map_err(|fault| format!("server {}: {fault}", place.id))
}

/// Follows all changes of the witness's names from server to server, to the end.
pub(super) async fn follow(
    shared: Arc<Shared>,
    number: usize,
    places: Vec<Place>,
) -> Result<Feed, String> {
    let mut feed = Feed::default();
    for place in places.iter().cycle() {
        let fault = |fault| format!("subscriber {number} at server {}: {fault}", place.id);
        match follow_at(&shared, number, *place, &mut feed).await.map_err(fault)? {
            None => break,
            Some(trouble) => {
                let server = place.id;
                shared
                    .notes
                    .add(format_args!("subscriber {number} at server {server}: {trouble:?}"));
                sleep(PAUSE).await;
            }
        }
    }
    Ok(feed)
}

/// Follows on one link until that fails; none where the end has come.
async fn follow_at(
    shared: &Shared,
    number: usize,
    place: Place,
    feed: &mut Feed,
) -> Result<Option<Trouble>, String> {
    let Some(mut link) = Link::open(place, None).await else {
        return Ok(Some(Trouble::Unreachable));
    };
    if let Err(trouble) = subscribe(shared, &mut link, feed).await? {
        return Ok(Some(trouble));
    }
    let mut pings = 0;
    let mut awaits_pong = false;
    while !has_ended(shared, feed) {
        match link.hear(Instant::now() + ATTEMPT).await {
            Heard::Message(message) if message["type"] == "Pong" => awaits_pong = false,
            Heard::Message(message) if message["type"] == "GoingAway" => {
                return Ok(Some(Trouble::Refused("GoingAway".to_owned())));
            }
            Heard::Message(message) => {
                let revision = shared.ledger().push(feed, &message)?;
                let mut progress = shared.progress();
                progress.pushes += 1;
                if revision > progress.revision {
                    let phase = progress.phase;
                    progress.serve(Worker::Follower(number), phase);
                }
            }
            Heard::Closed(code) => return Ok(Some(Trouble::Closed(code))),
            Heard::Nothing if awaits_pong => return Ok(Some(Trouble::Silent)),
            Heard::Nothing => {
                pings += 1;
                awaits_pong = true;
                link.send(1 + pings, "Ping", &json!({})).await;
            }
        }
    }
    Ok(None)
}

async fn subscribe(
    shared: &Shared,
    link: &mut Link,
    feed: &mut Feed,
) -> Result<Result<(), Trouble>, String> {
    let mut payload = json!({ "prefix": PREFIX });
    if feed.since > 0 {
        payload["since"] = json!(feed.since);
    }
    let lookup = shared.ledger().lookup();
    let reply = match link.ask(1, "Subscribe", &payload).await {
        Ok(reply) => reply,
        Err(trouble) => return Ok(Err(trouble)),
    };
    if let Some(trouble) = refusal(&reply) {
        return Ok(Err(trouble));
    }
    expect("Subscribed", &reply)?;
    let resumes = feed.since > 0;
    shared.ledger().subscribed(feed, &lookup, &reply["payload"])?;
    if resumes && reply["payload"]["recovered"] != true {
        shared.progress().pictures += 1;
    }
    Ok(Ok(()))
}

/// Whether a subscriber has been told everything, and nothing more will come.
fn has_ended(shared: &Shared, feed: &Feed) -> bool {
    matches!(shared.progress().stage, Stage::Draining(newest) if feed.since >= newest)
}

fn expect(kind: &str, reply: &Value) -> Verdict {
    if reply["type"] == kind { Ok(()) } else { Err(format!("{kind} was due, and came {reply}")) }
}

/// What all names of a witness begin with.
const PREFIX: &str = "witness-";
/// After so many rounds a writer moves to another server for no reason at all.
const ROUNDS_AT_A_SERVER: u64 = 40;
/// Between two requests of one client. Not for anything to happen: without it the clients would take
/// the time of the processor that the servers need to stay in touch.
const PACE: Duration = Duration::from_millis(4);
