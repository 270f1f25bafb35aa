//! What links between servers carry, and how they come and go.

use rollcall_replica::Input;
use rollcall_replica::consensus::ids::PeerLink;
use rollcall_shared::id::NodeId;

use super::network::OnWire;
use super::{Count, Next, Outcome, Sim};

impl Sim {
    pub(super) fn arrive(&mut self, from: u32, to: u32) -> Outcome {
        while let Some(OnWire { link, frame, .. }) = self.network.arrive(from, to, self.now) {
            let known = self.servers.get(&to).and_then(|server| server.links.get(&from));
            if known != Some(&link) {
                continue;
            }
            self.note(|| format!("{from} -> {to} {:?}", frame.message));
            self.tell(to, Input::Received { peer: NodeId(from), link, frame })?;
        }
        Ok(())
    }

    pub(super) fn link_down(&mut self, node: u32, peer: u32, link: PeerLink) -> Outcome {
        let Some(server) = self.servers.get_mut(&node) else { return Ok(()) };
        if server.links.get(&peer) == Some(&link) {
            server.links.remove(&peer);
            self.tell(node, Input::PeerDown { peer: NodeId(peer), link })?;
        }
        self.dial_later(node, peer);
        Ok(())
    }

    pub(super) fn dial_later(&mut self, a: u32, b: u32) {
        let at = self.now + self.random.between(5_000, 60_000);
        self.at(at, Next::Dial { a: a.min(b), b: a.max(b) });
    }

    /// The higher id dials where it has no link.
    pub(super) fn dial(&mut self, a: u32, b: u32) {
        let running = |id: u32| self.servers.get(&id).is_some_and(|s| s.replica.is_some());
        let linked = self.servers.get(&b).is_some_and(|server| server.links.contains_key(&a));
        if linked {
            return;
        }
        if !running(a) || !running(b) || self.network.is_cut(a, b) {
            self.dial_later(a, b);
            return;
        }
        let link = self.network.next_link();
        let first = self.now + self.random.between(50, 50 + self.plan.delay);
        let second = first + self.random.between(50, 50 + self.plan.delay);
        self.network.comes_up(b, a, first);
        self.network.comes_up(a, b, second);
        self.at(first, Next::LinkUp { node: a, peer: b, link });
        self.at(second, Next::LinkUp { node: b, peer: a, link });
        // Should the dialler's end never come up, somebody must try again.
        self.at(second + 1, Next::Dial { a, b });
    }

    pub(super) fn send(&mut self, from: u32, to: u32, wire: OnWire) {
        let delay = self.random.between(20, 20 + self.plan.delay);
        let wire = OnWire { at: self.now + delay, ..wire };
        if self.breaking && self.random.one_in(self.plan.damage) {
            self.counts.add(Count::Damage);
            match self.random.below(3) {
                // Lost, doubled, or out of order: no link does that; the core must notice.
                0 => return,
                1 => {
                    self.network.send(from, to, wire.clone());
                }
                _ => {
                    let at = self.network.send(from, to, wire);
                    self.network.swap_last(from, to);
                    self.at(at, Next::Arrive { from, to });
                    return;
                }
            }
        }
        let at = self.network.send(from, to, wire);
        self.at(at, Next::Arrive { from, to });
    }

    /// One end closes a link; the other hears of it, unless a cut is between them.
    pub(super) fn close(&mut self, node: u32, peer: u32, link: PeerLink) {
        if let Some(server) = self.servers.get_mut(&node)
            && server.links.get(&peer) == Some(&link)
        {
            server.links.remove(&peer);
        }
        if !self.network.is_cut(node, peer) {
            let at = self.now + self.random.between(20, 20 + self.plan.delay);
            self.at(at, Next::LinkDown { node: peer, peer: node, link });
        }
        self.dial_later(node, peer);
    }
}
