//! The whole way through: the `rollcall` binary, its web console and its browser client in a real
//! Chromium, native clients beside them.
//!
//! What the protocol says in detail is tested in `wire`; here it is whether people see it.

mod browser_events;
mod bundled;
mod client_api;
mod cluster_panel;
mod console;
mod crowd;
mod leader_change;
mod life;
mod lifecycle;
mod look;
mod many_people;
mod network;
mod no_quorum;
mod order;
mod panel;
mod people;
mod readme;
mod real_input;
mod refusals;
mod server_restart;
mod states;
mod tabs;
mod together;
mod token;
mod two_pages;
mod types;
mod verdicts;
