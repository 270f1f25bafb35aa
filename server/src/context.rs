//! What all threads of a server share: its configuration, who it is, and the published state.
//!
//! Everything here is read without a lock that anybody could hold for long.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use rollcall_replica::consensus::RoleKind;
use rollcall_replica::consensus::ids::ClusterId;
use rollcall_replica::{Replica, Users};
use rollcall_shared::id::NodeId;
use rollcall_shared::message::{Member, MemberState, MemberStatus, Role, Status};
use rollcall_shared::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::backup_key::BackupKey;
use crate::clock;
use crate::complaints::Complaints;
use crate::config::{Config, websocket_url};
use crate::metrics::Metrics;
use crate::node::Copied;
use crate::peers::{Arrival, Report};
use crate::principals::Resolver;

/// Shared by the node, the shards, the links to other servers and the HTTP service.
pub(crate) struct Context {
    pub(crate) config: Config,
    /// `server/<node id>`.
    pub(crate) origin: String,
    /// Where clients reach this server, unless they see it under the address they came to.
    pub(crate) url: Option<String>,
    pub(crate) resolver: Resolver,
    pub(crate) metrics: Metrics,
    pub(crate) complaints: Complaints,
    /// The applied state. The node stores it before anybody hears of what is in it.
    pub(crate) view: ArcSwap<Users>,
    /// Until when lookups are answered from `view`, in microseconds of the clock; 0 for not at all.
    readable_until: AtomicU64,
    /// What this server is within the cluster, as the node saw it last.
    standing: ArcSwap<Standing>,
    commit: AtomicU64,
    /// The epoch after the last one whose leader was known.
    led: AtomicU64,
    /// The other servers, by id.
    members: BTreeMap<NodeId, Other>,
    /// Where the links to other servers are made.
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// Where to ask for a copy of all of the state.
    pub(crate) copies: mpsc::Sender<oneshot::Sender<Copied>>,
    /// Who may have that copy.
    pub(crate) backup_key: BackupKey,
    /// Room for links: each holds a permit.
    pub(crate) links: Arc<Semaphore>,
    pub(crate) live_sessions: AtomicU64,
    pub(crate) draining: AtomicBool,
    /// Whether it was said that a backup is not used.
    ignores_restored: AtomicBool,
    started: Instant,
}

/// What a server is within its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    /// The leader, while known.
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: u64,
    /// This life of the cluster, once known.
    cluster: Option<ClusterId>,
}

/// Another server, as far as this one knows.
struct Other {
    /// Where clients reach it if it does not say otherwise.
    url: String,
    /// Whether it is linked and heard from.
    linked: AtomicBool,
    /// How many entries it has not received, while this server leads; else [`UNKNOWN`].
    lag: AtomicU64,
    /// What it said last of itself; held for no longer than to copy it.
    report: Mutex<Option<Report>>,
    /// Where clients reach it, as a third server has it from itself; held for no longer than to copy it.
    hearsay: Mutex<Option<String>>,
}

/// A number that nobody has said.
const UNKNOWN: u64 = u64::MAX;

const ONLY_COPIES: &str = "whoever holds it only copies";

impl Other {
    fn new(peer_url: &str) -> Self {
        let url = peer_url.strip_suffix("/peer").map(|base| format!("{base}/ws"));
        Self {
            url: url.unwrap_or_default(),
            linked: AtomicBool::new(false),
            lag: AtomicU64::new(UNKNOWN),
            report: Mutex::new(None),
            hearsay: Mutex::new(None),
        }
    }

    fn report(&self) -> Option<Report> {
        self.report.lock().expect(ONLY_COPIES).clone()
    }

    /// Where clients reach it: as it says, as others say, or else where servers do.
    fn url(&self) -> String {
        let said = self.report().and_then(|report| report.url);
        let heard = || self.hearsay.lock().expect(ONLY_COPIES).clone();
        said.or_else(heard).unwrap_or_else(|| self.url.clone())
    }
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
        let (leader, epoch) = (consensus.leader(), consensus.epoch().0);
        Self { role, leader, epoch, cluster: consensus.cluster() }
    }

    /// This life of the cluster, as clients see it; empty while it is not known.
    pub(crate) fn cluster(&self) -> String {
        self.cluster.map_or_else(String::new, |cluster| format!("{:016x}", cluster.0))
    }
}

