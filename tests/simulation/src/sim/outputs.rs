//! What servers say: taken from a replica until there is nothing more, shown to the invariants, and
//! done.

use rollcall_replica::Output;
use rollcall_replica::command::Opened;
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::Index;
use rollcall_replica::consensus::journal::{Base, Record};
use rollcall_replica::consensus::log::Op;
use rollcall_replica::directory::Outcome as Done;

use super::network::OnWire;
use super::storing::Fate;
use super::{Count, Failure, Next, Outcome, Sim};
use crate::invariants::{Event, observe};

impl Sim {
    pub(super) fn drain(&mut self, node: u32) -> Outcome {
        // What it says from here on may rest on more than what it has shown.
        if let Some(server) = self.servers.get_mut(&node) {
            server.readable = None;
        }
        loop {
            let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
            let Some(replica) = &mut server.replica else { return Ok(()) };
            let output = replica.poll_output();
            let commit = replica.consensus().commit();
            if let Some(Output::Store(record)) = &output {
                server.keep(record);
            }
            if let Some(replica) =
                server.replica.as_ref().filter(|_| commit != server.commit && !self.lives.several)
            {
                let since = std::mem::replace(&mut server.commit, commit);
                let before = self.truth.last();
                let agreed = self.truth.committed(node, (replica, since), &server.log);
                agreed.map_err(|what| self.failure("1: committed logs agree", what))?;
                self.look_at_committed(before)?;
            }
            let Some(output) = output else { break };
            if self.breaking && self.random.one_in(self.plan.crash_within) {
                self.note(|| format!("{node} crashes before {output:?}"));
                return self.crash(node, Fate::Kept);
            }
            self.do_output(node, output)?;
        }
        self.begin_subscriptions(node)?;
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        let Some(replica) = &server.replica else { return Ok(()) };
        let process = server.process;
        let (at, steps) = (self.now, self.steps);
        let failure =
            |property: &str, what| Failure { property: property.to_owned(), what, at, steps };
        let consensus = replica.consensus();
        if consensus.role() == RoleKind::Leader {
            let epoch = consensus.epoch();
            if self.led.is_none_or(|before| before < epoch) {
                self.led = Some(epoch);
                self.counts.add(Count::Election);
                if self.handing_over.take().is_some_and(|before| before.next() == epoch) {
                    self.counts.add(Count::HandOver);
                }
            }
            if consensus.is_settled() && self.settled.is_none_or(|(before, _)| before < epoch) {
                self.settled = Some((epoch, self.now));
            }
        }
        if replica.applied() < consensus.commit() {
            self.counts.add(Count::Behind);
        }
        let gone_on = consensus.copies_gone_on_with();
        let before = std::mem::replace(&mut server.gone_on, gone_on);
        self.counts.add_all(Count::GoneOn, gone_on - before);
        observe(&mut self.invariants, &self.truth, &Event::Step { node, process, replica })
            .map_err(|(property, what)| failure(property, what))?;
        let local = server.clock.local(self.now);
        if let Some(point) = replica.consensus().read_point(local) {
            observe(&mut self.invariants, &self.truth, &Event::ReadPoint { node, point })
                .map_err(|(property, what)| failure(property, what))?;
        }
        server.readable = replica.readable_until(local).map(|until| (until, replica.applied()));
        if let Some(at) = replica.poll_timeout() {
            let at = server.clock.global(at).max(self.now);
            if server.wake_at.is_none_or(|before| at < before) {
                server.wake_at = Some(at);
                self.at(at, Next::Wake { node });
            }
        }
        Ok(())
    }

    /// More than `before` is known to be committed now.
    pub(super) fn look_at_committed(&mut self, before: Index) -> Outcome {
        let mut index = before.next();
        while index <= self.truth.last() {
            self.observe(&Event::Committed { index })?;
            self.count_committed(index);
            index = index.next();
        }
        if self.truth.last() > before {
            self.look_at_read_points()?;
        }
        self.check_ended()
    }

    /// Whoever may answer reads by itself now must have all of it.
    pub(super) fn look_at_read_points(&mut self) -> Outcome {
        for (&node, server) in &self.servers {
            let now = server.clock.local(self.now);
            let point = server.replica.as_ref().and_then(|it| it.consensus().read_point(now));
            // Whoever reads what the server has shown needs no more than the time.
            let shown = server.readable.filter(|(until, _)| now < *until).map(|shown| shown.1);
            for point in point.into_iter().chain(shown) {
                observe(&mut self.invariants, &self.truth, &Event::ReadPoint { node, point })
                    .map_err(|(property, what)| self.failure(property, what))?;
            }
        }
        Ok(())
    }

    pub(super) fn do_output(&mut self, node: u32, output: Output) -> Outcome {
        self.trace.said(self.now, node, &output);
        match output {
            Output::Send { peer, link, frame } => {
                self.send(node, peer.0, OnWire { link, frame, at: 0 });
            }
            Output::ClosePeer { peer, link, why } => {
                self.note(|| format!("{node} closes its link to {}: {why}", peer.0));
                self.close(node, peer.0, link);
            }
            Output::Store(record) => {
                self.look_at_lives(node, &record)?;
                self.observe(&Event::Record { node, record: &record })?;
                self.count_record(&record);
                self.note(|| format!("{node} stores {}", brief(&record)));
                self.store(node, record);
            }
            Output::Stop(why) => {
                self.note(|| format!("{node} stops: {why:?}"));
                if let Some(replica) = self.servers.get(&node).and_then(|s| s.replica.as_ref())
                    && !self.lives.several
                {
                    let said = Event::Said { node, output: &Output::Stop(why), replica };
                    observe(&mut self.invariants, &self.truth, &said)
                        .map_err(|(property, what)| self.failure(property, what))?;
                }
                self.crash(node, Fate::Kept)?;
            }
            output => {
                self.note(|| format!("{node} says {output:?}"));
                let Some(replica) = self.servers.get(&node).and_then(|s| s.replica.as_ref()) else {
                    return Ok(());
                };
                let said = Event::Said { node, output: &output, replica };
                observe(&mut self.invariants, &self.truth, &said)
                    .map_err(|(property, what)| self.failure(property, what))?;
                self.heard(node, &output)?;
            }
        }
        Ok(())
    }

    pub(super) fn count_record(&mut self, record: &Record) {
        match record {
            Record::Compact { .. } => self.counts.add(Count::Compaction),
            Record::Adopt(adopt) if matches!(adopt.base, Base::Snapshot(_)) => {
                self.counts.add(Count::Install);
            }
            _ => {}
        }
    }

    pub(super) fn count_committed(&mut self, index: Index) {
        let entry = self.truth.entry(index);
        if entry.is_some_and(|entry| matches!(entry.op, Op::Admit { .. })) {
            self.counts.add(Count::Admission);
        }
        match self.truth.outcome(index) {
            Some(Done::Expired(true)) => self.counts.add(Count::Expiry),
            Some(Done::Opened(Opened::Live { generation, .. })) if generation.0 == index.0 => {
                self.counts.add(Count::Opening);
            }
            _ => {}
        }
    }
}

fn brief(record: &Record) -> String {
    match record {
        Record::Append { first, entries } => format!("{} entries from {first}", entries.len()),
        Record::Compact { snapshot, keep } => format!("snapshot {}, keep {keep}", snapshot.index),
        Record::Adopt(adopt) => format!("adopts {}: {} entries", adopt.epoch, adopt.entries.len()),
        other => format!("{other:?}"),
    }
}
