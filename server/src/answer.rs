//! Answers that list users, in parts no larger than a message.
//!
//! An answer holds a picture of the state at one revision and produces its parts as the socket
//! drains, so that even a large one costs little memory and never counts as slow reading.

use std::sync::Arc;

use rollcall_replica::{Registration, User, Users};
use rollcall_shared::id::{Device, RequestId, Revision, SubscriptionId, Username};
use rollcall_shared::limits;
use rollcall_shared::message::{Address, Filter, tag};
use serde::Serialize;

/// A reply that is still being told.
pub(crate) struct Answer {
    id: RequestId,
    head: Option<Head>,
    source: Source,
    /// The user whose addresses are being listed, and the next one of them.
    current: Option<(Username, Arc<User>, usize)>,
    unknown: std::vec::IntoIter<Username>,
    revision: Revision,
    subscription: Option<SubscriptionId>,
}

/// What only the first part says.
enum Head {
    UserAddress,
    Subscribed { recovered: Option<bool> },
}

/// Where the users come from.
enum Source {
    Names(std::vec::IntoIter<(Username, Arc<User>)>),
    Prefix { users: Users, prefix: String, after: Option<Username> },
}

impl Answer {
    /// The answer to a lookup of `names`.
    pub(crate) fn lookup(id: RequestId, names: Vec<Username>, users: &Users) -> Self {
        let mut known = Vec::with_capacity(names.len());
        let mut unknown = Vec::new();
        for name in names {
            match users.get(&name) {
                Some(user) => known.push((name, Arc::clone(user))),
                None => unknown.push(name),
            }
        }
        Self {
            id,
            head: Some(Head::UserAddress),
            source: Source::Names(known.into_iter()),
            current: None,
            unknown: unknown.into_iter(),
            revision: users.revision(),
            subscription: None,
        }
    }

    /// The first answer to a subscription: who matches now.
    pub(crate) fn subscribed(
        id: RequestId,
        subscription: SubscriptionId,
        filter: &Filter,
        recovered: Option<bool>,
        users: &Users,
    ) -> Self {
        let source = match filter {
            Filter::Usernames(names) => {
                let known = names
                    .iter()
                    .filter_map(|name| Some((name.clone(), Arc::clone(users.get(name)?))))
                    .collect::<Vec<_>>();
                Source::Names(known.into_iter())
            }
            Filter::Prefix(prefix) => Source::prefix(users, prefix.as_str()),
            Filter::All => Source::prefix(users, ""),
        };
        Self {
            id,
            head: Some(Head::Subscribed { recovered }),
            source,
            current: None,
            unknown: Vec::new().into_iter(),
            revision: users.revision(),
            subscription: Some(subscription),
        }
    }

    /// The subscription it begins, if it does.
    pub(crate) const fn subscription(&self) -> Option<SubscriptionId> {
        self.subscription
    }

    /// The revision it is true at.
    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    /// The text of the next part, and whether more follow.
    pub(crate) fn next_part(&mut self, origin: &str) -> (String, bool) {
        let mut list = UserList::new();
        let users_left = !self.list_users(&mut list);
        let mut unknown = List::new(list.json.len());
        if !users_left {
            while let Some(name) = self.unknown.as_slice().first() {
                if !unknown.push(&json(name)) {
                    break;
                }
                self.unknown.next();
            }
        }
        let more = users_left || !self.unknown.as_slice().is_empty();
        (self.frame(origin, list.finish(), unknown, more), more)
    }

    /// Lists users until the part is full; whether all are listed.
    fn list_users(&mut self, list: &mut UserList) -> bool {
        loop {
            let Some((name, user, next)) = self.current.as_mut() else {
                match self.source.next() {
                    Some((name, user)) => self.current = Some((name, user, 0)),
                    None => return true,
                }
                continue;
            };
            while let Some((device, registration)) = user.devices().get(*next) {
                if !list.push(name, device, registration) {
                    return false;
                }
                *next += 1;
            }
            list.end_user();
            self.current = None;
        }
    }

