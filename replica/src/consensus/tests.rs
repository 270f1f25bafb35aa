//! Scenarios of the consensus core.
//!
//! Owns no world: that is [`crate::world`].

mod election;
mod peers;
mod scripted;
mod start;

use super::ids::Index;
use super::log::Op;
use super::{RoleKind, StopReason};
use crate::world::World;
