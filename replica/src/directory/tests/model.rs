//! Random commands, and a second directory that is as plain as can be: it keeps every write ever
//! applied, finds what a session holds by looking at all registrations, and speaks in text.
//!
//! Besides equal outcomes, changes and users it is checked that the changes alone rebuild the
//! users, that equal commands do equal things, that pictures taken earlier stay as they were, and
//! that the history gives exactly its tail.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rollcall_shared::id::{ClientId, Device, RequestId, Revision, Username};

use super::{apply, effect_text, outcome_text};
use crate::command::{Command, Generation, Principal};
use crate::directory::{Bounds, Change, Directory, Effect, Event, Holder, Registration, Users};
use crate::{History, transcript};

const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];
const SUBJECTS: [&str; 2] = ["sam", "tom"];
/// Some are prefixes of others, and `a\u{10ffff}` is the last one that begins with `a`.
const NAMES: [&str; 5] = ["a", "ab", "abc", "b", "a\u{10ffff}"];
const DEVICES: [&str; 3] = ["phone", "desk", "d"];
const PLACES: [&str; 3] = ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:80 {\"a\":1}"];
const FIRST: u64 = 1000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn does_what_the_model_does(
        steps in proptest::collection::vec(any_step(), 1..400),
        max_registrations in 3_usize..12,
        history in (0_usize..40, 0_usize..12_000),
        fork_at in 0_usize..400,
    ) {
        run(&steps, max_registrations, history, fork_at)?;
    }
}

/// Random commands, each of which means what the ones before it left there.
pub(in crate::directory) fn any_commands() -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec(any_step(), 1..400).prop_map(|steps| {
        let (mut model, mut lives) = (Model::default(), BTreeMap::new());
        let settle = |step| settle(step, &mut model, &mut lives, usize::MAX).0;
        steps.iter().map(settle).collect()
    })
}

/// A step, its numbers still relative to what was before.
#[derive(Clone, Debug)]
enum Step {
    Open { client: usize, subject: Option<usize> },
    Write { client: usize, number: Number, lives_ago: usize, write: String },
    Expire { client: usize, lives_ago: usize },
}

/// A request's number, relative to the client's highest so far.
#[derive(Clone, Copy, Debug)]
enum Number {
    Above(u64),
    Back(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    // Client a writes most, so that its writes fill the window.
    let client = || prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    let lives_ago = || prop_oneof![20 => Just(0_usize), 1 => 1_usize..3];
    // Mostly the principal that the client has for good: a and b are one's, c another's, and d is
    // nobody's but its own.
    let open = (client(), 0_usize..12).prop_map(|(client, odd)| {
        let own = [Some(0), Some(0), Some(1), None][client];
        let subject = match odd {
            0 => None,
            1 => Some(0),
            2 => Some(1),
            _ => own,
        };
        Step::Open { client, subject }
    });
    let number = prop_oneof![6 => (1_u64..4).prop_map(Number::Above), 1 => (0_u64..200).prop_map(Number::Back)];
    let write = (client(), number, lives_ago(), any_write()).prop_map(
        |(client, number, lives_ago, write)| Step::Write { client, number, lives_ago, write },
    );
    let expire =
        (client(), lives_ago()).prop_map(|(client, lives_ago)| Step::Expire { client, lives_ago });
    prop_oneof![2 => open, 20 => write, 1 => expire]
}

fn any_write() -> impl Strategy<Value = String> {
    let (name, device) = (prop::sample::select(&NAMES[..]), prop::sample::select(&DEVICES[..]));
    let place = prop::sample::select(&PLACES[..]);
    (name, device, place, 0_usize..10).prop_map(|(name, device, place, which)| match which {
        0..=5 => format!("connect {name}/{device} {place}"),
        6..=7 => format!("disconnect {name}/{device}"),
        _ => format!("sequence {}", 1 + which * device.len()),
    })
}

/// The second directory.
#[derive(Default)]
struct Model {
    /// By name and device: client, principal, place, revision.
    registrations: BTreeMap<(String, String), (String, String, String, u64)>,
    sessions: BTreeMap<String, Life>,
    /// Every write ever applied: client, number, first word, outcome.
    writes: Vec<(String, u64, String, String)>,
    commands: u64,
    changes: u64,
    numbers: u64,
}

struct Life {
    principal: String,
    generation: u64,
    live: bool,
}

impl Model {
    fn open(&mut self, client: &str, principal: &str) -> Vec<String> {
        self.commands += 1;
        let generation = self.commands;
        let fresh = Life { principal: principal.to_owned(), generation, live: true };
        let life = self.sessions.entry(client.to_owned()).or_insert(fresh);
        if life.principal != principal {
            return vec!["forbidden".to_owned()];
        }
        if !life.live {
            (life.live, life.generation) = (true, generation);
        }
        let generation = life.generation;
        let next = self.highest(client) + 1;
        vec![format!("live #{generation}, next id {next}")]
    }

