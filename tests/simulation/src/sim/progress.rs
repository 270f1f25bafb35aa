//! Invariant 14: when nothing breaks any more, all is well again within a bound.

use rollcall_replica::Replica;
use rollcall_replica::consensus::Consensus;

use super::{Server, Sim};

impl Sim {
    /// How long progress may take once all is well, in microseconds: elections back off to 5 s, and
    /// sessions left alone end after `grace` and more.
    pub(super) const fn bound(&self) -> u64 {
        30_000_000
    }

    /// Whether all servers have applied the same, a leader is there, and every client was answered
    /// since all is well.
    pub(super) fn is_settled(&self) -> bool {
        let mut applied = self.servers.values().map(|s| s.replica.as_ref().map(Replica::applied));
        let first = applied.next().flatten();
        let led =
            |server: &Server| server.replica.as_ref().is_some_and(|r| r.consensus().is_settled());
        first.is_some()
            && applied.all(|other| other == first)
            && self.servers.values().any(led)
            && self.clients.iter().all(|client| client.open.is_none())
            && self.all_watchers_are_told()
    }

    /// Whether the rules promise progress: enough disks are intact.
    pub(super) fn must_progress(&self) -> bool {
        // The end of section 6 of docs/replication.md: who lost its disk counts again once it has
        // stored that it is a voter. Where more are lost, halves and empty servers that INIT names
        // may still do, which is not demanded here.
        let voters = self.servers.values().filter(|server| server.disk.durable.voter).count();
        self.lost_disks == 0
            || (self.lost_disks == 1 && self.plan.members > 2)
            || 2 * voters > self.servers.len()
    }

    pub(super) fn why_stuck(&self) -> String {
        let state = |(id, server): (&u32, &Server)| match &server.replica {
            None => format!("{id} is down"),
            Some(replica) => {
                let consensus: &Consensus = replica.consensus();
                format!(
                    "{id} {:?} epoch {} est {} log {}..{} commit {} applied {} leader {:?}",
                    consensus.role(),
                    consensus.epoch(),
                    consensus.stored().established,
                    consensus.stored().log.first(),
                    consensus.last(),
                    consensus.commit(),
                    replica.applied(),
                    consensus.leader(),
                )
            }
        };
        let servers: Vec<_> = self.servers.iter().map(state).collect();
        let waiting = self.clients.iter().filter(|client| client.open.is_some()).count();
        let told = self.all_watchers_are_told();
        format!("{waiting} clients wait; all subscribers told: {told}; {}", servers.join("; "))
    }
}
