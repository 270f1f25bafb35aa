//! Arguments: from JavaScript values to valid requests, or the error the contract has for them.

use std::time::Duration;

use js_sys::{Array, Function, JSON};
use rollcall_shared::codec::ip;
use rollcall_shared::id::{ClientId, Device, InvalidName, Prefix, Username};
use rollcall_shared::limits;
use rollcall_shared::message::{ConnectUser, ErrorCode, Filter, Ip, OBSERVED};
use rollcall_shared::meta::Meta;
use rollcall_shared::session::{Code, Config, Error, Token};
use wasm_bindgen::prelude::*;

use crate::host;

/// An object whose properties are arguments.
pub(crate) struct Args(JsValue);

/// Options of `Rollcall.connect`.
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) client: Option<ClientId>,
    pub(crate) get_token: Option<Function>,
    pub(crate) lazy: bool,
}

impl Args {
    pub(crate) fn new(object: JsValue) -> Self {
        Self(object)
    }

    /// A property that was given.
    fn find(&self, name: &str) -> Option<JsValue> {
        // Reading a property of `undefined` would throw; there is none then.
        if !self.0.is_object() {
            return None;
        }
        Some(host::property(&self.0, name)).filter(|value| !value.is_undefined())
    }

    fn milliseconds(&self, name: &str, default: Duration) -> Result<Duration, Error> {
        self.find(name).map_or(Ok(default), |value| {
            let ms =
                integer(&value, 0, u32::MAX).ok_or_else(|| fault(name, "is not milliseconds"))?;
            Ok(Duration::from_millis(ms.into()))
        })
    }
}

pub(crate) fn options(args: &Args) -> Result<Options, Error> {
    let default = Config::default();
    let servers = args.find("servers").and_then(|value| strings(&value)).unwrap_or_default();
    if servers.is_empty() {
        return Err(fault("servers", "is not an array of WebSocket URLs"));
    }
    // A browser tells nothing of why it refuses a URL, so the likely mistake is looked for here.
    if !servers.iter().all(|url| url.starts_with("ws://") || url.starts_with("wss://")) {
        let message = "a server's URL begins with ws:// or wss://, as in ws://127.0.0.1:7101/ws";
        return Err(invalid("servers", message));
    }
    let get_token = args
        .find("getToken")
        .map(|value| value.dyn_into().map_err(|_| fault("getToken", "is not a function")))
        .transpose()?;
    let client =
        args.find("clientId").map(|value| name(&value, "clientId", ClientId::new)).transpose()?;
    Ok(Options {
        config: Config {
            servers,
            timeout: args.milliseconds("timeout", default.timeout)?,
            min_reconnect_delay: args
                .milliseconds("minReconnectDelay", default.min_reconnect_delay)?,
            max_reconnect_delay: args
                .milliseconds("maxReconnectDelay", default.max_reconnect_delay)?,
            token: if get_token.is_some() { Token::Ask } else { Token::None },
        },
        client,
        get_token,
        lazy: args.find("lazy").is_some_and(|value| value.is_truthy()),
    })
}

pub(crate) fn connect_user(user: &JsValue, args: &Args) -> Result<ConnectUser, Error> {
    let username = username(user)?;
    let port = args.find("port").and_then(|value| integer(&value, 1, 65_535));
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| fault("port", "is not an integer from 1 to 65535"))?;
    Ok(ConnectUser { username, ip: ip(args)?, port, device: device(args)?, meta: meta(args)? })
}

fn ip(args: &Args) -> Result<Ip, Error> {
    let text = args.find("ip").and_then(|value| value.as_string()).unwrap_or_default();
    if text == OBSERVED {
        return Ok(Ip::Observed);
    }
    ip::parse(&text)
        .map(Ip::Literal)
        .ok_or_else(|| fault("ip", "is neither an IPv4 or IPv6 address nor \"observed\""))
}

/// Checks the size only: what `JSON.stringify` wrote is compact and valid, and the server looks at
/// the rest.
fn meta(args: &Args) -> Result<Option<Meta>, Error> {
    let Some(value) = args.find("meta") else {
        return Ok(None);
    };
    let text = JSON::stringify(&value).ok().and_then(|text| text.as_string());
    let text = text.filter(|text| text.starts_with('{'));
    let Some(text) = text else {
        return Err(fault("meta", "is not an object that JSON can write"));
    };
    if text.len() > limits::META_BYTES {
        let error = fault("meta", "is larger than 1024 bytes as JSON");
        return Err(Error { code: Code::Refused(ErrorCode::TooLarge), ..error });
    }
    Ok(Some(Meta::trusted(&text)))
}

pub(crate) fn device(args: &Args) -> Result<Device, Error> {
    args.find("device")
        .map_or_else(|| Ok(Device::default()), |value| name(&value, "device", Device::new))
}

pub(crate) fn username(value: &JsValue) -> Result<Username, Error> {
    name(value, "username", Username::new)
}

pub(crate) fn usernames(value: &JsValue) -> Result<Vec<Username>, Error> {
    let names = Array::is_array(value).then(|| {
        Array::from(value).iter().map(|value| name(&value, "usernames", Username::new)).collect()
    });
    names.unwrap_or_else(|| Err(fault("usernames", "is not an array of strings")))
}

pub(crate) fn count(value: &JsValue) -> Result<u32, Error> {
    if value.is_undefined() {
        return Ok(1);
    }
    integer(value, 1, limits::SEQUENCE_COUNT)
        .ok_or_else(|| fault("count", "is not an integer from 1 to 10000"))
}

pub(crate) fn filter(args: &Args) -> Result<Filter, Error> {
    let all = args.find("all").filter(|value| value.as_bool() == Some(true));
    match (args.find("usernames"), args.find("prefix"), all) {
        (Some(value), None, None) => usernames(&value).map(Filter::Usernames),
        (None, Some(value), None) => name(&value, "prefix", Prefix::new).map(Filter::Prefix),
        (None, None, Some(_)) => Ok(Filter::All),
        _ => {
            let message = "name exactly one of usernames, prefix and all: true";
            Err(invalid("usernames", message))
        }
    }
}

fn name<T>(
    value: &JsValue,
    field: &str,
    check: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<T, Error> {
    let text = value.as_string().ok_or_else(|| fault(field, "is not a string"))?;
    check(&text).map_err(|why| {
        let why = match why {
            InvalidName::Empty => "is empty",
            InvalidName::TooLong { .. } => "is too long",
            InvalidName::Character(_) => "has a character that is not allowed",
        };
        fault(field, why)
    })
}

fn strings(value: &JsValue) -> Option<Vec<String>> {
    if !Array::is_array(value) {
        return None;
    }
    Array::from(value).iter().map(|value| value.as_string()).collect()
}

/// A fault in an argument: what it is or is not. Like [`invalid`] it is there once, and not once for
/// every message.
#[cold]
#[inline(never)]
fn fault(field: &str, what: &str) -> Error {
    let mut message = field.to_owned();
    message.push(' ');
    message.push_str(what);
    invalid(field, &message)
}

/// A fault in an argument. The message says it all.
#[cold]
#[inline(never)]
fn invalid(field: &str, message: &str) -> Error {
    Error::invalid(field, message.to_owned())
}

/// An integer within bounds; numbers only, no fractions.
fn integer(value: &JsValue, least: u32, most: u32) -> Option<u32> {
    let number = value.as_f64()?;
    let integer = number as u32;
    (f64::from(integer) == number && (least..=most).contains(&integer)).then_some(integer)
}
