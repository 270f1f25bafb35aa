//! Invariant 5: equal (epoch, index) implies an equal entry, and an equal prefix.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::consensus::ids::{Epoch, Index};
use rollcall_replica::consensus::journal::{Base, Record};
use rollcall_replica::consensus::log::Entry;

use super::{Event, Invariant, Truth};

/// Every entry that was ever stored, by its stamp, and the epoch of the one before it: equal steps
/// all the way down are equal prefixes.
#[derive(Default)]
pub(super) struct EqualPrefix {
    entries: BTreeMap<(Epoch, Index), (Arc<Entry>, Option<Epoch>)>,
    /// The epochs of each server's log, to know the one before.
    epochs: BTreeMap<u32, BTreeMap<Index, Epoch>>,
}

impl EqualPrefix {
    fn add(&mut self, node: u32, first: Index, entries: &[Arc<Entry>]) -> Result<(), String> {
        let epochs = self.epochs.entry(node).or_default();
        let mut before = epochs.get(&first.previous()).copied();
        let mut index = first;
        for entry in entries {
            let stamp = (entry.epoch, index);
            let (known, prefix) =
                self.entries.entry(stamp).or_insert_with(|| (Arc::clone(entry), before));
            if !Arc::ptr_eq(known, entry) && known != entry {
                return Err(format!(
                    "server {node} stores {entry:?} as {stamp:?}, known {known:?}"
                ));
            }
            match (&prefix, before) {
                (Some(known), Some(before)) if *known != before => {
                    return Err(format!(
                        "server {node} has {stamp:?} after epoch {before}, another one after {known}"
                    ));
                }
                (None, Some(_)) => *prefix = before,
                _ => {}
            }
            epochs.insert(index, entry.epoch);
            before = Some(entry.epoch);
            index = index.next();
        }
        Ok(())
    }
}

impl Invariant for EqualPrefix {
    fn name(&self) -> &'static str {
        "5: equal stamps are equal entries"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Record { node, record: Record::Append { first, entries } } => {
                self.add(*node, *first, entries)
            }
            Event::Record { node, record: Record::Adopt(adopt) } => {
                let epochs = self.epochs.entry(*node).or_default();
                let first = match &adopt.base {
                    Base::Keep(last) => {
                        epochs.retain(|index, _| index <= last);
                        last.next()
                    }
                    Base::Snapshot(snapshot) => {
                        epochs.clear();
                        epochs.insert(snapshot.index, snapshot.epoch);
                        snapshot.index.next()
                    }
                };
                self.add(*node, first, &adopt.entries)
            }
            Event::Started { node, stored, .. } => {
                let log = &stored.log;
                let mut index = log.first().previous();
                let mut epochs = BTreeMap::new();
                while index <= log.last() {
                    epochs.extend(log.epoch_at(index).map(|epoch| (index, epoch)));
                    index = index.next();
                }
                self.epochs.insert(*node, epochs);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
