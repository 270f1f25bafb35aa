//! What two servers say of themselves before their link begins: HTTP headers of the upgrade, in
//! both directions.
//!
//! Owns the names and forms of the headers; who is let in is the replica's
//! [`handshake`](rollcall_replica::handshake).

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rollcall_replica::consensus::config::MAX_MEMBERS;
use rollcall_replica::consensus::ids::ProcessId;
use rollcall_replica::handshake::Introduction;
use rollcall_shared::id::NodeId;

/// Who speaks.
const NODE: HeaderName = HeaderName::from_static("rollcall-node");
/// Who is looked for.
const WANTED: HeaderName = HeaderName::from_static("rollcall-wanted");
/// Which start of its process speaks.
const PROCESS: HeaderName = HeaderName::from_static("rollcall-process");
/// All servers, as the one who speaks was told.
const MEMBERS: HeaderName = HeaderName::from_static("rollcall-members");
/// Why a link is refused.
const REFUSAL: HeaderName = HeaderName::from_static("rollcall-refusal");

/// Adds what a server says of itself.
pub(crate) fn introduce(headers: &mut HeaderMap, who: &Introduction) {
    headers.insert(NODE, who.node.0.into());
    let members: Vec<_> = who.members.iter().map(ToString::to_string).collect();
    let texts = [(PROCESS, format!("{:016x}", who.process.0)), (MEMBERS, members.join(","))];
    for (name, text) in texts {
        headers.insert(name, HeaderValue::try_from(text).expect("digits and commas are visible"));
    }
}

/// Adds who is looked for.
pub(crate) fn ask_for(headers: &mut HeaderMap, wanted: NodeId) {
    headers.insert(WANTED, wanted.0.into());
}

/// Adds why a link is refused; the text is ours.
pub(crate) fn refuse(headers: &mut HeaderMap, why: &str) {
    if let Ok(why) = HeaderValue::from_str(why) {
        headers.insert(REFUSAL, why);
    }
}

/// What the other server says of itself, if it does.
pub(crate) fn introduced(headers: &HeaderMap) -> Option<Introduction> {
    let process = u64::from_str_radix(text(headers, &PROCESS)?, 16).ok()?;
    let members: Option<Vec<_>> = text(headers, &MEMBERS)?.split(',').map(node).collect();
    let members = members.filter(|members| members.len() <= MAX_MEMBERS)?;
    Some(Introduction { node: node(text(headers, &NODE)?)?, process: ProcessId(process), members })
}

/// Who it looks for, if it says so.
pub(crate) fn asked_for(headers: &HeaderMap) -> Option<NodeId> {
    node(text(headers, &WANTED)?)
}

/// Why it refuses, if it says so.
pub(crate) fn refused(headers: &HeaderMap) -> Option<&str> {
    text(headers, &REFUSAL)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn node(text: &str) -> Option<NodeId> {
    text.trim().parse().ok().filter(|id| *id > 0).map(NodeId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_survives_the_way() {
        let members = vec![NodeId(3), NodeId(2), NodeId(1)];
        let who = Introduction { node: NodeId(3), process: ProcessId(u64::MAX - 1), members };
        let mut headers = HeaderMap::new();
        assert_eq!(introduced(&headers), None);
        introduce(&mut headers, &who);
        ask_for(&mut headers, NodeId(2));
        assert_eq!(introduced(&headers), Some(who));
        assert_eq!(asked_for(&headers), Some(NodeId(2)));
    }

    #[test]
    fn what_is_no_introduction_is_told_apart() {
        let faults = [
            (&NODE, "0"),
            (&NODE, "x"),
            (&PROCESS, "g"),
            (&MEMBERS, "1,,2"),
            (&MEMBERS, "1,2,3,4,5,6,7,8"),
        ];
        for (name, value) in faults {
            let members = vec![NodeId(1)];
            let who = Introduction { node: NodeId(1), process: ProcessId(1), members };
            let mut headers = HeaderMap::new();
            introduce(&mut headers, &who);
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(introduced(&headers), None, "{name}: {value}");
        }
    }
}