    fn frame(&mut self, origin: &str, users: String, unknown: List, more: bool) -> String {
        let unknown_is_empty = unknown.is_empty();
        let unknown = unknown.finish();
        let id = self.id.0;
        let head = |tag: &str| {
            let mut text = String::with_capacity(users.len() + unknown.len() + 256);
            text.push_str(&format!(
                r#"{{"type":"{tag}","origin":"{origin}","id":{id},"payload":{{"#
            ));
            text
        };
        let revision = self.revision;
        match self.head.take() {
            Some(Head::UserAddress) => {
                let more = if more { r#","more":true"# } else { "" };
                let fields = format!(
                    r#""users":{users},"unknown":{unknown},"revision":{revision}{more}}}}}"#
                );
                head(tag::USER_ADDRESS) + &fields
            }
            Some(Head::Subscribed { recovered }) => {
                let number = self.subscription.unwrap_or_default();
                let recovered =
                    recovered.map_or_else(String::new, |it| format!(r#","recovered":{it}"#));
                let more = if more { r#","more":true"# } else { "" };
                let fields = format!(
                    r#""subscription":{number},"revision":{revision}{recovered},"users":{users}{more}}}}}"#
                );
                head(tag::SUBSCRIBED) + &fields
            }
            None => {
                let unknown = if unknown_is_empty {
                    String::new()
                } else {
                    format!(r#","unknown":{unknown}"#)
                };
                head(tag::USERS) + &format!(r#""users":{users}{unknown},"more":{more}}}}}"#)
            }
        }
    }
}

impl Source {
    fn prefix(users: &Users, prefix: &str) -> Self {
        Self::Prefix { users: users.clone(), prefix: prefix.to_owned(), after: None }
    }

    fn next(&mut self) -> Option<(Username, Arc<User>)> {
        match self {
            Self::Names(names) => names.next(),
            Self::Prefix { users, prefix, after } => {
                let (name, user) = users.matching(prefix, after.as_ref()).next()?;
                let found = (name.clone(), Arc::clone(user));
                *after = Some(found.0.clone());
                Some(found)
            }
        }
    }
}

/// A JSON array that stops growing before the message does.
struct List {
    json: String,
    /// Bytes of the same message outside this list.
    beside: usize,
}

impl List {
    fn new(beside: usize) -> Self {
        Self { json: String::from("["), beside }
    }

    fn is_empty(&self) -> bool {
        self.json.len() == 1
    }

    /// Whether `item` still fitted.
    fn push(&mut self, item: &str) -> bool {
        if self.beside + self.json.len() + item.len() > PART_BYTES {
            return false;
        }
        if !self.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(item);
        true
    }

    fn finish(mut self) -> String {
        self.json.push(']');
        self.json
    }
}

/// A JSON array of users, each with a list of addresses.
struct UserList {
    json: String,
    in_user: bool,
}

impl UserList {
    fn new() -> Self {
        Self { json: String::from("["), in_user: false }
    }

    /// Adds an address of `name`; whether it still fitted.
    fn push(&mut self, name: &Username, device: &Device, registration: &Registration) -> bool {
        let address = json(&Address {
            device: device.clone(),
            ip: registration.ip,
            port: registration.port,
            meta: registration.meta.clone(),
            revision: registration.revision,
        });
        let mut item = String::new();
        if self.in_user {
            item.push(',');
        } else {
            item.push_str(if self.json.len() == 1 { "" } else { "," });
            item.push_str(r#"{"username":"#);
            item.push_str(&json(name));
            item.push_str(r#","addresses":["#);
        }
        item.push_str(&address);
        if self.json.len() + item.len() > PART_BYTES {
            return false;
        }
        self.json.push_str(&item);
        self.in_user = true;
        true
    }

    fn end_user(&mut self) {
        if std::mem::take(&mut self.in_user) {
            self.json.push_str("]}");
        }
    }

    fn finish(mut self) -> String {
        self.end_user();
        self.json.push(']');
        self.json
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("names and addresses serialize without a fault")
}

/// What the lists of one part may take: the rest is for the fields around them.
const PART_BYTES: usize = limits::MESSAGE_BYTES - 1024;

#[cfg(test)]
mod tests;
