//! What a server finds when it starts: what the records up to some point mean, with all that were
//! durable, as the head of `replica`'s `consensus/journal.rs` says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_replica::consensus::log::Snapshot;

use super::{Event, Invariant, Truth};

/// What a folder was given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What is durable.
    pub durable: &'a Stored,
    /// The records given after that: any number of them may be there.
    pub waiting: Option<&'a VecDeque<Record>>,
    /// The snapshots of which there may be a file.
    pub snapshots: &'a BTreeMap<Index, Arc<Snapshot>>,
}

/// Compares what is found with what was given.
#[derive(Default)]
pub(super) struct Storage;

impl Invariant for Storage {
    fn name(&self) -> &'static str {
        "storage: what was durable is found again"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        let Event::Found { node, given, found } = event else { return Ok(()) };
        let found = found.map_err(|why| format!("server {node} cannot be started: {why}"))?;
        find(given, found).map_err(|what| format!("server {node}: {what}"))
    }
}

fn find(given: &Given<'_>, found: &Stored) -> Result<(), String> {
    if let Some(snapshot) = found.log.snapshot() {
        let known = given.snapshots.get(&snapshot.index);
        if !known.is_some_and(|known| equal(known, snapshot)) {
            return Err(format!("a snapshot of {} that was never given", snapshot.index));
        }
    }
    let mut model = given.durable.clone();
    let Err(what) = same(&model, found) else { return Ok(()) };
    let waiting = given.waiting.into_iter().flatten();
    let mut last = String::new();
    for record in waiting {
        model.apply(record);
        match same(&model, found) {
            Ok(()) => return Ok(()),
            Err(what) => last = what,
        }
    }
    let count = given.waiting.map_or(0, VecDeque::len);
    Err(format!("of what was durable, {what}; with {count} records that were not, {last}"))
}

/// Whether `found` is `model` but for what may be forgotten: its log may begin earlier or at its
/// snapshot, which may be an older one.
///
/// # Errors
/// What differs.
pub fn same(model: &Stored, found: &Stored) -> Result<(), String> {
    let short = |it: &Stored| {
        let marks = (it.promised, it.established, it.voter);
        (it.node, it.boot, marks, it.log.cluster(), it.log.last())
    };
    if short(model) != short(found) || model.pending != found.pending {
        return Err(format!(
            "{:?} pending {:?} is found as {:?} pending {:?}",
            short(model),
            model.pending,
            short(found),
            found.pending
        ));
    }
    let (older, newer) = (found.log.snapshot_index(), model.log.snapshot_index());
    if older > newer || found.log.first() > older.next() {
        let first = found.log.first();
        return Err(format!("a log from {first} with snapshot {older} stands for one of {newer}"));
    }
    let first = model.log.first().max(found.log.first());
    let entries = |it: &Stored| it.log.entries(first, usize::MAX).cloned().collect::<Vec<_>>();
    match entries(model).iter().zip(entries(found)).position(|(one, other)| **one != *other) {
        Some(at) => Err(format!("entry {} is another one", Index(first.0 + at as u64))),
        None => Ok(()),
    }
}

fn equal(one: &Snapshot, other: &Snapshot) -> bool {
    let Snapshot { index, epoch, cluster, ref admissions, ref directory } = *one;
    (index, epoch, cluster) == (other.index, other.epoch, other.cluster)
        && *admissions == other.admissions
        && *directory == other.directory
}
