//! What must hold in every state (section 11 of docs/replication.md, 1 to 5): what was committed
//! once stays, whoever leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_replica::consensus::ids::{Epoch, Index};
use rollcall_replica::consensus::log::Entry;
use rollcall_replica::consensus::{Consensus, RoleKind};

use crate::server::Server;

/// What has happened so far, as nobody in the model can forget it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// The committed entries after the base.
    committed: Vec<Arc<Entry>>,
    /// The last entry of the setup: the same everywhere.
    base: Index,
    /// Which process led each epoch.
    led: BTreeMap<Epoch, (u32, u64)>,
}

impl Truth {
    /// All that is committed up to `base` is the same everywhere.
    #[must_use]
    pub const fn new(base: Index) -> Self {
        Self { committed: Vec::new(), base, led: BTreeMap::new() }
    }

    fn last(&self) -> Index {
        Index(self.base.0 + self.committed.len() as u64)
    }

    fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.committed.get(usize::try_from(index.0.checked_sub(self.base.0 + 1)?).ok()?)
    }

    /// Looks at a server that has just done something.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn look(&mut self, server: &Server, all: &[Arc<Server>]) -> Result<(), String> {
        let core = &server.core;
        if core.role() == RoleKind::Leader {
            let leader = (core.me().0, server.process);
            if *self.led.entry(core.epoch()).or_insert(leader) != leader {
                return Err(format!("3: two processes lead epoch {}", core.epoch()));
            }
            self.has_all(core)?;
        }
        promises(core)?;
        self.agree(core)?;
        all.iter().try_for_each(|other| equal_prefixes(core, &other.core))
    }

    /// 1: what this server has committed is what any other had, and the other way round.
    fn agree(&mut self, core: &Consensus) -> Result<(), String> {
        let mut index = self.base.next();
        while index <= core.commit() {
            let entry = core.entry(index).ok_or_else(|| format!("11: {index} is not held"))?;
            match self.entry(index) {
                None => self.committed.push(Arc::clone(entry)),
                Some(known) if known == entry => {}
                Some(known) => {
                    return Err(format!("1: entry {index} was {known:?}, now {entry:?}"));
                }
            }
            index = index.next();
        }
        Ok(())
    }

    /// 2: a leader has all that was committed in lower epochs. One that was replaced unheard may
    /// lack what came later.
    fn has_all(&self, core: &Consensus) -> Result<(), String> {
        if self.led.keys().any(|epoch| *epoch > core.epoch()) {
            return Ok(());
        }
        let mut index = self.base.next();
        while index <= self.last() {
            if core.entry(index) != self.entry(index) {
                let me = core.me();
                return Err(format!("2: server {me} leads without committed entry {index}"));
            }
            index = index.next();
        }
        Ok(())
    }
}

/// 4: what is established was promised, and what is pending lies between.
fn promises(core: &Consensus) -> Result<(), String> {
    let stored = core.stored();
    let between = |epoch: &Epoch| *epoch > stored.established && *epoch <= stored.promised;
    if stored.established > stored.promised || !stored.pending.iter().all(between) {
        return Err(format!("4: server {} {stored:?}", core.me()));
    }
    Ok(())
}

/// 5: equal stamps are equal entries with equal prefixes.
fn equal_prefixes(one: &Consensus, other: &Consensus) -> Result<(), String> {
    let mut index = one.last().min(other.last());
    let mut equal = false;
    while index.0 > 0 {
        let (a, b) = (one.entry(index), other.entry(index));
        let Some((a, b)) = a.zip(b) else { return Ok(()) };
        if Arc::ptr_eq(a, b) {
            return Ok(());
        }
        equal |= a.epoch == b.epoch;
        if equal && a != b {
            let (one, other) = (one.me(), other.me());
            return Err(format!("5: servers {one} and {other} differ at {index}: {a:?}, {b:?}"));
        }
        index = index.previous();
    }
    Ok(())
}
