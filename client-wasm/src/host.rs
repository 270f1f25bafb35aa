//! What JavaScript offers, as the rest of this crate wants it: clock, timers, random bytes,
//! promises, objects, errors.
//!
//! Every access is guarded: workers, Node.js and old browsers each lack something.

use js_sys::{Function, JSON, Object, Promise, Reflect};
use rollcall_shared::session::Error;
use rollcall_shared::time::Instant;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout_raw(work: &Function, delay_ms: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout_raw(timer: &JsValue);
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn random_values(bytes: &mut [u8]);
    // What every object has; of the global one it is a way to get hold of it.
    #[wasm_bindgen(js_namespace = globalThis, js_name = valueOf)]
    pub(crate) fn global_object() -> JsValue;
}

/// The present time of the page's monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::from_micros((performance_now() * 1000.0) as u64)
}

/// The wall clock's time.
pub(crate) fn unix_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// A running timer.
#[derive(Debug)]
pub(crate) struct Timer(JsValue);

impl Timer {
    /// Calls `work` at `at`, as far as the host keeps its promises.
    pub(crate) fn start(work: &Function, at: Instant) -> Self {
        // Rounded up: a timer that fires early would only have to be set again.
        let delay_us = at.as_micros().saturating_sub(now().as_micros());
        let delay_ms = delay_us.div_ceil(1000);
        Self(set_timeout_raw(work, i32::try_from(delay_ms).unwrap_or(i32::MAX)))
    }

    pub(crate) fn stop(self) {
        clear_timeout_raw(&self.0);
    }
}

/// A function for the host to call with an event, or with nothing. One type for all of them: each
/// further one costs half a kilobyte.
pub(crate) type Listener = Closure<dyn FnMut(JsValue)>;

pub(crate) fn listener(listen: impl FnMut(JsValue) + 'static) -> Listener {
    Closure::new(listen)
}

/// A function for the host to call once, at most; nothing is left of it then. One type for all of them,
/// too.
pub(crate) fn once(work: impl FnOnce(JsValue) -> JsValue + 'static) -> JsValue {
    let work: Box<dyn FnOnce(JsValue) -> JsValue> = Box::new(work);
    Closure::once_into_js(work)
}

/// Random bytes fit for secrets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random_values(&mut bytes);
    bytes
}

/// A property of the global object, or of another; `undefined` where there is none or it may not
/// be read.
pub(crate) fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

pub(crate) fn global(name: &str) -> JsValue {
    property(&global_object(), name)
}

/// Calls a method, if the object has it and it does not throw.
pub(crate) fn call_method(object: &JsValue, name: &str, args: &[JsValue]) -> Option<JsValue> {
    let method: Function = property(object, name).dyn_into().ok()?;
    let args: js_sys::Array = args.iter().collect();
    method.apply(object, &args).ok()
}

/// How a promise is settled.
#[derive(Clone, Debug)]
pub(crate) struct Settle {
    pub(crate) resolve: Function,
    pub(crate) reject: Function,
}

/// A promise and how to settle it.
pub(crate) fn promise() -> (Promise, Settle) {
    let mut settle = None;
    let promise = Promise::new(&mut |resolve, reject| settle = Some(Settle { resolve, reject }));
    (promise, settle.expect("a promise calls its executor before its constructor returns"))
}

/// An object with these properties.
pub(crate) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        set(&object, name, value);
    }
    object.into()
}

/// Sets a property of an object that was just made.
pub(crate) fn set(object: &JsValue, name: &str, value: &JsValue) {
    // It fails on frozen objects and proxies only, and ours are neither.
    let _ = Reflect::set(object, &name.into(), value);
}

/// The value of a JSON text; `undefined` for a text that is none.
pub(crate) fn json(text: &str) -> JsValue {
    JSON::parse(text).unwrap_or(JsValue::UNDEFINED)
}

/// An `Error` with a string `code`, and the `field` at fault where there is one.
pub(crate) fn error(error: &Error) -> JsValue {
    let thrown: JsValue = js_sys::Error::new(&error.message).into();
    set(&thrown, "code", &error.code.as_str().into());
    if let Some(field) = &error.field {
        set(&thrown, "field", &field.as_str().into());
    }
    thrown
}
