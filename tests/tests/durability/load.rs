//! A client that writes as much as it can, and afterwards asks for everything it was promised.
//!
//! Its registrations are large, so that a disk fills up. Owns no server: those may end at any time,
//! and it goes on elsewhere, or later.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rollcall_tests::{
    PATIENCE, random_client_id,
    roaming::{Heard, Link, PAUSE, Place, Trouble, refusal},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// One client and what it knows.
pub(crate) struct Load {
    id: String,
    session: Value,
    last_id: u64,
    /// Writes without an outcome, by the number of the request: which person, which value.
    open: BTreeMap<u64, (usize, u64)>,
    people: Vec<Person>,
    about: String,
}

/// A name, registered again and again with values that grow.
#[derive(Clone, Copy, Default)]
struct Person {
    sent: u64,
    acknowledged: u64,
}

/// A load that is under way.
pub(crate) struct Pouring {
    enough: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<Load>,
}

impl Load {
    /// A client whose writes have at least so many bytes each, at most 900.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            id: random_client_id(),
            session: Value::Null,
            last_id: 0,
            open: BTreeMap::new(),
            people: vec![Person::default(); PEOPLE],
            about: "x".repeat(bytes),
        }
    }

    /// Writes until it is told that that is enough, wherever it is served.
    pub(crate) fn pour(mut self, places: Vec<Place>) -> Pouring {
        let (enough, acknowledged) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let (told, count) = (Arc::clone(&enough), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            for place in places.iter().cycle() {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                // Whatever it is, the next server may know better.
                let _ = self.pour_at(*place, &told, &count).await;
                sleep(PAUSE).await;
            }
            self
        });
        Pouring { enough, acknowledged, task }
    }

    /// Writes so many times at a server that works.
    pub(crate) async fn pour_some(self, place: Place, writes: u64) -> Self {
        let pouring = self.pour(vec![place]);
        pouring.reaches(writes).await;
        let mut load = pouring.end().await;
        load.settle(&[place]).await;
        load
    }

    async fn pour_at(
        &mut self,
        place: Place,
        enough: &AtomicBool,
        acknowledged: &AtomicU64,
    ) -> Result<(), Trouble> {
        let mut link = self.come_back(place).await?;
        for (id, write) in self.open.clone() {
            link.send(id, "ConnectUser", &self.payload(write)).await;
        }
        while !enough.load(Ordering::Relaxed) {
            while self.may_begin() {
                let (id, write) = self.begin();
                link.send(id, "ConnectUser", &self.payload(write)).await;
            }
            self.take_outcome(&mut link).await?;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends again what has no outcome yet until all has one.
    pub(crate) async fn settle(&mut self, places: &[Place]) {
        let deadline = Instant::now() + PATIENCE;
        for place in places.iter().cycle() {
            assert!(Instant::now() < deadline, "{} writes get no outcome", self.open.len());
            if self.settle_at(*place).await.is_ok() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn settle_at(&mut self, place: Place) -> Result<(), Trouble> {
        let mut link = self.come_back(place).await?;
        for (id, write) in self.open.clone() {
            link.send(id, "ConnectUser", &self.payload(write)).await;
        }
        while !self.open.is_empty() {
            self.take_outcome(&mut link).await?;
        }
        Ok(())
    }

    /// Looks up everybody, each of whom must be there as it was last acknowledged, or as it was
    /// written later; repeats what was not answered, which must go through; and looks again.
    pub(crate) async fn finds_everything(&mut self, place: Place) {
        self.looks_up(place).await;
        self.settle(&[place]).await;
        self.looks_up(place).await;
    }

    /// The first half of [`Self::finds_everything`], which changes nothing.
    pub(crate) async fn looks_up(&self, place: Place) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look_up(place).await {
                Ok(()) => return,
                Err(trouble) => {
                    assert!(Instant::now() < deadline, "no lookup is answered: {trouble:?}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn look_up(&self, place: Place) -> Result<(), Trouble> {
        let mut link = Link::open(place, None).await.ok_or(Trouble::Unreachable)?;
        let written = || self.people.iter().enumerate().filter(|(_, person)| person.sent > 0);
        let names: Vec<_> = written().map(|(number, _)| self.name(number)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let reply = link.ask(1, "GetUserAddress", &json!({ "usernames": names })).await?;
        if let Some(trouble) = refusal(&reply) {
            return Err(trouble);
        }
        assert_eq!(reply["type"], "UserAddress", "{reply}");
        assert_ne!(reply["payload"]["more"], true, "too many names for one message");
        let users = reply["payload"]["users"].as_array().expect("a list");
        for (number, person) in written() {
            let name = self.name(number);
            let user = users.iter().find(|user| user["username"] == name);
            let value = user.map_or(0, |user| value_of(&user["addresses"][0]));
            assert!(
                (person.acknowledged..=person.sent).contains(&value),
                "server {}: {name} = {value}, acknowledged was {} and sent {}",
                place.id,
                person.acknowledged,
                person.sent
            );
        }
        Ok(())
    }

    /// How many writes were acknowledged, at least.
    pub(crate) fn promised(&self) -> u64 {
        self.people.iter().map(|person| person.acknowledged).sum()
    }

    async fn come_back(&mut self, place: Place) -> Result<Link, Trouble> {
        let mut link = Link::open(place, Some(&self.id)).await.ok_or(Trouble::Unreachable)?;
        self.last_id += 1;
        let payload = match &self.session {
            Value::Null => json!({}),
            session => json!({ "session": session }),
        };
        let reply = link.ask(self.last_id, "Hello", &payload).await?;
        if let Some(trouble) = refusal(&reply) {
            return Err(trouble);
        }
        assert_eq!(reply["type"], "Welcome", "{reply}");
        let welcome = &reply["payload"];
        assert!(
            self.session.is_null() || welcome["resumed"] == true,
            "server {} has lost the session: {welcome}",
            place.id
        );
        self.session = welcome["session"].clone();
        Ok(link)
    }

    /// Whether one more may be under way.
    fn may_begin(&self) -> bool {
        let oldest = self.open.keys().next();
        oldest.is_none_or(|oldest| self.last_id - oldest < WINDOW)
    }

    fn begin(&mut self) -> (u64, (usize, u64)) {
        self.last_id += 1;
        let number = self.last_id as usize % PEOPLE;
        let person = &mut self.people[number];
        person.sent += 1;
        let write = (number, person.sent);
        self.open.insert(self.last_id, write);
        (self.last_id, write)
    }

    async fn take_outcome(&mut self, link: &mut Link) -> Result<(), Trouble> {
        match link.hear(Instant::now() + OUTCOME).await {
            Heard::Message(reply) => {
                if let Some(trouble) = refusal(&reply) {
                    return Err(trouble);
                }
                let Some(id) = reply["id"].as_u64() else { return Ok(()) };
                let Some((number, value)) = self.open.remove(&id) else { return Ok(()) };
                assert_eq!(reply["type"], "Connected", "{reply}");
                let person = &mut self.people[number];
                person.acknowledged = person.acknowledged.max(value);
                Ok(())
            }
            Heard::Closed(code) => Err(Trouble::Closed(code)),
            Heard::Nothing => Err(Trouble::Silent),
        }
    }

    fn payload(&self, (number, value): (usize, u64)) -> Value {
        let (high, low) = (value / 60_000, value % 60_000 + 1);
        json!({
            "username": self.name(number),
            "ip": format!("10.0.0.{high}"),
            "port": low,
            "meta": { "about": self.about },
        })
    }

    fn name(&self, number: usize) -> String {
        format!("load-{}-{number}", &self.id[..8])
    }
}

impl Pouring {
    /// Waits until so many writes were acknowledged.
    pub(crate) async fn reaches(&self, writes: u64) {
        let mut deadline = Instant::now() + PATIENCE;
        let mut before = 0;
        loop {
            let now = self.acknowledged.load(Ordering::Relaxed);
            if now >= writes {
                return;
            }
            if now > before {
                (before, deadline) = (now, Instant::now() + PATIENCE);
            }
            assert!(Instant::now() < deadline, "only {now} of {writes} writes are acknowledged");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets it finish what it does.
    pub(crate) async fn end(self) -> Load {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.expect("it finds no fault")
    }
}

fn value_of(address: &Value) -> u64 {
    let ip = address["ip"].as_str().and_then(|ip| ip.rsplit('.').next()?.parse::<u64>().ok());
    let port = address["port"].as_u64();
    match (ip, port) {
        (Some(high), Some(low)) => high * 60_000 + low - 1,
        _ => panic!("an address that nobody wrote: {address}"),
    }
}

/// How many names it registers; all of them fit into one answer.
const PEOPLE: usize = 120;
/// How many writes it has under way (contract, section 3).
const WINDOW: u64 = 60;
/// How long it waits for an outcome before it turns elsewhere.
const OUTCOME: Duration = Duration::from_secs(3);
