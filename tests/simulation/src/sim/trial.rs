//! What is tried out when all is well again and links and disks are quick: a split in halves, a cut
//! of one server in one direction, clients that stay away. Whatever happened before, all of it must
//! go as the rules say.

use std::collections::BTreeSet;

use rollcall_replica::command::{Principal, Write};
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::{Epoch, ReadId};
use rollcall_replica::{Input, LinkId};
use rollcall_shared::id::RequestId;

use super::crowd::READERS;
use super::storing::Fate;
use super::{Count, Outcome, Sim};
use crate::invariants::Event;

/// A trial of cuts.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The epoch it began in.
    pub epoch: Epoch,
    /// The servers that must answer, towards the end at the latest.
    pub working: BTreeSet<u32>,
    /// What happens to the others.
    pub cut: Cut,
}

/// A cut that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Half of the servers from the other half, which has the leader.
    Half,
    /// A server that does not lead, in one direction; from all others or from the leader.
    Follower(u32),
    /// The leader, in one direction.
    Leader(u32),
}

impl Sim {
    /// Tries out something, by the plan.
    pub(super) fn try_out(&mut self) -> Outcome {
        self.plan.delay = self.plan.delay.min(QUICK);
        self.plan.fsync = self.plan.fsync.min(QUICK);
        match self.plan.trial % 10 {
            0 => self.try_cut(),
            1 if self.plan.members.is_multiple_of(2) => self.try_cut(),
            2 => self.try_absence(),
            _ => Ok(()),
        }
    }

    /// All servers agree on the leader, nothing else was promised, and it is not about to change.
    fn leader_of_all(&self) -> Option<(u32, Epoch)> {
        let mut replicas = self.servers.values().map(|server| server.replica.as_ref());
        let first = replicas.next()??;
        let leader = first.consensus().leader()?;
        let epoch = first.consensus().epoch();
        let same = |replica: &rollcall_replica::Replica| {
            let stored = replica.consensus().stored();
            stored.voter
                && replica.consensus().leader() == Some(leader)
                && (stored.promised, stored.established) == (epoch, epoch)
        };
        let all = same(first) && replicas.all(|replica| replica.is_some_and(same));
        let server = self.servers.get(&leader.0)?;
        let consensus = server.replica.as_ref()?.consensus();
        let leads = consensus.role() == RoleKind::Leader
            && consensus.is_settled()
            && consensus.holds_lease(server.clock.local(self.now));
        (all && leads).then_some((leader.0, epoch))
    }

    fn try_cut(&mut self) -> Outcome {
        // Long enough for what was on its way, and for elections that were about to begin.
        let now = self.now;
        self.run_until(now + 1_000_000)?;
        // One that has served nobody yet may need all servers to (R26).
        let may = self.plan.members > 1 && self.lives.served.is_some();
        let leader = self.leader_of_all().filter(|_| may);
        let Some((leader, epoch)) = leader else {
            self.counts.add(Count::NoTrial);
            return Ok(());
        };
        let Some(trial) = self.draw_cut(leader, epoch) else { return Ok(()) };
        self.note(|| format!("trial: {trial:?}"));
        self.observe(&Event::TrialBegins { trial: &trial })?;
        let long = matches!(trial.cut, Cut::Leader(_));
        self.probe_for(if long { 3_000_000 } else { 1_000_000 })?;
        self.observe(&Event::TrialCounts)?;
        self.probe_for(1_500_000)?;
        self.observe(&Event::TrialEnds)?;
        self.end_probes()?;
        self.heal();
        self.settle()
    }

