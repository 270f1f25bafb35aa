//! One browser WebSocket: its three listeners and how they are taken off.
//!
//! Owns no protocol. It uses the browser's socket directly; docs/decisions/0004-browser-socket.md
//! says why.

use rollcall_shared::message::SUBPROTOCOL;
use rollcall_shared::session::LinkId;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::driver::Driver;
use crate::host::{self, Listener};

/// A WebSocket that tells a driver what happens to it.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: WebSocket,
    _on_open: Listener,
    _on_message: Listener,
    _on_close: Listener,
}

impl Socket {
    /// Opens a socket. None where the host has none to open, or refuses the URL.
    pub(crate) fn open(url: &str, link: LinkId, driver: &Driver) -> Option<Self> {
        let socket = WebSocket::new_with_str(url, SUBPROTOCOL).ok()?;
        let on_open = host::listener({
            let driver = driver.clone();
            move |_| driver.post(move |core, now| core.session.handle_opened(now, link))
        });
        let on_message = host::listener({
            let driver = driver.clone();
            move |event| {
                // Servers send text only.
                if let Some(text) = host::property(&event, "data").as_string() {
                    driver.post(move |core, now| core.receive(now, link, &text));
                }
            }
        });
        let on_close = host::listener({
            let driver = driver.clone();
            move |event| {
                let code = host::property(&event, "code").as_f64().unwrap_or(0.0) as u16;
                driver.post(move |core, now| core.session.handle_closed(now, link, code));
            }
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Some(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }

    pub(crate) fn send(&self, text: &str) {
        // It throws only before the socket is open, when nothing is sent.
        let _ = self.socket.send_with_str(text);
    }

    /// Closes the socket, of which no more is wanted to be heard.
    pub(crate) fn close(&self, code: u16) {
        // It throws only for codes that a session never gives.
        let _ = self.socket.close_with_code(code);
    }
}

/// The listeners go before the closures they call do.
impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
    }
}