impl Context {
    pub(crate) fn new(
        config: Config,
        url: Option<String>,
        resolver: Resolver,
        replica: &Replica,
        arrivals: mpsc::Sender<Arrival>,
        copies: mpsc::Sender<oneshot::Sender<Copied>>,
    ) -> Arc<Self> {
        let members = config.members.iter().map(|(id, url)| (*id, Other::new(url))).collect();
        Arc::new(Self {
            origin: format!("server/{}", config.id),
            links: Arc::new(Semaphore::new(config.max_connections)),
            backup_key: BackupKey::new(config.data_dir.clone()),
            config,
            url,
            resolver,
            metrics: Metrics::new(),
            complaints: Complaints::default(),
            view: ArcSwap::from_pointee(replica.users().clone()),
            readable_until: AtomicU64::new(0),
            standing: ArcSwap::from_pointee(Standing::of(replica)),
            commit: AtomicU64::new(0),
            led: AtomicU64::new(0),
            members,
            arrivals,
            copies,
            live_sessions: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            ignores_restored: AtomicBool::new(false),
            started: clock::now(),
        })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.id
    }

    /// Shows everybody the replica's state, where it has changed, until when lookups are answered
    /// from it, and what this server is. To be called before anything leaves that the replica said
    /// since the last time.
    pub(crate) fn publish(&self, replica: &Replica, now: Instant, changed: bool) {
        if changed {
            self.view.store(Arc::new(replica.users().clone()));
        }
        let until = replica.readable_until(now).unwrap_or_default();
        self.readable_until.store(until.as_micros(), Ordering::Release);
        let (standing, before) = (Standing::of(replica), self.standing());
        if standing != before {
            self.standing.store(Arc::new(standing));
            if standing.leader.is_some()
                && (standing.leader, standing.epoch) != (before.leader, before.epoch)
            {
                // One that was only not heard for a while is no new one.
                let next = standing.epoch + 1;
                if self.led.fetch_max(next, Ordering::Relaxed) < next {
                    self.metrics.elected();
                }
                tracing::info!(epoch = standing.epoch, "{}", said(standing, self.node()));
            } else if standing.leader.is_none() && before.leader.is_some() {
                tracing::warn!(epoch = standing.epoch, "no leader is heard");
            }
        }
        let consensus = replica.consensus();
        if consensus.ignores_restored() && !self.ignores_restored.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "this cluster was there before: the backup that was restored here is not used. To \
                 begin with it, stop all servers and empty the folders of the others"
            );
        }
        self.commit.store(consensus.commit().0, Ordering::Relaxed);
        let lags: Vec<_> = consensus.lags().collect();
        for (id, other) in &self.members {
            let linked = consensus.silence(now, *id).is_some();
            other.linked.store(linked, Ordering::Relaxed);
            let lag = lags.iter().find(|(follower, _)| follower == id).map_or(UNKNOWN, |it| it.1);
            other.lag.store(lag, Ordering::Relaxed);
        }
    }

    /// The state by which a lookup that has just arrived is answered, if this server may do that by
    /// itself.
    pub(crate) fn readable(&self) -> Option<Arc<Users>> {
        self.is_readable().then(|| self.view.load_full())
    }

    /// Whether lookups that have just arrived are answered by this server itself.
    pub(crate) fn is_readable(&self) -> bool {
        clock::now().as_micros() < self.readable_until.load(Ordering::Acquire)
    }

    /// Whether new links are taken: not while this server shuts down.
    pub(crate) fn is_accepting(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// What this server is within the cluster.
    pub(crate) fn standing(&self) -> Standing {
        **self.standing.load()
    }

    /// The cluster's servers, as seen by somebody who reached this one at `local`.
    pub(crate) fn members(&self, local: SocketAddr) -> Vec<Member> {
        let own = Member { node: self.node(), url: self.url_at(local) };
        let other = |(node, other): (&NodeId, &Other)| Member { node: *node, url: other.url() };
        let mut all: Vec<_> = self.members.iter().map(other).chain([own]).collect();
        all.sort_unstable_by_key(|member| member.node);
        all
    }

    /// What this server tells the others of itself.
    pub(crate) fn report(&self) -> Report {
        let Standing { role, epoch, .. } = self.standing();
        let url = |(node, other): (&NodeId, &Other)| Some((*node, other.report()?.url?));
        Report {
            url: self.url.clone(),
            role,
            epoch,
            links: self.metrics.connections(),
            lags: self.lags().collect(),
            urls: self.members.iter().filter_map(url).collect(),
        }
    }

    /// Another server said this of itself.
    pub(crate) fn take_report(&self, node: NodeId, mut report: Report) {
        let Some(other) = self.members.get(&node) else {
            return;
        };
        // Clients are sent there.
        report.url = report.url.filter(|url| websocket_url(url).is_ok());
        for (node, url) in report.urls.drain(..) {
            if let Some(third) = self.members.get(&node).filter(|_| websocket_url(&url).is_ok()) {
                *third.hearsay.lock().expect(ONLY_COPIES) = Some(url);
            }
        }
        *other.report.lock().expect(ONLY_COPIES) = Some(report);
    }

    /// How far each follower is behind, as far as this server knows as its leader.
    fn lags(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let known = |(node, other): (&NodeId, &Other)| {
            let lag = other.lag.load(Ordering::Relaxed);
            (lag != UNKNOWN).then_some((*node, lag))
        };
        self.members.iter().filter_map(known)
    }

    /// What this server says of itself and the cluster.
    pub(crate) fn status(&self, local: SocketAddr) -> Status {
        let users = self.view.load();
        let standing = self.standing();
        let Standing { role, leader, epoch, .. } = standing;
        let count = |value: usize| value as u64;
        Status {
            node: self.node(),
            cluster: standing.cluster(),
            role,
            leader,
            epoch,
            readable: self.is_readable(),
            commit: self.commit.load(Ordering::Relaxed),
            revision: users.revision(),
            members: self.member_statuses(local, standing),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(clock::now().since(self.started).as_millis()).unwrap_or(0),
            connections: self.metrics.connections(),
            sessions: self.live_sessions.load(Ordering::Relaxed),
            registrations: count(users.registrations()),
            users: count(users.len()),
            subscriptions: self.metrics.subscriptions(),
        }
    }

    fn member_statuses(&self, local: SocketAddr, standing: Standing) -> Vec<MemberStatus> {
        // Only the leader knows how far the others are.
        let lags: BTreeMap<NodeId, u64> = if standing.leader == Some(self.node()) {
            self.lags().chain([(self.node(), 0)]).collect()
        } else {
            let leader =
                standing.leader.and_then(|leader| Some((leader, self.members.get(&leader)?)));
            let report = leader.and_then(|(id, other)| Some((id, other.report()?)));
            report.map_or_else(BTreeMap::new, |(id, it)| {
                it.lags.into_iter().chain([(id, 0)]).collect()
            })
        };
        let status = |Member { node, url }: Member| {
            if node == self.node() {
                return MemberStatus {
                    node,
                    url,
                    state: MemberState::Up,
                    role: Some(standing.role),
                    epoch: Some(standing.epoch),
                    lag: lags.get(&node).copied(),
                    links: Some(self.metrics.connections()),
                };
            }
            let other =
                self.members.get(&node).filter(|other| other.linked.load(Ordering::Relaxed));
            let report = other.and_then(Other::report);
            MemberStatus {
                node,
                url,
                state: if other.is_some() { MemberState::Up } else { MemberState::Down },
                role: report.as_ref().map(|report| report.role),
                epoch: report.as_ref().map(|report| report.epoch),
                lag: other.and_then(|_| lags.get(&node).copied()),
                links: report.map(|report| report.links),
            }
        };
        self.members(local).into_iter().map(status).collect()
    }

    /// Brings those metrics up to date that are states rather than counts.
    pub(crate) fn refresh_metrics(&self) {
        let standing = self.standing();
        self.metrics.stands(standing.role, standing.epoch, self.commit.load(Ordering::Relaxed));
        self.metrics.leases(self.is_readable());
        for (node, other) in &self.members {
            let lag = Some(other.lag.load(Ordering::Relaxed)).filter(|lag| *lag != UNKNOWN);
            self.metrics.member(*node, other.linked.load(Ordering::Relaxed), lag);
        }
    }

    fn url_at(&self, local: SocketAddr) -> String {
        self.url.clone().unwrap_or_else(|| format!("ws://{local}/ws"))
    }
}

