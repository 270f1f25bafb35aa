//! The client id: random, and kept in the tab's session storage so that a reload resumes.
//!
//! A duplicated tab gets a copy of the storage, and one page may hold several clients: an id that
//! is in use is not taken a second time. Within a page a list says so, between tabs a Web Lock,
//! where there are locks.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Function;
use rollcall_shared::id::ClientId;
use wasm_bindgen::prelude::*;

use crate::host;

/// An id that this client alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) client: ClientId,
    /// Lets another tab have it.
    release: Option<Function>,
}

thread_local! {
    /// The ids that clients of this page use.
    static USED: RefCell<Vec<ClientId>> = const { RefCell::new(Vec::new()) };
}

type Taker = Rc<RefCell<Option<Box<dyn FnOnce(Identity)>>>>;

/// Finds an id and hands it to `then`, at once or a little later.
pub(crate) fn choose(given: Option<ClientId>, then: impl FnOnce(Identity) + 'static) {
    if let Some(client) = given {
        then(Identity { client, release: None });
        return;
    }
    match stored() {
        Some(client) if is_used(&client) => {
            // It belongs to another client of this page, which shall find it after a reload.
            then(Identity::new(random(), None));
        }
        Some(client) => lock(client, Rc::new(RefCell::new(Some(Box::new(then))))),
        None => take_new(Rc::new(RefCell::new(Some(Box::new(then))))),
    }
}

impl Identity {
    fn new(client: ClientId, release: Option<Function>) -> Self {
        USED.with_borrow_mut(|used| used.push(client.clone()));
        Self { client, release }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        USED.with_borrow_mut(|used| used.retain(|used| *used != self.client));
        if let Some(release) = &self.release {
            // It resolves a promise, which does not throw.
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

fn take_new(then: Taker) {
    let client = random();
    store(&client);
    lock(client, then);
}

/// Takes `client` if no other tab has it, a new one otherwise.
fn lock(client: ClientId, then: Taker) {
    let hand_over = |then: &Taker, client: &ClientId, release| {
        let taker = then.borrow_mut().take();
        if let Some(taker) = taker {
            taker(Identity::new(client.clone(), release));
        }
    };
    let locks = host::property(&host::global("navigator"), "locks");
    let granted = host::once({
        let (then, client) = (Rc::clone(&then), client.clone());
        move |lock| {
            if !lock.is_object() {
                take_new(then);
                return JsValue::UNDEFINED;
            }
            // The lock is held until this promise is settled, or the page is gone.
            let (held, settle) = host::promise();
            hand_over(&then, &client, Some(settle.resolve));
            held.into()
        }
    });
    let name = JsValue::from(String::from("rollcall:") + client.as_str());
    let if_available = host::object(&[("ifAvailable", JsValue::TRUE)]);
    let asked = host::call_method(&locks, "request", &[name, if_available, granted]);
    match asked {
        Some(asked) => {
            // Some pages have locks and may not use them.
            let refused = host::once(move |_| {
                hand_over(&then, &client, None);
                JsValue::UNDEFINED
            });
            let _ = host::call_method(&asked, "catch", &[refused]);
        }
        None => hand_over(&then, &client, None),
    }
}

fn is_used(client: &ClientId) -> bool {
    USED.with_borrow(|used| used.contains(client))
}

/// 128 random bits.
fn random() -> ClientId {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(32);
    for byte in host::random::<16>() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    match ClientId::new(&text) {
        Ok(client) => client,
        Err(_) => unreachable!("hexadecimal digits are allowed in a client id"),
    }
}

fn stored() -> Option<ClientId> {
    let storage = host::global("sessionStorage");
    let text = host::call_method(&storage, "getItem", &[KEY.into()])?.as_string()?;
    ClientId::new(&text).ok()
}

fn store(client: &ClientId) {
    let storage = host::global("sessionStorage");
    let _ = host::call_method(&storage, "setItem", &[KEY.into(), client.as_str().into()]);
}

const KEY: &str = "rollcall.clientId";
