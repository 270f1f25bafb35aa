//! The whole way through: the `rollcall` binary, its web console and its browser client in a real
//! Chromium, native clients beside them.
//!
//! What the protocol says in detail is tested in `wire`; here it is whether people see it.

mod client_api;
mod console;
mod many_people;
mod people;
mod real_input;
mod server_restart;
mod token;
mod two_pages;
