//! The native client of Rollcall: who is online, where to reach them, and one global order.
//!
//! Owns the driver of [`rollcall_shared::session::Session`] on tokio and the types an application
//! sees. What to send when, retries and subscriptions over several links are the session's.
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use rollcall_client::{Client, Filter, Ip, Prefix, Registration};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(["ws://127.0.0.1:7101/ws"]).await?;
//!
//! // Held until it is disconnected or the client is closed, over lost links and servers.
//! let phone = Registration::new(Ip::Observed, 4711).device("phone");
//! client.connect_user("ann", phone).await?;
//!
//! let answer = client.get_user_address(["ann", "bob"]).await?;
//! for user in &answer.users {
//!     println!("{} is at {}", user.username, user.addresses[0].ip);
//! }
//!
//! let number = client.get_sequence_number().await?;
//! println!("number {number} is ours alone");
//!
//! let mut team = client.subscribe(Filter::Prefix(Prefix::new("team-")?)).await?;
//! println!("{} are here", team.users().len());
//! while let Some(change) = team.next().await {
//!     println!("{:?} {}", change.kind, change.change.username);
//! }
//!
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is a cheap handle: clone it as you like. When the last clone and the last
//! [`Watch`] are dropped, the link is closed without a goodbye and the cluster keeps the
//! registrations for its grace period; [`Client::close`] ends them at once.

mod builder;
mod driver;
mod event;
mod handle;
pub mod order;
mod registration;
mod socket;
mod watch;

pub use builder::Builder;
pub use event::Event;
pub use handle::Client;
pub use registration::Registration;
pub use rollcall_shared::id::{ClientId, Device, NodeId, Prefix, Revision, Username};
pub use rollcall_shared::message::{
    Address, ErrorCode, Filter, Ip, Reason, Registered, SequenceNumber, Status, User, UserAddress,
    Welcome,
};
pub use rollcall_shared::meta::Meta;
pub use rollcall_shared::session::{ChangeKind, Code, Error, State};
pub use watch::{Change, Watch};
