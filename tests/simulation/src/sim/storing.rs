//! What a run makes of its servers' disks: when records are given to them and made durable, what a
//! start finds, and what becomes of them in a crash.

use rollcall_replica::Input;
use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::consensus::journal::{Record, Stored};
use rollcall_storage::{Failed, OpenError};

use super::server::Server;
use super::{Count, Failure, Next, Outcome, Sim};
use crate::invariants::{Event, observe, same};

/// What becomes of a disk when its process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// What was durable stays.
    Kept,
    /// Nothing stays.
    Lost,
    /// What was durable stays, but for some bits of one file.
    Damaged,
}

impl Sim {
    /// Gives a record to a disk.
    pub(super) fn store(&mut self, node: u32, record: Record) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        match server.disk.write(record) {
            Ok(true) => {
                self.begin_sync(node);
                self.plan_keeping(node);
            }
            Ok(false) => {}
            Err(failed) => self.operation_failed(node, &failed),
        }
    }

    fn begin_sync(&mut self, node: u32) {
        let slow = if self.slow_until > self.now { 20 } else { 1 };
        let takes = self.random.between(1, self.plan.fsync.max(1)) * slow;
        let Some(server) = self.servers.get(&node) else { return };
        let process = server.process;
        self.at(self.now + takes, Next::Synced { node, process });
    }

    pub(super) fn synced(&mut self, node: u32, process: u64) -> Outcome {
        let Some(server) = self.running(node, process) else { return Ok(()) };
        let synced = match server.disk.synced() {
            Ok(Some(synced)) => synced,
            Ok(None) => return Ok(()),
            Err(failed) => {
                self.operation_failed(node, &failed);
                return Ok(());
            }
        };
        let through = synced.through;
        if through != synced.expected {
            let what = format!("{node} has {through:?} durable instead of {:?}", synced.expected);
            return Err(self.failure("storage: it says what is durable", what));
        }
        if synced.again {
            self.begin_sync(node);
        }
        self.plan_keeping(node);
        self.tell(node, Input::Stored { through })?;
        if self.breaking && self.random.one_in(30) {
            // Twice, late, or of a record that it was never given: it must change nothing.
            self.counts.add(Count::WrongSync);
            let wrong = *self.random.pick(&[through.0, through.0 / 2, 0, u64::MAX]).unwrap_or(&0);
            self.tell(node, Input::Stored { through: Lsn(wrong) })?;
        }
        Ok(())
    }

    /// Does a bit of what is to be done beside the journal.
    pub(super) fn keep(&mut self, node: u32, process: u64) -> Outcome {
        let Some(server) = self.running(node, process) else { return Ok(()) };
        let done = server.disk.step();
        let crashes = server.disk.random.one_in(CRASH_WITHIN);
        match done {
            // What is not durable yet is at risk now: by chance alone few crashes come here.
            Ok(()) if crashes && self.breaking && self.plan.troubles.crash > 0 => {
                self.note(|| format!("{node} crashes behind its journal"));
                return self.crash(node, Fate::Kept);
            }
            Ok(()) => self.plan_keeping(node),
            Err(failed) => self.operation_failed(node, &failed),
        }
        Ok(())
    }

    fn plan_keeping(&mut self, node: u32) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        let process = server.process;
        let keeper = &mut server.disk.keeper;
        let (rolled, written) =
            (std::mem::take(&mut keeper.rolled), std::mem::take(&mut keeper.written));
        let step = server.disk.plan_step();
        let wait = if step { server.disk.random.between(1, self.plan.fsync + 200) } else { 0 };
        self.counts.add_all(Count::Roll, rolled);
        self.counts.add_all(Count::SnapshotWritten, written);
        if step {
            self.at(self.now + wait, Next::Keep { node, process });
        }
    }

    fn running(&mut self, node: u32, process: u64) -> Option<&mut Server> {
        let server = self.servers.get_mut(&node)?;
        (server.process == process && server.replica.is_some()).then_some(server)
    }

    /// A disk does not do what it is told: nothing more is asked of it, and its process hears of it.
    fn operation_failed(&mut self, node: u32, failed: &Failed) {
        self.note(|| format!("the disk of {node} fails: {failed}"));
        self.counts.add(Count::FailedOperation);
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.disk.broken = true;
        let process = server.process;
        let heard = server.disk.random.below(2_000);
        self.at(self.now + heard, Next::DiskFailed { node, process });
    }

    pub(super) fn disk_failed(&mut self, node: u32, process: u64) -> Outcome {
        if self.running(node, process).is_none() {
            return Ok(());
        }
        self.tell(node, Input::StorageFailed)
    }

    /// A disk fails: in the middle of something, or it is too slow to be waited for.
    pub(super) fn fail_disk(&mut self, node: u32) -> Outcome {
        self.counts.add(Count::FailedDisk);
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.disk.random.one_in(4) {
            self.note(|| format!("the disk of {node} hangs"));
            return self.tell(node, Input::StorageFailed);
        }
        server.disk.fail_within(12);
        self.note(|| format!("the disk of {node} is about to fail"));
        Ok(())
    }

    pub(super) fn fill_disk(&mut self, node: u32) {
        self.counts.add(Count::FullDisk);
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.disk.fill();
        let until = self.now + server.disk.random.between(1_000, 1_500_000);
        self.note(|| format!("the disk of {node} is full until {until}"));
        self.at(until, Next::Room { node });
    }

    /// A disk is lost, or damaged: if that is noticed, it is lost too.
    pub(super) fn lose_disk(&mut self, node: u32) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.disk.random.one_in(self.plan.rot) {
            self.note(|| format!("{node} crashes and its disk is damaged"));
            return self.crash(node, Fate::Damaged);
        }
        self.note(|| format!("{node} crashes and loses its disk"));
        self.crash(node, Fate::Lost)
    }

    /// The process of a server is gone: what is left on its disk.
    pub(super) fn stop_disk(&mut self, node: u32, fate: Fate) -> Outcome {
        if let Some(server) = self.servers.get_mut(&node) {
            server.disk.crash(fate == Fate::Damaged);
        }
        self.look_at_disk(node)?;
        let lost = match fate {
            Fate::Kept => false,
            Fate::Lost => true,
            Fate::Damaged => self.damage_disk(node)?,
        };
        if lost && let Some(server) = self.servers.get_mut(&node) {
            server.disk.lose();
            self.lost_disks += 1;
            self.counts.add(Count::LostDisk);
            self.observe(&Event::LostDisk { node })?;
        }
        Ok(())
    }

    /// Reads what a crash left, so that all know while the server is down.
    fn look_at_disk(&mut self, node: u32) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let found = server.disk.look();
        if let Some(log) = &mut self.log {
            let ended = if server.disk.killed { "process" } else { "power" };
            log.push(format!("{:>10} {node} lost its {ended}", self.now));
        }
        let given = server.disk.must_have();
        let shown = found.as_ref().map(|found| &found.stored);
        observe(&mut self.invariants, &self.truth, &Event::Found { node, given, found: shown })
            .map_err(|(property, what)| self.failure(property, what))?;
        if let (Some(server), Ok(found)) = (self.servers.get_mut(&node), found) {
            server.disk.is_left_with(found.stored);
        }
        Ok(())
    }

    /// Damages a file of a server that is down; whether its disk is lost by that.
    ///
    /// Where damage is noticed, the server must not start with what is left, and is a server that lost
    /// its disk. Where it is not, all that was durable is there, or all but the last group, and then
    /// only if no mark was behind that: it looks like one that a crash left unfinished, and nobody can
    /// tell the two apart. A server would go on with less than it has promised, which is more than the
    /// protocol stands (R26 is about disks that are known to be lost); so this is what the marks
    /// narrow down to moments, and here it is a lost disk as well.
    fn damage_disk(&mut self, node: u32) -> Result<bool, Failure> {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(false) };
        let disk = &mut server.disk;
        let Some(file) = disk.damage() else { return Ok(false) };
        let found = disk.look();
        let (before, unproven) = (&disk.durable, disk.unproven());
        let shown = found.as_ref().map(|found| &found.stored);
        let damaged = Event::Damaged { node, file: &file, before, unproven, found: shown };
        observe(&mut self.invariants, &self.truth, &damaged)
            .map_err(|(property, what)| self.failure(property, what))?;
        let Some(server) = self.servers.get_mut(&node) else { return Ok(false) };
        let disk = &mut server.disk;
        let (count, says, lost) = match found {
            Ok(found) if same(&disk.durable, &found.stored).is_ok() => {
                disk.is_left_with(found.stored);
                (Count::DamageHarmless, "which changes nothing".to_owned(), false)
            }
            Ok(_) => (Count::TailLost, "which looks like a torn tail".to_owned(), true),
            Err(_) => {
                let before = disk.contents();
                match disk.open() {
                    Err(OpenError::Damage(damage)) if disk.contents() == before => {
                        (Count::DamageFound, damage.to_string(), true)
                    }
                    Err(_) => return Err(self.failure(DAMAGE, format!("{node} changes {file}"))),
                    Ok(_) => return Err(self.failure(DAMAGE, format!("{node} opens {file}"))),
                }
            }
        };
        self.counts.add(count);
        self.note(|| format!("{file} of {node} is damaged: {says}"));
        Ok(lost)
    }

    /// Opens the disk of a server that is about to start; `None` if that did not work, and is to be
    /// tried again.
    pub(super) fn open_disk(&mut self, node: u32) -> Result<Option<Stored>, Failure> {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(None) };
        let disk = &mut server.disk;
        if self.breaking && disk.random.one_in(12) {
            // The power fails while it opens, or the disk does.
            disk.fail_within(14);
        }
        let opened = disk.open();
        if let Err(OpenError::Failed(failed)) = &opened
            && disk.may_fail()
        {
            disk.crash(false);
            let back = disk.random.between(1_000, 300_000);
            self.note(|| format!("{node} does not start: {failed}"));
            self.counts.add(Count::BrokenOpening);
            self.look_at_disk(node)?;
            self.at(self.now + back, Next::Start { node });
            return Ok(None);
        }
        let given = disk.must_still_have();
        let found = opened.as_ref().map(|(stored, _)| stored);
        let event = Event::Found { node, given, found };
        let looked = observe(&mut self.invariants, &self.truth, &event);
        if let Ok((stored, _)) = &opened {
            disk.stop_failing();
            disk.opened(stored);
        }
        looked.map_err(|(property, what)| self.failure(property, what))?;
        let Ok((stored, cut)) = opened else { return Ok(None) };
        if let Some(cut) = cut {
            self.note(|| format!("{} is cut at {}: {}", cut.file, cut.offset, cut.what));
            self.counts.add(Count::TornTail);
        }
        Ok(Some(stored))
    }
}

/// One step in so many beside the journal is the last one of its process, where there are crashes.
const CRASH_WITHIN: u64 = 30;
/// The property of `invariants::damage`, where the start looks at it.
const DAMAGE: &str = "storage: damage is noticed";
