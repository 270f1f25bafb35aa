//! What a client writes: requests, and the parts of answers that a browser is handed.
//!
//! The same text as [`super::encode`] makes of the same types, without the general writer: the
//! browser client is weighed in kilobytes.

use std::net::{IpAddr, Ipv4Addr};

use super::json::{Write, object};
use crate::id::{Device, RequestId, Revision, SessionNumber, SubscriptionId, Username};
use crate::message::{
    Address, Change, Filter, Hello, Ip, OBSERVED, Reason, Request, RequestKind, Subscribe, User,
    UserAddress,
};
use crate::meta::Meta;

/// The text of a request.
#[must_use]
pub fn encode(origin: Option<&str>, id: RequestId, request: &Request) -> String {
    let mut text = String::with_capacity(128);
    object(&mut text, |members| {
        members.put("type", request.kind().tag());
        members.put_some("origin", origin);
        members.put("id", &id);
        members.put("payload", request);
    });
    text
}

impl Write for Request {
    fn write(&self, out: &mut String) {
        object(out, |members| match self {
            Self::Hello(Hello { token, versions, session }) => {
                members.put_some("token", token.as_deref());
                members.put_some("versions", versions.as_deref());
                members.put_some("session", session.as_ref());
            }
            Self::ConnectUser(it) => {
                members.put("username", &it.username);
                members.put("ip", &it.ip);
                members.put("port", &u64::from(it.port));
                members.put("device", &it.device);
                members.put_some("meta", it.meta.as_ref());
            }
            Self::DisconnectUser(it) => {
                members.put("username", &it.username);
                members.put("device", &it.device);
            }
            Self::GetUserAddress(it) => members.put("usernames", &*it.usernames),
            Self::GetSequenceNumber(it) => members.put("count", &u64::from(it.count)),
            Self::Subscribe(Subscribe { filter, since }) => {
                match filter {
                    Filter::Usernames(usernames) => members.put("usernames", &**usernames),
                    Filter::Prefix(prefix) => members.put("prefix", prefix.as_str()),
                    Filter::All => members.put("all", &true),
                }
                members.put_some("since", since.as_ref());
            }
            Self::Unsubscribe(it) => members.put("subscription", &it.subscription),
            Self::GetStatus | Self::Ping => {}
        });
    }
}

impl Write for UserAddress {
    fn write(&self, out: &mut String) {
        object(out, |members| {
            members.put("users", &*self.users);
            members.put("unknown", &*self.unknown);
            members.put("revision", &self.revision);
            members.put_some("more", self.more.then_some(&true));
        });
    }
}

impl Write for User {
    fn write(&self, out: &mut String) {
        object(out, |members| {
            members.put("username", &self.username);
            members.put("addresses", &*self.addresses);
        });
    }
}

impl Write for Address {
    fn write(&self, out: &mut String) {
        object(out, |members| {
            members.put("device", &self.device);
            members.put("ip", &self.ip);
            members.put("port", &u64::from(self.port));
            members.put_some("meta", self.meta.as_ref());
            members.put("revision", &self.revision);
        });
    }
}

impl Write for Change {
    fn write(&self, out: &mut String) {
        object(out, |members| {
            members.put("subscription", &self.subscription);
            members.put("username", &self.username);
            members.put("device", &self.device);
            members.put_some("ip", self.ip.as_ref());
            members.put_some("port", self.port.map(u64::from).as_ref());
            members.put_some("meta", self.meta.as_ref());
            members.put_some("reason", self.reason.as_ref());
            members.put("revision", &self.revision);
            members.put("online", &self.online);
        });
    }
}

impl Write for Ip {
    fn write(&self, out: &mut String) {
        match self {
            Self::Observed => OBSERVED.write(out),
            Self::Literal(ip) => ip.write(out),
        }
    }
}

impl Write for IpAddr {
    fn write(&self, out: &mut String) {
        out.push('"');
        match self {
            Self::V4(ip) => dotted(*ip, out),
            Self::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => {
                    out.push_str("::ffff:");
                    dotted(ip, out);
                }
                None => groups(ip.segments(), out),
            },
        }
        out.push('"');
    }
}

/// Writes four numbers.
fn dotted(ip: Ipv4Addr, out: &mut String) {
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        u64::from(octet).write(out);
    }
}

/// Writes eight groups the way RFC 5952 has it: the first of the longest runs of zeros is left out.
fn groups(groups: [u16; 8], out: &mut String) {
    let (mut gap, mut run) = (0..0, 0);
    for (at, group) in groups.into_iter().enumerate() {
        run = if group == 0 { run + 1 } else { 0 };
        if run > gap.len().max(1) {
            gap = at + 1 - run..at + 1;
        }
    }
    for (at, group) in groups.into_iter().enumerate() {
        if gap.contains(&at) {
            if at == gap.start {
                out.push_str("::");
            }
            continue;
        }
        if at > 0 && at != gap.end {
            out.push(':');
        }
        for shift in [12, 8, 4, 0] {
            if group >> shift > 0 || shift == 0 {
                out.extend(char::from_digit(u32::from(group >> shift & 15), 16));
            }
        }
    }
}

