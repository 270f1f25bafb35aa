//! R28: a server ends as replaced only if the committed log has admitted another one in its place.

use rollcall_replica::Output;
use rollcall_replica::consensus::StopReason;
use rollcall_replica::consensus::ids::Boot;
use rollcall_replica::consensus::log::Op;

use super::{Event, Invariant, Truth};

/// Compares with the log.
#[derive(Default)]
pub(super) struct Replaced;

impl Invariant for Replaced {
    fn name(&self) -> &'static str {
        "R28: only who was replaced ends"
    }

    fn observe(&mut self, truth: &Truth, event: &Event<'_>) -> Result<(), String> {
        let Event::Said { node, output: Output::Stop(StopReason::Superseded), replica } = event
        else {
            return Ok(());
        };
        let ours = replica.consensus().stored().boot;
        let admitted = admitted(truth, *node);
        let after = admitted.iter().skip_while(|boot| Some(**boot) != ours);
        if after.count() > 1 {
            return Ok(());
        }
        Err(format!("server {node} with {ours:?} ends; the log admitted {admitted:?} in its place"))
    }
}

/// All boots of a server that the committed log admits, in order.
fn admitted(truth: &Truth, node: u32) -> Vec<Boot> {
    let of = |(id, boot): &(rollcall_shared::id::NodeId, Boot)| (id.0 == node).then_some(*boot);
    let admitted = |op: &Op| match op {
        Op::Init(init) => init.boots.iter().find_map(of),
        Op::Admit { node, boot } => of(&(*node, *boot)),
        Op::Command(_) => None,
    };
    truth.log.iter().filter_map(|entry| admitted(&entry.op)).collect()
}
