//! Invariant 13: the pushes of a subscription, across servers and resumes, are exactly the committed
//! changes after what its client has seen, once each, in order. What the client makes of them is who
//! is online at its revision, and that never goes back.

use std::collections::BTreeMap;

use rollcall_replica::{Change, Directory, directory};
use rollcall_shared::id::{Device, Revision, Username};

use super::{Event, Invariant, Truth, fingerprint};

/// What each subscriber knows.
#[derive(Default)]
pub(super) struct Subscriptions {
    watchers: BTreeMap<usize, Known>,
}

/// Who is online as a subscriber has been told.
#[derive(Default)]
struct Known {
    revision: Revision,
    online: BTreeMap<(Username, Device), (u16, Revision)>,
}

impl Invariant for Subscriptions {
    fn name(&self) -> &'static str {
        "13: subscribers are told every change once"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Subscribed { watcher, recovered, directory } => {
                let known = self.watchers.entry(*watcher).or_default();
                match recovered {
                    Some(since) if *since == known.revision => Ok(()),
                    Some(since) => {
                        let seen = known.revision;
                        Err(format!("watcher {watcher} resumes after {since}, has seen {seen}"))
                    }
                    None => known.begin(truth, directory),
                }
            }
            Event::Pushed { watcher, change } => {
                let known = self.watchers.entry(*watcher).or_default();
                known.pushed(truth, change).map_err(|what| format!("watcher {watcher}: {what}"))
            }
            _ => Ok(()),
        }
    }
}

impl Known {
    fn begin(&mut self, truth: &Truth, directory: &Directory) -> Result<(), String> {
        let revision = directory.revision();
        if revision < self.revision {
            return Err(format!("goes back from {} to {revision}", self.revision));
        }
        self.revision = revision;
        self.online.clear();
        for (name, user) in directory.users().matching("", None) {
            for (device, there) in user.devices() {
                let key = (name.clone(), device.clone());
                self.online.insert(key, (there.port, there.revision));
            }
        }
        self.compare(truth)
    }

    fn pushed(&mut self, truth: &Truth, change: &Change) -> Result<(), String> {
        if change.revision != self.revision.next() {
            return Err(format!("{change:?} after {}", self.revision));
        }
        if truth.change(change.revision) != Some(change) {
            return Err(format!("{change:?}, which was not committed"));
        }
        self.revision = change.revision;
        let key = (change.username.clone(), change.device.clone());
        match &change.event {
            directory::Event::Connected(there) | directory::Event::Updated(there) => {
                self.online.insert(key, (there.port, there.revision));
            }
            directory::Event::Disconnected { .. } => {
                self.online.remove(&key);
            }
        }
        self.compare(truth)
    }

    /// Within one entry several changes are made; between them there is no state to compare with.
    fn compare(&self, truth: &Truth) -> Result<(), String> {
        let Some((state, _)) = truth.online.get(&self.revision) else { return Ok(()) };
        let ours = self.online.iter();
        let ours = ours.map(|((name, device), (port, revision))| (name, device, *port, *revision));
        if fingerprint(ours) != *state {
            return Err(format!("has another set of users at {}", self.revision));
        }
        Ok(())
    }
}
