//! What committed entries do here: to the state, and to those who wait for them.

use crate::command::Command;
use crate::consensus::ids::Index;
use crate::consensus::log::{Op, Snapshot};
use crate::directory::{Directory, Effect, Outcome};
use crate::sessions::links::LinkSession;

use super::{Output, Replica};

impl Replica {
    /// Applies the committed entries up to `index`, in order.
    pub(super) fn apply_up_to(&mut self, index: Index) {
        while self.applied < index {
            let next = self.applied.next();
            let entry =
                self.consensus.entry(next).expect("committed entries are held till applied");
            let op = entry.op.clone();
            self.applied = next;
            match op {
                Op::Init(init) => {
                    let bounds = self.consensus.config().bounds;
                    self.directory = Directory::new(init.first_revision, bounds);
                    self.outputs.push_back(Output::Installed { revision: init.first_revision });
                }
                Op::Admit { .. } => {}
                Op::Command(command) => self.apply(next, command),
            }
        }
        self.release_reads();
        let snapshot = self.consensus.stored().log.snapshot_index();
        if self.applied.0 - snapshot.0.min(self.applied.0) >= self.snapshot_every {
            self.consensus.compact(self.now, self.applied, self.directory.clone());
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
                for link in self.links.of(&who).collect::<Vec<_>>() {
                    let without =
                        |link: &crate::sessions::links::Link| link.session == LinkSession::Without;
                    if self.links.get(link).is_some_and(without)
                        && self.live_generation(&who).is_some()
                    {
                        self.ask_for_session(link);
                    }
                }
            }
            Command::Write { client, generation, request, write } => {
                let who = client.clone();
                let outcome =
                    self.change(index, Command::Write { client, generation, request, write });
                let Outcome::Written(written) = outcome else { return };
                for link in self.links.take_writes(&who, request) {
                    let written = written.clone();
                    self.outputs.push_back(Output::Written { link, request, written });
                }
            }
            Command::Expire { client, generation } => {
                let owner = self.directory.live_session(&client).map(|(_, owner)| owner.clone());
                let who = owner.map(|owner| (client.clone(), owner));
                let outcome = self.change(index, Command::Expire { client, generation });
                let (Outcome::Expired(true), Some(who)) = (outcome, who) else { return };
                // Only a server that was cut off can have links of it left (R34).
                for link in self.links.of(&who).collect::<Vec<_>>() {
                    if self.links.get(link).map(|link| link.session)
                        == Some(LinkSession::Live(generation))
                    {
                        self.outputs.push_back(Output::SessionEnded { link });
                    }
                }
            }
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
        let revision = self.directory.revision();
        self.outputs.push_back(Output::Installed { revision });
        self.release_reads();
        // Writes that the snapshot contains are answered when they are applied once more.
        self.pass_on_again();
    }
}
