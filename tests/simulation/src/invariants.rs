//! What must hold, one property each (section 11 of docs/replication.md). The simulator tells
//! each of them what happens; each says whether that may be.

mod agreement;
mod applied_once;
mod applied_state;
mod completeness;
mod damage;
mod equal_prefix;
mod history;
mod numbers;
mod one_leader;
mod one_way;
mod promises;
mod pushes;
mod read_points;
mod replaced;
mod sessions;
mod split;
mod storage;
mod subscriptions;
mod truncation;
mod truth;

use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_replica::{Change, Directory, Output, Replica};
use rollcall_shared::id::{Revision, SessionNumber};
use rollcall_storage::OpenError;

use crate::sim::{Answer, Operation, Trial};
pub use storage::{Given, same};
pub use truth::{Truth, fingerprint, online};

/// What happens.
pub enum Event<'a> {
    /// A server's process has started from this state.
    Started {
        /// Which server.
        node: u32,
        /// What it found.
        stored: &'a Stored,
        /// Its replica.
        replica: &'a Replica,
    },
    /// A server gave a record to its disk.
    Record {
        /// Which server.
        node: u32,
        /// The record.
        record: &'a Record,
    },
    /// The folder of a server was read, after a crash or by a start.
    Found {
        /// Which server.
        node: u32,
        /// What it was given.
        given: Given<'a>,
        /// What is there.
        found: Result<&'a Stored, &'a OpenError>,
    },
    /// A file of a server that is down was damaged.
    Damaged {
        /// Which server.
        node: u32,
        /// The file.
        file: &'a str,
        /// What was there before.
        before: &'a Stored,
        /// The last records of it, if nothing behind them says that they were ever whole.
        unproven: &'a [Record],
        /// What is there now.
        found: Result<&'a Stored, &'a OpenError>,
    },
    /// A server lost its disk.
    LostDisk {
        /// Which server.
        node: u32,
    },
    /// A server has done a step.
    Step {
        /// Which server.
        node: u32,
        /// Which start of its process.
        process: u64,
        /// Its replica.
        replica: &'a Replica,
    },
    /// An entry is known to be committed, and is part of the truth now.
    Committed {
        /// Which entry.
        index: Index,
    },
    /// By its own lease, a server could answer now from the state after an entry.
    ReadPoint {
        /// Which server.
        node: u32,
        /// The entry.
        point: Index,
    },
    /// A server said something to its clients or shards.
    Said {
        /// Which server.
        node: u32,
        /// What.
        output: &'a Output,
        /// Its replica.
        replica: &'a Replica,
    },
    /// A client asks for the first time.
    Asked {
        /// What.
        operation: &'a Operation,
    },
    /// A client has its answer.
    Answered {
        /// To what.
        operation: &'a Operation,
        /// The answer.
        answer: &'a Answer,
    },
    /// A server has begun a subscription for all users, when its state was this.
    Subscribed {
        /// Whose.
        watcher: usize,
        /// The revision after which it goes on, if it does.
        recovered: Option<Revision>,
        /// The state of the server.
        directory: &'a Directory,
    },
    /// A subscriber is told of a change.
    Pushed {
        /// Who is.
        watcher: usize,
        /// The change.
        change: &'a Change,
    },
    /// A session has ended while its client holds an answered link to a server that is awake.
    EndedWhileLinked {
        /// Which client.
        client: &'a str,
    },
    /// A session is live though its client has had no link for too long.
    Outlived {
        /// Which client.
        client: &'a str,
        /// How long, in microseconds.
        by: u64,
    },
    /// A client with a link to a server that is well believes in a session that is not its own.
    ToldOther {
        /// Which client.
        client: &'a str,
        /// The session it was told of.
        told: SessionNumber,
        /// The session it has.
        live: Option<SessionNumber>,
    },
    /// All was well; now some servers are cut off.
    TrialBegins {
        /// Which.
        trial: &'a Trial,
    },
    /// From here on it counts who answers.
    TrialCounts,
    /// The cut is over.
    TrialEnds,
}

/// A property.
pub trait Invariant {
    /// Its number in section 11 of docs/replication.md, and its name.
    fn name(&self) -> &'static str;

    /// Takes in what happens; says what is wrong with it, if something is.
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String>;
}

/// All properties, new.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<completeness::Completeness>::default(),
        Box::<one_leader::OneLeader>::default(),
        Box::<promises::Promises>::default(),
        Box::<equal_prefix::EqualPrefix>::default(),
        Box::<numbers::Numbers>::default(),
        Box::<applied_once::AppliedOnce>::default(),
        Box::<history::History>::default(),
        Box::<read_points::ReadPoints>::default(),
        Box::<applied_state::AppliedState>::default(),
        Box::<split::Split>::default(),
        Box::<one_way::OneWay>::default(),
        Box::<truncation::Truncation>::default(),
        Box::<replaced::Replaced>::default(),
        Box::<pushes::Pushes>::default(),
        Box::<subscriptions::Subscriptions>::default(),
        Box::<sessions::Sessions>::default(),
        Box::<storage::Storage>::default(),
        Box::<damage::Damaged>::default(),
    ]
}

/// Those that hold for each server by itself, whatever becomes of the cluster.
#[must_use]
pub fn of_disks() -> Vec<Box<dyn Invariant>> {
    vec![Box::<storage::Storage>::default(), Box::<damage::Damaged>::default()]
}

/// Shows all of them what happens; which one does not hold, and what is wrong.
///
/// # Errors
/// The name of the property, and what is wrong.
pub fn observe(
    invariants: &mut [Box<dyn Invariant>],
    truth: &Truth,
    event: &Event<'_>,
) -> Result<(), (&'static str, String)> {
    for invariant in invariants {
        invariant.observe(truth, event).map_err(|what| (invariant.name(), what))?;
    }
    Ok(())
}
