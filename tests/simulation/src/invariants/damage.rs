//! A file that is not what was written is noticed, or does not matter.
//!
//! One thing cannot be told: a broken group at the very end, with no mark behind it, may be one that
//! a crash left unfinished. It is cut off like one, and what it held was durable. That is what the
//! mark is for; until it is on the disk, damage there is a lost disk that nobody notices.

use rollcall_replica::consensus::journal::{Base, Record, Stored};
use rollcall_storage::OpenError;

use super::storage::same;
use super::{Event, Invariant, Truth};

/// Compares what is found with what was there before.
#[derive(Default)]
pub(super) struct Damaged;

impl Invariant for Damaged {
    fn name(&self) -> &'static str {
        "storage: damage is noticed"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        let Event::Damaged { node, file, before, unproven, found } = event else { return Ok(()) };
        let found = match found {
            Ok(found) => found,
            Err(OpenError::Damage(_)) => return Ok(()),
            Err(other) => {
                return Err(format!("server {node}, with {file} damaged, says: {other}"));
            }
        };
        let Err(what) = same(before, found) else { return Ok(()) };
        if completed(found, unproven).is_some_and(|all| same(before, &all).is_ok()) {
            return Ok(());
        }
        Err(format!("server {node} does not notice that {file} is damaged: {what}"))
    }
}

/// `found` and the records that it lacks; `None` if they do not follow from it.
fn completed(found: &Stored, records: &[Record]) -> Option<Stored> {
    let mut stored = found.clone();
    for record in records {
        let follows = match record {
            Record::Boot(_) | Record::Voter => true,
            Record::Promise(epoch) => *epoch > stored.promised,
            Record::Append { first, .. } => *first == stored.log.last().next(),
            Record::Adopt(adopt) => {
                let held = match &adopt.base {
                    Base::Keep(last) => *last >= stored.log.first().previous(),
                    Base::Snapshot(_) => true,
                };
                held && adopt.epoch >= stored.established
                    && (adopt.epoch <= stored.promised || !stored.voter)
            }
            // May be missing anyhow.
            Record::Compact { .. } => continue,
        };
        if !follows {
            return None;
        }
        stored.apply(record);
    }
    Some(stored)
}
