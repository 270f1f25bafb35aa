//! Dials another server, again and again, for as long as this one runs.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use rollcall_replica::consensus::peer::CloseReason;
use rollcall_replica::handshake::{Introduction, SUBPROTOCOL};
use rollcall_shared::id::NodeId;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{Response, Uri};
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::link::{self, End};
use super::{Peers, greeting};
use crate::metered::Metered;

/// Why a server could not be linked.
enum Fault {
    /// It was not reached.
    Unreachable(String),
    /// It is another one than it should be, or does not want this one; and a word for counting.
    Refused(&'static str, String),
}

/// Keeps a link to server `to`, which is at `url`. The pause between two tries doubles from
/// [`PAUSE`] to [`PAUSE_MAX`]; a link that lasted begins anew.
pub(super) async fn keep_linked(peers: Rc<Peers>, to: NodeId, url: String) {
    let mut pause = PAUSE;
    let mut reached = true;
    loop {
        match dial(&peers, to, &url).await {
            Ok((other, socket, address)) => {
                reached = true;
                let since = Instant::now();
                let end = peers.serve(other, socket, address).await;
                // One that says so wants to be dialled anew at once.
                let joined = matches!(end, End::Closed(CloseReason::Joined));
                if joined || since.elapsed() > STEADY {
                    pause = PAUSE;
                }
            }
            Err(Fault::Unreachable(why)) => {
                if std::mem::take(&mut reached) {
                    tracing::info!(%to, "server {to} is not reached at {url}: {why}; trying again");
                } else {
                    tracing::debug!(%to, "server {to} is not reached at {url}: {why}");
                }
            }
            Err(Fault::Refused(kind, why)) => {
                reached = true;
                peers.refused(kind, &format!("no link to server {to} at {url}: {why}"));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

type Dialled = (Introduction, WebSocketStream<Metered>, SocketAddr);

async fn dial(peers: &Peers, to: NodeId, url: &str) -> Result<Dialled, Fault> {
    let unreachable = |why: &dyn std::fmt::Display| Fault::Unreachable(why.to_string());
    let uri: Uri = url.parse().map_err(|_| unreachable(&"no URL"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let connecting = TcpStream::connect((host, uri.port_u16().unwrap_or_default()));
    let stream = match timeout(PATIENCE, connecting).await {
        Ok(connected) => connected.map_err(|error| unreachable(&error))?,
        Err(_) => return Err(unreachable(&"the connection takes too long")),
    };
    // Messages must not wait for more of them.
    let _ = stream.set_nodelay(true);
    let address = stream.peer_addr().map_err(|error| unreachable(&error))?;
    let mut request = uri.into_client_request().map_err(|error| unreachable(&error))?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    greeting::introduce(headers, &peers.introduction());
    greeting::ask_for(headers, to);
    let stream = Metered::new(stream, Bytes::new());
    let handshake = client_async_with_config(request, stream, Some(link::config()));
    let (socket, response) = match timeout(PATIENCE, handshake).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => return Err(fault_of(error)),
        Err(_) => return Err(unreachable(&"it does not answer")),
    };
    let other = recognise(peers, to, &response)?;
    Ok((other, socket, address))
}

/// Checks that who answered is who was dialled.
fn recognise<B>(peers: &Peers, to: NodeId, response: &Response<B>) -> Result<Introduction, Fault> {
    let other = greeting::introduced(response.headers())
        .ok_or_else(|| Fault::Refused("malformed", "it does not say who it is".to_owned()))?;
    match peers.doorkeeper.recognise(&other, to) {
        Ok(()) => Ok(other),
        Err(refusal) => Err(Fault::Refused(refusal.kind(), refusal.to_string())),
    }
}

fn fault_of(error: tungstenite::Error) -> Fault {
    match error {
        tungstenite::Error::Http(response) => {
            let said = greeting::refused(response.headers());
            if response.status() == http::StatusCode::SERVICE_UNAVAILABLE {
                return Fault::Unreachable(said.unwrap_or("it is not ready").to_owned());
            }
            let status = response.status();
            let said = said.map_or_else(
                || format!("it answers HTTP {status}"),
                |said| format!("it refuses: {said}"),
            );
            Fault::Refused("by_peer", said)
        }
        tungstenite::Error::Protocol(fault) => {
            Fault::Refused("version", format!("it does not speak {SUBPROTOCOL}: {fault}"))
        }
        other => Fault::Unreachable(other.to_string()),
    }
}

/// The first pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long a link must last for the next pause to be the first again.
const STEADY: Duration = Duration::from_secs(1);
/// How long a connection may take to be made, and again to become a WebSocket.
const PATIENCE: Duration = Duration::from_secs(1);
