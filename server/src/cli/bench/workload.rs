//! What a link asks, request by request: deterministic for its number, but for the names' prefix.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use rollcall_shared::message::RequestKind;
use serde::Serialize;
use serde_json::json;

use super::Plan;
use super::link::request;

#[derive(ValueEnum, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Workload {
    Sequence,
    Lookup,
    Connect,
    Mixed,
    Fanout,
}

impl Workload {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Lookup => "lookup",
            Self::Connect => "connect",
            Self::Mixed => "mixed",
            Self::Fanout => "fanout",
        }
    }

    /// Whether it asks for users that must be there first.
    pub(super) const fn looks_up(self) -> bool {
        matches!(self, Self::Lookup | Self::Mixed)
    }
}

/// Yields requests as functions from their id to their text.
pub(super) trait Requests: Send {
    fn next(&mut self) -> Option<Box<dyn FnOnce(u64) -> String + Send>>;
}

/// The endless requests of one link.
#[derive(Debug)]
pub(super) struct Source {
    workload: Workload,
    random: Random,
    users: u64,
    prefix: String,
    /// This link's own users, which come and go.
    own: String,
    slots: u64,
    toggles: u64,
}

impl Source {
    pub(super) fn new(plan: &Plan, link: usize) -> Self {
        Self {
            workload: plan.workload,
            random: Random(link as u64),
            users: plan.users,
            prefix: plan.prefix.clone(),
            own: format!("{}link-{link}-", plan.prefix),
            slots: plan.in_flight as u64,
            toggles: 0,
        }
    }

    fn lookup(&mut self) -> Box<dyn FnOnce(u64) -> String + Send> {
        let name = format!("{}{}", self.prefix, self.random.below(self.users));
        Box::new(move |id| {
            request(RequestKind::GetUserAddress, id, &json!({ "usernames": [name] }))
        })
    }

    /// Each of the link's users in turn comes, then each goes: writes of a link apply in order.
    fn toggle(&mut self) -> Box<dyn FnOnce(u64) -> String + Send> {
        let (round, slot) = (self.toggles / self.slots, self.toggles % self.slots);
        self.toggles += 1;
        let name = format!("{}{slot}", self.own);
        if round.is_multiple_of(2) {
            Box::new(move |id| connect(id, &name))
        } else {
            Box::new(move |id| {
                request(RequestKind::DisconnectUser, id, &json!({ "username": name }))
            })
        }
    }
}

impl Requests for Source {
    fn next(&mut self) -> Option<Box<dyn FnOnce(u64) -> String + Send>> {
        let share = match self.workload {
            Workload::Sequence => 0,
            Workload::Connect => 1,
            Workload::Lookup => 2,
            Workload::Mixed | Workload::Fanout => self.random.below(10),
        };
        Some(match share {
            0 => Box::new(|id| request(RequestKind::GetSequenceNumber, id, &json!({}))),
            1 => self.toggle(),
            _ => self.lookup(),
        })
    }
}

/// One link's share of the users that are looked up later.
#[derive(Debug)]
pub(super) struct Preload {
    prefix: String,
    next: u64,
    step: u64,
    end: u64,
}

impl Preload {
    pub(super) fn new(plan: &Plan, link: usize) -> Self {
        Self {
            prefix: plan.prefix.clone(),
            next: link as u64,
            step: plan.connections as u64,
            end: plan.users,
        }
    }
}

impl Requests for Preload {
    fn next(&mut self) -> Option<Box<dyn FnOnce(u64) -> String + Send>> {
        if self.next >= self.end {
            return None;
        }
        let name = format!("{}{}", self.prefix, self.next);
        self.next += self.step;
        Some(Box::new(move |id| connect(id, &name)))
    }
}

fn connect(id: u64, name: &str) -> String {
    let payload = json!({ "username": name, "ip": "203.0.113.7", "port": 4711 });
    request(RequestKind::ConnectUser, id, &payload)
}

/// `SplitMix64`: good enough to pick names, and the same on every run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A number that no other run has at the same time.
pub(super) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    (micros << 16) ^ u64::from(std::process::id())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan(workload: Workload) -> Plan {
        Plan {
            workload,
            connections: 3,
            in_flight: 2,
            duration: Duration::from_secs(1),
            users: 10,
            prefix: "p-".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    fn kinds(requests: &mut impl Requests, count: usize) -> Vec<String> {
        let texts = std::iter::from_fn(|| requests.next()).take(count);
        let value = |text: String| serde_json::from_str::<serde_json::Value>(&text);
        texts
            .map(|text| value(text(7)).expect("it is JSON"))
            .map(|value| format!("{} {}", value["type"], value["payload"]["username"]))
            .collect()
    }

    #[test]
    fn preloading_links_share_the_users_among_them() {
        let plan = plan(Workload::Lookup);
        let mut all: Vec<String> =
            (0..3).flat_map(|link| kinds(&mut Preload::new(&plan, link), 99)).collect();
        all.sort();
        let expected: Vec<String> = (0..10).map(|n| format!("\"ConnectUser\" \"p-{n}\"")).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn users_come_before_they_go() {
        let kinds = kinds(&mut Source::new(&plan(Workload::Connect), 1), 5);
        assert_eq!(
            kinds,
            [
                r#""ConnectUser" "p-link-1-0""#,
                r#""ConnectUser" "p-link-1-1""#,
                r#""DisconnectUser" "p-link-1-0""#,
                r#""DisconnectUser" "p-link-1-1""#,
                r#""ConnectUser" "p-link-1-0""#,
            ]
        );
    }

    #[test]
    fn the_mix_has_its_shares() {
        let kinds = kinds(&mut Source::new(&plan(Workload::Mixed), 0), 10_000);
        let share = |kind: &str| kinds.iter().filter(|one| one.contains(kind)).count();
        assert!((700..=1300).contains(&share("GetSequenceNumber")));
        assert!((7500..=8500).contains(&share("GetUserAddress")));
    }
}
