//! Who may open a link between two servers, decided before it carries anything.
//!
//! Owns the version of what servers say to each other and what each says of itself when it dials;
//! that the two belong to the same cluster's life, and run with the same settings, is told by HELLO,
//! the first message on the link (R3, R26 of docs/replication.md).

use std::fmt;
use std::time::Duration;

use rollcall_shared::id::NodeId;

use crate::consensus::config::Members;
use crate::consensus::ids::ProcessId;

/// The subprotocol of links between servers; its number is that of the format of
/// [`wire`](crate::wire) and rises with every change of it.
pub const SUBPROTOCOL: &str = "rollcall.peer.v1";

/// What a server says of itself when it dials another one, or is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its id.
    pub node: NodeId,
    /// The identity of this start of its process.
    pub process: ProcessId,
    /// All servers of the cluster, as it was told.
    pub members: Vec<NodeId>,
}

/// A link to a server, as far as a second one to it depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Which start of its process it is to.
    pub process: ProcessId,
    /// How long nothing came on it.
    pub silence: Duration,
}

/// Why two servers do not link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It looks for another server than this one.
    Elsewhere {
        /// Who it looks for.
        wanted: NodeId,
        /// Who this is.
        found: NodeId,
    },
    /// It has this server's own id.
    SameId(NodeId),
    /// It is none of the members.
    Stranger(NodeId),
    /// Its members are others.
    Members {
        /// Those of the other server.
        theirs: Vec<NodeId>,
        /// Those of this one.
        ours: Vec<NodeId>,
    },
    /// Of two servers the one with the higher id dials.
    Direction(NodeId),
    /// Another process with that id is linked, and alive.
    Twice(NodeId),
}

