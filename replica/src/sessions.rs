//! Sessions of clients across servers (section 7 of docs/replication.md).
//!
//! Each server knows the links of its clients (module `links`) and their writes on their way (module
//! `writes`); the leader knows which server keeps which session alive (module `attached`). None of
//! that is stored: it is reported anew to each leader.

pub(crate) mod attached;
pub(crate) mod links;
pub mod message;
pub(crate) mod writes;

use rollcall_shared::id::ClientId;

use crate::command::Principal;

/// A client as the principal behind it shows it: a link of another principal keeps nothing of it
/// alive, even if it knows the client id.
pub(crate) type Identity = (ClientId, Principal);
