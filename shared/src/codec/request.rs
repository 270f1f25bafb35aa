//! A client's text frame to a request, or to the error it deserves.
//!
//! The order of the checks is part of the contract: JSON object, `type`, known type, `id`,
//! `origin`, payload. A good message is read in one pass; only a bad one is looked at again, to
//! say what is wrong with it.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::id::{ClientId, Device, Prefix, RequestId, Revision, SessionNumber, SubscriptionId};
use crate::id::{InvalidName, Username};
use crate::limits;
use crate::message::{
    ConnectUser, DisconnectUser, Error, ErrorCode, Filter, GetSequenceNumber, GetUserAddress,
    Hello, Ip, OBSERVED, Request, RequestKind, Subscribe, Unsubscribe, VERSION,
};
use crate::meta::{InvalidMeta, Meta};

/// A message of a client whose outer object is right.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// What it asks.
    pub kind: RequestKind,
    /// Its number.
    pub id: RequestId,
    /// Who it says it is from; `None` where it says nothing.
    pub origin: Option<ClientId>,
    payload: Option<&'a RawValue>,
}

/// A message that cannot be answered as asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its number, where that could be read.
    pub id: Option<RequestId>,
    /// What it asked, where that could be read.
    pub kind: Option<RequestKind>,
    /// What is wrong with it.
    pub error: Error,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    origin: Option<Text<'a>>,
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
}

