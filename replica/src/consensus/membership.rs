//! Who has a vote: the beginning of a cluster, and servers that lost their disk (R26–R28).

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_shared::id::{NodeId, Revision};

use super::ids::{Epoch, Index};
use super::journal::Record;
use super::log::{Entry, Init, Op};
use super::peer::Violation;
use super::{Consensus, Role, StopReason};
use crate::command::Command;
use crate::directory::Directory;

impl Consensus {
    /// Begins a cluster where it can only be the first start: the first leader is empty, and on the
    /// links of now all say that they are (R26). An empty disk alone is never proof.
    pub(super) fn try_first_start(&mut self) {
        let me = self.config.me;
        let Some(boot) = self.stored.boot.filter(|_| self.boot_is_durable()) else { return };
        let empty = self.stored.log.cluster().is_none();
        if self.stored.readmitted
            || !empty
            || self.config.members.leader(Epoch(0)) != me
            || self.stored.promised > Epoch(0)
        {
            return;
        }
        let mut boots = vec![(me, boot)];
        for node in self.config.members.ids().filter(|node| *node != me) {
            let hello = self.peers.get(&node).and_then(|peer| peer.hello.as_ref());
            let Some(hello) = hello.filter(|hello| hello.cluster.is_none()) else { return };
            boots.push((node, hello.boot));
        }
        let genesis = self.config.genesis;
        let (cluster, mut first_revision) = (genesis.cluster, genesis.first_revision);
        let restored = self.stored.restored.take();
        if let Some(directory) = &restored {
            // The clock may be behind that of the machine that the backup was taken from.
            let ahead = Revision(directory.revision().0.saturating_add(REVISIONS_AHEAD));
            first_revision = first_revision.max(ahead);
        }
        let (restored_too, bounds) = (restored.is_some(), self.config.bounds);
        let init = Init { cluster, boots, first_revision, restored: restored_too, bounds };
        let loads = restored.iter().flat_map(Directory::pieces).map(Command::Load);
        let ops = std::iter::once(Op::Init(init)).chain(loads.map(Op::Command));
        let entries = ops.map(|op| Arc::new(Entry { epoch: Epoch(0), op })).collect();
        self.store_beginning(entries);
        self.begins = true;
    }

    /// The first entry is stored: whoever made it leads epoch 0, in this very start of the process
    /// (R0).
    pub(super) fn begin_if_first(&mut self) {
        if std::mem::take(&mut self.begins) && self.stored.promised == Epoch(0) {
            let all: BTreeSet<_> = self.config.members.ids().collect();
            self.lead(Epoch(0), Index(0), self.now, all);
        }
    }

    /// The first entry, from a server that has it: it makes this one a voter if it names its boot.
    pub(super) fn handle_init(&mut self, entry: Arc<Entry>) -> Result<(), Violation> {
        let Op::Init(init) = &entry.op else { return Err(Violation::Log) };
        let empty = self.stored.log.cluster().is_none() && self.stored.promised == Epoch(0);
        if init.restored {
            return Err(Violation::Log);
        }
        let named =
            |&(node, boot): &(NodeId, _)| node == self.config.me && Some(boot) == self.stored.boot;
        if empty && init.boots.iter().any(named) {
            self.copies.copying = None;
            self.copies.aside.clear();
            self.store_beginning(vec![entry]);
        }
        Ok(())
    }

    /// Stores the first entries, in one record: of what is loaded behind INIT all is there, or none.
    fn store_beginning(&mut self, entries: Vec<Arc<Entry>>) {
        if let Some(init) = entries.first() {
            self.admissions.apply(Index(1), init);
        }
        self.store(Record::Append { first: Index(1), entries });
    }

    /// Appends the admission of a server without a vote that has copied the initial log (R27).
    pub(super) fn admit(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get(&node) else { return };
        let Some(boot) = peer.hello.as_ref().map(|hello| hello.boot) else { return };
        let Role::Leader(leader) = &self.role else { return };
        let acked = leader.followers.get(&node).and_then(|follower| follower.acked);
        let has_log = acked.is_some_and(|(_, durable)| durable >= leader.init);
        if !peer.voter && has_log && !self.admissions.contains(node, boot) {
            self.append(Op::Admit { node, boot });
        }
    }

    /// Looks at what the committed log says of this server: whether it has a vote, and whether
    /// another one was admitted in its place.
    pub(super) fn take_admission(&mut self) {
        let Some(boot) = self.stored.boot else { return };
        let Some((index, newest)) = self.admissions.at(self.config.me, self.commit) else { return };
        debug_assert!(index <= self.commit, "the table was asked up to the commit index");
        if newest != boot && self.admissions.replaced(self.config.me, boot, self.commit) {
            self.stop(StopReason::Superseded);
        } else if newest == boot && !self.stored.voter {
            self.store(Record::Voter);
        }
    }
}

/// More changes than a cluster made between a backup and its end.
const REVISIONS_AHEAD: u64 = 1 << 32;
