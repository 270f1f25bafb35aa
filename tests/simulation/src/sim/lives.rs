//! The lives of the cluster (R26): a run is about the first one. A second one may begin where nothing
//! is left of the first, or where that one has served nobody; then at most one of them ever serves.

use rollcall_replica::Replica;
use rollcall_replica::consensus::ids::{ClusterId, Index};
use rollcall_replica::consensus::journal::{Base, Record};
use rollcall_replica::consensus::log::{Init, Op};

use super::{Count, Outcome, Sim};
use crate::invariants;

/// What is known of the lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// The one that began first.
    first: Option<ClusterId>,
    /// The one that took a client's request last.
    pub(super) served: Option<ClusterId>,
    /// Whether there is more than one. What the invariants say is about one history, so from there
    /// on only this file looks.
    pub(super) several: bool,
    /// Whether nothing is left of the first: the run is over.
    pub(super) over: bool,
}

impl Sim {
    /// Looks at a record for what it says of the cluster's lives.
    pub(super) fn look_at_lives(&mut self, node: u32, record: &Record) -> Outcome {
        if let Some(init) = init_of(record) {
            match self.lives.first {
                None => self.lives.first = Some(init.cluster),
                Some(first) if first == init.cluster => {}
                Some(first) => self.begins_anew(node, first, init.cluster)?,
            }
        }
        if serves(record) && !self.lives.over {
            self.serves(node, record)?;
        }
        Ok(())
    }

    fn begins_anew(&mut self, node: u32, first: ClusterId, cluster: ClusterId) -> Outcome {
        let left = self.those_with(first);
        self.note(|| format!("{node} begins a life; {left:?} have the first"));
        if left.is_empty() && self.truth.last() == Index(0) && !self.lives.several {
            // Of that one nothing was ever stored, or nobody knew it.
            self.lives.first = Some(cluster);
            self.invariants = invariants::all();
            return Ok(());
        }
        if !self.lives.several {
            self.counts.add(Count::Rebirth);
        }
        self.lives.several = true;
        self.invariants = invariants::of_disks();
        self.lives.over = left.is_empty();
        // What is still on its way to the disk of a server may say that it is empty: that one will
        // never be part of a life it does not know, so the other one serves nobody.
        let durable = |server: &super::Server| server.disk.durable.log.cluster();
        let served = self.lives.served;
        if served.is_some() && self.servers.values().any(|server| durable(server) == served) {
            let what = format!("{node} begins another life; one that served is stored");
            return Err(self.failure("one history", what));
        }
        Ok(())
    }

    /// A life serves clients, or hands on that it did.
    fn serves(&mut self, node: u32, record: &Record) -> Outcome {
        let replica = self.servers.get(&node).and_then(|server| server.replica.as_ref());
        let Some(cluster) = replica.and_then(|replica| replica.consensus().cluster()) else {
            return Ok(());
        };
        let before = self.lives.served.replace(cluster).filter(|before| *before != cluster);
        let left = before.map(|before| self.those_with(before)).unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        let what = format!("{node} stores {record:?}; {left:?} have another life that served");
        Err(self.failure("one history", what))
    }

    /// The servers that have something of a life, stored or on its way to the disk.
    fn those_with(&self, life: ClusterId) -> Vec<u32> {
        let knows = |replica: &Replica| replica.consensus().cluster() == Some(life);
        let has = |server: &super::Server| {
            server.disk.durable.log.cluster() == Some(life)
                || server.replica.as_ref().is_some_and(knows)
        };
        self.servers.iter().filter(|(_, server)| has(server)).map(|(id, _)| *id).collect()
    }
}

fn init_of(record: &Record) -> Option<&Init> {
    let Record::Append { entries, .. } = record else { return None };
    match &entries.first()?.op {
        Op::Init(init) => Some(init),
        Op::Admit { .. } | Op::Command(_) => None,
    }
}

/// Whether a record has requests of clients.
fn serves(record: &Record) -> bool {
    let (entries, base) = match record {
        Record::Append { entries, .. } => (entries, None),
        Record::Adopt(adopt) => (&adopt.entries, Some(&adopt.base)),
        _ => return false,
    };
    let applied = |base: &Base| match base {
        Base::Snapshot(snapshot) => snapshot.directory.applied().0 > 0,
        Base::Keep(_) => false,
    };
    entries.iter().any(|entry| matches!(entry.op, Op::Command(_))) || base.is_some_and(applied)
}
