//! What the directory should hold, as a test knows it: fed by replies or by pushes, compared with replies.
//!
//! It checks what holds for any sequence of pushes (they fit what stands, revisions grow); it knows
//! nothing of sessions, ownership or time.

use std::collections::BTreeMap;

use serde_json::Value;

/// Users with their devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    users: BTreeMap<String, BTreeMap<String, Address>>,
}

/// Where one device is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub ip: String,
    pub port: u16,
    pub meta: Option<Value>,
    pub revision: u64,
}

impl Directory {
    /// The directory that `users` of `UserAddress`, `Subscribed` or `Users` describes.
    pub fn from_users(users: &Value) -> Self {
        let mut directory = Self::default();
        directory.add_users(users);
        directory
    }

    /// Adds `users` of a further part of an answer. Nobody may be there yet.
    pub fn add_users(&mut self, users: &Value) {
        for user in users.as_array().expect("users is an array") {
            let username = text(user, "username");
            let addresses = user["addresses"].as_array().expect("addresses is an array");
            assert!(!addresses.is_empty(), "{username} is listed without an address");
            for address in addresses {
                self.appear(username, text(address, "device"), Address::from_json(address));
            }
        }
    }

    /// Adds a device that must not be there.
    pub fn appear(&mut self, username: &str, device: &str, address: Address) {
        let devices = self.users.entry(username.to_owned()).or_default();
        let before = devices.insert(device.to_owned(), address);
        assert_eq!(before, None, "{username}/{device} appeared twice");
    }

    /// Sets a device whether or not it is there, as `ConnectUser` does.
    pub fn set(&mut self, username: &str, device: &str, address: Address) {
        self.users.entry(username.to_owned()).or_default().insert(device.to_owned(), address);
    }

    /// Removes a device and says what it was; none if it was not there.
    pub fn remove(&mut self, username: &str, device: &str) -> Option<Address> {
        let devices = self.users.get_mut(username)?;
        let removed = devices.remove(device);
        if devices.is_empty() {
            self.users.remove(username);
        }
        removed
    }

    /// Applies a push; it has to fit what stands.
    pub fn apply(&mut self, push: &Value) {
        let payload = &push["payload"];
        let (username, device) = (text(payload, "username"), text(payload, "device"));
        let revision = payload["revision"].as_u64().expect("a change has a revision");
        match push["type"].as_str() {
            Some("UserConnected") => {
                assert_eq!(payload["online"], true, "{push}");
                self.appear(username, device, Address::from_json(payload));
            }
            Some("UserUpdated") => {
                assert_eq!(payload["online"], true, "{push}");
                let before = self.remove(username, device);
                let before = before.unwrap_or_else(|| panic!("updated what was not there: {push}"));
                assert!(before.revision < revision, "an update went back: {push}");
                self.set(username, device, Address::from_json(payload));
            }
            Some("UserDisconnected") => {
                let before = self.remove(username, device);
                let before = before.unwrap_or_else(|| panic!("ended what was not there: {push}"));
                assert!(before.revision < revision, "an end went back: {push}");
                assert_eq!(payload["online"], self.is_online(username), "{push}");
            }
            _ => panic!("not a change: {push}"),
        }
    }

    /// Whether any device of the user is there.
    pub fn is_online(&self, username: &str) -> bool {
        self.users.contains_key(username)
    }

    /// One device of a user.
    pub fn address(&self, username: &str, device: &str) -> Option<&Address> {
        self.users.get(username)?.get(device)
    }

    /// The names of all users that are online, in order.
    pub fn usernames(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The part of it whose names begin with `prefix`.
    pub fn with_prefix(&self, prefix: &str) -> Self {
        let matching = self.users.iter().filter(|(name, _)| name.starts_with(prefix));
        Self { users: matching.map(|(name, devices)| (name.clone(), devices.clone())).collect() }
    }

    /// The largest revision in it; 0 if it is empty.
    pub fn newest_revision(&self) -> u64 {
        let addresses = self.users.values().flat_map(BTreeMap::values);
        addresses.map(|address| address.revision).max().unwrap_or(0)
    }
}

impl Address {
    /// Reads `ip`, `port`, `meta` and `revision` of an object.
    pub fn from_json(object: &Value) -> Self {
        let port = object["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Self {
            ip: text(object, "ip").to_owned(),
            port: port.unwrap_or_else(|| panic!("no port in {object}")),
            meta: object.get("meta").cloned(),
            revision: object["revision"].as_u64().expect("an address has a revision"),
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("no {field} in {object}"))
}
