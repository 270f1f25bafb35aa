//! Transcripts of commands and outputs: the form the tests of this crate are written in.
//!
//! Owns the text of writes, outcomes and changes; the other commands are each test module's.

use std::net::SocketAddr;

use rollcall_shared::id::{ClientId, Device, Subject, Username};
use rollcall_shared::message::Reason;
use rollcall_shared::meta::Meta;

use crate::command::{Applied, Principal, Write, Written};
use crate::directory::{Change, Event, Registration};

/// Runs the lines that begin with `> `, and wants each to give exactly the lines below it.
/// Indentation, empty lines and lines that begin with `#` do not matter.
pub(crate) fn check(transcript: &str, mut run: impl FnMut(&str) -> Vec<String>) {
    let lines = transcript.lines().map(str::trim);
    let expected: Vec<&str> = lines.filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let mut actual = Vec::new();
    for line in &expected {
        if let Some(command) = line.strip_prefix("> ") {
            actual.push((*line).to_owned());
            actual.extend(run(command));
        }
    }
    assert!(!actual.is_empty(), "a transcript without a command checks nothing");
    assert!(actual == expected, "what happened now:\n{}\n", actual.join("\n"));
}

/// `a` or `a as sam`: a client, and who stands behind it.
pub(crate) fn parse_identity(words: &[&str]) -> (ClientId, Principal) {
    let client = ClientId::new(words[0]).unwrap();
    let principal = match words[1..] {
        [] => Principal::Client(client.clone()),
        ["as", subject] => Principal::Subject(Subject::new(subject).unwrap()),
        _ => panic!("not an identity: {words:?}"),
    };
    (client, principal)
}

/// `connect ann/phone 10.0.0.1:80 {"a":1}`, `disconnect ann/phone`, `sequence 3`.
pub(crate) fn parse_write(words: &[&str]) -> Write {
    match *words {
        ["connect", name, address, ref meta @ ..] => {
            let (username, device) = parse_name(name);
            let address: SocketAddr = address.parse().unwrap();
            let meta = meta.first().map(|json| Meta::new(json).unwrap());
            Write::Connect { username, device, ip: address.ip(), port: address.port(), meta }
        }
        ["disconnect", name] => {
            let (username, device) = parse_name(name);
            Write::Disconnect { username, device }
        }
        ["sequence", count] => Write::Sequence { count: count.parse().unwrap() },
        _ => panic!("not a write: {words:?}"),
    }
}

fn parse_name(name: &str) -> (Username, Device) {
    let (username, device) = name.split_once('/').unwrap();
    (Username::new(username).unwrap(), Device::new(device).unwrap())
}

pub(crate) fn written_text(written: &Written) -> String {
    match written {
        Written::Applied(applied) => applied_text(applied),
        Written::Stale => "stale".to_owned(),
        Written::Reused => "reused".to_owned(),
        Written::NotCurrent => "not current".to_owned(),
        Written::Full => "full".to_owned(),
    }
}

fn applied_text(applied: &Applied) -> String {
    match applied {
        Applied::Connected { username, device, revision } => {
            format!("connected {username}/{device} @{revision}")
        }
        Applied::Disconnected { username, device, revision } => {
            format!("disconnected {username}/{device} @{revision}")
        }
        Applied::Numbers { first, count } => {
            format!("numbers {first} to {}", first + u64::from(*count) - 1)
        }
        Applied::Refused { kind, refusal } => format!("{kind:?}: {refusal:?}"),
    }
}

pub(crate) fn change_text(change: &Change) -> String {
    let Change { revision, username, device, event } = change;
    let event = match event {
        Event::Connected(registration) => format!("appears, {}", place_text(registration)),
        Event::Updated(registration) => format!("changes, {}", place_text(registration)),
        Event::Disconnected { reason, online } => {
            let reason = match reason {
                Reason::Left => "left",
                Reason::Expired => "expired",
            };
            format!("{reason}, {}", if *online { "online" } else { "offline" })
        }
    };
    format!("@{revision} {username}/{device} {event}")
}

/// `10.0.0.1:80 {"a":1}`.
pub(crate) fn place_text(registration: &Registration) -> String {
    let address = SocketAddr::new(registration.ip, registration.port);
    match &registration.meta {
        Some(meta) => format!("{address} {}", meta.as_str()),
        None => address.to_string(),
    }
}
