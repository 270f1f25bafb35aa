//! Who is online: an ordered map that can be kept as it was at any revision for the price of a
//! pointer, so that lookups and large answers need no lock and stop nobody.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use rollcall_shared::id::{ClientId, Device, Revision, Username};
use rollcall_shared::meta::Meta;

use crate::command::Principal;

/// All users, true at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    by_name: OrdMap<Username, Arc<User>>,
    registrations: usize,
    revision: Revision,
}

/// One user's devices; there is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// In order of the device's name.
    devices: Vec<(Device, Arc<Registration>)>,
}

/// Where a device is reached, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its IP address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// What the application keeps with it.
    pub meta: Option<Meta>,
    /// The revision of its last change.
    pub revision: Revision,
    /// Whose session holds it.
    pub holder: Holder,
}

/// The session that holds a registration. It is live: what an ended one held is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(Arc<(ClientId, Principal)>);

impl Holder {
    pub(super) fn new(client: ClientId, principal: Principal) -> Self {
        Self(Arc::new((client, principal)))
    }

    pub(super) fn identity(&self) -> (ClientId, Principal) {
        (*self.0).clone()
    }

    pub(super) fn client(&self) -> &ClientId {
        &self.0.0
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.0.1
    }
}

impl Registration {
    /// Whether `other` leads to the same place with the same meta.
    pub(super) fn same_address(&self, other: &Self) -> bool {
        (self.ip, self.port, &self.meta) == (other.ip, other.port, &other.meta)
    }
}

impl User {
    /// The devices, in order of their names.
    #[must_use]
    pub fn devices(&self) -> &[(Device, Arc<Registration>)] {
        &self.devices
    }

    fn position(&self, device: &Device) -> Result<usize, usize> {
        self.devices.binary_search_by(|(there, _)| there.cmp(device))
    }
}

impl Users {
    pub(super) fn new(revision: Revision) -> Self {
        Self { by_name: OrdMap::new(), registrations: 0, revision }
    }

    /// Says that all of it is true at this revision, where the numbers of a new life begin.
    pub(super) const fn go_on_from(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// The revision all of it is true at.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// How many users are online.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nobody is online.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many devices are registered.
    #[must_use]
    pub const fn registrations(&self) -> usize {
        self.registrations
    }

    /// One user.
    #[must_use]
    pub fn get(&self, username: &Username) -> Option<&Arc<User>> {
        self.by_name.get(username)
    }

    /// The users after `after` whose name begins with `prefix`, in order of name.
    pub fn matching<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&Username>,
    ) -> impl Iterator<Item = (&'a Username, &'a Arc<User>)> {
        let start = after
            .map(Username::as_str)
            .filter(|after| *after >= prefix)
            .map_or(Bound::Included(prefix), Bound::Excluded);
        self.by_name
            .range::<_, str>((start, Bound::Unbounded))
            .take_while(move |(name, _)| name.as_str().starts_with(prefix))
    }

    pub(super) fn registration(
        &self,
        username: &Username,
        device: &Device,
    ) -> Option<&Registration> {
        let user = self.by_name.get(username)?;
        let at = user.position(device).ok()?;
        Some(&user.devices[at].1)
    }

    /// All registrations in order of name and device, or those after one.
    pub(super) fn registrations_after<'a>(
        &'a self,
        after: Option<(&'a Username, &'a Device)>,
    ) -> impl Iterator<Item = (&'a Username, &'a Device, &'a Arc<Registration>)> {
        let start = after.map_or(Bound::Unbounded, |(name, _)| Bound::Included(name.as_str()));
        self.by_name.range::<_, str>((start, Bound::Unbounded)).flat_map(move |(name, user)| {
            let seen = after.filter(|(last, _)| *last == name).map_or(0, |(_, device)| {
                user.position(device).map_or_else(|next| next, |last| last + 1)
            });
            user.devices[seen..].iter().map(move |(device, there)| (name, device, there))
        })
    }

    pub(super) fn devices(&self, username: &Username) -> usize {
        self.by_name.get(username).map_or(0, |user| user.devices.len())
    }

    /// Sets a registration; its revision becomes that of all.
    pub(super) fn insert(
        &mut self,
        username: Username,
        device: Device,
        registration: Arc<Registration>,
    ) {
        debug_assert!(registration.revision > self.revision, "revisions only grow");
        self.revision = registration.revision;
        self.restore(username, device, registration);
    }

    /// Sets a registration that was there at the revision of all.
    pub(super) fn restore(
        &mut self,
        username: Username,
        device: Device,
        registration: Arc<Registration>,
    ) {
        let user = Arc::make_mut(self.by_name.entry(username).or_default());
        match user.position(&device) {
            Ok(at) => user.devices[at].1 = registration,
            Err(at) => {
                user.devices.insert(at, (device, registration));
                self.registrations += 1;
            }
        }
    }

    /// Takes a registration away, at the next revision; whether another of the user is left.
    pub(super) fn remove(&mut self, username: &Username, device: &Device) -> bool {
        self.revision = self.revision.next();
        let Some(user) = self.by_name.get_mut(username) else {
            return false;
        };
        let user = Arc::make_mut(user);
        if let Ok(at) = user.position(device) {
            user.devices.remove(at);
            self.registrations -= 1;
        }
        let online = !user.devices.is_empty();
        if !online {
            self.by_name.remove(username);
        }
        online
    }
}
