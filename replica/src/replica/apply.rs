//! What committed entries do here: to the state, and to those who wait for them.

use rollcall_shared::id::{ClientId, RequestId};
use rollcall_shared::message::RequestKind;

use crate::command::{Command, Generation, Written};
use crate::consensus::ids::Index;
use crate::consensus::log::{Op, Snapshot};
use crate::directory::{Directory, Effect, Outcome};
use crate::sessions::Identity;
use crate::sessions::links::LinkSession;
use crate::sessions::writes::PendingWrite;

use super::{LinkId, Output, Refused, Replica};

impl Replica {
    /// Applies committed entries in order, as many as there is room for in this round.
    pub(super) fn apply_some(&mut self) {
        let committed = self.committed.0;
        let due = Index(committed - committed % self.snapshot_every.max(1));
        let mut state = None;
        while self.is_behind() && self.room > 0 {
            self.room -= 1;
            let next = self.applied.next();
            let entry =
                self.consensus.entry(next).expect("committed entries are held till applied");
            let op = entry.op.clone();
            self.applied = next;
            match op {
                Op::Init(init) => {
                    let (first, bounds) = (init.first_revision, init.bounds);
                    self.directory = if init.restored {
                        Directory::to_be_loaded(first, bounds)
                    } else {
                        Directory::new(first, bounds)
                    };
                    self.outputs.push_back(Output::Installed { revision: init.first_revision });
                }
                Op::Admit { .. } => {}
                Op::Command(command) => self.apply(next, command),
            }
            // Until the cluster is in use some server may still be empty and need INIT itself (R26).
            if next == due && self.directory.applied() > Index(0) {
                state = Some(self.directory.clone());
            }
        }
        self.release_reads();
        // Where a snapshot is taken is the same on all servers, however many entries come at once: so
        // a copy that began at one of them can go on at another (R11).
        if let Some(state) = state {
            self.consensus.compact(self.now, due, state);
        }
    }

    fn apply(&mut self, index: Index, command: Command) {
        match command {
            Command::Open { client, principal } => {
                let who = (client.clone(), principal.clone());
                let outcome = self.change(index, Command::Open { client, principal });
                let Outcome::Opened(opened) = outcome else { return };
                self.opened(index, &who, opened);
                // Other links of the client keep the session alive too (R29).
                if self.live_generation(&who).is_some() {
                    for link in self.links_with(&who, LinkSession::Without) {
                        self.ask_for_session(link);
                    }
                }
            }
            Command::Write { client, generation, request, write } => {
                let (who, kind) = (client.clone(), write.kind());
                let outcome =
                    self.change(index, Command::Write { client, generation, request, write });
                let Outcome::Written(written) = outcome else { return };
                self.answer_write(&who, generation, request, kind, &written);
            }
            Command::Begin => {
                self.change(index, Command::Begin);
            }
            Command::Bounds(bounds) => {
                self.change(index, Command::Bounds(bounds));
            }
            Command::Load(piece) => {
                if self.change(index, Command::Load(piece)) == Outcome::Loaded(true) {
                    let revision = self.directory.revision();
                    self.outputs.push_back(Output::Installed { revision });
                }
            }
            Command::Expire { client, generation } => {
                let owner = self.directory.live_session(&client).map(|(_, owner)| owner.clone());
                let who = owner.map(|owner| (client.clone(), owner));
                let outcome = self.change(index, Command::Expire { client, generation });
                let (Outcome::Expired(true), Some(who)) = (outcome, who) else { return };
                // Only a server that was cut off can have links of it left (R34).
                for link in self.links_with(&who, LinkSession::Live(generation)) {
                    self.outputs.push_back(Output::SessionEnded { link });
                }
            }
        }
    }

    fn links_with(&self, who: &Identity, session: LinkSession) -> Vec<LinkId> {
        let has = |link: &LinkId| self.links.get(*link).is_some_and(|l| l.session == session);
        self.links.of(who).filter(has).collect()
    }

    /// Answers those who wait for the write of an entry. What depends on the session is said only
    /// to writes of that one: others have entries of their own.
    fn answer_write(
        &mut self,
        client: &ClientId,
        generation: Generation,
        request: RequestId,
        kind: RequestKind,
        written: &Written,
    ) {
        let copies = self.writes.copies(client, request);
        let of_session = matches!(written, Written::NotCurrent | Written::Full);
        let is_meant = |pending: &PendingWrite| {
            pending.write.kind() == kind && (!of_session || pending.generation == generation)
        };
        for link in self.writes.take(client, request, is_meant) {
            // There may be room when the next copy is applied.
            self.outputs.push_back(if *written == Written::Full && copies > 1 {
                Output::Refused { link, request, why: Refused::OutcomeUnknown }
            } else {
                Output::Written { link, request, written: written.clone() }
            });
        }
    }

    fn change(&mut self, index: Index, command: Command) -> Outcome {
        let outcome = self.directory.apply(index, command, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Changed(change) => self.outputs.push_back(Output::Changed(change)),
                Effect::Replaced { holder, username, device } => {
                    for link in self.links.of(&holder) {
                        let (username, device) = (username.clone(), device.clone());
                        self.outputs.push_back(Output::Replaced { link, username, device });
                    }
                }
            }
        }
        outcome
    }

    /// The state of a snapshot takes the place of what was applied.
    pub(super) fn install(&mut self, snapshot: &Snapshot) {
        self.directory = snapshot.directory.clone();
        self.applied = snapshot.index;
        self.committed = self.committed.max(snapshot.index);
        let revision = self.directory.revision();
        self.outputs.push_back(Output::Installed { revision });
        self.release_reads();
        self.compare_links();
        // Writes that the snapshot contains are answered when they are applied once more.
        self.pass_on_again();
    }

    /// Does for the links here what the entries would have done that a snapshot stands for: a
    /// session that was opened is asked for, one that has ended ends its links.
    fn compare_links(&mut self) {
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        let last = self.directory.generation_at(self.applied);
        for (id, link) in self.links.each() {
            let live = self.live_generation(&link.who);
            match link.session {
                LinkSession::Without if live.is_some() => opened.push(id),
                // One that is opened after the snapshot is not in it yet.
                LinkSession::Live(has) if live != Some(has) && has <= last => {
                    ended.push(id);
                }
                _ => {}
            }
        }
        for link in opened {
            self.ask_for_session(link);
        }
        self.outputs.extend(ended.into_iter().map(|link| Output::SessionEnded { link }));
    }
}
