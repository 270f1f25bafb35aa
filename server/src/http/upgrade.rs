//! From an HTTP request to a link: the WebSocket handshake, and which pages may do it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::uri::Uri;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use rollcall_shared::message::SUBPROTOCOL;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Place, Reply, text};
use crate::context::Context;
use crate::link::driver;
use crate::metered::Metered;
use crate::shard::Shard;

/// Upgrades a client, or says why not.
pub(super) fn client(request: Request<Incoming>, place: Place, shard: &Rc<Shard>) -> Reply {
    let context = shard.context();
    let key = match handshake_key(&request) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    if !origin_allowed(request.headers(), place.local, context) {
        let message = "pages of this origin may not connect; see --allow-origin\n";
        return text(StatusCode::FORBIDDEN, message);
    }
    // Unlike the tokens of HTTP, subprotocols differ by case: a client checks what it gets back.
    let offered = values(request.headers(), &SEC_WEBSOCKET_PROTOCOL).any(|it| it == SUBPROTOCOL);
    if request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) && !offered {
        let message = format!("this server speaks the subprotocol {SUBPROTOCOL}\n");
        return text(StatusCode::BAD_REQUEST, message);
    }
    if !context.is_accepting() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    let Ok(room) = Arc::clone(&context.links).try_acquire_owned() else {
        let message = "this server has as many links as it may; try another\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    let mut reply = switching(key);
    if offered {
        let headers = reply.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    tokio::task::spawn_local(become_link(request, place, Rc::clone(shard), room));
    reply
}

async fn become_link(
    request: Request<Incoming>,
    place: Place,
    shard: Rc<Shard>,
    room: OwnedSemaphorePermit,
) {
    let Some((stream, ahead)) = upgraded(request, place.peer).await else { return };
    let stream = Metered::new(stream, ahead);
    let link = shard.link(place.peer, place.local);
    drop(place.permit);
    driver::serve(stream, link, shard).await;
    drop(room);
}

/// The connection behind an upgraded request, and what was read of it already.
pub(super) async fn upgraded(
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Option<(TcpStream, Bytes)> {
    let upgraded = match hyper::upgrade::on(request).await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%peer, "upgrade failed: {error}");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("an upgraded connection is not the TCP stream it was");
        return None;
    };
    Some((parts.io.into_inner(), parts.read_buf))
}

/// The reply to a handshake that goes well.
pub(super) fn switching(accept: HeaderValue) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::new())));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

/// The value of `Sec-WebSocket-Accept`, or the reply to a request that is no handshake.
pub(super) fn handshake_key(request: &Request<Incoming>) -> Result<HeaderValue, Box<Reply>> {
    let headers = request.headers();
    let upgrade = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket");
    if !upgrade {
        let message = "a WebSocket is served here: connect with ws://\n";
        let mut reply = text(StatusCode::UPGRADE_REQUIRED, message);
        reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return Err(Box::new(reply));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut reply = text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is served\n");
        reply.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(reply));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_nonce(key.as_bytes()));
    let accept = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    accept.ok_or_else(|| {
        Box::new(text(
            StatusCode::BAD_REQUEST,
            "the handshake has no Sec-WebSocket-Key of 16 bytes in base64\n",
        ))
    })
}

/// Whether it is the base64 form of 16 bytes.
fn is_nonce(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(digit))
}

/// Whether a comma-separated header has `token`, whatever its case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    values(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

/// The values of a comma-separated header.
pub(super) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Whether the page that connects may. Clients that are no pages send no origin.
///
/// The `Host` header is not asked: a page of a name that was made to point here would name itself.
fn origin_allowed(headers: &HeaderMap, local: SocketAddr, context: &Context) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    if origins.next().is_some() {
        return false;
    }
    let Ok(origin) = origin.to_str() else { return false };
    let config = &context.config;
    let listed = config.allow_origins.iter().any(|it| it.eq_ignore_ascii_case(origin));
    // The console of any member may: it goes on with another server when its own is lost.
    let is_of = |url: &str| Some(origin) == console_origin(url).as_deref();
    let own = origin == format!("http://{local}")
        || context.members(local).iter().any(|member| is_of(&member.url));
    let open = config.listen.ip().is_loopback() && !context.resolver.wants_token();
    listed || own || open && is_loopback_origin(origin)
}

/// The origin of the console of a server that clients reach under this URL.
fn console_origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = if uri.scheme_str() == Some("wss") { "https" } else { "http" };
    Some(format!("{scheme}://{}", uri.authority()?))
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    // An origin is a scheme, a host and a port: no user, no path.
    if origin.contains('@') || uri.path_and_query().is_some_and(|path| path != "/") {
        return false;
    }
    let host = uri.host().unwrap_or_default();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    matches!(uri.scheme_str(), Some("http" | "https")) && (loopback || name == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_has_the_origin_of_its_server() {
        let origin = |url| console_origin(url).unwrap();
        assert_eq!(origin("ws://127.0.0.1:7102/ws"), "http://127.0.0.1:7102");
        assert_eq!(origin("wss://rollcall.example/ws"), "https://rollcall.example");
    }

    #[test]
    fn loopback_origins_are_names_of_this_machine() {
        for good in
            ["http://localhost:8080", "http://127.0.0.1", "https://[::1]:9", "http://127.3.2.1"]
        {
            assert!(is_loopback_origin(good), "{good}");
        }
        for bad in [
            "null",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "file://",
            "x",
            "http://user@localhost",
            "http://localhost/x",
        ] {
            assert!(!is_loopback_origin(bad), "{bad}");
        }
    }
}