/// The same with nothing expected of the fields, to find out which one is wrong.
#[derive(Deserialize)]
struct Loose<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    origin: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// Reads the outer object of `text`.
    ///
    /// # Errors
    /// [`Rejected`] with `malformed`, `unknown_type` or `invalid_argument`.
    pub fn parse(text: &'a str) -> Result<Self, Rejected> {
        // A derived reader would take an array for the object.
        if !text.trim_start().starts_with('{') {
            return Err(Rejected { id: None, kind: None, error: not_an_object("not an object") });
        }
        let outer: Outer<'_> =
            serde_json::from_str(text).map_err(|fault| diagnose(text, &fault))?;
        let id = outer.id.filter(|id| (1..=limits::REQUEST_ID).contains(id)).map(RequestId);
        let Some(kind) = RequestKind::from_tag(&outer.r#type) else {
            return Err(Rejected { id, kind: None, error: unknown_type(&outer.r#type) });
        };
        let Some(id) = id else {
            return Err(Rejected { id: None, kind: Some(kind), error: no_id() });
        };
        let reject = |error| Rejected { id: Some(id), kind: Some(kind), error };
        let origin = outer.origin.map(|text| client_of(&text.0)).transpose().map_err(reject)?;
        Ok(Self { kind, id, origin, payload: outer.payload })
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// `invalid_argument` with the field at fault, or `too_large` for `meta`.
    pub fn request(&self) -> Result<Request, Error> {
        let json = self.payload.map_or("{}", RawValue::get);
        if !json.starts_with('{') {
            return Err(Error::in_field("payload", "payload must be a JSON object"));
        }
        Ok(match self.kind {
            RequestKind::Hello => Request::Hello(hello(json)?),
            RequestKind::ConnectUser => Request::ConnectUser(connect_user(json)?),
            RequestKind::DisconnectUser => Request::DisconnectUser(disconnect_user(json)?),
            RequestKind::GetUserAddress => {
                let raw: RawNames<'_> = typed(json)?;
                let usernames = required("usernames", raw.usernames)?;
                Request::GetUserAddress(GetUserAddress { usernames: names(usernames)? })
            }
            RequestKind::GetSequenceNumber => Request::GetSequenceNumber(sequence(json)?),
            RequestKind::Subscribe => Request::Subscribe(subscribe(json)?),
            RequestKind::Unsubscribe => {
                let raw: RawUnsubscribe = typed(json)?;
                let subscription = SubscriptionId(required("subscription", raw.subscription)?);
                Request::Unsubscribe(Unsubscribe { subscription })
            }
            RequestKind::GetStatus => Request::GetStatus,
            RequestKind::Ping => Request::Ping,
        })
    }
}

fn hello(json: &str) -> Result<Hello, Error> {
    let raw: RawHello = typed(json)?;
    if raw.token.as_ref().is_some_and(|token| token.len() > limits::TOKEN_BYTES) {
        let message = format!("token is longer than {} bytes", limits::TOKEN_BYTES);
        return Err(Error::in_field("token", message));
    }
    if raw.versions.as_ref().is_some_and(|versions| !versions.contains(&u64::from(VERSION))) {
        let message = format!("this server speaks version {VERSION} only");
        return Err(Error::in_field("versions", message));
    }
    let versions = raw.versions.map(|_| vec![VERSION]);
    Ok(Hello { token: raw.token, versions, session: raw.session.map(SessionNumber) })
}

fn connect_user(json: &str) -> Result<ConnectUser, Error> {
    let raw: RawConnectUser<'_> = typed(json)?;
    let username = name("username", Username::new(&required("username", raw.username)?.0))?;
    let ip = match &*required("ip", raw.ip)?.0 {
        OBSERVED => Ip::Observed,
        text => Ip::Literal(text.parse::<IpAddr>().map_err(|_| {
            let message = format!("ip must be an IPv4 or IPv6 literal or \"{OBSERVED}\"");
            Error::in_field("ip", message)
        })?),
    };
    let port = required("port", raw.port)?;
    let port = u16::try_from(port).ok().filter(|&port| port > 0);
    let port = port.ok_or_else(|| Error::in_field("port", "port must be 1 to 65535"))?;
    let meta = raw.meta.map(|raw| Meta::new(raw.get()).map_err(bad_meta)).transpose()?;
    Ok(ConnectUser { username, ip, port, device: device(raw.device)?, meta })
}

fn disconnect_user(json: &str) -> Result<DisconnectUser, Error> {
    let raw: RawDisconnectUser<'_> = typed(json)?;
    let username = name("username", Username::new(&required("username", raw.username)?.0))?;
    Ok(DisconnectUser { username, device: device(raw.device)? })
}

fn sequence(json: &str) -> Result<GetSequenceNumber, Error> {
    let raw: RawSequence = typed(json)?;
    let count = raw.count.unwrap_or(1);
    let count = u32::try_from(count).ok().filter(|n| (1..=limits::SEQUENCE_COUNT).contains(n));
    let count = count.ok_or_else(|| {
        Error::in_field("count", format!("count must be 1 to {}", limits::SEQUENCE_COUNT))
    })?;
    Ok(GetSequenceNumber { count })
}

fn subscribe(json: &str) -> Result<Subscribe, Error> {
    let raw: RawSubscribe<'_> = typed(json)?;
    let filter = match (raw.usernames, raw.prefix, raw.all) {
        (Some(raw), None, None) => Filter::Usernames(names(raw)?),
        (None, Some(prefix), None) => Filter::Prefix(name("prefix", Prefix::new(&prefix.0))?),
        (None, None, Some(true)) => Filter::All,
        (None, None, Some(false)) => {
            return Err(Error::in_field("all", "all must be true, or left out"));
        }
        (None, None, None) => {
            let message = "say whom: exactly one of usernames, prefix, all";
            return Err(Error::in_field("usernames", message));
        }
        (names, _, all) => {
            let field = if all.is_some() { "all" } else { "prefix" };
            let field = if names.is_none() { "all" } else { field };
            return Err(Error::in_field(field, "exactly one of usernames, prefix, all"));
        }
    };
    Ok(Subscribe { filter, since: raw.since.map(Revision) })
}

fn names(raw: Vec<Text<'_>>) -> Result<Vec<Username>, Error> {
    if raw.is_empty() || raw.len() > limits::USERNAMES {
        let message = format!("usernames must hold 1 to {} names", limits::USERNAMES);
        return Err(Error::in_field("usernames", message));
    }
    let mut names = raw
        .iter()
        .map(|text| name("usernames", Username::new(&text.0)))
        .collect::<Result<Vec<_>, _>>()?;
    // Names given twice are answered once; the order of the answer is that of the names.
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn device(raw: Option<Text<'_>>) -> Result<Device, Error> {
    raw.map_or_else(|| Ok(Device::default()), |text| name("device", Device::new(&text.0)))
}

fn name<T>(field: &str, result: Result<T, InvalidName>) -> Result<T, Error> {
    result.map_err(|fault| Error::in_field(field, format!("{field} {fault}")))
}

fn bad_meta(fault: InvalidMeta) -> Error {
    let message = format!("meta {fault}");
    match fault {
        InvalidMeta::TooLarge => {
            let error = Error::new(ErrorCode::TooLarge, message);
            Error { field: Some("meta".into()), ..error }
        }
        InvalidMeta::NotAnObject | InvalidMeta::TooDeep => Error::in_field("meta", message),
    }
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::in_field(field, format!("{field} is missing")))
}

/// Reads a payload; when that fails, a second reading tells in which field.
fn typed<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|_| {
        let mut reader = serde_json::Deserializer::from_str(json);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Ok(_) => Error::in_field("payload", "payload is not one JSON object"),
            Err(fault) => {
                let path = fault.path().to_string();
                let field = path.split(['.', '[']).next().filter(|field| !field.is_empty());
                let field = field.unwrap_or("payload");
                Error::in_field(field, format!("{field}: {}", without_place(fault.inner())))
            }
        }
    })
}

