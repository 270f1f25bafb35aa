//! Texts to values: what the command line, the environment and the file have in common.
//!
//! Every parser answers a fault with what the value must be ("must be …"), so that the reader of
//! the message needs no other page. Which setting uses which parser is [`super::args`]'.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_replica::consensus::config::MAX_MEMBERS;
use rollcall_server::config;
use rollcall_shared::id::{Device, NodeId, Prefix, Username};
use rollcall_shared::limits;
use rollcall_shared::message::{Ip, OBSERVED};
use rollcall_shared::meta::Meta;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// How long a client command may take: `5s`, `500ms`, `2m` or plain seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Duration);

impl std::fmt::Display for Timeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) {
            write!(f, "{}s", millis / 1000)
        } else {
            write!(f, "{millis}ms")
        }
    }
}

/// A parser of whole numbers within a range.
pub(crate) fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            format!("must be a whole number from {} to {}", range.start(), range.end())
        })
    }
}

pub(crate) fn cluster_size(text: &str) -> Result<u16, String> {
    let value = text.parse().ok().filter(|size| (1..=MAX_MEMBERS).contains(&usize::from(*size)));
    value.ok_or_else(|| format!("must be a whole number from 1 to {MAX_MEMBERS}"))
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    let value = text.parse().ok().filter(|port| *port > 0);
    value.ok_or_else(|| "must be a port, 1 to 65535".to_owned())
}

pub(crate) fn base_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "must be a port, 1 to 65535, or 0 for free ones".to_owned())
}

pub(crate) fn node_id(text: &str) -> Result<NodeId, String> {
    let value = text.parse().ok().filter(|id| *id > 0).map(NodeId);
    value.ok_or_else(|| format!("must be a whole number from 1 to {}", u32::MAX))
}

pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address with a port, such as 127.0.0.1:7101 or [::]:7101".to_owned()
    })
}

/// `2=ws://host:port/peer`.
pub(crate) fn member(text: &str) -> Result<(NodeId, String), String> {
    let (id, url) = text
        .split_once('=')
        .ok_or_else(|| "must be ID=URL, such as 2=ws://127.0.0.1:7102/peer".to_owned())?;
    let id = node_id(id).map_err(|reason| format!("the id before \"=\" {reason}"))?;
    let url = config::peer_url(url).map_err(|reason| format!("the URL after \"=\" {reason}"))?;
    Ok((id, url))
}

/// The URL of a server, as a client of this build can reach it.
pub(crate) fn server(text: &str) -> Result<String, String> {
    let url = config::websocket_url(text)?;
    if url.starts_with("wss:") {
        return Err("must begin with ws://: this program speaks no TLS, so connect to the \
                    server itself or through a tunnel"
            .to_owned());
    }
    Ok(url)
}

pub(crate) fn timeout(text: &str) -> Result<Timeout, String> {
    parse_duration(text)
        .filter(|time| TIMEOUT_RANGE.contains(time))
        .map(Timeout)
        .ok_or_else(|| "must be a time such as 5s, 500ms, 2m or 5 (seconds), up to 1 hour".into())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number.into())),
        "" | "s" => Some(Duration::from_secs(number.into())),
        "m" => Duration::from_secs(60).checked_mul(number),
        _ => None,
    }
}

pub(crate) fn token(text: &str) -> Result<String, String> {
    match text.len() {
        1..=limits::TOKEN_BYTES => Ok(text.to_owned()),
        _ => Err(format!("must have 1 to {} bytes", limits::TOKEN_BYTES)),
    }
}

pub(crate) fn username(text: &str) -> Result<Username, String> {
    Username::new(text).map_err(|fault| format!("{fault}; {}", name_rule(limits::USERNAME_BYTES)))
}

pub(crate) fn prefix(text: &str) -> Result<Prefix, String> {
    Prefix::new(text).map_err(|fault| format!("{fault}; {}", name_rule(limits::USERNAME_BYTES)))
}

pub(crate) fn device(text: &str) -> Result<Device, String> {
    Device::new(text).map_err(|fault| format!("{fault}; {}", name_rule(limits::DEVICE_BYTES)))
}

fn name_rule(bytes: usize) -> String {
    format!("it must be 1 to {bytes} bytes without white space or control characters")
}

pub(crate) fn ip(text: &str) -> Result<Ip, String> {
    if text == OBSERVED {
        return Ok(Ip::Observed);
    }
    text.parse::<IpAddr>().map(Ip::Literal).map_err(|_| {
        "must be an IPv4 or IPv6 address, or \"observed\" for the one the server sees".to_owned()
    })
}

pub(crate) fn meta(text: &str) -> Result<Meta, String> {
    Meta::new(text).map_err(|fault| {
        format!("{fault}; it must be a JSON object of at most {} bytes", limits::META_BYTES)
    })
}

/// A level, or targets with levels. A lone word that is no level is refused, although the filter's
/// own parser would take it for the name of a target and so switch off everything else.
pub(crate) fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must name a folder".to_owned()) } else { Ok(text.into()) }
}

pub(crate) fn log_filter(text: &str) -> Result<String, String> {
    let is_meant = |directive: &str| {
        let directive = directive.trim();
        let is_level = !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
        is_level || directive.contains('=')
    };
    if text.split(',').all(is_meant) && EnvFilter::builder().parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("must be a level (error, warn, info, debug, trace, off), or levels of parts such as \
         info,rollcall_server=debug"
        .to_owned())
}

const TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit_or_are_seconds() {
        let millis = |text| timeout(text).map(|time| time.0.as_millis());
        assert_eq!(millis("5s"), Ok(5000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("2m"), Ok(120_000));
        assert_eq!(millis("7"), Ok(7000));
        for bad in ["", "s", "0", "5 s", "-1", "1.5s", "2h", "61m", "5sec", "99999999999"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn timeouts_print_as_they_are_read() {
        for text in ["5s", "1500ms"] {
            assert_eq!(timeout(text).expect("it is valid").to_string(), text);
        }
    }

    #[test]
    fn members_name_an_id_and_a_peer_url() {
        let url = "ws://127.0.0.1:7102/peer";
        assert_eq!(member(&format!("2={url}")), Ok((NodeId(2), url.to_owned())));
        assert!(member(url).is_err_and(|fault| fault.contains("ID=URL")));
        assert!(member(&format!("0={url}")).is_err_and(|fault| fault.contains("before")));
        assert!(member("2=http://a").is_err_and(|fault| fault.contains("after")));
    }

    #[test]
    fn log_filters_are_levels_or_targets_with_levels() {
        for good in ["info", "off", "rollcall_server=debug", "warn,rollcall_client=trace"] {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in ["", "inof", "info,debgu", "rollcall_server=loud"] {
            assert!(log_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_are_plain_websocket_urls() {
        assert!(server("ws://127.0.0.1:7101/ws").is_ok());
        assert!(server("wss://example.org/ws").is_err_and(|fault| fault.contains("TLS")));
        assert!(server("127.0.0.1:7101").is_err());
    }

    #[test]
    fn whole_numbers_say_their_range() {
        assert_eq!(whole(1..=9)("9"), Ok(9));
        let fault = "must be a whole number from 1 to 9".to_owned();
        for bad in ["0", "10", "x", "", "-1", "1.0", "99999999999999999999"] {
            assert_eq!(whole(1..=9)(bad), Err(fault.clone()), "{bad}");
        }
    }
}