    fn highest(&self, client: &str) -> u64 {
        self.writes.iter().filter(|w| w.0 == client).map(|w| w.1).max().unwrap_or(0)
    }

    fn write(
        &mut self,
        client: &str,
        generation: u64,
        id: u64,
        text: &str,
        room: usize,
    ) -> Vec<String> {
        self.commands += 1;
        let verb = text.split(' ').next().unwrap();
        let not_current = vec!["not current".to_owned()];
        let Some(life) = self.sessions.get(client) else { return not_current };
        let mut applied: Vec<_> = self.writes.iter().filter(|w| w.0 == client).collect();
        applied.sort_by_key(|w| std::cmp::Reverse(w.1));
        applied.truncate(64);
        if let Some(first) = applied.iter().find(|w| w.1 == id) {
            return vec![if first.2 == verb { first.3.clone() } else { "reused".to_owned() }];
        }
        if applied.len() == 64 && id < applied[63].1 {
            return vec!["stale".to_owned()];
        }
        if !life.live || life.generation != generation {
            return not_current;
        }
        let principal = life.principal.clone();
        let lines = match verb {
            "connect" => self.connect(client, &principal, text, room),
            "disconnect" => self.disconnect(client, text),
            _ => self.sequence(text),
        };
        if lines[0] != "full" {
            self.writes.push((client.to_owned(), id, verb.to_owned(), lines[0].clone()));
        }
        lines
    }

    fn connect(&mut self, client: &str, principal: &str, text: &str, room: usize) -> Vec<String> {
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        let (name, place) = (words[1], words[2]);
        let standing = self.registrations.get(&key(name)).cloned();
        let mut lines = Vec::new();
        if let Some((holder, whose, where_to, revision)) = &standing {
            if whose != principal {
                return vec!["ConnectUser: UsernameTaken".to_owned()];
            }
            if holder == client && where_to == place {
                return vec![format!("connected {name} @{revision}")];
            }
            if holder != client {
                lines.push(format!("replaced for {holder}: {name}"));
            }
        } else if self.registrations.len() >= room {
            return vec!["full".to_owned()];
        }
        self.changes += 1;
        let revision = FIRST + self.changes;
        let verb = if standing.is_some() { "changes" } else { "appears" };
        lines.insert(0, format!("connected {name} @{revision}"));
        lines.push(format!("@{revision} {name} {verb}, {place}"));
        let held = (client.to_owned(), principal.to_owned(), place.to_owned(), revision);
        self.registrations.insert(key(name), held);
        lines
    }

    fn disconnect(&mut self, client: &str, text: &str) -> Vec<String> {
        let name = text.split(' ').nth(1).unwrap();
        match self.registrations.get(&key(name)) {
            None => vec!["DisconnectUser: NotFound".to_owned()],
            Some((holder, ..)) if holder != client => vec!["DisconnectUser: NotOwner".to_owned()],
            Some(_) => {
                let change = self.end(&key(name), "left");
                vec![format!("disconnected {name} @{}", FIRST + self.changes), change]
            }
        }
    }

    fn sequence(&mut self, text: &str) -> Vec<String> {
        let count: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        self.numbers += count;
        vec![format!("numbers {} to {}", self.numbers - count + 1, self.numbers)]
    }

    fn expire(&mut self, client: &str, generation: u64) -> Vec<String> {
        self.commands += 1;
        match self.sessions.get_mut(client) {
            Some(life) if life.live && life.generation == generation => life.live = false,
            _ => return vec!["not live".to_owned()],
        }
        let held = self.registrations.iter().filter(|(_, held)| held.0 == client);
        let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
        let mut lines = vec!["ended".to_owned()];
        lines.extend(held.iter().map(|key| self.end(key, "expired")));
        lines
    }

