//! Invariant 12: no registration ends as expired while its client holds an answered link, and none
//! outlives its last link by more than `grace + cutoff_wait` after the last leader change.
//!
//! The links are the simulator's, which says when one of the two happens. On the way: who was told of
//! a session has that one, or has lost its link (R32, R33).

use super::{Event, Invariant, Truth};

/// Here is what must not be.
#[derive(Default)]
pub(super) struct Sessions;

impl Invariant for Sessions {
    fn name(&self) -> &'static str {
        "12: sessions live as long as their links"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::EndedWhileLinked { client } => {
                Err(format!("the session of {client}, which is linked, ended"))
            }
            Event::Outlived { client, by } => {
                Err(format!("the session of {client} lives {by} µs after its last link"))
            }
            Event::ToldOther { client, told, live } => {
                Err(format!("{client} believes in session {told:?} and has {live:?}"))
            }
            _ => Ok(()),
        }
    }
}
