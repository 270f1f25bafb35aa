//! How long the directory takes for a write: `cargo run --release -p rollcall-replica --example
//! apply`.
//!
//! Ten thousand sessions write in turn. Each line is printed twice: once as it is, once with a copy
//! of the whole state taken every so often and kept, as a snapshot is. It measures and judges
//! nothing: how fast is fast enough depends on the machine.

#![expect(clippy::print_stdout, reason = "figures are all it is for")]
#![expect(clippy::disallowed_methods, reason = "it measures the pure core from outside")]

use std::time::Instant;

use rollcall_replica::command::{Command, Generation, Principal, Write};
use rollcall_replica::directory::{Bounds, Directory};
use rollcall_shared::id::{ClientId, Device, RequestId, Revision, Username};

const SESSIONS: usize = 10_000;
/// Enough to fill the window of every session before the measurement begins.
const WARM_UP: usize = 100 * SESSIONS;
const WRITES: usize = 2_000_000;
/// Writes between two snapshots.
const SNAPSHOT_EVERY: usize = 100_000;

fn main() {
    for snapshots in [false, true] {
        println!("{}", if snapshots { "with snapshots" } else { "without snapshots" });
        measure("GetSequenceNumber", snapshots, |_, _| Write::Sequence { count: 1 });
        measure("ConnectUser, another address", snapshots, |session, round| {
            connect(session, round)
        });
        measure("ConnectUser and DisconnectUser in turn", snapshots, |session, round| {
            if round % 2 == 0 {
                connect(session, round)
            } else {
                let (username, device) = (name(session), Device::default());
                Write::Disconnect { username, device }
            }
        });
    }
}

fn measure(what: &str, snapshots: bool, write: impl Fn(usize, usize) -> Write) {
    let mut directory = Directory::new(Revision(0), Bounds::default());
    let clients: Vec<_> = (0..SESSIONS).map(|at| open(&mut directory, at)).collect();
    let command = |at: usize| {
        let (session, round) = (at % SESSIONS, at / SESSIONS);
        let (client, generation) = clients[session].clone();
        let request = RequestId(1 + round as u64);
        Command::Write { client, generation, request, write: write(session, round) }
    };
    let mut effects = Vec::new();
    let mut kept = None;
    let mut spent = std::time::Duration::ZERO;
    // Commands are made in batches outside of the measurement.
    for batch in 0..(WARM_UP + WRITES) / SESSIONS {
        let commands: Vec<_> = (batch * SESSIONS..(batch + 1) * SESSIONS).map(command).collect();
        let begin = Instant::now();
        for command in commands {
            directory.apply(directory.applied().next(), command, &mut effects);
            effects.clear();
        }
        if snapshots && batch % (SNAPSHOT_EVERY / SESSIONS) == 0 {
            kept = Some(directory.clone());
        }
        if batch >= WARM_UP / SESSIONS {
            spent += begin.elapsed();
        }
    }
    drop(kept);
    println!("{:6.0} ns  {what}", spent.as_secs_f64() * 1e9 / WRITES as f64);
}

fn open(directory: &mut Directory, at: usize) -> (ClientId, Generation) {
    // As random as the ids of clients are: neighbours in time are none in the map.
    let number = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let client = ClientId::new(&format!("{number:016x}-{at}")).expect("a valid client id");
    let principal = Principal::Client(client.clone());
    let index = directory.applied().next();
    directory.apply(index, Command::Open { client: client.clone(), principal }, &mut Vec::new());
    (client, Generation(index.0))
}

fn connect(session: usize, round: usize) -> Write {
    let (username, device) = (name(session), Device::default());
    let port = u16::try_from(1 + round % 1000).expect("at most 1000");
    Write::Connect { username, device, ip: [10, 0, 0, 1].into(), port, meta: None }
}

fn name(session: usize) -> Username {
    Username::new(&format!("user{session}")).expect("a valid name")
}