    /// Draws a cut and makes it.
    fn draw_cut(&mut self, leader: u32, epoch: Epoch) -> Option<Trial> {
        let all: BTreeSet<u32> = (1..=self.plan.members).collect();
        let mut working = all.clone();
        let halves = self.plan.trial % 10 == 1;
        let cut = if halves {
            while working.len() * 2 > all.len() {
                let any = u32::try_from(self.random.between(1, self.plan.members.into()));
                working.remove(&any.ok().filter(|any| *any != leader).unwrap_or(0));
            }
            Cut::Half
        } else {
            let node = u32::try_from(self.random.between(1, self.plan.members.into())).ok()?;
            working.remove(&node);
            if node == leader { Cut::Leader(node) } else { Cut::Follower(node) }
        };
        // Of two servers the one that does not lead never works alone.
        if matches!(cut, Cut::Leader(_)) && self.plan.members == 2 {
            return None;
        }
        self.counts.add(match cut {
            Cut::Half => Count::Halves,
            Cut::Follower(_) => Count::OneWay,
            Cut::Leader(_) => Count::LeaderOneWay,
        });
        let inwards = halves || self.random.one_in(2);
        let outwards = halves || !inwards;
        // Who hears all but the leader has others to propose to (R4).
        let partial = matches!(cut, Cut::Follower(_)) && self.random.one_in(2);
        for cut_off in all.difference(&working) {
            for other in working.iter().filter(|other| !partial || **other == leader) {
                if inwards {
                    self.network.cut(*other, *cut_off);
                }
                if outwards {
                    self.network.cut(*cut_off, *other);
                }
            }
        }
        Some(Trial { epoch, working, cut })
    }

    /// Reads and writes on every server now and then, as a client of its own there.
    fn probe_for(&mut self, time: u64) -> Outcome {
        let end = self.now + time;
        while self.now < end {
            for node in 1..=self.plan.members {
                self.probe(node)?;
            }
            let now = self.now;
            self.run_until(now + 100_000)?;
        }
        Ok(())
    }

    fn probe(&mut self, node: u32) -> Outcome {
        if self.servers.get(&node).is_none_or(|server| server.replica.is_none()) {
            return Ok(());
        }
        self.last_read += 1;
        let number = self.last_read;
        self.tell(node, Input::Read { read: ReadId(number * READERS + PROBES) })?;
        let link = LinkId(PROBE_LINKS + u64::from(node));
        if self.probed.insert(node) {
            let client: rollcall_shared::id::ClientId =
                format!("probe-{node}").parse().expect("a client id");
            let principal = Principal::Client(client.clone());
            self.tell(node, Input::Linked { link, client, principal })?;
        }
        let (request, write) = (RequestId(number), Write::Sequence { count: 1 });
        self.tell(node, Input::Write { link, request, write })
    }

    fn end_probes(&mut self) -> Outcome {
        for node in std::mem::take(&mut self.probed) {
            self.tell(node, Input::Unlinked { link: LinkId(PROBE_LINKS + u64::from(node)) })?;
        }
        Ok(())
    }

    /// Clients go and stay away; now and then a server goes too. Their sessions end in time, and
    /// those of the others do not.
    fn try_absence(&mut self) -> Outcome {
        self.counts.add(Count::Absence);
        let leader = self.leader_of_all().map(|(leader, _)| leader);
        let goes = match self.random.below(4) {
            0 => leader,
            1 => self.any_running(),
            _ => None,
        };
        let all = self.random.one_in(2);
        for client in 0..self.clients.len() {
            if all || self.random.one_in(2) {
                self.stay_away(client, goes)?;
            }
        }
        if let Some(node) = goes {
            self.note(|| format!("{node} crashes while clients are away"));
            self.crash(node, Fate::Kept)?;
        }
        let mut until = self.now;
        loop {
            until = self.last_leader_since(until);
            if self.now > until + self.outlives() {
                break;
            }
            let now = self.now;
            self.run_until(now + 100_000)?;
            self.check_live()?;
        }
        self.settle()
    }

    /// A client goes for good, or is lost with the server that goes.
    fn stay_away(&mut self, client: usize, goes: Option<u32>) -> Outcome {
        let Some(known) = self.clients.get_mut(client) else { return Ok(()) };
        if known.link.is_some_and(|link| Some(link.node) == goes) {
            known.away_until = u64::MAX;
            return Ok(());
        }
        self.leave(client, u64::MAX)
    }
}

/// The longest time of a message, and of an fsync, where all is well.
const QUICK: u64 = 2_000;
/// The number of the reads of probes: that of no client and of no subscriber.
const PROBES: u64 = READERS / 2 - 1;
/// Above the numbers of all links of clients.
const PROBE_LINKS: u64 = 1 << 40;
