//! Whose session should be live and whose should not (invariant 12): the simulator knows the links
//! of clients, the truth knows the sessions.

use rollcall_shared::id::ClientId;

use super::client::{Client, ClientLink};
use super::{Outcome, Sim};
use crate::invariants::{Event, observe};

impl Sim {
    /// Looks at the sessions that were ended: none may be that of a client with an answered link,
    /// unless its server sleeps, or has just woken and not told its clients to move yet.
    pub(super) fn check_ended(&mut self) -> Outcome {
        for ended in std::mem::take(&mut self.truth.ended) {
            let of = |client: &&Client| client.id.as_str() == ended;
            let Some(client) = self.clients.iter().find(of) else { continue };
            let Some(ClientLink { node, answered: Some(_), .. }) = client.link else { continue };
            let Some(server) = self.servers.get(&node) else { continue };
            let awake = server.paused_until.is_none() && server.woken_at + WAKES <= self.now;
            if server.replica.is_some() && awake {
                self.observe(&Event::EndedWhileLinked { client: &ended })?;
            }
        }
        Ok(())
    }

    /// When a leader was settled last, if it was after `least`; else `least`.
    pub(super) fn last_leader_since(&self, least: u64) -> u64 {
        self.settled.map_or(least, |(_, at)| at.max(least))
    }

    /// How long a session may outlive its client's last link and the last change of leaders, in a
    /// world that is well.
    pub(super) fn outlives(&self) -> u64 {
        let timings = &self.plan.timings;
        let waits = timings.grace + timings.cutoff_wait;
        u64::try_from(waits.as_micros()).unwrap_or(u64::MAX) + SLACK
    }

    /// All is well: whoever was told of a session has it, and no other (R32).
    pub(super) fn check_told(&mut self) -> Outcome {
        let Some(state) = self.truth.state(self.truth.last()) else { return Ok(()) };
        for client in &self.clients {
            let Some(told) = client.link.and_then(|link| link.session) else { continue };
            let live = state.live_session(&client.id);
            let live = live.map(|(generation, _)| state.session_number(generation));
            if live != Some(told) {
                let event = Event::ToldOther { client: client.id.as_str(), told, live };
                return observe(&mut self.invariants, &self.truth, &event)
                    .map_err(|(property, what)| self.failure(property, what));
            }
        }
        Ok(())
    }

    /// Looks at the sessions that are live: none may be that of a client without a link for long.
    pub(super) fn check_live(&mut self) -> Outcome {
        let last = self.truth.last();
        let Some(state) = self.truth.state(last) else { return Ok(()) };
        let live: Vec<ClientId> =
            state.each_live_session().map(|(client, ..)| client.clone()).collect();
        for id in live {
            let Some(client) = self.clients.iter().find(|client| client.id == id) else { continue };
            let since = self.last_leader_since(client.unlinked_at);
            if client.link.is_none() && since + self.outlives() <= self.now {
                let by = self.now - since;
                self.observe(&Event::Outlived { client: id.as_str(), by })?;
            }
        }
        Ok(())
    }
}

/// How soon a server that was suspended tells its clients to move.
const WAKES: u64 = 100_000;
/// For clocks that differ, for the link of a server to be noticed as gone, and for the commit.
const SLACK: u64 = 1_200_000;
