//! What is no frame, and that no message is too long for one.

use std::sync::Arc;

use rollcall_shared::id::{NodeId, RequestId};
use rollcall_shared::limits;
use rollcall_shared::meta::Meta;

use super::*;
use crate::Config;
use crate::command::{Command, Generation, Principal, Write};
use crate::consensus::MAX_UNCOMMITTED;
use crate::consensus::ids::{Epoch, Index};
use crate::consensus::log::{Entry, Op, Outline};
use crate::consensus::message::{Message, Part};
use crate::replica::LinkId;
use crate::sessions::message::{Attach, MAX_ATTACHES, SessionBody, SessionMessage};

/// As many as `consensus` puts into one message.
const ENTRIES: usize = 256;
/// As many as `consensus` keeps for servers that are behind.
const KEPT: u64 = 65_536;
const EPOCH: Epoch = Epoch(u64::MAX);

fn longest<T: std::str::FromStr<Err: std::fmt::Debug>>(bytes: usize) -> T {
    "x".repeat(bytes).parse().unwrap()
}

fn longest_meta() -> Meta {
    let empty = r#"{"a":""}"#;
    let json =
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(limits::META_BYTES - empty.len())));
    assert_eq!(json.len(), limits::META_BYTES);
    Meta::new(&json).unwrap()
}

fn longest_entry() -> Arc<Entry> {
    let write = Write::Connect {
        username: longest(limits::USERNAME_BYTES),
        device: longest(limits::DEVICE_BYTES),
        ip: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
        port: u16::MAX,
        meta: Some(longest_meta()),
    };
    let (generation, request) = (Generation(u64::MAX), RequestId(limits::REQUEST_ID));
    let client = longest(limits::CLIENT_ID_BYTES);
    let command = Command::Write { client, generation, request, write };
    Arc::new(Entry { epoch: EPOCH, op: Op::Command(command) })
}

#[test]
fn what_comes_after_a_frame_is_refused() {
    let mut bytes = encode(&Frame { number: 7, message: Message::Alive });
    assert!(decode(&bytes).is_ok());
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(BadFrame::Trailing));
    assert_eq!(decode(&bytes[..1]), Err(BadFrame::Malformed));
    assert_eq!(decode(&vec![0; MAX_FRAME_BYTES + 1]), Err(BadFrame::TooLarge));
}

#[test]
fn no_message_is_too_long_for_a_frame() {
    let entries = vec![longest_entry(); ENTRIES];
    let (first, last, commit) = (Index(u64::MAX), Index(u64::MAX), Index(u64::MAX));
    let attach = Attach {
        link: LinkId(u64::MAX),
        client: longest(limits::CLIENT_ID_BYTES),
        principal: Principal::Subject(longest(limits::USERNAME_BYTES)),
    };
    let body = SessionBody::Attach(vec![attach; MAX_ATTACHES]);
    // Every entry of the longest log in an epoch of its own, of as many as indices go.
    let held = MAX_UNCOMMITTED + KEPT + Config::SNAPSHOT_EVERY;
    let runs = (0..held).map(|at| (EPOCH, Index((1 << 53) + at))).collect();
    let outline = Outline { base: (Index(0), Epoch(0)), runs, last };
    let messages = [
        Message::Append { epoch: EPOCH, first, entries: entries.clone(), commit },
        Message::Part { epoch: EPOCH, part: Part::Entries { first, entries, last } },
        Message::Session(SessionMessage { epoch: EPOCH, body }),
        Message::NewEpoch { epoch: EPOCH, init: last, outline },
        Message::Init { entry: longest_entry() },
    ];
    for message in messages {
        let frame = Frame { number: u64::MAX, message };
        assert!(decode(&encode(&frame)) == Ok(frame));
    }
}

#[test]
#[should_panic(expected = "too long")]
fn a_message_too_long_for_a_frame_is_a_bug() {
    let attach = |at| Attach {
        link: LinkId(at),
        client: longest(limits::CLIENT_ID_BYTES),
        principal: Principal::Client(longest(limits::CLIENT_ID_BYTES)),
    };
    let body = SessionBody::Attach((0..60_000).map(attach).collect());
    let message = Message::Session(SessionMessage { epoch: EPOCH, body });
    let _ = encode(&Frame { number: NodeId(1).0.into(), message });
}