/// What serde_json says, without "at line 1 column 17" (the place is within the payload and would
/// mislead) and without more of the client's own text than helps.
fn without_place(fault: &serde_json::Error) -> String {
    let text = fault.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    shortened(what)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(FAULT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn client_of(origin: &str) -> Result<ClientId, Error> {
    let Some(id) = origin.strip_prefix("client/") else {
        return Err(Error::in_field("origin", "origin must be client/<client id>"));
    };
    ClientId::new(id).map_err(|fault| Error::in_field("origin", format!("the client id {fault}")))
}

fn unknown_type(tag: &str) -> Error {
    Error::new(ErrorCode::UnknownType, format!("{:?} is not a type of request", shortened(tag)))
}

fn no_id() -> Error {
    Error::new(ErrorCode::Malformed, "a request needs an integer id, 1 to 2^53-1")
}

fn not_an_object(why: impl std::fmt::Display) -> Error {
    let why = shortened(&why.to_string());
    Error::new(ErrorCode::Malformed, format!("a message is one JSON object: {why}"))
}

/// Finds what made the outer object unreadable, in the order of the contract.
fn diagnose(text: &str, fault: &serde_json::Error) -> Rejected {
    let Ok(loose) = serde_json::from_str::<Loose<'_>>(text) else {
        return Rejected { id: None, kind: None, error: not_an_object(fault) };
    };
    let id = loose.id.and_then(read::<u64>);
    let id = id.filter(|id| (1..=limits::REQUEST_ID).contains(id)).map(RequestId);
    let Some(tag) = loose.r#type.and_then(read::<String>) else {
        let error = Error::new(ErrorCode::Malformed, "type must be a string");
        return Rejected { id, kind: None, error };
    };
    let Some(kind) = RequestKind::from_tag(&tag) else {
        return Rejected { id, kind: None, error: unknown_type(&tag) };
    };
    if id.is_none() {
        return Rejected { id: None, kind: Some(kind), error: no_id() };
    }
    let error = match loose.origin {
        Some(raw) if read::<String>(raw).is_none() => {
            Error::in_field("origin", "origin must be a string")
        }
        _ => not_an_object(fault),
    };
    Rejected { id, kind: Some(kind), error }
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads an optional field that, where it is given, must hold a value: `null` is not one.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawHello {
    #[serde(default, deserialize_with = "present")]
    token: Option<String>,
    #[serde(default, deserialize_with = "present")]
    versions: Option<Vec<u64>>,
    #[serde(default, deserialize_with = "present")]
    session: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawConnectUser<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    username: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    ip: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    port: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    device: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawDisconnectUser<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    username: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    device: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawNames<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    usernames: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawSequence {
    #[serde(default, deserialize_with = "present")]
    count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawSubscribe<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    usernames: Option<Vec<Text<'a>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    prefix: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    all: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    since: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct RawUnsubscribe {
    #[serde(default, deserialize_with = "present")]
    subscription: Option<u64>,
}

/// How much of a fault is told: it may quote what the client sent.
const FAULT_CHARS: usize = 160;

#[cfg(test)]
mod tests;
