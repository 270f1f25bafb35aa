//! What all threads of a server share: its configuration, who it is, and the published state.
//!
//! Everything here is read without a lock that anybody could hold for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::{Replica, Users};
use rollcall_shared::id::NodeId;
use rollcall_shared::message::{Member, MemberState, MemberStatus, Role, Status};
use rollcall_shared::time::Instant;
use tokio::sync::Semaphore;

use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::principals::Resolver;

/// Shared by the node, the shards and the HTTP service.
pub(crate) struct Context {
    pub(crate) config: Config,
    /// This life of the cluster.
    pub(crate) cluster: String,
    /// `server/<node id>`.
    pub(crate) origin: String,
    /// Where clients reach this server, unless they see it under the address they came to.
    pub(crate) url: Option<String>,
    pub(crate) resolver: Resolver,
    pub(crate) metrics: Metrics,
    /// The applied state. The node stores it before anybody hears of what is in it.
    pub(crate) view: ArcSwap<Users>,
    /// What this server is within the cluster, as the node saw it last.
    standing: ArcSwap<Standing>,
    /// Room for links: each holds a permit.
    pub(crate) links: Arc<Semaphore>,
    pub(crate) live_sessions: AtomicU64,
    pub(crate) draining: AtomicBool,
    started: Instant,
}

/// What a server is within its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    /// The leader, while known.
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: u64,
}

impl Standing {
    fn of(replica: &Replica) -> Self {
        let consensus = replica.consensus();
        let role = match consensus.role() {
            RoleKind::Follower => Role::Follower,
            RoleKind::Candidate => Role::Candidate,
            RoleKind::Leader => Role::Leader,
            RoleKind::Blank => Role::Blank,
        };
        Self { role, leader: consensus.leader(), epoch: consensus.epoch().0 }
    }
}

impl Context {
    pub(crate) fn new(
        config: Config,
        cluster: String,
        url: Option<String>,
        resolver: Resolver,
        replica: &Replica,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin: format!("server/{}", config.id),
            links: Arc::new(Semaphore::new(config.max_connections)),
            config,
            cluster,
            url,
            resolver,
            metrics: Metrics::new(),
            view: ArcSwap::from_pointee(replica.users().clone()),
            standing: ArcSwap::from_pointee(Standing::of(replica)),
            live_sessions: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            started: clock::now(),
        })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.id
    }

    /// Shows everybody the replica's state, where it has changed, and what this server is.
    pub(crate) fn publish(&self, replica: &Replica, changed: bool) {
        if changed {
            self.view.store(Arc::new(replica.users().clone()));
        }
        let standing = Standing::of(replica);
        if standing != self.standing() {
            self.standing.store(Arc::new(standing));
        }
    }

    /// What this server is within the cluster.
    pub(crate) fn standing(&self) -> Standing {
        **self.standing.load()
    }

    /// Whether lookups would be answered.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// The cluster's servers, as seen by somebody who reached this one at `local`.
    pub(crate) fn members(&self, local: std::net::SocketAddr) -> Vec<Member> {
        vec![Member { node: self.node(), url: self.url_at(local) }]
    }

    /// What this server says of itself and the cluster.
    pub(crate) fn status(&self, local: std::net::SocketAddr) -> Status {
        let users = self.view.load();
        let Standing { role, leader, epoch } = self.standing();
        let count = |value: usize| value as u64;
        Status {
            node: self.node(),
            cluster: self.cluster.clone(),
            role,
            leader,
            epoch,
            revision: users.revision(),
            members: vec![MemberStatus {
                node: self.node(),
                url: self.url_at(local),
                state: MemberState::Up,
            }],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(clock::now().since(self.started).as_millis()).unwrap_or(0),
            connections: self.metrics.connections(),
            sessions: self.live_sessions.load(Ordering::Relaxed),
            registrations: count(users.registrations()),
            users: count(users.len()),
            subscriptions: self.metrics.subscriptions(),
        }
    }

    fn url_at(&self, local: std::net::SocketAddr) -> String {
        self.url.clone().unwrap_or_else(|| format!("ws://{local}/ws"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::start_replica;

    /// The status of a server with these other members that has just started.
    fn status(others: &[u32]) -> Status {
        let member = |id: &u32| (NodeId(*id), format!("ws://127.0.0.1:710{id}/peer"));
        let members = others.iter().map(member).collect();
        let config = Config { members, ..Config::default() };
        let (replica, _) = start_replica(&config).unwrap();
        let context = Context::new(config, "c".into(), None, Resolver::None, &replica);
        assert_eq!(context.standing().epoch, replica.consensus().epoch().0);
        context.status("127.0.0.1:7101".parse().unwrap())
    }

    #[test]
    fn a_server_says_what_its_replica_is() {
        let alone = status(&[]);
        assert_eq!((alone.role, alone.leader), (Role::Leader, Some(NodeId(1))));
        // One of three that has heard nothing of the others neither leads nor knows who does.
        let one_of_three = status(&[2, 3]);
        assert_ne!(one_of_three.role, Role::Leader);
        assert_eq!(one_of_three.leader, None);
    }
}
