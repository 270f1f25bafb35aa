//! The answer to "is it healthy?": one line in words from a status, as the web console says it.
//!
//! It is the view of the server that answered; another one may see more.

use rollcall_shared::id::NodeId;
use rollcall_shared::message::{MemberState, MemberStatus, Role, Status};

/// How the cluster is, in words.
pub(super) fn words(status: &Status) -> String {
    let Census { missing, blank, present } = Census::of(status);
    let total = status.members.len();
    let majority = total / 2 + 1;
    let down = are(&missing, "down");
    let count = format!("{} of {total}", present.len());
    if present.is_empty() && status.cluster.is_empty() {
        return sentences(&[
            format!("Starting: {} of {total} servers", blank.len()),
            down,
            "A new cluster begins once all have met".to_owned(),
        ]);
    }
    if let Some(leader) = status.leader {
        let state = if present.len() == total { "Healthy" } else { "Degraded" };
        let catching_up = are(&blank, "catching up");
        return sentences(&[format!("{state}: {count}, server {leader} leads"), down, catching_up]);
    }
    if present.len() >= majority {
        return sentences(&[format!("Electing: {count}, no leader yet"), down]);
    }
    let lost = are(&blank, "back without memory and has no vote");
    let way_out = if total - blank.len() < majority {
        // Nobody can take them in, even if none were down.
        format!("To begin anew with nobody registered, restart {} as well", named(&present))
    } else {
        format!("Until {majority} of {total} are together, nothing changes and nobody is looked up")
    };
    sentences(&[format!("No quorum: {count}"), down, lost, way_out])
}

/// Who counts, as the server sees it.
struct Census {
    /// Not heard from.
    missing: Vec<NodeId>,
    /// Heard from, holding nothing yet and without a vote.
    blank: Vec<NodeId>,
    /// All others.
    present: Vec<NodeId>,
}

impl Census {
    fn of(status: &Status) -> Self {
        let is_missing = |member: &MemberStatus| member.state == MemberState::Down;
        let is_blank =
            |member: &MemberStatus| !is_missing(member) && member.role == Some(Role::Blank);
        let those = |which: &dyn Fn(&MemberStatus) -> bool| {
            let chosen = status.members.iter().filter(|member| which(member));
            chosen.map(|member| member.node).collect()
        };
        Self {
            missing: those(&is_missing),
            blank: those(&is_blank),
            present: those(&|member| !is_missing(member) && !is_blank(member)),
        }
    }
}

/// "servers 1 and 3".
fn named(nodes: &[NodeId]) -> String {
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    match ids.split_last() {
        Some((last, [])) => format!("server {last}"),
        Some((last, rest)) => format!("servers {} and {last}", rest.join(", ")),
        None => "no server".to_owned(),
    }
}

/// "Servers 1 and 3 are down"; nothing where there are none.
fn are(nodes: &[NodeId], what: &str) -> String {
    match nodes {
        [] => String::new(),
        [_] => format!("{} is {what}", named(nodes).replacen('s', "S", 1)),
        _ => {
            let what = what.replace("has no vote", "have no vote");
            format!("{} are {what}", named(nodes).replacen('s', "S", 1))
        }
    }
}

/// Those parts that say something, as sentences.
fn sentences(parts: &[String]) -> String {
    let said: Vec<&str> =
        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    said.join(". ")
}

#[cfg(test)]
mod tests {
    use rollcall_shared::id::Revision;

    use super::*;

    /// One letter for each member: Leader, Follower, Candidate, Blank, or down.
    fn status(members: &str) -> Status {
        let member = |(node, letter): (u32, char)| MemberStatus {
            node: NodeId(node),
            url: String::new(),
            state: if letter == '-' { MemberState::Down } else { MemberState::Up },
            role: match letter {
                'L' => Some(Role::Leader),
                'F' => Some(Role::Follower),
                'C' => Some(Role::Candidate),
                'B' => Some(Role::Blank),
                _ => None,
            },
            epoch: None,
            lag: None,
            links: None,
        };
        let members: Vec<_> = (1..).zip(members.chars()).map(member).collect();
        let leader = members.iter().find(|member| member.role == Some(Role::Leader));
        Status {
            node: NodeId(1),
            cluster: "d76ae6ee3c12a369".to_owned(),
            role: members[0].role.unwrap_or(Role::Follower),
            leader: leader.map(|leader| leader.node),
            epoch: 1,
            readable: true,
            commit: 1,
            revision: Revision(1),
            members,
            version: String::new(),
            uptime_ms: 0,
            connections: 0,
            sessions: 0,
            registrations: 0,
            users: 0,
            subscriptions: 0,
        }
    }

    #[track_caller]
    fn check(members: &str, expected: &str) {
        assert_eq!(words(&status(members)), expected);
    }

    #[test]
    fn a_leader_makes_it_work() {
        check("L", "Healthy: 1 of 1, server 1 leads");
        check("FLF", "Healthy: 3 of 3, server 2 leads");
        check("FL-", "Degraded: 2 of 3, server 2 leads. Server 3 is down");
        check("FLB", "Degraded: 2 of 3, server 2 leads. Server 3 is catching up");
        check("FL--F", "Degraded: 3 of 5, server 2 leads. Servers 3 and 4 are down");
        // The half with the leader goes on.
        check("FL--", "Degraded: 2 of 4, server 2 leads. Servers 3 and 4 are down");
    }

    #[test]
    fn without_a_leader_it_depends_on_who_has_a_vote() {
        check("FCF", "Electing: 3 of 3, no leader yet");
        check("C-F", "Electing: 2 of 3, no leader yet. Server 2 is down");
        check(
            "C--",
            "No quorum: 1 of 3. Servers 2 and 3 are down. \
             Until 2 of 3 are together, nothing changes and nobody is looked up",
        );
        check(
            "C-B",
            "No quorum: 1 of 3. Server 2 is down. Server 3 is back without memory and has no vote. \
             Until 2 of 3 are together, nothing changes and nobody is looked up",
        );
        check(
            "CBB",
            "No quorum: 1 of 3. Servers 2 and 3 are back without memory and have no vote. \
             To begin anew with nobody registered, restart server 1 as well",
        );
    }

    #[test]
    fn a_cluster_begins_when_all_have_met() {
        let blank = |members| words(&Status { cluster: String::new(), ..status(members) });
        assert_eq!(
            blank("B-B"),
            "Starting: 2 of 3 servers. Server 2 is down. A new cluster begins once all have met"
        );
        // Somebody else knows one.
        assert!(blank("BC-").starts_with("No quorum: 1 of 3. Server 3 is down. Server 1 is back"));
    }
}
