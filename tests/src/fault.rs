//! What can happen to one server of a cluster.

use crate::cluster::Cluster;

/// What is done to a server, and undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and started again: blank, where it is in memory.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// SIGTERM, and started again.
    Restart,
    /// Cut off from the other servers, not from clients.
    Cut,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Stop, Self::Restart, Self::Cut];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Stop => "SIGSTOP",
            Self::Restart => "graceful restart",
            Self::Cut => "cut off",
        }
    }

    /// Does it to a server that runs.
    pub async fn begin(self, cluster: &mut Cluster, id: u64) {
        match self {
            Self::Kill => cluster.kill9(id),
            Self::Stop => cluster.stop(id).await,
            Self::Restart => {
                cluster.terminate(id);
                assert!(cluster.exited(id).await.success(), "server {id}: {}", cluster.log(id));
            }
            Self::Cut => cluster.isolate(id),
        }
    }

    /// Undoes it, and waits until the server is a full member again.
    pub async fn end(self, cluster: &mut Cluster, id: u64) {
        match self {
            Self::Kill | Self::Restart => cluster.restart(id).await,
            Self::Stop => cluster.cont(id),
            Self::Cut => cluster.heal(),
        }
        cluster.takes_part(id).await;
    }
}
