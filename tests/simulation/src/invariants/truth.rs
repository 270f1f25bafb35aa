//! What really happened: the committed log as all servers together have shown it, and the directory
//! it leads to. It is the plain reading, on one machine, to which every server is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::Replica;
use rollcall_replica::command::Command;
use rollcall_replica::consensus::ids::{Epoch, Index};
use rollcall_replica::consensus::log::{Entry, Op};
use rollcall_replica::directory::{Bounds, Change, Directory, Effect, Outcome};
use rollcall_shared::id::{Device, Revision, Username};

use super::agreement;

/// The committed log and what it leads to (invariant 1 on the way).
pub struct Truth {
    /// The committed entries, from the first on.
    pub log: Vec<Arc<Entry>>,
    /// In which epoch's leadership each was first seen committed: its own or a later one.
    pub committed_in: Vec<Epoch>,
    /// The directory after each entry: revision, next number, live sessions.
    pub states: Vec<Directory>,
    /// How each entry ended, where it was a command.
    pub outcomes: Vec<Option<Outcome>>,
    /// Every change, in order of revision.
    pub changes: Vec<Change>,
    /// The revision before the first change.
    pub first_revision: Revision,
    /// Who was online at each revision that could be seen, as a fingerprint, and the first entry
    /// after which it could.
    pub online: BTreeMap<Revision, (u64, Index)>,
    /// The sessions that an entry ended, to be looked at by the simulator.
    pub ended: Vec<String>,
    bounds: Bounds,
}

impl Truth {
    /// Nothing has happened.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let (log, committed_in, states, outcomes) = Default::default();
        let (changes, online, ended) = Default::default();
        let first_revision = Revision(0);
        Self { log, committed_in, states, outcomes, changes, first_revision, online, ended, bounds }
    }

    /// The last committed entry.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.log.len() as u64)
    }

    /// The committed entry at `index`.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.log.get(place(index)?)
    }

    /// In which epoch the entry at `index` was first seen committed.
    #[must_use]
    pub fn committed_in(&self, index: Index) -> Option<Epoch> {
        self.committed_in.get(place(index)?).copied()
    }

    /// The directory after `index`.
    #[must_use]
    pub fn state(&self, index: Index) -> Option<&Directory> {
        self.states.get(place(index)?)
    }

    /// How the command at `index` ended.
    #[must_use]
    pub fn outcome(&self, index: Index) -> Option<&Outcome> {
        self.outcomes.get(place(index)?)?.as_ref()
    }

    /// The revision after `index`.
    #[must_use]
    pub fn revision(&self, index: Index) -> Revision {
        self.state(index).map_or(Revision(0), Directory::revision)
    }

    /// The change at `revision`.
    #[must_use]
    pub fn change(&self, revision: Revision) -> Option<&Change> {
        let offset = revision.0.checked_sub(self.first_revision.0 + 1)?;
        self.changes.get(usize::try_from(offset).ok()?)
    }

    /// A server has committed more than `before` of `log`, all the entries it gave to its disk: what
    /// is new becomes part of the truth, what is known must be the same.
    ///
    /// # Errors
    /// Invariant 1: two servers committed different entries.
    pub fn committed(
        &mut self,
        node: u32,
        (replica, before): (&Replica, Index),
        log: &BTreeMap<Index, Arc<Entry>>,
    ) -> Result<(), String> {
        agreement::check(self, node, (replica, before), log)
    }

    pub(super) fn push(&mut self, entry: &Arc<Entry>, epoch: Epoch) {
        let index = self.last().next();
        let mut state = match self.states.last() {
            Some(state) => state.clone(),
            None => Directory::new(Revision(0), self.bounds),
        };
        let mut outcome = None;
        match &entry.op {
            Op::Init(init) => {
                self.first_revision = init.first_revision;
                state = Directory::new(init.first_revision, init.bounds);
            }
            Op::Admit { .. } => {}
            Op::Command(command) => outcome = Some(self.apply(index, command, &mut state)),
        }
        self.log.push(Arc::clone(entry));
        self.committed_in.push(epoch);
        self.outcomes.push(outcome);
        self.online.entry(state.revision()).or_insert_with(|| (online(&state), index));
        self.states.push(state);
    }

    fn apply(&mut self, index: Index, command: &Command, state: &mut Directory) -> Outcome {
        let mut effects = Vec::new();
        let outcome = state.apply(index, command.clone(), &mut effects);
        if let (Command::Expire { client, .. }, Outcome::Expired(true)) = (command, &outcome) {
            self.ended.push(client.as_str().to_owned());
        }
        for effect in effects {
            if let Effect::Changed(change) = effect {
                self.changes.push(change);
            }
        }
        outcome
    }
}

/// Where the entry at `index` is in a list that begins with the first one.
fn place(index: Index) -> Option<usize> {
    usize::try_from(index.0.checked_sub(1)?).ok()
}

/// Who is online in `directory`, as one number.
#[must_use]
pub fn online(directory: &Directory) -> u64 {
    let users = directory.users().matching("", None);
    fingerprint(users.flat_map(|(name, user)| {
        let devices = user.devices().iter();
        devices.map(move |(device, there)| (name, device, there.port, there.revision))
    }))
}

/// Registrations in order of name and device, as one number (FNV-1a): equal ones give equal numbers.
pub fn fingerprint<'a>(
    registrations: impl Iterator<Item = (&'a Username, &'a Device, u16, Revision)>,
) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, device, port, revision) in registrations {
        add(name.as_str().as_bytes());
        add(device.as_str().as_bytes());
        add(&port.to_le_bytes());
        add(&revision.0.to_le_bytes());
    }
    hash
}