impl Refusal {
    /// One word for it, for counting.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Elsewhere { .. } => "elsewhere",
            Self::SameId(_) | Self::Twice(_) => "duplicate_id",
            Self::Stranger(_) | Self::Members { .. } => "members",
            Self::Direction(_) => "direction",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { wanted, found } => write!(
                f,
                "it looks for server {wanted} and this is server {found}: check the addresses of \
                 the members"
            ),
            Self::SameId(id) => write!(
                f,
                "it calls itself server {id}, as this one does: give each server an id of its own"
            ),
            Self::Stranger(id) => {
                write!(f, "server {id} is none of the members: give all servers the same list")
            }
            Self::Members { theirs, ours } => write!(
                f,
                "its members are {}, here they are {}: give all servers the same list",
                Ids(theirs),
                Ids(ours)
            ),
            Self::Direction(id) => {
                write!(f, "server {id} waits to be dialled: of two servers the higher id dials")
            }
            Self::Twice(id) => write!(
                f,
                "another process is server {id} already, and alive: give each server an id of its \
                 own, or end that one first"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

struct Ids<'a>(&'a [NodeId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A server of a cluster, as it meets others.
#[derive(Clone, Debug)]
pub struct Doorkeeper {
    me: NodeId,
    members: Members,
    suspect: Duration,
}

impl Doorkeeper {
    /// The one of server `me`, for which a link is dead that was silent for `suspect`.
    #[must_use]
    pub const fn new(me: NodeId, members: Members, suspect: Duration) -> Self {
        Self { me, members, suspect }
    }

    /// What this server says of itself.
    #[must_use]
    pub fn introduce(&self, process: ProcessId) -> Introduction {
        Introduction { node: self.me, process, members: self.members.ids().collect() }
    }

    /// The servers that this one dials: those with a lower id.
    pub fn dials(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.ids().filter(|id| *id < self.me)
    }

    /// Whether a server that dialled and looks for `wanted` may open a link, beside the one there
    /// is. A new link of the same process replaces the old one; one of another process must wait
    /// until the old one is seen to be dead, so that of two processes with one id only one takes
    /// part.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn admit(
        &self,
        from: &Introduction,
        wanted: NodeId,
        linked: Option<Linked>,
    ) -> Result<(), Refusal> {
        if wanted != self.me {
            return Err(Refusal::Elsewhere { wanted, found: self.me });
        }
        self.know(from)?;
        if from.node < self.me {
            return Err(Refusal::Direction(from.node));
        }
        let rival =
            |linked: &Linked| linked.process != from.process && linked.silence < self.suspect;
        if linked.as_ref().is_some_and(rival) {
            return Err(Refusal::Twice(from.node));
        }
        Ok(())
    }

    /// Whether the server that answered is the one that was dialled.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn recognise(&self, found: &Introduction, wanted: NodeId) -> Result<(), Refusal> {
        if found.node != wanted {
            return Err(Refusal::Elsewhere { wanted, found: found.node });
        }
        self.know(found)
    }

    fn know(&self, other: &Introduction) -> Result<(), Refusal> {
        if other.node == self.me {
            return Err(Refusal::SameId(other.node));
        }
        if !self.members.contains(other.node) {
            return Err(Refusal::Stranger(other.node));
        }
        let ours: Vec<_> = self.members.ids().collect();
        let mut theirs = other.members.clone();
        theirs.sort_unstable_by(|a, b| b.cmp(a));
        if theirs != ours {
            return Err(Refusal::Members { theirs, ours });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUSPECT: Duration = Duration::from_millis(400);

    fn doorkeeper(me: u32) -> Doorkeeper {
        let members = Members::new((1..=3).map(NodeId)).unwrap();
        Doorkeeper::new(NodeId(me), members, SUSPECT)
    }

    fn from(node: u32) -> Introduction {
        let members = vec![NodeId(1), NodeId(2), NodeId(3)];
        Introduction { node: NodeId(node), process: ProcessId(7), members }
    }

    fn admitted(from: &Introduction, linked: Option<Linked>) -> Result<(), Refusal> {
        doorkeeper(2).admit(from, NodeId(2), linked)
    }

    #[test]
    fn the_higher_id_dials_the_lower_ones() {
        assert_eq!(doorkeeper(3).dials().collect::<Vec<_>>(), [NodeId(2), NodeId(1)]);
        assert_eq!(doorkeeper(1).dials().count(), 0);
        assert_eq!(admitted(&from(3), None), Ok(()));
        assert_eq!(admitted(&from(1), None), Err(Refusal::Direction(NodeId(1))));
    }

    #[test]
    fn who_is_not_meant_or_not_known_is_refused() {
        let wrong = doorkeeper(2).admit(&from(3), NodeId(1), None);
        assert_eq!(wrong, Err(Refusal::Elsewhere { wanted: NodeId(1), found: NodeId(2) }));
        assert_eq!(admitted(&from(2), None), Err(Refusal::SameId(NodeId(2))));
        assert_eq!(admitted(&from(9), None), Err(Refusal::Stranger(NodeId(9))));
        let mut other = from(3);
        other.members.push(NodeId(4));
        let refusal = admitted(&other, None).unwrap_err();
        assert_eq!(refusal.kind(), "members");
        assert!(refusal.to_string().contains("4, 3, 2, 1, here they are 3, 2, 1"), "{refusal}");
        // In which order they were given says nothing.
        other.members = vec![NodeId(2), NodeId(3), NodeId(1)];
        assert_eq!(admitted(&other, None), Ok(()));
    }

    #[test]
    fn of_two_processes_with_one_id_the_second_waits_until_the_first_is_dead() {
        let linked = |process, silence| Some(Linked { process: ProcessId(process), silence });
        let (alive, dead) = (Duration::from_millis(399), SUSPECT);
        assert_eq!(admitted(&from(3), linked(8, alive)), Err(Refusal::Twice(NodeId(3))));
        assert_eq!(admitted(&from(3), linked(8, dead)), Ok(()));
        // The same process dials anew: whatever it had open is over.
        assert_eq!(admitted(&from(3), linked(7, Duration::ZERO)), Ok(()));
    }

    #[test]
    fn who_answers_must_be_who_was_dialled() {
        let recognise = |node| doorkeeper(3).recognise(&from(node), NodeId(1));
        assert_eq!(recognise(1), Ok(()));
        let elsewhere = Refusal::Elsewhere { wanted: NodeId(1), found: NodeId(2) };
        assert_eq!(recognise(2), Err(elsewhere));
    }
}
