//! One browser WebSocket: gloo-net's sink for what is sent, and a task that reads its stream.
//!
//! Owns no protocol. docs/decisions/0004-browser-socket.md says what is to be minded with gloo-net.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::{Sink as _, Stream as _};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, State, WebSocketError};
use js_sys::futures::spawn_local;
use rollcall_shared::message::SUBPROTOCOL;
use rollcall_shared::session::LinkId;

use crate::driver::Driver;

/// A WebSocket that tells a driver what happens to it.
pub(crate) struct Socket {
    /// The browser's own object: gloo-net's `close` would let go of the listeners at once.
    raw: web_sys::WebSocket,
    stream: Rc<RefCell<WebSocket>>,
}

impl Socket {
    /// Opens a socket. None where the host has none to open, or refuses the URL.
    pub(crate) fn open(url: &str, link: LinkId, driver: &Driver) -> Option<Self> {
        let raw = web_sys::WebSocket::new_with_str(url, SUBPROTOCOL).ok()?;
        let stream = Rc::new(RefCell::new(WebSocket::try_from(raw.clone()).ok()?));
        spawn_local(read(Rc::clone(&stream), link, driver.clone()));
        Some(Self { raw, stream })
    }

    /// Sends at once, so that what a page says while it goes away is still on its way.
    pub(crate) fn send(&self, text: String) {
        // It was ready when the driver was told that it is open, and stays so. A send throws only
        // before that, when nothing is sent; on a socket that closes the browser drops it.
        let mut stream = self.stream.borrow_mut();
        let _ = Pin::new(&mut *stream).start_send(Message::Text(text));
    }

    /// Closes the socket, of which no more is wanted to be heard.
    pub(crate) fn close(&self, code: u16) {
        // It throws only for codes that a session never gives.
        let _ = self.raw.close_with_code(code);
    }
}

/// What comes from a socket.
pub(crate) enum Heard {
    Opened,
    Text(String),
    Closed(u16),
    /// Something that a session has no use for: binary messages, which no server sends, and errors,
    /// after each of which the socket closes.
    Other,
}

/// Tells the driver what comes, up to the end. Only then the last reference goes: a socket that is
/// dropped before leaves a listener attached which calls what is gone.
async fn read(stream: Rc<RefCell<WebSocket>>, link: LinkId, driver: Driver) {
    let mut opening = true;
    while let Some(heard) = poll_fn(|cx| hear(&mut stream.borrow_mut(), &mut opening, cx)).await {
        driver.post(move |core, now| core.handle_heard(now, link, heard));
    }
}

fn hear(stream: &mut WebSocket, opening: &mut bool, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
    let mut stream = Pin::new(stream);
    if *opening && stream.as_mut().poll_ready(cx).is_ready() {
        *opening = false;
        if matches!(stream.state(), State::Open) {
            return Poll::Ready(Some(Heard::Opened));
        }
    }
    stream.poll_next(cx).map(|item| {
        Some(match item? {
            Ok(Message::Text(text)) => Heard::Text(text),
            Err(WebSocketError::ConnectionClose(event)) => Heard::Closed(event.code),
            _ => Heard::Other,
        })
    })
}
