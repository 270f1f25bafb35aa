//! What an application says when it registers an address.

use rollcall_shared::id::{Device, Username};
use rollcall_shared::message::{ConnectUser, ErrorCode, Ip};
use rollcall_shared::meta::{InvalidMeta, Meta};
use serde::Serialize;

use crate::{Code, Error};

/// Where a user is reached, on which device, and what the application keeps with it.
///
/// ```
/// use rollcall_client::{Ip, Registration};
///
/// let here = Registration::new(Ip::Observed, 4711);
/// let there = Registration::new(Ip::Literal([203, 0, 113, 7].into()), 4711)
///     .device("phone")
///     .meta(serde_json::json!({ "room": 7 }));
/// ```
#[derive(Clone, Debug)]
pub struct Registration {
    ip: Ip,
    port: u16,
    device: Option<String>,
    meta: Option<Result<Meta, Error>>,
}

impl Registration {
    /// An address: [`Ip::Observed`] is the one the server sees this client at.
    #[must_use]
    pub fn new(ip: Ip, port: u16) -> Self {
        Self { ip, port, device: None, meta: None }
    }

    /// Which of the user's devices it is, 1–64 bytes without white space; `"default"` if left out.
    #[must_use]
    pub fn device(mut self, device: impl AsRef<str>) -> Self {
        self.device = Some(device.as_ref().to_owned());
        self
    }

    /// What to keep with the registration: anything that serializes to a JSON object of at most
    /// 1024 bytes. What does not is refused by [`crate::Client::connect_user`].
    #[must_use]
    pub fn meta(mut self, meta: impl Serialize) -> Self {
        let text =
            serde_json::to_string(&meta).map_err(|error| Error::invalid("meta", error.to_string()));
        self.meta = Some(text.and_then(|text| Meta::new(&text).map_err(refused)));
        self
    }

    /// The request that makes it.
    pub(crate) fn of(self, name: &str) -> Result<ConnectUser, Error> {
        if self.port == 0 {
            return Err(Error::invalid("port", "a port is 1 … 65535".to_owned()));
        }
        Ok(ConnectUser {
            username: username(name)?,
            ip: self.ip,
            port: self.port,
            device: device(self.device.as_deref())?,
            meta: self.meta.transpose()?,
        })
    }
}

pub(crate) fn username(name: &str) -> Result<Username, Error> {
    Username::new(name)
        .map_err(|why| Error::invalid("username", format!("the username {name:?} {why}")))
}

pub(crate) fn device(device: Option<&str>) -> Result<Device, Error> {
    device.map_or_else(
        || Ok(Device::default()),
        |name| {
            Device::new(name)
                .map_err(|why| Error::invalid("device", format!("the device {name:?} {why}")))
        },
    )
}

fn refused(why: InvalidMeta) -> Error {
    let error = Error::invalid("meta", format!("meta {why}"));
    match why {
        InvalidMeta::TooLarge => Error { code: Code::Refused(ErrorCode::TooLarge), ..error },
        InvalidMeta::NotAnObject | InvalidMeta::TooDeep => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, registration: Registration, expected: Result<&str, (&str, &str)>) {
        let got = registration.of(name);
        match (&got, expected) {
            (Ok(request), Ok(text)) => assert_eq!(serde_json::to_string(request).unwrap(), text),
            (Err(error), Err((code, field))) => {
                assert_eq!((error.code.as_str(), error.field.as_deref()), (code, Some(field)));
            }
            _ => panic!("{got:?}"),
        }
    }

    #[test]
    fn faults_are_told_before_anything_is_sent() {
        let here = || Registration::new(Ip::Observed, 1);
        check(
            "ann",
            here().device("tv").meta(serde_json::json!({"a": 1})),
            Ok(r#"{"username":"ann","ip":"observed","port":1,"device":"tv","meta":{"a":1}}"#),
        );
        check("a b", here(), Err(("invalid_argument", "username")));
        check("ann", here().device(""), Err(("invalid_argument", "device")));
        check("ann", here().meta([1]), Err(("invalid_argument", "meta")));
        let large = serde_json::json!({ "a": "x".repeat(1024) });
        check("ann", here().meta(large), Err(("too_large", "meta")));
        check("ann", Registration::new(Ip::Observed, 0), Err(("invalid_argument", "port")));
    }
}