impl Write for Reason {
    fn write(&self, out: &mut String) {
        let word = match self {
            Self::Left => "left",
            Self::Expired => "expired",
        };
        word.write(out);
    }
}

impl Write for Meta {
    fn write(&self, out: &mut String) {
        out.push_str(self.as_str());
    }
}

impl Write for Username {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

impl Write for Device {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

macro_rules! number {
    ($($name:ident),*) => {$(
        impl Write for $name {
            fn write(&self, out: &mut String) {
                self.0.write(out);
            }
        }
    )*};
}

number!(RequestId, Revision, SessionNumber, SubscriptionId);

impl Write for RequestKind {
    fn write(&self, out: &mut String) {
        self.tag().write(out);
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::id::Prefix;
    use crate::message::{
        ConnectUser, DisconnectUser, GetSequenceNumber, GetUserAddress, Unsubscribe,
    };

    fn check(request: &Request) {
        for origin in [None, Some("client/x")] {
            let id = RequestId((1 << 53) - 1);
            let expected = super::super::encode(request.kind().tag(), origin, Some(id), request);
            assert_eq!(encode(origin, id, request), expected);
        }
    }

    fn check_part<T: Write + Serialize>(part: &T) {
        let mut text = String::new();
        part.write(&mut text);
        assert_eq!(text, serde_json::to_string(part).unwrap());
    }

    fn name(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    #[test]
    fn requests_are_written_as_by_the_general_writer() {
        check(&Request::Hello(Hello::default()));
        check(&Request::Hello(Hello {
            token: Some("a\"\\/\n\u{1}\u{7f}é😀".to_owned()),
            versions: Some(vec![1, 2]),
            session: Some(SessionNumber(7)),
        }));
        for ip in [Ip::Observed, Ip::Literal([10, 0, 0, 1].into()), Ip::Literal([0; 16].into())] {
            check(&Request::ConnectUser(ConnectUser {
                username: name("\"ann\""),
                ip,
                port: 65535,
                device: Device::default(),
                meta: Some(Meta::new(r#"{"a":[1.5,"\n"]}"#).unwrap()),
            }));
        }
        check(&Request::DisconnectUser(DisconnectUser {
            username: name("é"),
            device: Device::default(),
        }));
        let usernames = vec![name("a"), name("b")];
        check(&Request::GetUserAddress(GetUserAddress { usernames: usernames.clone() }));
        check(&Request::GetUserAddress(GetUserAddress { usernames: Vec::new() }));
        check(&Request::GetSequenceNumber(GetSequenceNumber { count: 0 }));
        for filter in
            [Filter::Usernames(usernames), Filter::Prefix(Prefix::new("\\").unwrap()), Filter::All]
        {
            check(&Request::Subscribe(Subscribe { filter: filter.clone(), since: None }));
            check(&Request::Subscribe(Subscribe { filter, since: Some(Revision(10)) }));
        }
        check(&Request::Unsubscribe(Unsubscribe { subscription: SubscriptionId(9) }));
        check(&Request::GetStatus);
        check(&Request::Ping);
    }

    #[test]
    fn parts_of_answers_are_written_as_by_the_general_writer() {
        let address = Address {
            device: Device::default(),
            ip: [127, 0, 0, 1].into(),
            port: 80,
            meta: None,
            revision: Revision(3),
        };
        let users = vec![User { username: name("a"), addresses: vec![address.clone(), address] }];
        let unknown = vec![name("b")];
        for more in [false, true] {
            let (users, unknown) = (users.clone(), unknown.clone());
            check_part(&UserAddress { users, unknown, revision: Revision(4), more });
        }
        let change = Change {
            subscription: SubscriptionId(1),
            username: name("a"),
            device: Device::default(),
            ip: Some([0, 0, 0, 0, 0, 0, 0, 1].into()),
            port: Some(1),
            meta: Some(Meta::new("{}").unwrap()),
            reason: None,
            revision: Revision(5),
            online: true,
        };
        check_part(&change);
        for reason in [Reason::Left, Reason::Expired] {
            let reason = Some(reason);
            check_part(&Change { ip: None, port: None, meta: None, reason, ..change.clone() });
        }
    }

    #[test]
    fn addresses_are_written_as_by_the_standard_library() {
        for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [255; 4], [10, 99, 100, 9]] {
            let ip = Ipv4Addr::from(ip);
            check_part(&IpAddr::V4(ip));
            check_part(&IpAddr::V6(ip.to_ipv6_mapped()));
            check_part(&IpAddr::V6(ip.to_ipv6_compatible()));
        }
        // Every way in which groups can be zero.
        for zeros in 0..=u8::MAX {
            for value in [1_u16, 0x20, 0x304, 0xfff0, 0xffff] {
                let part = |at| if zeros >> at & 1 == 1 { 0 } else { value };
                check_part(&IpAddr::from(std::array::from_fn::<u16, 8, _>(part)));
            }
        }
    }
}