/// Who leads, in words.
fn said(standing: Standing, me: NodeId) -> String {
    match standing.leader {
        Some(leader) if leader == me => "this server leads".to_owned(),
        Some(leader) => format!("server {leader} leads"),
        None => "nobody leads".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::start_replica;
    use crate::storage::Memory;

    /// The context of a server with these other members that has just started.
    fn context(others: &[u32]) -> (Arc<Context>, Replica) {
        let member = |id: &u32| (NodeId(*id), format!("ws://127.0.0.1:710{id}/peer"));
        let members = others.iter().map(member).collect();
        let config = Config { members, ..Config::default() };
        let mut replica = start_replica(&config).unwrap();
        Memory::default().run(&mut replica);
        let (arrivals, _) = mpsc::channel(1);
        let context =
            Context::new(config, None, Resolver::None, &replica, arrivals, mpsc::channel(1).0);
        context.publish(&replica, clock::now(), true);
        (context, replica)
    }

    fn status(others: &[u32]) -> Status {
        let (context, replica) = context(others);
        assert_eq!(context.standing().epoch, replica.consensus().epoch().0);
        context.status("127.0.0.1:7101".parse().unwrap())
    }

    #[test]
    fn a_server_says_what_its_replica_is() {
        let alone = status(&[]);
        assert_eq!((alone.role, alone.leader), (Role::Leader, Some(NodeId(1))));
        assert!(alone.readable && alone.cluster.len() == 16, "{alone:?}");
        // One of three that has heard nothing of the others neither leads nor knows who does.
        let one_of_three = status(&[2, 3]);
        assert_ne!(one_of_three.role, Role::Leader);
        assert_eq!(one_of_three.leader, None);
        assert!(!one_of_three.readable && one_of_three.cluster.is_empty(), "{one_of_three:?}");
        assert_eq!(one_of_three.members[1].url, "ws://127.0.0.1:7102/ws");
        assert_eq!(one_of_three.members[1].state, MemberState::Down);
    }

    #[test]
    fn a_server_says_where_another_one_says_it_is_reached() {
        let (context, _) = context(&[2, 3]);
        let url = Some("ws://two.example/ws".to_owned());
        let of_others = [(1, "ws://one"), (2, "ws://no-more"), (3, "ws://three"), (4, "ws://four")];
        let urls =
            of_others.map(|(node, url)| (NodeId(node), format!("{url}.example/ws"))).to_vec();
        let (role, lags) = (Role::Follower, vec![]);
        let report = Report { url, role, epoch: 7, links: 5, lags, urls };
        let urls = || {
            let members = context.members("127.0.0.1:7101".parse().unwrap());
            members.into_iter().map(|member| member.url).collect::<Vec<_>>()
        };
        // Who is none of the members says nothing that counts.
        context.take_report(NodeId(9), report.clone());
        let guessed =
            ["ws://127.0.0.1:7101/ws", "ws://127.0.0.1:7102/ws", "ws://127.0.0.1:7103/ws"];
        assert_eq!(urls(), guessed);
        // What each says of itself counts most, then what another one has from it.
        context.take_report(NodeId(2), report.clone());
        let said = ["ws://127.0.0.1:7101/ws", "ws://two.example/ws", "ws://three.example/ws"];
        assert_eq!(urls(), said);
        assert_eq!(context.report().urls, [(NodeId(2), said[1].to_owned())], "first hand only");
        let bad = Report { urls: vec![(NodeId(3), "nonsense".to_owned())], ..report };
        context.take_report(NodeId(2), bad);
        assert_eq!(urls(), said);
    }
}
