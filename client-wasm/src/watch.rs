//! A subscription as JavaScript sees it: who is there, and an async iterator of what changes.
//!
//! A slow reader does not hold up anyone: beyond 1024 changes only the net change of each device
//! is kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::Promise;
use rollcall_shared::codec::json::Write as _;
use rollcall_shared::message::User;
use rollcall_shared::session::{ChangeBuffer, Code, Error, WatchChange, WatchId};
use wasm_bindgen::prelude::*;

use crate::driver::{CallOut, Driver};
use crate::host::{self, Settle};
use crate::types;

/// A subscription: who is there now, and what changes.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Watch {
    driver: Driver,
    id: WatchId,
    inbox: Rc<Inbox>,
}

#[wasm_bindgen]
impl Watch {
    /// Who is there now, in order of names; nobody once the watch has ended.
    #[wasm_bindgen(getter, unchecked_return_type = "User[]")]
    pub fn users(&self) -> JsValue {
        let users = self.driver.read(|core| {
            let view = core.session.view(self.id).map(|(view, _)| view);
            let users: Vec<User> = view.into_iter().flat_map(|view| view.users()).collect();
            let mut text = String::new();
            users.write(&mut text);
            text
        });
        host::json(users.as_deref().unwrap_or("[]"))
    }

    /// The revision `users` is true at; 0 once the watch has ended.
    #[wasm_bindgen(getter)]
    pub fn revision(&self) -> f64 {
        let revision = self.driver.read(|core| core.session.view(self.id).map(|(_, at)| at.0));
        revision.flatten().unwrap_or(0) as f64
    }

    /// The next change.
    #[wasm_bindgen(skip_typescript)]
    pub fn next(&self) -> Promise {
        self.inbox.next()
    }

    /// Ends the watch, as leaving a `for await` loop does.
    #[wasm_bindgen(js_name = "return", skip_typescript)]
    pub fn leave(&self) -> Promise {
        self.driver.unsubscribe(self.id, None);
        Promise::resolve(&done())
    }

    /// The watch is its own iterator.
    #[wasm_bindgen(js_name = "[Symbol.asyncIterator]", skip_typescript)]
    pub fn iterator(&self) -> Self {
        Self::new(self.driver.clone(), self.id, Rc::clone(&self.inbox))
    }

    /// Ends the watch: no change comes after.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn unsubscribe(&self) -> Promise {
        let (promise, settle) = host::promise();
        self.driver.unsubscribe(self.id, Some(settle));
        promise
    }
}

impl Watch {
    pub(crate) fn new(driver: Driver, id: WatchId, inbox: Rc<Inbox>) -> Self {
        Self { driver, id, inbox }
    }
}

/// What waits for the readers of a watch, or the readers that wait for it.
#[derive(Debug)]
pub(crate) struct Inbox(RefCell<Mail>);

#[derive(Debug)]
struct Mail {
    changes: ChangeBuffer,
    readers: VecDeque<Settle>,
    end: End,
}

#[derive(Debug)]
enum End {
    NotYet,
    /// The application ended it.
    Left,
    /// The cluster ended it; told to one reader.
    Refused(Error),
}

impl Default for Inbox {
    fn default() -> Self {
        Self(RefCell::new(Mail {
            changes: ChangeBuffer::new(WHOLE_CHANGES),
            readers: VecDeque::new(),
            end: End::NotYet,
        }))
    }
}

impl Inbox {
    pub(crate) fn push(&self, change: WatchChange, calls: &mut VecDeque<CallOut>) {
        let mut mail = self.0.borrow_mut();
        match mail.readers.pop_front() {
            Some(reader) => calls.push_back(CallOut::Settle(reader.resolve, value(&change))),
            None => mail.changes.push(change),
        }
    }

    /// Whether somebody waits for a change that has not come.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.0.borrow().readers.is_empty()
    }

    /// Ends the watch; `refusal` is none where the application asked for it.
    pub(crate) fn end(&self, refusal: Option<Error>, calls: &mut VecDeque<CallOut>) {
        let mut mail = self.0.borrow_mut();
        mail.end = match refusal {
            Some(error) if error.code != Code::Closed => End::Refused(error),
            Some(_) => End::Left,
            None => {
                mail.changes = ChangeBuffer::new(WHOLE_CHANGES);
                End::Left
            }
        };
        while let Some(reader) = mail.readers.pop_front() {
            calls.push_back(match mail.take_end() {
                Ok(done) => CallOut::Settle(reader.resolve, done),
                Err(error) => CallOut::Settle(reader.reject, error),
            });
        }
    }

    fn next(&self) -> Promise {
        let mut mail = self.0.borrow_mut();
        if let Some(change) = mail.changes.pop() {
            return Promise::resolve(&value(&change));
        }
        if matches!(mail.end, End::NotYet) {
            let (promise, settle) = host::promise();
            mail.readers.push_back(settle);
            return promise;
        }
        match mail.take_end() {
            Ok(done) => Promise::resolve(&done),
            Err(error) => Promise::reject(&error),
        }
    }
}

impl Mail {
    fn take_end(&mut self) -> Result<JsValue, JsValue> {
        match std::mem::replace(&mut self.end, End::Left) {
            End::Refused(error) => Err(host::error(&error)),
            End::NotYet | End::Left => Ok(done()),
        }
    }
}

/// What an iterator gives for a change.
fn value(change: &WatchChange) -> JsValue {
    host::object(&[("value", types::change(change)), ("done", JsValue::FALSE)])
}

fn done() -> JsValue {
    host::object(&[("value", JsValue::UNDEFINED), ("done", JsValue::TRUE)])
}

/// How many changes a slow reader may fall behind before they are merged.
const WHOLE_CHANGES: usize = 1024;
