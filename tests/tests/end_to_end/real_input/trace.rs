//! What each of many clients does and when, as a pure function of a seed; and who must be online when
//! all of it is done.
//!
//! Carries nothing out. It is made so that the end does not hang on how fast anything runs: a device
//! belongs to one client id, and who comes back under its old id registers at once.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use rollcall_tests::chance::Chance;
use serde_json::{Value, json};

/// The parts of all clients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    pub(crate) clients: Vec<Vec<Step>>,
}

/// One thing that one client does, this long after the start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Connects under this client id, new or known, and registers.
    Connect(String, Registration),
    /// Registers again: another address, other details, or just what stands.
    Move(Registration),
    /// Ends its registration, stays connected.
    Leave,
    /// Registers after it left.
    Join(Registration),
    /// Looks up these names, and its own.
    LookUp(Vec<String>),
    /// Is gone without a goodbye.
    Drop,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    pub(crate) username: String,
    pub(crate) device: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: Option<Value>,
}

impl Trace {
    /// What so many clients do for that long.
    pub(crate) fn new(seed: u64, clients: usize, length: Duration) -> Self {
        let part = |index| {
            // A sequence of chance of its own, whatever the others do.
            let mut chance =
                Chance::new(seed ^ (index as u64 + 1).wrapping_mul(0xA076_1D64_78BD_642F));
            Part::new(index, &mut chance).play(length)
        };
        Self { clients: (0..clients).map(part).collect() }
    }

    /// Who is registered at the end, once nobody's grace runs any more.
    pub(crate) fn left_over(&self) -> BTreeMap<(String, String), Registration> {
        let mut people = BTreeMap::new();
        for steps in &self.clients {
            let mut standing = None;
            for step in steps {
                match &step.action {
                    Action::Connect(_, here) | Action::Move(here) | Action::Join(here) => {
                        standing = Some(here);
                    }
                    Action::Leave | Action::Drop => standing = None,
                    Action::LookUp(_) => {}
                }
            }
            if let Some(here) = standing {
                let key = (here.username.clone(), here.device.clone());
                let before = people.insert(key, here.clone());
                assert_eq!(before, None, "a device belongs to one client");
            }
        }
        people
    }

    /// How often something is done.
    pub(crate) fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.clients.iter().flatten().filter(|step| wanted(&step.action)).count()
    }
}

/// All names that anyone in a trace may have.
pub(crate) fn usernames() -> Vec<String> {
    (0..NAMES).map(username).collect()
}

/// One client while its part is made up.
struct Part<'a> {
    chance: &'a mut Chance,
    index: usize,
    /// How often it took a new identity.
    generation: usize,
    here: Registration,
    mood: Mood,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Away,
    Registered,
    Connected,
}

impl<'a> Part<'a> {
    fn new(index: usize, chance: &'a mut Chance) -> Self {
        let here = registration(index, 0, chance);
        Self { chance, index, generation: 0, here, mood: Mood::Away, steps: Vec::new() }
    }

    fn play(mut self, length: Duration) -> Vec<Step> {
        let mut at = Duration::from_millis(self.chance.below(2000));
        while at < length {
            let action = self.next();
            self.steps.push(Step { at, action });
            // Mostly soon; now and then longer than any grace.
            let pause = if self.chance.below(12) == 0 { 4000 } else { 1200 };
            at += Duration::from_millis(20 + self.chance.below(pause));
        }
        self.steps
    }

    fn next(&mut self) -> Action {
        match (self.mood, self.chance.below(10)) {
            (Mood::Away, kind) => self.come_back(kind),
            (Mood::Registered, 0..4) => {
                self.relocate();
                Action::Move(self.here.clone())
            }
            (Mood::Registered, 4) => {
                self.mood = Mood::Connected;
                Action::Leave
            }
            (Mood::Registered | Mood::Connected, 5..7) => {
                self.mood = Mood::Away;
                Action::Drop
            }
            (Mood::Registered, _) | (Mood::Connected, 7..) => Action::LookUp(self.names()),
            (Mood::Connected, _) => {
                self.mood = Mood::Registered;
                self.relocate();
                Action::Join(self.here.clone())
            }
        }
    }

    /// Under the old identity, whose session may still be alive, or as somebody new.
    fn come_back(&mut self, kind: u64) -> Action {
        if kind < 3 {
            self.generation += 1;
            self.here = registration(self.index, self.generation, self.chance);
        } else if kind < 7 {
            self.relocate();
        }
        self.mood = Mood::Registered;
        let id = format!("client-{}-{}-of-a-trace", self.index, self.generation);
        Action::Connect(id, self.here.clone())
    }

    fn relocate(&mut self) {
        let Registration { username, device, .. } = self.here.clone();
        let place = registration(self.index, self.generation, self.chance);
        self.here = Registration { username, device, ..place };
    }

    fn names(&mut self) -> Vec<String> {
        let count = 1 + self.chance.below(8);
        (0..count).map(|_| username(self.chance.below(NAMES))).collect()
    }
}

/// A name that others may have too, a device that nobody else has, and an address.
fn registration(index: usize, generation: usize, chance: &mut Chance) -> Registration {
    let bits = chance.draw();
    let ip = if bits & 1 == 0 {
        IpAddr::from([203, 0, 113, (bits >> 8) as u8])
    } else {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, (bits >> 16) as u16, (bits >> 32) as u16])
    };
    let meta = match chance.below(4) {
        0 => Some(json!({ "room": chance.below(40), "mood": "<b>café</b> & \"tea\" 🫖" })),
        1 => Some(json!({ "nested": { "list": [1, null, true, -5] }, "empty": {} })),
        _ => None,
    };
    Registration {
        username: username(chance.below(NAMES)),
        device: format!("device-{index}-{generation}"),
        ip,
        port: 1 + chance.below(65_535) as u16,
        meta,
    }
}

/// Plain names, and such as careless software stumbles over.
fn username(number: u64) -> String {
    match number % 6 {
        0 => format!("zoë-{number}"),
        1 => format!("<i>{number}</i>"),
        2 => format!("名前{number}"),
        3 => format!("o'hara\"{number}\\"),
        4 => format!("שלום{number}"),
        _ => format!("person-{number}"),
    }
}

/// Different names: fewer than clients, so that many have several devices.
const NAMES: u64 = 150;
