//! Large answers: every part fits a message, and together they say everything once.

use std::net::{IpAddr, Ipv6Addr};

use rollcall_replica::Directory;
use rollcall_replica::command::{Command, Opened, Principal, Write};
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::directory::{Bounds, Outcome};
use rollcall_shared::id::{ClientId, RequestId};
use rollcall_shared::message;
use rollcall_shared::message::{Envelope, Subscribed, UserAddress, Users as UsersPart};
use rollcall_shared::meta::Meta;

use super::*;

/// A directory of users with this many devices each, the longest names and metas.
fn directory(devices: &[usize]) -> Directory {
    let mut directory = Directory::new(Revision(0), Bounds::default());
    let client = ClientId::new("c").unwrap();
    let principal = Principal::Client(client.clone());
    let open = Command::Open { client: client.clone(), principal };
    let Outcome::Opened(Opened::Live { generation, .. }) =
        directory.apply(Index(1), open, &mut Vec::new())
    else {
        panic!("an open session");
    };
    let mut request = 0;
    for (user, &count) in devices.iter().enumerate() {
        for device in 0..count {
            request += 1;
            let write = Write::Connect {
                username: name(user),
                device: Device::new(&format!("{device:04}{}", "\"".repeat(60))).unwrap(),
                ip: IpAddr::V6(Ipv6Addr::from([0xabcd; 8])),
                port: 65535,
                meta: Some(Meta::new(&format!(r#"{{"m":"{}"}}"#, "x".repeat(1016))).unwrap()),
            };
            let request = RequestId(request);
            let write = Command::Write { client: client.clone(), generation, request, write };
            directory.apply(directory.applied().next(), write, &mut Vec::new());
        }
    }
    directory
}

fn name(user: usize) -> Username {
    Username::new(&format!("{user:06}{}", "\\".repeat(122))).unwrap()
}

/// All parts of an answer, each checked for its size.
fn parts(mut answer: Answer) -> Vec<String> {
    let mut parts = Vec::new();
    loop {
        let (text, more) = answer.next_part("server/4294967295");
        assert!(text.len() <= limits::MESSAGE_BYTES, "{} bytes", text.len());
        parts.push(text);
        if !more {
            return parts;
        }
    }
}

/// What the parts of a lookup say together; a user split over two parts is put together.
fn merged(parts: &[String]) -> (Vec<message::User>, Vec<Username>) {
    let first: Envelope<'_, UserAddress> = serde_json::from_str(&parts[0]).unwrap();
    assert_eq!(first.payload.more, parts.len() > 1);
    let (mut users, mut unknown) = (first.payload.users, first.payload.unknown);
    for (at, part) in parts.iter().enumerate().skip(1) {
        let part: Envelope<'_, UsersPart> = serde_json::from_str(part).unwrap();
        assert_eq!(part.payload.more, at + 1 < parts.len());
        add(&mut users, part.payload.users);
        unknown.extend(part.payload.unknown);
    }
    (users, unknown)
}

fn add(users: &mut Vec<message::User>, more: Vec<message::User>) {
    for user in more {
        match users.last_mut().filter(|last| last.username == user.username) {
            Some(last) => last.addresses.extend(user.addresses),
            None => users.push(user),
        }
    }
}

fn check_lookup(devices: &[usize], strangers: usize) -> usize {
    let directory = directory(devices);
    let names = (0..devices.len() + strangers).map(name).collect();
    let parts = parts(Answer::lookup(RequestId(7), names, directory.users()));
    let (users, unknown) = merged(&parts);
    let told: Vec<_> = users.iter().map(|user| user.addresses.len()).collect();
    assert_eq!(told, devices);
    assert!(users.iter().enumerate().all(|(at, user)| user.username == name(at)));
    assert_eq!(unknown.len(), strangers);
    parts.len()
}

#[test]
fn a_small_answer_is_one_message() {
    assert_eq!(check_lookup(&[], 1), 1);
    assert_eq!(check_lookup(&[1, 2], 3), 1);
}

#[test]
fn a_large_answer_comes_in_parts() {
    assert!(check_lookup(&[1; 600], 400) > 3);
    // The most and longest names of nobody, every byte escaped, just fit one.
    assert_eq!(check_lookup(&[], 1000), 1);
}

#[test]
fn one_user_may_fill_several_parts() {
    assert!(check_lookup(&[1, 900, 1], 0) > 4);
}

#[test]
fn a_subscription_lists_who_matches_in_parts() {
    let directory = directory(&[1; 700]);
    for (filter, count) in [
        (Filter::All, 700),
        (Filter::Prefix("0001".parse().unwrap()), 100),
        (Filter::Usernames(vec![name(3), name(699), name(700)]), 2),
    ] {
        let number = SubscriptionId(3);
        let users = directory.users();
        let parts = parts(Answer::subscribed(RequestId(7), number, &filter, Some(false), users));
        let first: Envelope<'_, Subscribed> = serde_json::from_str(&parts[0]).unwrap();
        assert_eq!(first.payload.recovered, Some(false));
        assert_eq!(first.payload.revision, users.revision());
        assert_eq!(first.payload.subscription, number);
        let mut told = first.payload.users;
        for part in &parts[1..] {
            let part: Envelope<'_, UsersPart> = serde_json::from_str(part).unwrap();
            assert!(!part.payload.users.is_empty());
            told.extend(part.payload.users);
        }
        assert_eq!(told.len(), count);
        assert!(told.windows(2).all(|pair| pair[0].username < pair[1].username));
    }
}
