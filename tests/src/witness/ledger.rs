//! What clients were told, and what follows from that for everything they are told later.
//!
//! Owns the rules and no client: whoever asks says so before it sends, which fixes what the answer
//! may not fall behind. An answer that breaks a rule is an error that says which.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde_json::{Value, json};

/// Everything that was said so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Numbers that were handed out.
    numbers: BTreeSet<u64>,
    /// The largest revision that any answer or push stated.
    revision: u64,
    people: BTreeMap<String, Person>,
}

/// One name, which one writer owns. Its value grows with every write.
#[derive(Debug, Default)]
struct Person {
    /// The newest value that a write was sent for.
    sent: u64,
    /// The newest value that was acknowledged, or that anybody was shown.
    known: u64,
    /// At which revision each value was written, as far as that was said.
    revisions: BTreeMap<u64, u64>,
    /// The values whose writes were acknowledged.
    acknowledged: BTreeSet<u64>,
}

/// A write that is being sent, perhaps again and again.
#[derive(Clone, Debug)]
pub struct Write {
    pub name: String,
    pub value: u64,
    after: u64,
}

/// A lookup that is being sent, once.
#[derive(Clone, Debug)]
pub struct Lookup {
    after: u64,
    known: BTreeMap<String, u64>,
}

/// What one subscriber was told.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// The revision at which it began.
    start: u64,
    /// The revision up to which it was told everything.
    pub since: u64,
    changes: BTreeMap<u64, (String, u64)>,
    /// Changes up to the second revision, from after the first on, that it was not told one by one.
    jumps: Vec<(u64, u64)>,
}

/// What is wrong, if anything is.
pub type Verdict = Result<(), String>;

impl Ledger {
    /// The largest number handed out so far; one that is asked for from now on is larger.
    pub fn ask_number(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// Takes in `SequenceNumber` for a request before whose first copy [`Self::ask_number`] said so.
    pub fn take_numbers(&mut self, after: u64, payload: &Value) -> Verdict {
        let (first, count) = (number(payload, "first")?, number(payload, "count")?);
        for number in first..first + count {
            check(number > after, || format!("number {number}, asked for when {after} was out"))?;
            check(self.numbers.insert(number), || format!("number {number} was handed out twice"))?;
        }
        Ok(())
    }

    /// The next write of a name.
    pub fn write(&mut self, name: &str) -> Write {
        let person = self.people.entry(name.to_owned()).or_default();
        person.sent += 1;
        Write { name: name.to_owned(), value: person.sent, after: self.revision }
    }

    /// Takes in the answer to a write.
    pub fn acknowledge(&mut self, write: &Write, payload: &Value) -> Verdict {
        let Write { name, value, after } = write;
        let revision = number(payload, "revision")?;
        check(revision > *after, || {
            format!("{name} = {value} at revision {revision}, sent when {after} was known")
        })?;
        self.see(name, *value, revision)?;
        self.person(name)?.acknowledged.insert(*value);
        Ok(())
    }

    /// A lookup of all names that anything was written to.
    pub fn lookup(&self) -> Lookup {
        let known = self.people.iter().map(|(name, person)| (name.clone(), person.known));
        Lookup { after: self.revision, known: known.collect() }
    }

    /// Takes in `UserAddress`.
    pub fn answer(&mut self, lookup: &Lookup, payload: &Value) -> Verdict {
        let revision = number(payload, "revision")?;
        check(revision >= lookup.after, || {
            format!("a lookup at revision {revision}, sent when {} was known", lookup.after)
        })?;
        let shown = shown_values(payload)?;
        self.show(lookup, &shown, revision)?;
        self.revision = self.revision.max(revision);
        Ok(())
    }

    /// Takes in `Subscribed` to all names with the prefix of the names written to; `lookup` was made
    /// before it was sent.
    pub fn subscribed(&mut self, feed: &mut Feed, lookup: &Lookup, payload: &Value) -> Verdict {
        let revision = number(payload, "revision")?;
        check(payload["more"] != true, || "more people than this was made for".to_owned())?;
        if payload["recovered"] == true {
            let same = revision == feed.since && payload["users"] == json!([]);
            return check(same, || format!("recovered from {}: {payload}", feed.since));
        }
        check(revision >= lookup.after.max(feed.since), || {
            format!("a picture at {revision} for who has seen {} of {}", feed.since, lookup.after)
        })?;
        let shown = shown_values(payload)?;
        self.show(lookup, &shown, revision)?;
        self.revision = self.revision.max(revision);
        if feed.since == 0 {
            feed.start = revision;
        } else {
            feed.jumps.push((feed.since, revision));
        }
        feed.since = revision;
        Ok(())
    }

    /// Takes in a change that was pushed; says whether it is news to everybody.
    pub fn push(&mut self, feed: &mut Feed, message: &Value) -> Result<u64, String> {
        let payload = &message["payload"];
        let changes = ["UserConnected", "UserUpdated"].iter().any(|kind| message["type"] == *kind);
        check(changes, || format!("nobody left, and yet: {message}"))?;
        let name = payload["username"].as_str().unwrap_or_default();
        let (revision, value) = (number(payload, "revision")?, value_at(payload)?);
        check(revision > feed.since, || {
            format!("a push at {revision} after one at {}: {message}", feed.since)
        })?;
        check((value == 1) == (message["type"] == "UserConnected"), || format!("odd: {message}"))?;
        self.see(name, value, revision)?;
        feed.since = revision;
        feed.changes.insert(revision, (name.to_owned(), value));
        Ok(revision)
    }

    /// The revision of the newest write that was acknowledged.
    pub fn newest_write(&self) -> u64 {
        self.acknowledged().map(|(revision, _)| revision).max().unwrap_or(0)
    }

    /// The largest revision that was stated.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many writes were acknowledged.
    pub fn writes(&self) -> usize {
        self.people.values().map(|person| person.acknowledged.len()).sum()
    }

    /// How many numbers were handed out.
    pub fn numbers(&self) -> usize {
        self.numbers.len()
    }

    /// Whether a subscriber was told every write exactly once, after all writes were acknowledged.
    pub fn compare(&self, feed: &Feed) -> Verdict {
        let jumped =
            |revision: u64| feed.jumps.iter().any(|(a, b)| (a + 1..=*b).contains(&revision));
        let due: BTreeMap<u64, (String, u64)> = self
            .acknowledged()
            .filter(|(revision, _)| *revision > feed.start && !jumped(*revision))
            .map(|(revision, (name, value))| (revision, (name.to_owned(), value)))
            .collect();
        let missed = due.iter().find(|(revision, _)| !feed.changes.contains_key(revision));
        check(missed.is_none(), || format!("a subscriber was not told of {missed:?}"))?;
        let more = feed.changes.iter().find(|(revision, change)| due.get(revision) != Some(change));
        check(more.is_none(), || format!("a subscriber was told of {more:?}, which nobody wrote"))
    }

    fn acknowledged(&self) -> impl Iterator<Item = (u64, (&str, u64))> {
        self.people.iter().flat_map(|(name, person)| {
            let revision = |value| person.revisions.get(value).copied().unwrap_or(0);
            let values = person.acknowledged.iter();
            values.map(move |value| (revision(value), (name.as_str(), *value)))
        })
    }

    /// Checks what is shown of all names, at one revision.
    fn show(&mut self, lookup: &Lookup, shown: &Shown, revision: u64) -> Verdict {
        for (name, known) in &lookup.known {
            let (value, written) = shown.get(name).copied().unwrap_or((0, 0));
            check(value >= *known, || {
                format!("{name} = {value} at {revision}, sent when {known} was known")
            })?;
            check(written <= revision, || format!("{name} of {written} in a state of {revision}"))?;
            if value > 0 {
                self.see(name, value, written)?;
            }
        }
        Ok(())
    }

    /// Somebody was told that a name got a value at a revision.
    fn see(&mut self, name: &str, value: u64, revision: u64) -> Verdict {
        let person = self.person(name)?;
        check(value <= person.sent, || format!("{name} = {value}, which nobody wrote"))?;
        let before = person.revisions.range(..value).next_back();
        let after = person.revisions.range(value + 1..).next();
        let in_order = before.is_none_or(|(_, earlier)| *earlier < revision)
            && after.is_none_or(|(_, later)| revision < *later);
        check(in_order, || {
            format!("{name} = {value} at {revision}, between {before:?} and {after:?}")
        })?;
        let said = *person.revisions.entry(value).or_insert(revision);
        check(said == revision, || format!("{name} = {value} at {revision} and at {said}"))?;
        person.known = person.known.max(value);
        self.revision = self.revision.max(revision);
        Ok(())
    }

    fn person(&mut self, name: &str) -> Result<&mut Person, String> {
        self.people.get_mut(name).ok_or_else(|| format!("nobody registers {name:?}"))
    }
}

/// Of each name that is shown, its value and the revision it was written at.
type Shown = BTreeMap<String, (u64, u64)>;

impl Write {
    /// The payload that writes it.
    pub fn payload(&self) -> Value {
        let (ip, port) = address_of(self.value);
        json!({ "username": self.name, "ip": ip, "port": port })
    }
}

impl Lookup {
    /// The payload that asks for it.
    pub fn payload(&self) -> Value {
        json!({ "usernames": self.known.keys().collect::<Vec<_>>() })
    }

