//! What must hold, one property each (section 11 of the replication design). The simulator tells
//! each of them what happens; each says whether that may be.

mod agreement;
mod applied_state;
mod completeness;
mod equal_prefix;
mod history;
mod one_leader;
mod promises;
mod pushes;
mod sessions;
mod truncation;

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::command::{Command, Written};
use rollcall_replica::consensus::ids::{Epoch, Index};
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_replica::consensus::log::{Entry, Op};
use rollcall_replica::directory::{Bounds, Change, Directory, Effect, Outcome};
use rollcall_replica::{Output, Replica};
use rollcall_shared::id::{Revision, Username};

use crate::sim::{Answer, Operation};

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
    /// A session has ended while its client holds an answered link to a server that is well.
    EndedWhileLinked {
        /// Which client.
        client: &'a str,
    },
}

/// A property.
pub trait Invariant {
    /// Its number in section 11 of the design, and its name.
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
        Box::<history::History>::default(),
        Box::<applied_state::AppliedState>::default(),
        Box::<truncation::Truncation>::default(),
        Box::<pushes::Pushes>::default(),
        Box::<sessions::Sessions>::default(),
    ]
}

/// The committed log as all servers together have shown it, and the directory it leads to: the plain
/// reading, on one machine, to which every server is held (invariant 1 on the way).
pub struct Truth {
    /// The committed entries, from the first on.
    pub log: Vec<Arc<Entry>>,
    /// In which epoch's leadership each was first seen committed: its own or a later one.
    pub committed_in: Vec<Epoch>,
    /// The directory after each entry: revision, next number, live sessions.
    pub states: Vec<Directory>,
    /// Every change, in order of revision.
    pub changes: Vec<Change>,
    /// The revision before the first change.
    pub first_revision: Revision,
    /// Who was online at each revision that had a change: fingerprints.
    pub online: BTreeMap<Revision, u64>,
    /// How often each write of a client was applied.
    pub writes: BTreeMap<(String, u64), u32>,
    /// Whether the cluster has begun a second life: all had lost everything, or the first one had
    /// never served anyone (R26).
    pub reborn: bool,
    /// The sessions that an entry ended, to be looked at by the simulator.
    pub ended: Vec<String>,
    bounds: Bounds,
}

impl Truth {
    /// Nothing has happened.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let (log, committed_in, states) = Default::default();
        let (changes, online, writes, ended) = Default::default();
        let first_revision = Revision(0);
        Self {
            log,
            committed_in,
            states,
            changes,
            first_revision,
            online,
            writes,
            reborn: false,
            ended,
            bounds,
        }
    }

    /// The last committed entry.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.log.len() as u64)
    }

    /// The committed entry at `index`.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.log.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The directory after `index`.
    #[must_use]
    pub fn state(&self, index: Index) -> Option<&Directory> {
        self.states.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// A server has committed more of `log`, all the entries it gave to its disk: what is new becomes
    /// part of the truth, what is known must be the same.
    ///
    /// # Errors
    /// Invariant 1: two servers committed different entries.
    pub fn committed(
        &mut self,
        node: u32,
        replica: &Replica,
        log: &BTreeMap<Index, Arc<Entry>>,
    ) -> Result<(), String> {
        agreement::check(self, node, replica, log)
    }

    fn push(&mut self, entry: &Arc<Entry>, epoch: Epoch) {
        let index = self.last().next();
        let mut state = match self.states.last() {
            Some(state) => state.clone(),
            None => Directory::new(Revision(0), self.bounds),
        };
        match &entry.op {
            Op::Init(init) => {
                self.first_revision = init.first_revision;
                state = Directory::new(init.first_revision, self.bounds);
            }
            Op::Admit { .. } => {}
            Op::Command(command) => self.apply(index, command, &mut state),
        }
        self.log.push(Arc::clone(entry));
        self.committed_in.push(epoch);
        self.online.insert(state.revision(), fingerprint(&state));
        self.states.push(state);
    }

    fn apply(&mut self, index: Index, command: &Command, state: &mut Directory) {
        let mut effects = Vec::new();
        let outcome = state.apply(index, command.clone(), &mut effects);
        if let (Command::Write { client, request, .. }, Outcome::Written(Written::Applied(_))) =
            (command, &outcome)
        {
            *self.writes.entry((client.as_str().to_owned(), request.0)).or_default() += 1;
        }
        if let (Command::Expire { client, .. }, Outcome::Expired(true)) = (command, &outcome) {
            self.ended.push(client.as_str().to_owned());
        }
        for effect in effects {
            if let Effect::Changed(change) = effect {
                self.changes.push(change);
            }
        }
    }

    /// The change at `revision`.
    #[must_use]
    pub fn change(&self, revision: Revision) -> Option<&Change> {
        let offset = revision.0.checked_sub(self.first_revision.0 + 1)?;
        self.changes.get(usize::try_from(offset).ok()?)
    }
}

/// Who is online, as one number (FNV-1a): equal states give equal ones.
#[must_use]
pub fn fingerprint(directory: &Directory) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for name in NAMES {
        let name: Username = name.parse().expect("names are valid");
        let Some(user) = directory.users().get(&name) else { continue };
        for (device, registration) in user.devices() {
            add(name.as_str().as_bytes());
            add(device.as_str().as_bytes());
            add(&registration.port.to_le_bytes());
            add(&registration.revision.0.to_le_bytes());
        }
    }
    hash
}

/// The names that clients register in a simulation.
pub const NAMES: [&str; 6] = ["ann", "bob", "cat", "dan", "eve", "fay"];
