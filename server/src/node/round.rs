//! What the replica says in one round, sorted by who is to hear it.

use rollcall_replica::Output;
use rollcall_replica::consensus::StopReason;
use rollcall_replica::consensus::ids::PeerLink;
use rollcall_shared::id::NodeId;

use super::{Step, shard_of, shard_of_read};
use crate::peers::ToPeer;
use crate::push::Announcement;

/// All outputs of a round.
pub(super) struct Round {
    /// The steps of the state.
    pub(super) steps: Vec<Step>,
    /// What is due to each shard.
    pub(super) to_shards: Vec<Vec<Output>>,
    /// What is due to other servers, and on which link.
    pub(super) to_peers: Vec<(NodeId, PeerLink, ToPeer)>,
    /// Whether clients are to move.
    pub(super) cut_off: bool,
    /// Whether the server ends, and why.
    pub(super) stop: Option<StopReason>,
}

impl Round {
    pub(super) fn new(shards: usize) -> Self {
        let mut to_shards = Vec::new();
        to_shards.resize_with(shards, Vec::new);
        Self { steps: Vec::new(), to_shards, to_peers: Vec::new(), cut_off: false, stop: None }
    }

    pub(super) fn take(&mut self, output: Output) {
        match output {
            Output::Changed(change) => self.steps.push(Step::Changed(Announcement::new(change))),
            Output::Installed { revision } => self.steps.push(Step::Installed(revision)),
            Output::Send { peer, link, frame } => {
                let mut same = self.to_peers.iter_mut().rev();
                let last = same.find(|(node, on, _)| (*node, *on) == (peer, link));
                if let Some((_, _, ToPeer::Frames(frames))) = last {
                    frames.push(frame);
                } else {
                    self.to_peers.push((peer, link, ToPeer::Frames(vec![frame])));
                }
            }
            Output::ClosePeer { peer, link, why } => {
                self.to_peers.push((peer, link, ToPeer::Close(why)));
            }
            Output::Opened { link, .. }
            | Output::Written { link, .. }
            | Output::Refused { link, .. }
            | Output::SessionEnded { link }
            | Output::Replaced { link, .. } => self.tell_shard(shard_of(link), output),
            Output::Readable { read } | Output::Unreadable { read } => {
                self.tell_shard(shard_of_read(read), output);
            }
            Output::CutOff => {
                self.cut_off = true;
                self.tell_all_shards(&output);
            }
            Output::Stop(why) => {
                self.stop = Some(why);
                self.tell_all_shards(&output);
            }
            Output::Store(_) => unreachable!("records are stored, in order, as they come"),
        }
    }

    fn tell_shard(&mut self, shard: usize, output: Output) {
        if let Some(outputs) = self.to_shards.get_mut(shard) {
            outputs.push(output);
        }
    }

    fn tell_all_shards(&mut self, output: &Output) {
        for outputs in &mut self.to_shards {
            outputs.push(output.clone());
        }
    }
}
