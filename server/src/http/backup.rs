//! The state as a backup, for who shows the key that a file on this machine holds.
//!
//! Whoever asks without it, from this machine, is told where the file is; see [`crate::backup_key`].

use std::convert::Infallible;
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rollcall_storage::backup::{self, Backup};
use tokio::sync::oneshot;

use super::{Place, Reply, text};
use crate::backup_key::BackupKey;
use crate::clock;
use crate::node::Copied;
use crate::shard::Shard;

/// Where it is asked for.
pub(super) const PATH: &str = "/backup";

/// Answers with a backup that contains all that was acknowledged before it was asked for.
pub(super) async fn serve(request: &Request<Incoming>, place: &Place, shard: &Rc<Shard>) -> Reply {
    if !place.peer.ip().to_canonical().is_loopback() {
        let why = "backups are for programs of this machine: run `rollcall backup` here\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    let key = &shard.context().backup_key;
    if !shown_key(request.headers()).is_some_and(|shown| key.opens(shown)) {
        return ask_for_key(key);
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

/// Says where the key is.
fn ask_for_key(key: &BackupKey) -> Reply {
    let path = key.file().map(|file| HeaderValue::from_bytes(file.as_os_str().as_bytes()));
    let Ok(Ok(path)) = path else {
        let why = "no key can be made: neither in the folder of the data nor elsewhere\n";
        return text(StatusCode::INTERNAL_SERVER_ERROR, why);
    };
    let mut reply = text(StatusCode::UNAUTHORIZED, "show the key of this server\n");
    reply.headers_mut().insert(KEY_FILE, path);
    reply
}

/// What a request shows as `Authorization: Bearer …`.
fn shown_key(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The header that says where the key is.
const KEY_FILE: HeaderName = HeaderName::from_static("rollcall-key-file");
