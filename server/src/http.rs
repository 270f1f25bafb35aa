//! The one port: HTTP requests, and the upgrade of those that become links.
//!
//! Owns routes, headers and who may upgrade; what a link does afterwards is its driver's.

mod backup;
mod files;
mod peer_upgrade;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::shard::Shard;

type Reply = Response<Body>;
/// What is known as a whole, or comes part by part.
type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// A TCP connection, and the room it takes until it ends or becomes a link.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Serves one TCP connection until it ends or becomes a link.
pub(crate) async fn serve(connection: Connection, shard: Rc<Shard>) {
    let Connection { stream, peer, permit } = connection;
    let Ok(local) = stream.local_addr() else { return };
    // Replies must not wait for more of them.
    let _ = stream.set_nodelay(true);
    let deadline = shard.context().config.first_message;
    let permit = Rc::new(permit);
    let service = service_fn(move |request| {
        let place = Place { peer, local, permit: Rc::clone(&permit) };
        let shard = Rc::clone(&shard);
        async move { Ok::<_, Infallible>(route(request, place, &shard).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match timeout(LIFETIME, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, "HTTP connection ended: {error}"),
        Err(_) => tracing::debug!(%peer, "HTTP connection cut: it lasted too long"),
    }
}

/// Where a request came from and arrived.
struct Place {
    peer: SocketAddr,
    local: SocketAddr,
    permit: Rc<OwnedSemaphorePermit>,
}

async fn route(request: Request<Incoming>, place: Place, shard: &Rc<Shard>) -> Reply {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match path {
        "/ws" => upgrade::client(request, place, shard),
        "/peer" => peer_upgrade::server(request, place, shard).await,
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if !shard.context().is_accepting() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
        }
        // Lookups would be answered where this one is.
        "/readyz" if shard.is_readable().await => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no leader is heard\n"),
        "/metrics" => metrics(&request, shard),
        backup::PATH => backup::serve(&request, &place, shard).await,
        _ => files::serve(&request, place.local, shard.context()),
    }
}

/// The metrics, in the form that is asked for: Prometheus asks for OpenMetrics, people for neither.
fn metrics(request: &Request<Incoming>, shard: &Shard) -> Reply {
    shard.context().refresh_metrics();
    let metrics = &shard.context().metrics;
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let (body, kind) = if open {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        (metrics.render_open_metrics(), kind)
    } else {
        (metrics.render_prometheus(), "text/plain; version=0.0.4; charset=utf-8")
    };
    let mut reply = text(StatusCode::OK, body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// How long a connection may last that does not become a link: whoever reads its files slowly, or
/// never, must not keep the room of others.
const LIFETIME: Duration = Duration::from_secs(60);
/// The most bytes of a request's head.
const MAX_HEADER_BYTES: usize = 16 * 1024;
