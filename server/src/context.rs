//! What all threads of a server share: its configuration, who it is, and the published state.
//!
//! Everything here is read without a lock that anybody could hold for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rollcall_replica::Users;
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
    /// Room for links: each holds a permit.
    pub(crate) links: Arc<Semaphore>,
    pub(crate) live_sessions: AtomicU64,
    pub(crate) draining: AtomicBool,
    started: Instant,
}

impl Context {
    pub(crate) fn new(
        config: Config,
        cluster: String,
        url: Option<String>,
        resolver: Resolver,
        users: Users,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin: format!("server/{}", config.id),
            links: Arc::new(Semaphore::new(config.max_connections)),
            config,
            cluster,
            url,
            resolver,
            metrics: Metrics::new(),
            view: ArcSwap::from_pointee(users),
            live_sessions: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            started: clock::now(),
        })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.id
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
        let count = |value: usize| value as u64;
        Status {
            node: self.node(),
            cluster: self.cluster.clone(),
            role: Role::Leader,
            leader: Some(self.node()),
            epoch: 0,
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
