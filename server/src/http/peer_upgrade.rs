//! From an HTTP request to a link between servers: what the other server says of itself, and the
//! answer of those who keep the links.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use hyper::{Request, StatusCode};
use rollcall_replica::handshake::{Introduction, Refusal, SUBPROTOCOL};
use tokio::sync::oneshot;

use super::upgrade::{handshake_key, switching, upgraded, values};
use super::{Place, Reply, text};
use crate::peers::{Arrival, greeting};
use crate::shard::Shard;

/// Upgrades another server, or says why not.
pub(super) async fn server(request: Request<Incoming>, place: Place, shard: &Rc<Shard>) -> Reply {
    let context = shard.context();
    let key = match handshake_key(&request) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return refuse(shard, &place, "page", "pages are no servers: connect to /ws");
    }
    if !values(headers, &SEC_WEBSOCKET_PROTOCOL).any(|it| it == SUBPROTOCOL) {
        let why = format!("servers speak {SUBPROTOCOL} here: run the same version on all");
        return refuse(shard, &place, "version", &why);
    }
    let introduced = greeting::introduced(headers).zip(greeting::asked_for(headers));
    let Some((from, wanted)) = introduced else {
        return refuse(shard, &place, "malformed", "it does not say which server it is");
    };
    let (answer, admitted) = oneshot::channel();
    let knock = Arrival::Knock { from: from.clone(), wanted, answer };
    // An error of either means that this server ends.
    let _ = context.arrivals.send(knock).await;
    let own = match admitted.await {
        Ok(Ok(own)) => own,
        Ok(Err(refusal)) => return refused(&refusal),
        Err(_) => return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    };
    let mut reply = switching(key);
    let headers = reply.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    greeting::introduce(headers, &own);
    tokio::task::spawn_local(become_link(request, place, from, Rc::clone(shard)));
    reply
}

async fn become_link(
    request: Request<Incoming>,
    place: Place,
    from: Introduction,
    shard: Rc<Shard>,
) {
    let address = place.peer;
    let Some((stream, ahead)) = upgraded(request, address).await else { return };
    drop(place);
    let Ok(stream) = stream.into_std() else { return };
    let link = Arrival::Link { from, stream, ahead, address };
    let _ = shard.context().arrivals.send(link).await;
}

/// Refuses what does not even say which server it is.
fn refuse(shard: &Shard, place: &Place, kind: &'static str, why: &str) -> Reply {
    shard.context().metrics.peer_refused(kind);
    let from = place.peer.ip();
    let text = format!("refused a link between servers from {from}: {why}");
    shard.context().complaints.warn(kind, &text);
    reply(StatusCode::BAD_REQUEST, why)
}

fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::Twice(_) => StatusCode::CONFLICT,
        _ => StatusCode::FORBIDDEN,
    };
    reply(status, &refusal.to_string())
}

fn reply(status: StatusCode, why: &str) -> Reply {
    let mut reply = text(status, format!("{why}\n"));
    greeting::refuse(reply.headers_mut(), why);
    reply
}
