//! One browser WebSocket: gloo-net's sink for what is sent, its stream for what comes.
//!
//! Owns no protocol. docs/decisions/0004-browser-socket.md says what is to be minded with gloo-net,
//! docs/decisions/0018-size-of-the-browser-client.md why no task reads the stream.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::{Sink as _, Stream as _};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, WebSocketError};
use rollcall_shared::message::SUBPROTOCOL;
use rollcall_shared::session::LinkId;

use crate::driver::{Driver, NO_CLOSE_FRAME};
use crate::host::{self, Listener};

/// A WebSocket that tells a driver what happens to it.
pub(crate) struct Socket(Rc<Line>);

struct Line {
    /// The browser's own object: gloo-net's `close` would let go of the listeners at once.
    raw: web_sys::WebSocket,
    stream: RefCell<WebSocket>,
    /// Holds this line, and is let go of at its end: only then the last reference goes. A stream
    /// that is dropped before leaves a listener attached which calls what is gone.
    listener: RefCell<Option<Listener>>,
}

impl Socket {
    /// Opens a socket. None where the host has none to open, or refuses the URL.
    pub(crate) fn open(url: &str, link: LinkId, driver: &Driver) -> Option<Self> {
        let raw = web_sys::WebSocket::new_with_str(url, SUBPROTOCOL).ok()?;
        let stream = RefCell::new(WebSocket::try_from(raw.clone()).ok()?);
        let line = Rc::new(Line { raw, stream, listener: RefCell::new(None) });
        // gloo-net's own listeners were there first, so that the stream has what an event brought
        // when this one is called.
        let listener = host::listener({
            let (line, driver) = (Rc::clone(&line), driver.clone());
            let mut opening = true;
            move |_| line.read(&mut opening, link, &driver)
        });
        line.attach("addEventListener", &listener);
        line.listener.replace(Some(listener));
        Some(Self(line))
    }

    /// Sends at once, so that what a page says while it goes away is still on its way.
    pub(crate) fn send(&self, text: String) {
        // It was ready when the driver was told that it is open, and stays so. A send throws only
        // before that, when nothing is sent; on a socket that closes the browser drops it.
        let mut stream = self.0.stream.borrow_mut();
        let _ = Pin::new(&mut *stream).start_send(Message::Text(text));
    }

    /// Closes the socket, of which no more is wanted to be heard.
    pub(crate) fn close(&self, code: u16) {
        // It throws only for codes that a session never gives.
        let _ = self.0.raw.close_with_code(code);
    }
}

/// What comes from a socket.
pub(crate) enum Heard {
    Opened,
    Text(String),
    Closed(u16),
    /// Something that a session has no use for: binary messages, which no server sends, and errors
    /// of a socket that was open, after each of which it closes.
    Other,
}

impl Line {
    /// Tells the driver what has come.
    fn read(&self, opening: &mut bool, link: LinkId, driver: &Driver) {
        while let Poll::Ready(heard) = self.hear(opening) {
            let Some(heard) = heard else {
                // Not only let go of: the end of gloo-net's socket tells of a close once more.
                if let Some(listener) = self.listener.take() {
                    self.attach("removeEventListener", &listener);
                }
                return;
            };
            driver.post(move |core, now| core.handle_heard(now, link, heard));
        }
    }

    /// Attaches the listener to all events, or the other way round.
    fn attach(&self, method: &str, listener: &Listener) {
        for event in EVENTS {
            let args = [event.into(), listener.as_ref().clone()];
            let _ = host::call_method(&self.raw, method, &args);
        }
    }

    /// The next thing that has come, if any; none at the end.
    fn hear(&self, opening: &mut bool) -> Poll<Option<Heard>> {
        // Nobody is to be woken: the next event asks again.
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = self.stream.borrow_mut();
        if *opening && self.raw.ready_state() == web_sys::WebSocket::OPEN {
            *opening = false;
            return Poll::Ready(Some(Heard::Opened));
        }
        Pin::new(&mut *stream).poll_next(cx).map(|item| {
            Some(match item? {
                Ok(Message::Text(text)) => Heard::Text(text),
                Err(WebSocketError::ConnectionClose(event)) => Heard::Closed(event.code),
                // Chromium says no more of a socket that the page's Content-Security-Policy forbids; what is
                // held for its end then stays, a kilobyte for each try.
                Err(WebSocketError::ConnectionError) if *opening => Heard::Closed(NO_CLOSE_FRAME),
                _ => Heard::Other,
            })
        })
    }
}

/// What a socket tells. An error of one that was open is always followed by the close.
const EVENTS: [&str; 4] = ["open", "message", "error", "close"];
