//! Tests of the directory: what the commands of its transcripts do.
//!
//! Owns no test itself: scenarios are in `registrations` and `sessions`, random commands against a
//! model in `model`.

pub(super) mod model;
mod registrations;
mod sessions;

use std::collections::BTreeMap;

use rollcall_shared::id::{ClientId, RequestId, Revision};

use super::{Bounds, Directory, Effect, Outcome};
use crate::command::{Command, Generation, Opened};
use crate::transcript;

/// Runs a transcript on an empty directory at revision 100 with room for 1010 registrations and four
/// live sessions.
/// Commands:
/// - `open CLIENT [as SUBJECT]` and `expire CLIENT[#GENERATION]`
/// - `CLIENT[#GENERATION] ID WRITE`; instead of one ID also FIRST-LAST, which puts the number in
///   place of `{}` and shows only what the last one did
/// - `users [NAME/DEVICE]`: all, or only this one
/// - `crowd COUNT`: so many sessions come and go
fn check(transcript: &str) {
    let directory = Directory::new(Revision(100), Bounds { registrations: 1010, sessions: 4 });
    let mut bench = Bench { directory, generations: BTreeMap::new(), crowd: 0 };
    transcript::check(transcript, |command| {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["open", ..] => bench.open(&words[1..]),
            ["expire", name] => {
                let (client, generation) = bench.session(name);
                bench.apply(Command::Expire { client, generation })
            }
            ["users", ref only @ ..] => bench.users_text(only.first().copied()),
            ["crowd", count] => bench.come_and_go(count.parse().unwrap()),
            [name, requests, ..] => bench.write(name, requests, &words[2..].join(" ")),
            _ => panic!("not a command: {command}"),
        }
    });
}

struct Bench {
    directory: Directory,
    /// Of the last opening, which commands without a generation mean.
    generations: BTreeMap<ClientId, Generation>,
    crowd: usize,
}

impl Bench {
    fn open(&mut self, identity: &[&str]) -> Vec<String> {
        let (client, principal) = transcript::parse_identity(identity);
        let lines = self.apply(Command::Open { client: client.clone(), principal });
        if let Some((generation, _)) = self.directory.live_session(&client) {
            self.generations.insert(client, generation);
        }
        lines
    }

    fn write(&mut self, name: &str, requests: &str, write: &str) -> Vec<String> {
        let (client, generation) = self.session(name);
        let (first, last) = requests.split_once('-').unwrap_or((requests, requests));
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        let mut lines = Vec::new();
        for number in first..=last {
            let write = write.replace("{}", &number.to_string());
            let write = transcript::parse_write(&write.split(' ').collect::<Vec<_>>());
            let (client, request) = (client.clone(), RequestId(number));
            lines = self.apply(Command::Write { client, generation, request, write });
        }
        lines
    }

    fn come_and_go(&mut self, count: usize) -> Vec<String> {
        for _ in 0..count {
            self.crowd += 1;
            let name = format!("crowd.{}", self.crowd);
            self.open(&[&name]);
            let (client, generation) = self.session(&name);
            self.apply(Command::Expire { client, generation });
        }
        Vec::new()
    }

    fn session(&self, name: &str) -> (ClientId, Generation) {
        if let Some((client, generation)) = name.split_once('#') {
            return (ClientId::new(client).unwrap(), Generation(generation.parse().unwrap()));
        }
        let client = ClientId::new(name).unwrap();
        let generation = self.generations[&client];
        (client, generation)
    }

    fn apply(&mut self, command: Command) -> Vec<String> {
        let mut effects = Vec::new();
        let outcome = apply(&mut self.directory, command, &mut effects);
        let mut lines = vec![outcome_text(&outcome)];
        lines.extend(effects.iter().map(effect_text));
        lines
    }

    fn users_text(&self, only: Option<&str>) -> Vec<String> {
        let users = self.directory.users();
        let (revision, devices) = (users.revision(), users.registrations());
        let sessions = self.directory.live_sessions();
        let count = users.len();
        let mut lines =
            vec![format!("at @{revision}: {count} users, {devices} devices, {sessions} sessions")];
        for (username, user) in users.matching("", None) {
            for (device, registration) in user.devices() {
                let place = transcript::place_text(registration);
                let (revision, client) = (registration.revision, registration.holder.client());
                if only.is_none_or(|only| only == format!("{username}/{device}")) {
                    lines.push(format!("{username}/{device} {place} @{revision} of {client}"));
                }
            }
        }
        lines
    }
}

/// Applies `command` as the next entry.
pub(super) fn apply(
    directory: &mut Directory,
    command: Command,
    effects: &mut Vec<Effect>,
) -> Outcome {
    directory.apply(directory.applied().next(), command, effects)
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Opened(Opened::Live { generation, next_id }) => {
            format!("live #{}, next id {next_id}", generation.0)
        }
        Outcome::Opened(Opened::Forbidden) => "forbidden".to_owned(),
        Outcome::Opened(Opened::Full) => "full".to_owned(),
        Outcome::Written(written) => transcript::written_text(written),
        Outcome::Expired(true) => "ended".to_owned(),
        Outcome::Expired(false) => "not live".to_owned(),
        Outcome::Begun => "begun".to_owned(),
        Outcome::Bounded => "bounded".to_owned(),
        Outcome::Loaded(whole) => format!("loaded, whole: {whole}"),
    }
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Changed(change) => transcript::change_text(change),
        Effect::Replaced { holder: (client, _), username, device } => {
            format!("replaced for {client}: {username}/{device}")
        }
    }
}
