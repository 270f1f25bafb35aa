//! What a server must know before it starts: who the members are and how long it waits for them.
//!
//! Owns the defaults of the timings, and what they mean for one another.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use rollcall_shared::id::{NodeId, Revision};

use super::ids::{Boot, ClusterId, Epoch, ProcessId};
use crate::directory::Bounds;

/// The most servers of a cluster.
pub const MAX_MEMBERS: usize = 7;

/// The servers of a cluster, the same on every one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Members(Vec<NodeId>);

/// Why a list of members is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidMembers {
    /// There is none.
    Empty,
    /// There are more than [`MAX_MEMBERS`].
    TooMany,
    /// One id is there twice.
    Twice(NodeId),
    /// An id is 0.
    Zero,
}

impl fmt::Display for InvalidMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a cluster has at least one server"),
            Self::TooMany => write!(f, "a cluster has at most {MAX_MEMBERS} servers"),
            Self::Twice(id) => write!(f, "server {id} is named twice"),
            Self::Zero => f.write_str("a server's id is 1 or more"),
        }
    }
}

impl std::error::Error for InvalidMembers {}

impl Members {
    /// Checks a list of ids, in any order.
    ///
    /// # Errors
    /// [`InvalidMembers`] says what is wrong with it.
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Result<Self, InvalidMembers> {
        let mut seen = BTreeSet::new();
        for id in ids {
            if id.0 == 0 {
                return Err(InvalidMembers::Zero);
            }
            if !seen.insert(id) {
                return Err(InvalidMembers::Twice(id));
            }
        }
        match seen.len() {
            0 => Err(InvalidMembers::Empty),
            n if n > MAX_MEMBERS => Err(InvalidMembers::TooMany),
            _ => Ok(Self(seen.into_iter().rev().collect())),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// All ids, the highest first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + DoubleEndedIterator + '_ {
        self.0.iter().copied()
    }

    /// Whether `id` is one of them.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains(&id)
    }

    /// Who leads `epoch`: the highest id leads epoch 0, the next one downward the next, round
    /// robin.
    #[must_use]
    pub fn leader(&self, epoch: Epoch) -> NodeId {
        let position = epoch.0 % self.0.len() as u64;
        self.0[usize::try_from(position).unwrap_or_default()]
    }

    /// The first epoch above `epoch` that one of `candidates` leads, if there is a candidate.
    #[must_use]
    pub fn next_epoch(&self, epoch: Epoch, candidates: &BTreeSet<NodeId>) -> Option<Epoch> {
        let mut next = epoch;
        for _ in 0..self.0.len() {
            next = next.next();
            if candidates.contains(&self.leader(next)) {
                return Some(next);
            }
        }
        None
    }
}

/// How long the protocol waits. Equal on every server; a link between servers with different ones
/// is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timings {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// The longest read lease of a replica.
    pub lease: Duration,
    /// The leader's lease after a heartbeat was sent.
    pub hold: Duration,
    /// How long a silent leader, or a silent link, counts as alive.
    pub suspect: Duration,
    /// The most random time added to `suspect`, so that servers do not all propose at once.
    pub suspect_jitter: Duration,
    /// The shortest wait before an election is tried again; the longest of the first is twice it.
    pub elect_retry: Duration,
    /// The longest wait before an election is tried again.
    pub elect_retry_max: Duration,
    /// How long a session outlives its last link.
    pub grace: Duration,
    /// How long a server without word from a leader keeps its clients' links.
    pub cutoff: Duration,
    /// How much longer than `grace` the leader waits where a server may hold links unheard of.
    pub cutoff_wait: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(25),
            lease: Duration::from_millis(100),
            hold: Duration::from_millis(150),
            suspect: Duration::from_millis(400),
            suspect_jitter: Duration::from_millis(50),
            elect_retry: Duration::from_millis(100),
            elect_retry_max: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            cutoff: Duration::from_secs(2),
            cutoff_wait: Duration::from_secs(3),
        }
    }
}

impl Timings {
    /// The time between two messages on a link that has nothing else to say.
    pub const ALIVE: Duration = Duration::from_millis(100);

    /// `duration` as the one who waits for a lease to end must wait it (R20): clocks may differ by
    /// 1 % in rate, so 2 % more, and 2 ms.
    #[must_use]
    pub fn waited(duration: Duration) -> Duration {
        duration.saturating_add(duration / 50).saturating_add(Duration::from_millis(2))
    }
}

/// What a server must know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server; one of `members`.
    pub me: NodeId,
    /// All servers.
    pub members: Members,
    /// How long to wait for what.
    pub timings: Timings,
    /// The most of everything in the directory.
    pub bounds: Bounds,
    /// A random number of this start of the process.
    pub process: ProcessId,
    /// A random number: the boot of this server if its storage is empty.
    pub new_boot: Boot,
    /// What begins if this server is the one to begin a cluster.
    pub genesis: Genesis,
    /// The seed of all random waits.
    pub seed: u64,
    /// About how many bytes a piece of a snapshot has that this server sends. Each server's own:
    /// whoever copies takes pieces of any size.
    pub piece_bytes: usize,
}

impl Config {
    /// The default of `piece_bytes`.
    pub const PIECE_BYTES: usize = 128 * 1024;

    /// What must be equal on all servers, as a hash (FNV-1a): members, timings and bounds.
    #[must_use]
    pub fn settings(&self) -> u64 {
        let Timings {
            heartbeat,
            lease,
            hold,
            suspect,
            suspect_jitter,
            elect_retry,
            elect_retry_max,
            grace,
            cutoff,
            cutoff_wait,
        } = self.timings;
        let waits = [heartbeat, lease, hold, suspect, suspect_jitter, elect_retry, elect_retry_max];
        let waits = waits.into_iter().chain([grace, cutoff, cutoff_wait]);
        let waits = waits.map(|wait| u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        let bounds = [self.bounds.registrations as u64, self.bounds.sessions as u64];
        let members = self.members.ids().map(|id| u64::from(id.0));
        let numbers = members.chain(waits).chain(bounds);
        numbers.flat_map(u64::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// The beginning of a cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Genesis {
    /// A random number: the cluster's identity.
    pub cluster: ClusterId,
    /// The revision before the first change: above every one of an earlier life.
    pub first_revision: Revision,
}
