//! Anything may happen to a server, in any order: what no other story tells, told by chance.
//!
//! The order is drawn anew each time and printed when something is wrong; what the processes make of
//! it depends on the machine. The simulator is for runs that can be repeated.

use std::hash::{BuildHasher, Hasher};

use rollcall_tests::{cluster::Cluster, witness::Witness};

/// What befalls one server until it is over.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    AskedToEnd,
    Stopped,
    CutOff,
    Deaf,
    Mute,
    /// For less time than anybody needs to notice.
    Hiccup,
}

const FAULTS: [Fault; 7] = [
    Fault::Killed,
    Fault::AskedToEnd,
    Fault::Stopped,
    Fault::CutOff,
    Fault::Deaf,
    Fault::Mute,
    Fault::Hiccup,
];

impl Fault {
    async fn begin(self, cluster: &mut Cluster, id: u64) {
        match self {
            Self::Killed => cluster.kill9(id),
            Self::AskedToEnd => cluster.terminate(id),
            Self::Stopped | Self::Hiccup => cluster.stop(id).await,
            Self::CutOff => cluster.isolate(id),
            Self::Deaf => {
                for other in cluster.others(id) {
                    cluster.cut_one_way(other, id);
                }
            }
            Self::Mute => {
                for other in cluster.others(id) {
                    cluster.cut_one_way(id, other);
                }
            }
        }
    }

    /// Whether the others are waited for before it is over.
    const fn lasts(self) -> bool {
        !matches!(self, Self::Hiccup)
    }

    async fn end(self, cluster: &mut Cluster, id: u64) {
        match self {
            Self::Killed => cluster.restart(id).await,
            Self::AskedToEnd => {
                assert!(cluster.exited(id).await.success(), "server {id}");
                cluster.restart(id).await;
            }
            Self::Stopped | Self::Hiccup => cluster.cont(id),
            Self::CutOff | Self::Deaf | Self::Mute => cluster.heal(),
        }
    }
}

fn draw(choices: usize) -> usize {
    let random = std::hash::RandomState::new().build_hasher().finish();
    random as usize % choices
}

#[tokio::test]
async fn one_server_at_a_time_and_nobody_notices() {
    const STEPS: usize = 12;
    let mut cluster = Cluster::start(3).await;
    let mut witness = Witness::start(cluster.places()).await;
    for _ in 0..STEPS {
        // Every other time the leader, for then the most is at stake.
        let leader = cluster.leader().await;
        let victim = if draw(2) == 0 { leader } else { 1 + draw(3) as u64 };
        let fault = FAULTS[draw(FAULTS.len())];
        eprintln!("server {victim}, where {leader} leads: {fault:?}");
        fault.begin(&mut cluster, victim).await;
        if fault.lasts() {
            witness.goes_on(&cluster.others(victim)).await;
        }
        fault.end(&mut cluster, victim).await;
        cluster.is_admitted(victim).await;
        witness.goes_on(&[1, 2, 3]).await;
    }
    witness.finish(&[1, 2, 3]).await;
}

#[tokio::test]
async fn two_of_five_at_a_time_and_nobody_notices() {
    const STEPS: usize = 5;
    let mut cluster = Cluster::start(5).await;
    let mut witness = Witness::start(cluster.places()).await;
    for _ in 0..STEPS {
        let leader = cluster.leader().await;
        let others = cluster.others(leader);
        let second = others[draw(4)];
        let first = if draw(2) == 0 { leader } else { others[(draw(3) + 1) % 4] };
        let first = if first == second { leader } else { first };
        let faults = [FAULTS[draw(FAULTS.len())], FAULTS[draw(FAULTS.len())]];
        eprintln!("servers {first} and {second}, where {leader} leads: {faults:?}");
        faults[0].begin(&mut cluster, first).await;
        faults[1].begin(&mut cluster, second).await;
        let left: Vec<_> =
            cluster.others(first).into_iter().filter(|other| *other != second).collect();
        witness.goes_on(&left).await;
        faults[0].end(&mut cluster, first).await;
        faults[1].end(&mut cluster, second).await;
        for id in [first, second] {
            cluster.is_admitted(id).await;
        }
        witness.goes_on(&[1, 2, 3, 4, 5]).await;
    }
    witness.finish(&[1, 2, 3, 4, 5]).await;
}