    fn end(&mut self, key: &(String, String), reason: &str) -> String {
        self.registrations.remove(key);
        self.changes += 1;
        let left = self.registrations.keys().any(|(name, _)| *name == key.0);
        let left = if left { "online" } else { "offline" };
        format!("@{} {}/{} {reason}, {left}", FIRST + self.changes, key.0, key.1)
    }
}

fn key(name: &str) -> (String, String) {
    let (name, device) = name.split_once('/').unwrap();
    (name.to_owned(), device.to_owned())
}

/// What there is, in the maps of the standard library.
type Copied = BTreeMap<Username, BTreeMap<Device, Arc<Registration>>>;

fn copy(users: &Users) -> Copied {
    let all = users.matching("", None);
    all.map(|(name, user)| (name.clone(), user.devices().iter().cloned().collect())).collect()
}

/// Makes a copy follow a change, using nothing but the change.
fn replay(copied: &mut Copied, change: &Change) {
    let Change { username, device, event, .. } = change;
    let devices = copied.entry(username.clone()).or_default();
    match event {
        Event::Connected(fresh) => {
            assert!(devices.insert(device.clone(), Arc::clone(fresh)).is_none(), "it was there");
        }
        Event::Updated(fresh) => {
            assert!(devices.insert(device.clone(), Arc::clone(fresh)).is_some(), "it was away");
        }
        Event::Disconnected { online, .. } => {
            assert!(devices.remove(device).is_some(), "it was away");
            assert_eq!(*online, !devices.is_empty());
            if devices.is_empty() {
                copied.remove(username);
            }
        }
    }
}

fn bounds(room: usize) -> Bounds {
    Bounds { registrations: room, ..Bounds::default() }
}

fn run(
    steps: &[Step],
    room: usize,
    (max_changes, max_bytes): (usize, usize),
    fork_at: usize,
) -> Result<(), TestCaseError> {
    let mut directory = Directory::new(Revision(FIRST), bounds(room));
    let (mut model, mut lives) = (Model::default(), BTreeMap::<usize, Vec<u64>>::new());
    let mut history = History::new(Revision(FIRST), max_changes, max_bytes);
    let (mut changes, mut replayed) = (Vec::new(), Copied::new());
    let (mut trace, mut pictures, mut fork) = (Vec::new(), Vec::new(), None);
    for (at, step) in steps.iter().enumerate() {
        if at == fork_at {
            fork = Some((at, directory.clone()));
        }
        let (command, expected) = settle(step, &mut model, &mut lives, room);
        let mut effects = Vec::new();
        let outcome = apply(&mut directory, command.clone(), &mut effects);
        let mut lines = vec![outcome_text(&outcome)];
        lines.extend(effects.iter().map(effect_text));
        prop_assert_eq!(&lines, &expected, "step {}: {:?}", at, command);
        for effect in &effects {
            let Effect::Changed(change) = effect else { continue };
            prop_assert_eq!(change.revision.0, FIRST + 1 + changes.len() as u64);
            replay(&mut replayed, change);
            changes.push(Arc::new(change.clone()));
            history.push(Arc::new(change.clone()));
        }
        check_users(&directory, &model, &replayed)?;
        check_history(&history, &changes, max_changes, max_bytes)?;
        if at % 7 == 0 {
            pictures.push((
                directory.users().clone(),
                directory.users().revision(),
                copy(directory.users()),
            ));
        }
        trace.push((command, outcome, effects));
    }
    for (users, revision, copied) in &pictures {
        prop_assert_eq!((users.revision(), &copy(users)), (*revision, copied));
        check_matching(users, copied)?;
    }
    let again = (0, Directory::new(Revision(FIRST), bounds(room)));
    for (from, mut other) in [Some(again), fork].into_iter().flatten() {
        for (command, outcome, effects) in &trace[from..] {
            let mut others = Vec::new();
            prop_assert_eq!(&apply(&mut other, command.clone(), &mut others), outcome);
            prop_assert_eq!(&others, effects);
        }
        prop_assert_eq!(&other, &directory);
    }
    Ok(())
}

/// The command that a step is now, and what the model says comes of it.
fn settle(
    step: &Step,
    model: &mut Model,
    lives: &mut BTreeMap<usize, Vec<u64>>,
    room: usize,
) -> (Command, Vec<String>) {
    let mut life = |client: &usize, ago: usize| {
        let past = lives.entry(*client).or_default();
        past.iter().rev().nth(ago).copied().unwrap_or(0)
    };
    let id = |client: &usize| ClientId::new(CLIENTS[*client]).unwrap();
    match step {
        Step::Open { client, subject } => {
            let name = CLIENTS[*client];
            let subject = subject.map(|subject| SUBJECTS[subject]);
            let words = subject.map_or_else(|| vec![name], |subject| vec![name, "as", subject]);
            let lines = model.open(name, subject.unwrap_or(name));
            let generation = model.sessions[name].generation;
            if life(client, 0) != generation {
                lives.entry(*client).or_default().push(generation);
            }
            let (client, principal) = transcript::parse_identity(&words);
            (Command::Open { client, principal }, lines)
        }
        Step::Write { client, number, lives_ago, write } => {
            let (name, generation) = (CLIENTS[*client], life(client, *lives_ago));
            let highest = model.highest(name);
            let number = match number {
                Number::Above(by) => highest + by,
                Number::Back(by) => highest.saturating_sub(*by).max(1),
            };
            let lines = model.write(name, generation, number, write, room);
            let write = transcript::parse_write(&write.split(' ').collect::<Vec<_>>());
            let (generation, request) = (Generation(generation), RequestId(number));
            (Command::Write { client: id(client), generation, request, write }, lines)
        }
        Step::Expire { client, lives_ago } => {
            let generation = life(client, *lives_ago);
            let lines = model.expire(CLIENTS[*client], generation);
            (Command::Expire { client: id(client), generation: Generation(generation) }, lines)
        }
    }
}

fn check_users(
    directory: &Directory,
    model: &Model,
    replayed: &Copied,
) -> Result<(), TestCaseError> {
    let users = directory.users();
    prop_assert_eq!(&copy(users), replayed);
    prop_assert_eq!(users.len(), replayed.len());
    prop_assert_eq!(users.is_empty(), replayed.is_empty());
    prop_assert_eq!(users.registrations(), model.registrations.len());
    prop_assert_eq!(users.revision().0, FIRST + model.changes);
    let live = model.sessions.values().filter(|life| life.live).count();
    prop_assert_eq!(directory.live_sessions(), live);
    for (name, life) in &model.sessions {
        let live = directory.live_session(&ClientId::new(name).unwrap());
        let expected = life.live.then_some((life.generation, life.principal.as_str()));
        prop_assert_eq!(live.map(|(generation, who)| (generation.0, principal(who))), expected);
    }
    for ((name, device), (client, whose, place, revision)) in &model.registrations {
        let user = users.get(&Username::new(name).unwrap());
        let devices = user.map_or(&[][..], |user| user.devices());
        let found = devices.iter().find(|(there, _)| there.as_str() == device);
        let Some((_, found)) = found else {
            return Err(TestCaseError::fail(format!("{name}/{device} is missing")));
        };
        let holder: &Holder = &found.holder;
        prop_assert_eq!(holder.client().as_str(), client);
        prop_assert_eq!(principal(holder.principal()), whose);
        prop_assert_eq!(&transcript::place_text(found), place);
        prop_assert_eq!(found.revision.0, *revision);
    }
    Ok(())
}

fn principal(principal: &Principal) -> &str {
    match principal {
        Principal::Client(client) => client.as_str(),
        Principal::Subject(subject) => subject.as_str(),
    }
}

/// The history is the longest tail of all changes within both bounds.
fn check_history(
    history: &History,
    changes: &[Arc<Change>],
    max_changes: usize,
    max_bytes: usize,
) -> Result<(), TestCaseError> {
    let mut bytes = 0;
    let fits = changes.iter().rev().take(max_changes).take_while(|change| {
        bytes += change.memory_bytes();
        bytes <= max_bytes
    });
    let dropped = changes.len() - fits.count();
    prop_assert_eq!(history.floor().0, FIRST + dropped as u64);
    for known in 0..=changes.len() + 1 {
        let found = history.after(Revision(FIRST + known as u64));
        let expected = if known < dropped { None } else { changes.get(known) };
        prop_assert_eq!(found, expected);
    }
    prop_assert_eq!(history.after(Revision(FIRST - 1)), None);
    prop_assert_eq!(history.after(Revision(u64::MAX)), None);
    Ok(())
}

fn check_matching(users: &Users, copied: &Copied) -> Result<(), TestCaseError> {
    for prefix in ["", "a", "ab", "abcd", "b", "c", "a\u{10ffff}"] {
        for after in [None, Some("a"), Some("ab"), Some("aa"), Some("a\u{10ffff}"), Some("z")] {
            let after = after.map(|name| Username::new(name).unwrap());
            let found = users.matching(prefix, after.as_ref()).map(|(name, _)| name);
            let fits = |name: &&Username| {
                name.as_str().starts_with(prefix)
                    && after.as_ref().is_none_or(|after| *name > after)
            };
            let expected: Vec<_> = copied.keys().filter(fits).collect();
            prop_assert_eq!(found.collect::<Vec<_>>(), expected, "{} after {:?}", prefix, after);
        }
    }
    Ok(())
}
