//! Files that are not what was written: bits flipped, ends cut off. A server starts with everything
//! that was acknowledged, or says which file is damaged at which byte and does not start; and who
//! rather has it begin anew says so.

use rollcall_tests::{cluster::Cluster, roaming::Place, server::Server, wire::Client};
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::{
    LASTING, draw,
    frames::{Files, boundaries},
    load::Load,
    rounds,
};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// One bit of the byte at this place is another one.
    Flip(usize),
    /// It ends here.
    Cut(usize),
}

impl Harm {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Flip(at) => file[at] ^= 1 << draw(8),
            Self::Cut(at) => file.truncate(at),
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Flip(at) | Self::Cut(at) => at,
        }
    }
}

/// What came of many trials.
#[derive(Debug, Default)]
struct Outcomes {
    started: usize,
    refused: usize,
}

impl Outcomes {
    /// Takes in that a server did not start.
    #[track_caller]
    fn refuse(&mut self, harm: Harm, file: &str, (code, said): (Option<i32>, String)) {
        self.refused += 1;
        assert_eq!(code, Some(1), "{harm:?} of {file}: {said}");
        let damaged = format!("{file} is damaged at byte ");
        let byte =
            said.split_once(&damaged).and_then(|(_, rest)| rest.split_once(':')?.0.parse().ok());
        let byte: usize = byte.unwrap_or_else(|| panic!("{harm:?} of {file}: {said}"));
        assert!(byte <= harm.place(), "{harm:?} of {file}, and it says byte {byte}: {said}");
        assert!(said.contains("rollcall readmit"), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_journal_is_used_as_a_whole_or_not_at_all() {
    let mut server = Server::on_disk(LASTING);
    let place = Place { id: 1, address: server.address() };
    let mut load = Load::new(60).pour_some(place, 200).await;
    // Few records each, so that there are many frames.
    let mut client = Client::new(&server).await;
    for port in 1..=20 {
        client.register("ann", port).await;
    }
    let number = client.call("GetSequenceNumber", json!({})).await["first"].as_u64();
    // Once it is idle it says so at the end of its journal; from then on what is missing is missed.
    sleep(Duration::from_millis(100)).await;
    server.kill9();
    let folder = server.data_dir();
    let whole = Files::read(&folder);
    let name = whole.newest("journal-");
    let harms = harms(whole.bytes(&name), rounds(40));
    let mut outcomes = Outcomes::default();
    for harm in harms {
        let mut files = whole.clone();
        harm.apply(files.bytes_mut(&name));
        files.lay_out(&folder);
        match server.starts_or_refuses().await {
            Ok(()) => {
                outcomes.started += 1;
                load.looks_up(place).await;
                let mut client = Client::new(&server).await;
                let answer = client.lookup(&["ann"]).await;
                assert_eq!(answer["users"][0]["addresses"][0]["port"], 20, "{harm:?}: {answer}");
                let next = client.call("GetSequenceNumber", json!({})).await["first"].as_u64();
                assert!(next > number, "{harm:?}: {next:?} after {number:?}");
                server.kill9();
            }
            Err(refusal) => outcomes.refuse(harm, &name, refusal),
        }
    }
    eprintln!("{outcomes:?}");
    assert!(outcomes.started > 0 && outcomes.refused > 50, "{outcomes:?}");
    // It was the harm that kept it from starting, and nothing else.
    whole.lay_out(&folder);
    server.restart();
    load.finds_everything(place).await;
}

/// The one that is damaged and one that has missed the last writes make a majority: if the first
/// started without something that was acknowledged, nobody would have it.
#[tokio::test]
async fn a_damaged_server_of_three_never_makes_a_majority_forget() {
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    let leader = cluster.leader().await;
    let [damaged, late] = cluster.others(leader)[..] else { panic!("there are three") };
    let load = Load::new(60).pour_some(cluster.place(leader), 100).await;
    cluster.kill9(late);
    let load = load.pour_some(cluster.place(leader), 300).await;
    sleep(Duration::from_millis(100)).await;
    for id in [damaged, leader] {
        cluster.kill9(id);
    }
    let folder = |cluster: &Cluster, id| cluster.server(id).data_dir();
    let whole = [damaged, late].map(|id| Files::read(&folder(&cluster, id)));
    let name = whole[0].newest("journal-");
    let mut outcomes = Outcomes::default();
    for harm in harms(whole[0].bytes(&name), rounds(10)) {
        let mut files = whole[0].clone();
        harm.apply(files.bytes_mut(&name));
        files.lay_out(&folder(&cluster, damaged));
        match cluster.server_mut(damaged).starts_or_refuses().await {
            Ok(()) => {
                outcomes.started += 1;
                whole[1].lay_out(&folder(&cluster, late));
                cluster.is_started(damaged);
                cluster.restart(late).await;
                cluster.wait_ready().await;
                for id in [damaged, late] {
                    load.looks_up(cluster.place(id)).await;
                }
                for id in [damaged, late] {
                    cluster.kill9(id);
                }
            }
            Err(refusal) => outcomes.refuse(harm, &name, refusal),
        }
    }
    eprintln!("{outcomes:?}");
    assert!(outcomes.started > 0 && outcomes.refused > 20, "{outcomes:?}");
}

/// A snapshot comes to a server that copies more than the others keep one by one.
#[tokio::test]
async fn a_damaged_snapshot_is_not_used() {
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    let leader = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    cluster.kill9(victim);
    let folder = cluster.server(victim).data_dir();
    std::fs::remove_dir_all(&folder).expect("it is ours");
    let others = [cluster.place(leader), cluster.place(cluster.others(leader)[1])];
    let pouring = others.map(|place| Load::new(0).pour(vec![place]));
    for pouring in &pouring {
        pouring.reaches(SNAPSHOT_AFTER / 2).await;
    }
    let mut loads = Vec::new();
    for pouring in pouring {
        loads.push(pouring.end().await);
    }
    cluster.restart(victim).await;
    cluster.is_admitted(victim).await;
    for load in &mut loads {
        load.finds_everything(cluster.place(victim)).await;
    }
    sleep(Duration::from_millis(100)).await;
    cluster.kill9(victim);
    let whole = Files::read(&folder);
    let name = whole.newest("snapshot-");
    let mut outcomes = Outcomes::default();
    for harm in harms(whole.bytes(&name), rounds(20)) {
        let mut files = whole.clone();
        harm.apply(files.bytes_mut(&name));
        files.lay_out(&folder);
        match cluster.server_mut(victim).starts_or_refuses().await {
            Ok(()) => {
                outcomes.started += 1;
                cluster.wait_ready_of(victim).await;
                for load in &mut loads {
                    load.looks_up(cluster.place(victim)).await;
                }
                cluster.kill9(victim);
            }
            Err(refusal) => outcomes.refuse(harm, &name, refusal),
        }
    }
    eprintln!("{outcomes:?}");
    assert!(outcomes.refused > 20, "{outcomes:?}");
}

/// What to do to a file: cut it where each frame begins, flip a bit of each frame's head and content,
/// and so many things at random, a few of them where nothing was written.
fn harms(file: &[u8], random: usize) -> Vec<Harm> {
    let boundaries = boundaries(file);
    let used = *boundaries.last().expect("a file has a beginning");
    // All of a long file would take too long; its ends are what differs.
    let step = boundaries.len().div_ceil(40).max(1);
    let frames = boundaries.iter().enumerate();
    let frames = frames.filter(|(n, _)| n % step == 0 || n + 4 > boundaries.len());
    let mut harms = vec![Harm::Cut(0), Harm::Cut(7), Harm::Flip(0)];
    for (n, &at) in frames {
        harms.push(Harm::Cut(at));
        if let Some(next) = boundaries.get(n + 1) {
            harms.push(Harm::Flip(at + draw(next - at)));
        }
    }
    for n in 0..random {
        harms.push(match n % 4 {
            0 => Harm::Cut(draw(used)),
            1 if used < file.len() => Harm::Flip(used + draw(file.len() - used)),
            // Often near the end, where a crash may leave something unfinished.
            2 => Harm::Flip(used - 1 - draw(200.min(used))),
            _ => Harm::Flip(draw(used)),
        });
    }
    harms
}

/// How many entries come to be before servers keep a snapshot in their place, and more.
const SNAPSHOT_AFTER: u64 = 36_000;
