//! The users a subscription is about, as of one revision, and the differences between two such
//! sets.

use std::cmp::Ordering;

use super::event::ChangeKind;
use super::table::Table;
use crate::id::{Device, Revision, SubscriptionId, Username};
use crate::message::{Address, Change, Reason, User};

/// Who is there, in order of names; each one's devices in order of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View(Table<Username, Vec<Address>>);

impl View {
    /// The users, in order of names.
    pub fn users(&self) -> impl Iterator<Item = User> + '_ {
        self.0.iter().map(|(username, addresses)| User {
            username: username.clone(),
            addresses: addresses.clone(),
        })
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a part of an answer lists. A user that came before gets the further devices.
    pub(super) fn extend(&mut self, users: Vec<User>) {
        for user in users.into_iter().filter(|user| !user.addresses.is_empty()) {
            let addresses = self.0.get_or_insert(user.username, Vec::new);
            for address in user.addresses {
                put(addresses, address);
            }
        }
    }

    /// Carries out a change.
    pub(super) fn apply(&mut self, kind: ChangeKind, change: &Change) {
        if kind == ChangeKind::Disconnected {
            if let Some(addresses) = self.0.get_mut(&change.username) {
                addresses.retain(|address| address.device != change.device);
                if addresses.is_empty() {
                    self.0.remove(&change.username);
                }
            }
        } else if let (Some(ip), Some(port)) = (change.ip, change.port) {
            let address = Address {
                device: change.device.clone(),
                ip,
                port,
                meta: change.meta.clone(),
                revision: change.revision,
            };
            put(self.0.get_or_insert(change.username.clone(), Vec::new), address);
        }
    }

    /// The changes that lead from this set to `new`, true at `revision`, in order of username and
    /// device.
    pub(super) fn changes_to(
        &self,
        new: &Self,
        subscription: SubscriptionId,
        revision: Revision,
    ) -> Vec<(ChangeKind, Change)> {
        let mut changes = Vec::new();
        let none = Vec::new();
        let (mut before, mut after) = (self.0.iter().peekable(), new.0.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let old = if order.is_le() { before.next() } else { None };
            let now = if order.is_ge() { after.next() } else { None };
            let Some((username, _)) = old.or(now) else {
                return changes;
            };
            let old = old.map_or(&none, |(_, addresses)| addresses);
            let now = now.map_or(&none, |(_, addresses)| addresses);
            merge(old, now, |kind, address| {
                let gone = kind == ChangeKind::Disconnected;
                changes.push((
                    kind,
                    Change {
                        subscription,
                        username: username.clone(),
                        device: address.device.clone(),
                        ip: (!gone).then_some(address.ip),
                        port: (!gone).then_some(address.port),
                        meta: address.meta.clone().filter(|_| !gone),
                        reason: gone.then_some(Reason::Expired),
                        revision: if gone { revision } else { address.revision },
                        online: !now.is_empty(),
                    },
                ));
            });
        }
    }
}

/// Walks two lists in order of devices and tells where they differ.
fn merge(old: &[Address], new: &[Address], mut tell: impl FnMut(ChangeKind, &Address)) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.device.cmp(&b.device),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some(before), None) => tell(ChangeKind::Disconnected, before),
            (None, Some(after)) => tell(ChangeKind::Connected, after),
            (Some(before), Some(after)) if before != after => tell(ChangeKind::Updated, after),
            _ => {}
        }
    }
}

fn put(addresses: &mut Vec<Address>, address: Address) {
    match addresses.binary_search_by(|known| known.device.cmp(&address.device)) {
        Ok(at) => addresses[at] = address,
        Err(at) => addresses.insert(at, address),
    }
}

/// A device of a user: what a change is about.
pub(super) type Key = (Username, Device);

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> View {
        let mut view = View::default();
        view.extend(
            text.split_whitespace()
                .map(|entry| {
                    let mut parts = entry.split([':', '@']);
                    let mut part = || parts.next().unwrap();
                    User {
                        username: Username::new(part()).unwrap(),
                        addresses: vec![Address {
                            device: Device::new(part()).unwrap(),
                            ip: [10, 0, 0, 1].into(),
                            port: 1,
                            meta: None,
                            revision: Revision(part().parse().unwrap()),
                        }],
                    }
                })
                .collect(),
        );
        view
    }

    fn check(old: &str, new: &str, expected: &str) {
        let (mut old, new) = (view(old), view(new));
        let changes = old.changes_to(&new, SubscriptionId(1), Revision(99));
        let told: Vec<_> = changes
            .iter()
            .map(|(kind, change)| {
                let sign = match kind {
                    ChangeKind::Connected => '+',
                    ChangeKind::Updated => '=',
                    ChangeKind::Disconnected => '-',
                };
                let online = if change.online { "" } else { "!" };
                format!("{sign}{}:{}@{}{online}", change.username, change.device, change.revision)
            })
            .collect();
        assert_eq!(told.join(" "), expected);
        for (kind, change) in &changes {
            old.apply(*kind, change);
        }
        assert_eq!(old, new, "the changes lead from the old to the new");
    }

    #[test]
    fn differences_lead_from_one_to_the_other() {
        check("", "", "");
        check("a:x@1", "a:x@1", "");
        check("", "b:x@2 a:x@1 a:w@3", "+a:w@3 +a:x@1 +b:x@2");
        check("a:x@1 b:y@2 b:z@3", "b:z@3", "-a:x@99! -b:y@99");
        check("a:x@1 b:y@2", "a:x@4 b:w@5", "=a:x@4 +b:w@5 -b:y@99");
    }
}
