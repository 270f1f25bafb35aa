//! What operators see at `/metrics`: names, labels and how each is counted.
//!
//! Each metric is documented by its help text, which `docs/operations.md` repeats.

mod storage;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rollcall_replica::{Relayed, Users};
use rollcall_shared::id::NodeId;
use rollcall_shared::message::{ErrorCode, RequestKind, Role};
pub(crate) use storage::StorageMetrics;

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    connections: Gauge<i64>,
    connections_total: Counter,
    closed: Family<CloseLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    latency: Family<KindLabels, Histogram>,
    pushed: Counter,
    dropped: Counter,
    writes: Counter,
    subscriptions: Gauge<i64>,
    sessions: Gauge<u64, AtomicU64>,
    users: Gauge<u64, AtomicU64>,
    registrations: Gauge<u64, AtomicU64>,
    revision: Gauge<u64, AtomicU64>,
    batch: Histogram,
    role: Family<RoleLabels, Gauge<u64, AtomicU64>>,
    epoch: Gauge<u64, AtomicU64>,
    commit: Gauge<u64, AtomicU64>,
    lease: Gauge<u64, AtomicU64>,
    elections: Counter,
    cut_off: Counter,
    relayed: Family<RelayedLabels, Counter>,
    member_up: Family<MemberLabels, Gauge<u64, AtomicU64>>,
    member_lag: Family<MemberLabels, Gauge<u64, AtomicU64>>,
    peers_refused: Family<ReasonLabels, Counter>,
    peer_links: Family<MemberLabels, Counter>,
    peer_bytes: Family<WayLabels, Counter>,
    storage: StorageMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelayedLabels {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    member: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    r#type: Kind,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    r#type: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    code: u16,
}

/// A request's type; `None` where it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind(Option<RequestKind>);

