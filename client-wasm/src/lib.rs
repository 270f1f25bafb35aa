//! The browser client: the class `Rollcall` that JavaScript sees.
//!
//! Owns the surface: arguments in, promises out. The driver behind it is `driver`'s, and what to
//! send when is the session's in `rollcall-shared`.

mod args;
mod driver;
mod host;
mod identity;
mod socket;
mod types;
mod watch;

use js_sys::{Function, Promise};
use rollcall_shared::message::{DisconnectUser, GetSequenceNumber, GetUserAddress, Request};
use rollcall_shared::session::Error;
use wasm_bindgen::prelude::*;

use args::Args;
use driver::{Answer, Driver};
use host::promise;
pub use watch::Watch;

/// The standard library's is three kilobytes larger; docs/decisions/0018-size-of-the-browser-client.md
/// has what this one costs instead.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// A client of a Rollcall cluster.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Rollcall {
    driver: Driver,
}

#[wasm_bindgen]
impl Rollcall {
    /// Connects to the first of the servers that answers; the client learns of the others.
    ///
    /// Rejects with an `Error` whose `code` is `unreachable` after the timeout, or
    /// `unauthenticated` where a server refused the token. With `lazy: true` it resolves at once.
    #[wasm_bindgen(unchecked_return_type = "Promise<Rollcall>")]
    pub fn connect(
        #[wasm_bindgen(unchecked_param_type = "ConnectOptions")] options: JsValue,
    ) -> Promise {
        match args::options(&Args::new(options)) {
            Ok(options) => driver::connect(options),
            Err(error) => rejected(&error),
        }
    }

    /// Registers where a user is reached and holds the registration, over lost links and servers,
    /// until `disconnectUser` or `close`, or until another session takes it over.
    #[wasm_bindgen(js_name = connectUser, unchecked_return_type = "Promise<Registered>")]
    pub fn connect_user(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] username: JsValue,
        #[wasm_bindgen(unchecked_param_type = "Registration")] registration: JsValue,
    ) -> Promise {
        let request = args::connect_user(&username, &Args::new(registration));
        self.ask(request.map(Request::ConnectUser), Answer::Payload)
    }

    /// Ends a registration; without a device, the one of device `"default"`.
    #[wasm_bindgen(js_name = disconnectUser, unchecked_return_type = "Promise<Registered>")]
    pub fn disconnect_user(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] username: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "{ device?: string }")] options: JsValue,
    ) -> Promise {
        let request = args::username(&username).and_then(|username| {
            let device = args::device(&Args::new(options))?;
            Ok(Request::DisconnectUser(DisconnectUser { username, device }))
        });
        self.ask(request, Answer::Payload)
    }

    /// Looks up 1 … 1000 names, all at one revision.
    #[wasm_bindgen(js_name = getUserAddress, unchecked_return_type = "Promise<UserAddress>")]
    pub fn get_user_address(
        &self,
        #[wasm_bindgen(unchecked_param_type = "readonly string[]")] usernames: JsValue,
    ) -> Promise {
        let request = args::usernames(&usernames)
            .map(|usernames| Request::GetUserAddress(GetUserAddress { usernames }));
        self.ask(request, Answer::Payload)
    }

    /// Takes the next number of the cluster's one order, or `count` numbers in a row: resolves to
    /// the first of them.
    #[wasm_bindgen(js_name = getSequenceNumber, unchecked_return_type = "Promise<number>")]
    pub fn get_sequence_number(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "number")] count: JsValue,
    ) -> Promise {
        let request = args::count(&count)
            .map(|count| Request::GetSequenceNumber(GetSequenceNumber { count }));
        self.ask(request, Answer::First)
    }

    /// Watches who matches: who is there now, then every change.
    #[wasm_bindgen(unchecked_return_type = "Promise<Watch>")]
    pub fn subscribe(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Filter")] filter: JsValue,
    ) -> Promise {
        match args::filter(&Args::new(filter)) {
            Ok(filter) => self.driver.subscribe(filter),
            Err(error) => rejected(&error),
        }
    }

    /// How the server that serves this client sees itself and the cluster.
    #[wasm_bindgen(js_name = getStatus, unchecked_return_type = "Promise<Status>")]
    pub fn get_status(&self) -> Promise {
        self.ask(Ok(Request::GetStatus), Answer::Payload)
    }

    /// Asks the server for a sign of life.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn ping(&self) -> Promise {
        self.ask(Ok(Request::Ping), Answer::Nothing)
    }

    /// What the server said when it last welcomed this client; `null` before the first time.
    #[wasm_bindgen(getter, unchecked_return_type = "Welcome | null")]
    pub fn welcome(&self) -> JsValue {
        self.driver.welcome()
    }

    /// How the session stands.
    #[wasm_bindgen(getter, unchecked_return_type = "State")]
    pub fn state(&self) -> String {
        self.driver.state().as_str().to_owned()
    }

    /// Calls `listener` for every event of this name, until `off`.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &str, listener: Function) {
        self.driver.listen(event, listener);
    }

    /// Calls `listener` no more.
    #[wasm_bindgen(skip_typescript)]
    pub fn off(&self, event: &str, listener: &Function) {
        self.driver.unlisten(event, listener);
    }

    /// Disconnects what this client holds and closes the link. Calls that still wait reject with
    /// code `closed`.
    pub fn close(&self) {
        self.driver.close();
    }
}

impl Rollcall {
    fn ask(&self, request: Result<Request, Error>, answer: Answer) -> Promise {
        match request {
            Ok(request) => {
                let (promise, settle) = promise();
                self.driver.call(request, answer, settle);
                promise
            }
            Err(error) => rejected(&error),
        }
    }
}

fn rejected(error: &Error) -> Promise {
    Promise::reject(&host::error(error))
}
