//! Links between servers: dialled by the higher id, first in, first out, until they break.
//!
//! A cut holds messages back, as a network does under TCP; they arrive when it heals, if the link is
//! still the same at the end that gets them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollcall_replica::consensus::ids::PeerLink;
use rollcall_replica::consensus::message::Frame;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct OnWire {
    pub(super) link: PeerLink,
    pub(super) frame: Frame,
    /// When it arrives, if nothing holds it back.
    pub(super) at: u64,
}

/// All wires.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// By sender and receiver.
    wires: BTreeMap<(u32, u32), VecDeque<OnWire>>,
    /// Directions in which nothing arrives.
    cut: BTreeSet<(u32, u32)>,
    last_link: u64,
    /// Before that time nothing arrives on a new link: its end is not up yet.
    up_from: BTreeMap<(u32, u32), u64>,
}

impl Network {
    pub(super) const fn next_link(&mut self) -> PeerLink {
        self.last_link += 1;
        PeerLink(self.last_link)
    }

    /// A link whose ends come up at different times.
    pub(super) fn comes_up(&mut self, from: u32, to: u32, at: u64) {
        self.up_from.insert((from, to), at);
    }

    /// Puts a message on the wire; when it arrives.
    pub(super) fn send(&mut self, from: u32, to: u32, mut wire: OnWire) -> u64 {
        let up = self.up_from.get(&(from, to)).copied().unwrap_or(0);
        let queue = self.wires.entry((from, to)).or_default();
        // First in, first out: it does not overtake.
        let before = queue.back().map_or(0, |last| last.at);
        wire.at = wire.at.max(before).max(up);
        let at = wire.at;
        queue.push_back(wire);
        at
    }

    /// The next message that has arrived.
    pub(super) fn arrive(&mut self, from: u32, to: u32, now: u64) -> Option<OnWire> {
        if self.cut.contains(&(from, to)) {
            return None;
        }
        let queue = self.wires.get_mut(&(from, to))?;
        queue.front().filter(|wire| wire.at <= now)?;
        queue.pop_front()
    }

    /// Swaps the last two messages of a wire: what no link does.
    pub(super) fn swap_last(&mut self, from: u32, to: u32) {
        if let Some(queue) = self.wires.get_mut(&(from, to))
            && queue.len() > 1
        {
            let last = queue.len() - 1;
            queue.swap(last, last - 1);
        }
    }

    pub(super) fn cut(&mut self, from: u32, to: u32) {
        self.cut.insert((from, to));
    }

    pub(super) fn is_cut(&self, a: u32, b: u32) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    /// Ends all cuts; which directions carry again.
    pub(super) fn heal(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.cut).into_iter().collect()
    }

    /// What was on its way from or to a process that is gone is lost.
    pub(super) fn drop_of(&mut self, node: u32) {
        self.wires.retain(|(from, to), _| *from != node && *to != node);
    }
}