    /// Whether there is anything to ask for.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The address that stands for a value.
fn address_of(value: u64) -> (Ipv4Addr, u16) {
    let (high, low) = (value / PORTS, value % PORTS);
    let high = u32::try_from(high).expect("no test writes that often");
    (Ipv4Addr::from(u32::from(BASE) + high), low as u16 + 1)
}

/// The value whose address an object has.
fn value_at(object: &Value) -> Result<u64, String> {
    let ip: Option<Ipv4Addr> = object["ip"].as_str().and_then(|ip| ip.parse().ok());
    let high = ip.and_then(|ip| u32::from(ip).checked_sub(u32::from(BASE)));
    let low = object["port"].as_u64().and_then(|port| port.checked_sub(1));
    match (high, low) {
        (Some(high), Some(low)) if low < PORTS => Ok(u64::from(high) * PORTS + low),
        _ => Err(format!("an address that nobody wrote: {object}")),
    }
}

fn shown_values(payload: &Value) -> Result<Shown, String> {
    let mut shown = Shown::new();
    for user in payload["users"].as_array().ok_or_else(|| format!("no users in {payload}"))? {
        let name = user["username"].as_str().unwrap_or_default();
        let [address] = user["addresses"].as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(format!("not one address: {user}"));
        };
        let entry = (value_at(address)?, number(address, "revision")?);
        let twice = shown.insert(name.to_owned(), entry);
        check(twice.is_none(), || format!("{name} is listed twice: {payload}"))?;
    }
    Ok(shown)
}

fn number(object: &Value, field: &str) -> Result<u64, String> {
    object[field].as_u64().ok_or_else(|| format!("no {field} in {object}"))
}

fn check(holds: bool, fault: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(fault()) }
}

const BASE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// How many values share an IP address.
const PORTS: u64 = 30_000;

#[cfg(test)]
mod tests;
