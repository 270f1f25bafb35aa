//! What a server tells the others of itself, for those who look at a cluster and for clients that are to
//! reach it: nothing of the replication depends on it.

use rollcall_shared::id::NodeId;
use rollcall_shared::message::Role;
use serde::{Deserialize, Serialize};

/// A server as it saw itself lately. Unknown fields are ignored, so that old and new can talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where clients reach it, if it knows.
    pub(crate) url: Option<String>,
    pub(crate) role: Role,
    /// The highest epoch it knows of.
    pub(crate) epoch: u64,
    /// Client links.
    pub(crate) links: u64,
    /// As the leader: how many entries each follower has not received.
    #[serde(default)]
    pub(crate) lags: Vec<(NodeId, u64)>,
    /// Where other servers are reached, as they have said themselves: one that has just begun anew may
    /// hear of them before it hears from them.
    #[serde(default)]
    pub(crate) urls: Vec<(NodeId, String)>,
}

/// The most bytes of a report.
const MAX_BYTES: usize = 64 * 1024;

impl Report {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("a report has string keys and no failing parts")
    }

    /// The report that a text says, if it does.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_way_and_grows_without_harm() {
        let lags = vec![(NodeId(2), 7)];
        let urls = vec![(NodeId(3), "ws://three/ws".to_owned())];
        let report = Report { url: None, role: Role::Leader, epoch: 3, links: 5, lags, urls };
        assert_eq!(Report::decode(&report.encode()), Some(report));
        let newer = r#"{"url":null,"role":"blank","epoch":1,"links":0,"mood":"fine"}"#;
        assert_eq!(Report::decode(newer).map(|report| report.role), Some(Role::Blank));
        assert_eq!(Report::decode("[]"), None);
    }
}
