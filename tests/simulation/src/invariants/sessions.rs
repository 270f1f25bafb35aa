//! Invariant 12: no registration ends as expired while its client holds an answered link.

use super::{Event, Invariant, Truth};

/// The simulator knows the links; here is what must not be.
#[derive(Default)]
pub(super) struct Sessions;

impl Invariant for Sessions {
    fn name(&self) -> &'static str {
        "12: nobody who is linked expires"
    }

    fn observe(&mut self, _: &Truth, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::EndedWhileLinked { client } => Err(format!("the session of {client} ended")),
            _ => Ok(()),
        }
    }
}
