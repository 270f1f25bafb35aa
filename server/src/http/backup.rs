//! The state as a backup, for `rollcall backup` on the same machine.
//!
//! It holds the ids of all clients, by which they are known. So it is given to programs of this
//! machine only, not to pages, and not to others through a proxy.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Request, Response, StatusCode};
use rollcall_storage::backup::{self, Backup};
use tokio::sync::oneshot;

use super::{Place, Reply, text};
use crate::clock;
use crate::node::Copied;
use crate::shard::Shard;

/// Where it is asked for.
pub(super) const PATH: &str = "/backup";

/// Answers with a backup that contains all that was acknowledged before it was asked for.
pub(super) async fn serve(request: &Request<Incoming>, place: &Place, shard: &Rc<Shard>) -> Reply {
    if !place.peer.ip().to_canonical().is_loopback() || !is_of_this_machine(request.headers()) {
        let why = "backups are for programs of this machine: run `rollcall backup` here\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    let unavailable = || text(StatusCode::SERVICE_UNAVAILABLE, "no leader is heard\n");
    if !shard.is_readable().await {
        return unavailable();
    }
    let (to, copied) = oneshot::channel();
    // An error of either means that this server ends.
    let _ = shard.context().copies.send(to).await;
    let Ok(Copied { cluster: Some(cluster), applied, directory }) = copied.await else {
        return unavailable();
    };
    let mut salt = [0; 8];
    if getrandom::fill(&mut salt).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random bytes\n");
    }
    let head = Backup {
        cluster,
        index: applied,
        revision: directory.revision(),
        next_number: directory.next_number(),
        taken_at: clock::unix_millis(),
    };
    let parts = backup::encode(u64::from_le_bytes(salt), &head, directory);
    let frames = parts.map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
    let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
    let mut reply = Response::new(Either::Right(body));
    let kind = HeaderValue::from_static("application/octet-stream");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// Whether a program of this machine asks by itself: no page does, whatever name it made point here,
/// and no proxy for somebody else.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let here = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let foreign =
        [ORIGIN.as_str(), "sec-fetch-site", "forwarded", "via", "x-forwarded-for", "x-real-ip"];
    (here || host == "localhost") && !foreign.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_proxies_are_not_of_this_machine() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
            });
            pairs.collect::<HeaderMap>()
        };
        for host in ["127.0.0.1:7101", "localhost:7101", "[::1]:7101", "localhost"] {
            assert!(is_of_this_machine(&headers(&[("host", host)])), "{host}");
        }
        for other in ["evil.example:7101", "10.0.0.1", "", "localhost.evil.example"] {
            assert!(!is_of_this_machine(&headers(&[("host", other)])), "{other}");
        }
        for name in ["origin", "sec-fetch-site", "forwarded", "via", "x-forwarded-for", "x-real-ip"]
        {
            assert!(!is_of_this_machine(&headers(&[("host", "localhost"), (name, "x")])), "{name}");
        }
    }
}
