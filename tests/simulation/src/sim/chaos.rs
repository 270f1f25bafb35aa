//! What goes wrong, and the end of it.

use super::storing::Fate;
use super::{Count, Kind, Next, Outcome, Sim};
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::{Input, Replica};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    Crash,
    Pause,
    Cut,
    Heal,
    Flap,
    LoseDisk,
    Shutdown,
    SlowDisks,
    FailedDisk,
    FullDisk,
}

const TROUBLES: [Trouble; 10] = [
    Trouble::Crash,
    Trouble::Pause,
    Trouble::Cut,
    Trouble::Heal,
    Trouble::Flap,
    Trouble::LoseDisk,
    Trouble::Shutdown,
    Trouble::SlowDisks,
    Trouble::FailedDisk,
    Trouble::FullDisk,
];

impl Sim {
    pub(super) fn plan_troubles(&mut self) {
        for trouble in TROUBLES {
            self.again(trouble);
        }
    }

    fn again(&mut self, trouble: Trouble) {
        let troubles = &self.plan.troubles;
        let mean = match trouble {
            Trouble::Crash => troubles.crash,
            Trouble::Pause => troubles.pause,
            Trouble::Cut => troubles.cut,
            Trouble::Heal => troubles.heal,
            Trouble::Flap => troubles.flap,
            Trouble::LoseDisk => troubles.lose_disk,
            Trouble::Shutdown => troubles.shutdown,
            Trouble::SlowDisks => troubles.slow_disks,
            Trouble::FailedDisk => troubles.failed_disk,
            Trouble::FullDisk => troubles.full_disk,
        };
        if mean > 0 {
            let at = self.now + self.random.between(1, 2 * mean * 1_000);
            self.at(at, Next::Trouble(trouble));
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) -> Outcome {
        if !self.breaking {
            return Ok(());
        }
        self.again(trouble);
        let node = self.victim();
        match trouble {
            Trouble::Crash => {
                self.note(|| format!("{node} crashes"));
                self.crash(node, Fate::Kept)?;
            }
            Trouble::LoseDisk => {
                // A disk lost during the first start may leave two histories (R26), which ends what
                // can be checked.
                if self.plan.kind == Kind::FirstStart || self.all_have_begun() {
                    self.lose_disk(node)?;
                }
            }
            Trouble::Pause => {
                self.counts.add(Count::Pause);
                let until = self.now + self.random.between(1_000, 900_000);
                if let Some(server) = self.servers.get_mut(&node) {
                    server.paused_until = Some(until);
                }
                self.note(|| format!("{node} is suspended until {until}"));
            }
            Trouble::Cut => self.cut(node),
            Trouble::Heal => self.heal(),
            Trouble::Flap => {
                let links = self.servers.get(&node).map(|server| server.links.clone());
                let links: Vec<_> = links.into_iter().flatten().collect();
                if let Some(&(peer, link)) = self.random.pick(&links) {
                    self.counts.add(Count::Flap);
                    self.note(|| format!("the link of {node} and {peer} breaks"));
                    self.link_down(node, peer, link)?;
                    let at = self.now + self.random.between(1, 300_000);
                    self.at(at, Next::LinkDown { node: peer, peer: node, link });
                }
            }
            Trouble::Shutdown => {
                self.note(|| format!("{node} shall shut down"));
                self.shut_down(node)?;
            }
            Trouble::FailedDisk => self.fail_disk(node)?,
            Trouble::FullDisk => self.fill_disk(node),
            Trouble::SlowDisks => {
                self.counts.add(Count::SlowDisks);
                self.slow_until = self.now + self.random.between(1, 800_000);
            }
        }
        Ok(())
    }

    fn shut_down(&mut self, node: u32) -> Outcome {
        let Some(replica) = self.servers.get(&node).and_then(|server| server.replica.as_ref())
        else {
            return Ok(());
        };
        self.counts.add(Count::Shutdown);
        if replica.consensus().role() == RoleKind::Leader {
            self.handing_over = Some(replica.consensus().epoch());
        }
        self.tell(node, Input::Shutdown)
    }

    /// Any server, the leader more often than others.
    fn victim(&mut self) -> u32 {
        let leads = |replica: &Replica| replica.consensus().role() == RoleKind::Leader;
        let leader = self.servers.iter().find(|(_, s)| s.replica.as_ref().is_some_and(leads));
        let leader = leader.map(|(id, _)| *id);
        let any = self.random.between(1, self.plan.members.into());
        let any = u32::try_from(any).unwrap_or(1);
        if self.random.one_in(2) { leader.unwrap_or(any) } else { any }
    }

    fn all_have_begun(&self) -> bool {
        self.servers.values().all(|server| server.disk.durable.voter || self.lost_disks > 0)
            && self.truth.last().0 > 0
    }

    /// Cuts of every shape: a part from the rest, one server one way, any single directions.
    fn cut(&mut self, node: u32) {
        let members = self.plan.members;
        let mut directions = Vec::new();
        match self.random.below(4) {
            0 => {
                let side = self.random.any();
                let inside = |id: u32| side >> id & 1 == 1;
                for a in 1..=members {
                    for b in (1..=members).filter(|b| inside(a) != inside(*b)) {
                        directions.push((a, b));
                    }
                }
            }
            1 => directions.extend((1..=members).filter(|id| *id != node).map(|id| (node, id))),
            2 => directions.extend((1..=members).filter(|id| *id != node).map(|id| (id, node))),
            _ => {
                for a in 1..=members {
                    for b in (1..=members).filter(|b| *b != a) {
                        if self.random.one_in(3) {
                            directions.push((a, b));
                        }
                    }
                }
            }
        }
        self.note(|| format!("cut: {directions:?}"));
        self.counts.add(Count::Cut);
        for (from, to) in directions {
            self.network.cut(from, to);
        }
    }

    pub(super) fn heal(&mut self) {
        self.note(|| "all cuts heal".to_owned());
        for (from, to) in self.network.heal() {
            self.at(self.now, Next::Arrive { from, to });
        }
    }

    /// Nothing breaks any more.
    pub(super) fn heal_all(&mut self) {
        self.heal();
        self.breaking = false;
        self.slow_until = 0;
        for server in self.servers.values_mut() {
            server.disk.stop_failing();
            server.disk.make_room();
        }
        for node in 1..=self.plan.members {
            let at = self.now + self.random.between(1, 50_000);
            self.at(at, Next::Start { node });
        }
    }
}
