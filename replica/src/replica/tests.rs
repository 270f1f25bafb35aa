//! Scenarios of the replica: `alone` as transcripts of one server, the others of several: `cluster`
//! as clients see it, `copies` of one write in the log, `attaching` links to their sessions, `order`
//! of what links between servers carry, `cut_off` servers, `shown` what may be read without asking,
//! `steps` in which much is applied.

mod alone;
mod attaching;
mod cluster;
mod copies;
mod cut_off;
mod order;
mod restored;
mod shown;
mod steps;

use rollcall_shared::id::{NodeId, RequestId};

use crate::command::{Applied, Write, Written};
use crate::consensus::ids::{Lsn, PeerLink};
use crate::world::World;
use crate::{Input, LinkId, Output, Replica};

/// A grace, and how much longer where a server was lost; see `Timings::default`.
const GRACE: u64 = 10_000;
const UNHEARD: u64 = 3_000;

fn connect(world: &mut World, id: u32, link: LinkId, request: u64, name: &str) {
    let write = registration(name, "d");
    world.tell(id, Input::Write { link, request: RequestId(request), write });
}

fn registration(name: &str, device: &str) -> Write {
    let (username, device) = (name.parse().unwrap(), device.parse().unwrap());
    Write::Connect { username, device, ip: "10.0.0.1".parse().unwrap(), port: 1, meta: None }
}

fn sequence(world: &mut World, id: u32, link: LinkId, request: u64) {
    let write = Write::Sequence { count: 1 };
    world.tell(id, Input::Write { link, request: RequestId(request), write });
}

fn open(world: &mut World, id: u32, link: LinkId, request: u64) {
    world.tell(id, Input::Open { link, request: RequestId(request) });
}

/// What the link was told since it was asked for last, shortly.
fn told(world: &mut World, id: u32, to: LinkId) -> Vec<String> {
    let mut texts = Vec::new();
    world.server(id).outputs.retain(|output| match text(output) {
        Some((link, text)) if link == to => {
            texts.push(text);
            false
        }
        _ => true,
    });
    texts
}

fn text(output: &Output) -> Option<(LinkId, String)> {
    Some(match output {
        Output::Opened { link, session, .. } => (*link, format!("session {session}")),
        Output::Written { link, written, .. } => (*link, written_text(written)),
        Output::Refused { link, why, .. } => (*link, format!("{why:?}")),
        Output::SessionEnded { link } => (*link, "ended".to_owned()),
        Output::Replaced { link, .. } => (*link, "replaced".to_owned()),
        _ => return None,
    })
}

fn written_text(written: &Written) -> String {
    match written {
        Written::Applied(Applied::Numbers { first, .. }) => format!("number {first}"),
        Written::Applied(Applied::Connected { .. }) => "connected".to_owned(),
        other => format!("{other:?}"),
    }
}

fn online(world: &World, id: u32) -> usize {
    world.replica(id).users().registrations()
}

/// Something happens at `id`, and what follows from it has to wait.
fn tell_only(world: &mut World, id: u32, input: Input) {
    let now = world.now;
    world.server(id).replica.as_mut().unwrap().handle(now, input);
}

/// All that is due at `id`; what it sends is on its way then.
fn poll(world: &mut World, id: u32) {
    while let Some(output) = world.server(id).replica.as_mut().and_then(Replica::poll_output) {
        match output {
            Output::Send { peer, link, frame } => world.wires.push_back((id, peer.0, link, frame)),
            Output::Store(record) => {
                let server = world.server(id);
                server.disk.apply(&record);
                server.lsn += 1;
                let through = Lsn(server.lsn);
                tell_only(world, id, Input::Stored { through });
            }
            other => world.server(id).outputs.push(other),
        }
    }
}

/// What is on its way from one server to another arrives, and what follows from it has to wait.
fn carry(world: &mut World, from: u32, to: u32) {
    let wires = std::mem::take(&mut world.wires);
    for (one, other, link, frame) in wires {
        if (one, other) != (from, to) {
            world.wires.push_back((one, other, link, frame));
        } else if world.server(to).links.get(&from) == Some(&link) {
            tell_only(world, to, Input::Received { peer: NodeId(from), link, frame });
        }
    }
}

/// A new link takes the place of the one between two servers, and what follows has to wait.
fn relink(world: &mut World, a: u32, b: u32) -> PeerLink {
    world.unlink(a, b);
    world.next_link += 1;
    let link = PeerLink(world.next_link);
    for (one, other) in [(a, b), (b, a)] {
        world.server(one).links.insert(other, link);
        tell_only(world, one, Input::PeerUp { peer: NodeId(other), link });
    }
    link
}