/// How a request ended; `None` is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Outcome(Option<ErrorCode>);

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.map_or("unknown", RequestKind::tag), encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.map_or("ok", ErrorCode::as_str), encoder)
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("rollcall"),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            closed: Family::default(),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            pushed: Counter::default(),
            dropped: Counter::default(),
            writes: Counter::default(),
            subscriptions: Gauge::default(),
            sessions: Gauge::default(),
            users: Gauge::default(),
            registrations: Gauge::default(),
            revision: Gauge::default(),
            batch: Histogram::new(BATCH_SIZES),
            role: Family::default(),
            epoch: Gauge::default(),
            commit: Gauge::default(),
            lease: Gauge::default(),
            elections: Counter::default(),
            cut_off: Counter::default(),
            relayed: Family::default(),
            member_up: Family::default(),
            member_lag: Family::default(),
            peers_refused: Family::default(),
            peer_links: Family::default(),
            peer_bytes: Family::default(),
            storage: StorageMetrics::default(),
        };
        metrics.register();
        metrics.register_cluster();
        metrics
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("connections", "Open WebSocket links of clients", self.connections.clone());
        let help = "WebSocket links opened since the start";
        to.register("connections_opened", help, self.connections_total.clone());
        let help = "Links closed by the server, by close code";
        to.register("links_closed", help, self.closed.clone());
        to.register("requests", "Requests answered, by type and outcome", self.requests.clone());
        let help = "Time from reading a request to queueing its reply";
        to.register("request_duration_seconds", help, self.latency.clone());
        to.register("events_pushed", "Pushes queued to links", self.pushed.clone());
        let help = "Messages dropped because their link read too slowly";
        to.register("queue_drops", help, self.dropped.clone());
        let help = "Calls that wrote to a link's socket; each takes all that is due";
        to.register("socket_writes", help, self.writes.clone());
        let help = "Subscriptions of this server's links";
        to.register("subscriptions", help, self.subscriptions.clone());
        to.register("sessions", "Live sessions", self.sessions.clone());
        to.register("directory_users", "Users online", self.users.clone());
        let help = "Devices registered";
        to.register("directory_registrations", help, self.registrations.clone());
        to.register("directory_revision", "Revision of the directory", self.revision.clone());
        let help = "Inputs the owner of the state handled in one go";
        to.register("node_batch_size", help, self.batch.clone());
    }

    fn register_cluster(&mut self) {
        let to = &mut self.registry;
        let help = "1 for the role this server has, 0 for the others";
        to.register("role", help, self.role.clone());
        let help = "The highest epoch this server knows of";
        to.register("epoch", help, self.epoch.clone());
        let help = "The last entry of the log that this server knows to be committed";
        to.register("commit_index", help, self.commit.clone());
        let help =
            "1 while this server answers lookups by itself, 0 while it asks the leader first";
        to.register("read_lease", help, self.lease.clone());
        let help = "Leaders of new epochs that this server has come to follow, or was itself";
        to.register("elections", help, self.elections.clone());
        let help =
            "How often this server heard of no leader for so long that its clients had to move";
        to.register("cut_off", help, self.cut_off.clone());
        let help = "What was passed on to a leader: writes, links that need a session, reads";
        to.register("relayed_requests", help, self.relayed.clone());
        let help = "1 while this server is linked to the member, 0 while it is not";
        to.register("member_up", help, self.member_up.clone());
        let help = "Entries the member has not received yet; only the leader knows";
        to.register("member_lag_entries", help, self.member_lag.clone());
        let help = "Links to other servers, opened since the start";
        to.register("peer_links_opened", help, self.peer_links.clone());
        let help = "Links to other servers that were refused or closed for cause, by reason";
        to.register("peer_links_refused", help, self.peers_refused.clone());
        let help = "Bytes of messages to and from other servers";
        to.register("peer_bytes", help, self.peer_bytes.clone());
        self.storage.register(to);
    }

    /// Those of the disk.
    pub(crate) fn storage(&self) -> StorageMetrics {
        self.storage.clone()
    }

    /// The text for `/metrics` in the OpenMetrics form.
    pub(crate) fn render_open_metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }

    /// The text for `/metrics` in Prometheus' older form.
    pub(crate) fn render_prometheus(&self) -> String {
        prometheus_form(&self.render_open_metrics())
    }

    pub(crate) fn link_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    pub(crate) fn link_ended(&self) {
        self.connections.dec();
    }

    pub(crate) fn link_closed(&self, code: u16) {
        self.closed.get_or_create(&CloseLabels { code }).inc();
    }

    /// A request was answered after `took`; `error` is `None` where that went well.
    pub(crate) fn answered(
        &self,
        kind: Option<RequestKind>,
        error: Option<ErrorCode>,
        took: Duration,
    ) {
        let kind = Kind(kind);
        let labels = RequestLabels { r#type: kind, outcome: Outcome(error) };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&KindLabels { r#type: kind }).observe(took.as_secs_f64());
    }

    pub(crate) fn pushed(&self, count: u64) {
        self.pushed.inc_by(count);
    }

    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    pub(crate) fn wrote(&self, calls: u64) {
        self.writes.inc_by(calls);
    }

    pub(crate) fn subscribed(&self) {
        self.subscriptions.inc();
    }

    pub(crate) fn unsubscribed(&self, count: usize) {
        self.subscriptions.dec_by(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The owner of the state handled `inputs` at once; this is the state now.
    pub(crate) fn applied(&self, inputs: usize, users: &Users, sessions: usize) {
        if inputs > 0 {
            self.batch.observe(inputs as f64);
        }
        self.users.set(users.len() as u64);
        self.registrations.set(users.registrations() as u64);
        self.revision.set(users.revision().0);
        self.sessions.set(sessions as u64);
    }

    /// What this server is now.
    pub(crate) fn stands(&self, role: Role, epoch: u64, commit: u64) {
        for known in [Role::Leader, Role::Follower, Role::Candidate, Role::Blank] {
            let labels = RoleLabels { role: known.as_str() };
            self.role.get_or_create(&labels).set((known == role).into());
        }
        self.epoch.set(epoch);
        self.commit.set(commit);
    }

    /// Whether it answers lookups by itself now.
    pub(crate) fn leases(&self, holds: bool) {
        self.lease.set(holds.into());
    }

    /// Whether another server is linked now, and how far it is behind, where that is known.
    pub(crate) fn member(&self, node: NodeId, up: bool, lag: Option<u64>) {
        let labels = MemberLabels { member: node.0 };
        self.member_up.get_or_create(&labels).set(up.into());
        match lag {
            Some(lag) => {
                self.member_lag.get_or_create(&labels).set(lag);
            }
            None => {
                self.member_lag.remove(&labels);
            }
        }
    }

    /// There is a leader of a new epoch.
    pub(crate) fn elected(&self) {
        self.elections.inc();
    }

    /// Clients were told to move, as no leader was heard of.
    pub(crate) fn was_cut_off(&self) {
        self.cut_off.inc();
    }

    /// So much more was passed on to a leader.
    pub(crate) fn relayed(&self, more: Relayed) {
        let Relayed { writes, sessions, reads } = more;
        for (what, count) in [("write", writes), ("session", sessions), ("read", reads)] {
            self.relayed.get_or_create(&RelayedLabels { what }).inc_by(count);
        }
    }

    /// A link to another server is open.
    pub(crate) fn peer_linked(&self, node: NodeId) {
        self.peer_links.get_or_create(&MemberLabels { member: node.0 }).inc();
    }

    /// A link to another server was refused, by either, or closed for cause.
    pub(crate) fn peer_refused(&self, reason: &str) {
        self.peers_refused.get_or_create(&ReasonLabels { reason: reason.to_owned() }).inc();
    }

    pub(crate) fn peer_sent(&self, bytes: u64) {
        self.peer_bytes.get_or_create(&WayLabels { way: "sent" }).inc_by(bytes);
    }

    pub(crate) fn peer_received(&self, bytes: u64) {
        self.peer_bytes.get_or_create(&WayLabels { way: "received" }).inc_by(bytes);
    }

    pub(crate) fn connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
    }

    pub(crate) fn subscriptions(&self) -> u64 {
        u64::try_from(self.subscriptions.get()).unwrap_or(0)
    }
}

/// The two forms differ in where the suffix of a counter stands, and in how the text ends.
fn prometheus_form(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", word @ ("HELP" | "TYPE"), name, rest] if counters.contains(&name) => {
                text.push_str(&format!("# {word} {name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_SECONDS)
}

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_SECONDS: [f64; 12] =
    [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3, 1.0];
/// Upper bounds of the batch size buckets.
const BATCH_SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_declares_counters_under_the_name_of_their_samples() {
        let metrics = Metrics::new();
        metrics.answered(Some(RequestKind::Ping), None, Duration::from_micros(30));
        let text = metrics.render_prometheus();
        assert!(text.contains("# TYPE rollcall_requests_total counter\n"), "{text}");
        assert!(text.contains("# HELP rollcall_requests_total Requests answered"), "{text}");
        assert!(text.contains("rollcall_requests_total{type=\"Ping\",outcome=\"ok\"} 1\n"));
        assert!(text.contains("# TYPE rollcall_connections gauge\n"), "{text}");
        assert!(!text.contains("# EOF"));
        assert!(metrics.render_open_metrics().ends_with("# EOF\n"));
    }
}
