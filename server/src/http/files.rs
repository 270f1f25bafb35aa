//! The web console and the browser client, from the files in the binary.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::{Authority, Uri};
use hyper::{Request, Response, StatusCode};

use super::{Reply, text};
use crate::assets::{self, Asset};
use crate::context::Context;

/// Answers a request for a file.
pub(super) fn serve(request: &Request<Incoming>, local: SocketAddr, context: &Context) -> Reply {
    let path = request.uri().path();
    let Some(asset) = assets::find(path) else {
        return if path.starts_with("/client/") && assets::CLIENT_MISSING {
            text(StatusCode::SERVICE_UNAVAILABLE, assets::CLIENT_MISSING_MESSAGE)
        } else {
            text(StatusCode::NOT_FOUND, "there is nothing here\n")
        };
    };
    let gzip = asset.gzip.filter(|_| accepts_gzip(request.headers()));
    let etag = etag(asset, gzip.is_some());
    let fresh = request.headers().get_all(IF_NONE_MATCH).iter().any(|known| {
        let known = known.to_str().unwrap_or_default();
        known.split(',').any(|it| it.trim() == etag || it.trim() == "*")
    });
    let body = if fresh { &[] } else { gzip.unwrap_or(asset.body) };
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from_static(body))));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.mime));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    if gzip.is_some() && !fresh {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if asset.path.starts_with("client/") {
        // Pages of any origin may load the client.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        headers.insert(policy, HeaderValue::from_static("cross-origin"));
    }
    if asset.mime.starts_with("text/html")
        && let Ok(policy) = HeaderValue::try_from(policy(request.headers(), local, context))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    if fresh {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    }
    reply
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            named && !refused
        })
    })
}

/// The tag of the form that is sent: the compressed one is another representation.
fn etag(asset: &Asset, gzip: bool) -> String {
    let tag = asset.etag.trim_matches('"');
    if gzip { format!("\"{tag}-gzip\"") } else { format!("\"{tag}\"") }
}

/// Whether a character that an authority may have means something else within a policy.
const fn of_a_policy(c: char) -> bool {
    !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | ':' | '[' | ']')
}

/// Scheme and authority of a URL. A policy's source with a path would match no other path.
fn source(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// What the console may load and where it may connect: this server and the other members.
fn policy(headers: &HeaderMap, local: SocketAddr, context: &Context) -> String {
    let mut connect = String::from("'self'");
    for member in context.members(local) {
        if let Some(source) = source(&member.url) {
            connect.push(' ');
            connect.push_str(&source);
        }
    }
    // Browsers differ in whether 'self' covers WebSockets to the page's own host.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| !host.contains(of_a_policy));
    if let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) {
        connect.push_str(&format!(" ws://{host} wss://{host}"));
    }
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self' data:; connect-src {connect}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}
