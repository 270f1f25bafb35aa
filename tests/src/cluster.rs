//! A cluster of `rollcall serve` processes whose links to each other go through a network that a
//! test can cut.
//!
//! Owns the processes and their network, and asks servers how they see themselves. It expects
//! nothing of them beyond what a test asks it to wait for.

use std::{collections::BTreeMap, net::SocketAddr, process::ExitStatus};

use serde_json::{Value, json};

use crate::{
    http,
    proxy::{Network, Proxy},
    roaming::{Place, ask_once},
    server::{Keeps, PATIENT, Server},
    wire::eventually,
};

/// Servers 1 to n, all in memory unless said otherwise. Dropping it ends them all.
#[derive(Debug)]
pub struct Cluster {
    members: BTreeMap<u64, Member>,
    /// One way for each pair and direction of dialling: who dials whom.
    ways: BTreeMap<(u64, u64), Proxy>,
    /// What carries the ways, until the servers are gone.
    _network: Network,
}

#[derive(Debug)]
struct Member {
    server: Server,
    state: State,
}

/// What the test did to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// By SIGSTOP.
    Stopped,
    Ended,
}

impl Cluster {
    /// Starts so many servers with default settings, and waits until all are ready.
    pub async fn start(size: u64) -> Self {
        Self::with(size, &[]).await
    }

    /// Starts so many servers with further flags of `rollcall serve`, and waits until all are ready.
    pub async fn with(size: u64, flags: &[&str]) -> Self {
        let cluster = Self::begin(size, flags).await;
        cluster.wait_ready().await;
        cluster
    }

    /// Starts so many servers with further flags, each with a folder of its own for what it must not
    /// forget, and waits until all are ready.
    pub async fn on_disk(size: u64, flags: &[&str]) -> Self {
        Self::keeping(size, flags, |_| Keeps::OnDisk).await
    }

    /// The same with the place of each server's state.
    pub async fn keeping(size: u64, flags: &[&str], keeps: impl Fn(u64) -> Keeps) -> Self {
        let cluster = Self::begin_keeping(size, flags, keeps).await;
        cluster.wait_ready().await;
        cluster
    }

    /// Starts so many servers with further flags, and waits until all listen.
    pub async fn begin(size: u64, flags: &[&str]) -> Self {
        Self::begin_keeping(size, flags, |_| Keeps::Memory).await
    }

    /// Starts so many servers that take silent clients for dead as soon as they do by default, for
    /// clients that answer pings at any time; waits until all are ready.
    pub async fn strict(size: u64, flags: &[&str]) -> Self {
        Self::advertised(size, &BTreeMap::new(), flags).await
    }

    /// The same with other URLs that clients are told of these servers than their own.
    pub async fn advertised(size: u64, urls: &BTreeMap<u64, String>, flags: &[&str]) -> Self {
        let start = |id, flags| match urls.get(&id) {
            Some(url) => Server::begin_advertised(id, url, flags),
            None => Server::begin(id, flags),
        };
        let cluster = Self::spawn(size, flags, start).await;
        cluster.wait_ready().await;
        cluster
    }

    async fn begin_keeping(size: u64, flags: &[&str], keeps: impl Fn(u64) -> Keeps) -> Self {
        let flags = [PATIENT, flags].concat();
        Self::spawn(size, &flags, |id, flags| Server::begin_keeping(id, keeps(id), flags)).await
    }

    async fn spawn(size: u64, flags: &[&str], begin: impl Fn(u64, Vec<String>) -> Server) -> Self {
        let network = Network::new();
        let ids = 1..=size;
        let pairs = ids.clone().flat_map(|from| (1..=size).map(move |to| (from, to)));
        let ways: BTreeMap<_, _> =
            pairs.filter(|(from, to)| from != to).map(|pair| (pair, network.open())).collect();
        let start = |id| {
            let told = flags.iter().map(ToString::to_string);
            let server = begin(id, member_flags(id, &ways).into_iter().chain(told).collect());
            (id, Member { server, state: State::Running })
        };
        let mut members: BTreeMap<_, _> = ids.map(start).collect();
        for member in members.values_mut() {
            member.server.listens().await;
        }
        for ((_, to), way) in &ways {
            way.lead_to(members[to].server.address());
        }
        Self { members, ways, _network: network }
    }

    /// Waits until every server that runs says that it is ready.
    pub async fn wait_ready(&self) {
        for id in self.running() {
            self.wait_ready_of(id).await;
        }
    }

    /// Waits until this server says that it is ready.
    pub async fn wait_ready_of(&self, id: u64) {
        eventually("the server is ready", async || match self.is_ready(id).await {
            true => Ok(()),
            false => Err(format!("server {id} is not: {:?}", self.status(id).await)),
        })
        .await;
    }

    /// Whether a server that runs says that it is ready.
    pub async fn is_ready(&self, id: u64) -> bool {
        http::get(self.server(id), "/readyz").await.status == 200
    }

    /// The ids of the servers that run, in order.
    pub fn running(&self) -> Vec<u64> {
        let running = self.members.iter().filter(|(_, member)| member.state == State::Running);
        running.map(|(id, _)| *id).collect()
    }

    /// The ids of the servers that run, without these.
    pub fn running_but(&self, without: &[u64]) -> Vec<u64> {
        self.running().into_iter().filter(|id| !without.contains(id)).collect()
    }

    /// One of the servers.
    pub fn server(&self, id: u64) -> &Server {
        &self.members.get(&id).unwrap_or_else(|| panic!("there is no server {id}")).server
    }

    /// One of the servers, to be started, ended or waited for by hand: see [`Self::is_started`].
    pub fn server_mut(&mut self, id: u64) -> &mut Server {
        &mut self.member(id).server
    }

    /// Where clients connect to it.
    pub fn url(&self, id: u64) -> String {
        self.server(id).url()
    }

    /// Where browsers go to, without a slash at the end.
    pub fn http(&self, id: u64) -> String {
        self.server(id).http()
    }

    /// The socket address it listens on.
    pub fn address(&self, id: u64) -> SocketAddr {
        self.server(id).address()
    }

    /// The last lines it wrote to standard error.
    pub fn log(&self, id: u64) -> String {
        self.server(id).log()
    }

    /// Where a client finds it.
    pub fn place(&self, id: u64) -> Place {
        Place { id, address: self.address(id) }
    }

    /// Where clients find all servers, whether they run or not.
    pub fn places(&self) -> Vec<Place> {
        self.members.keys().map(|id| self.place(*id)).collect()
    }

    /// What a server says of itself and the others; none where it does not answer.
    pub async fn status(&self, id: u64) -> Option<Value> {
        let reply = ask_once(self.place(id), "GetStatus", &json!({})).await?;
        assert_eq!(reply["type"], "Status", "GetStatus was answered {reply}");
        Some(reply["payload"].clone())
    }

    /// Waits until all servers that run agree on who leads, and says who does.
    pub async fn leader(&self) -> u64 {
        self.leader_among(&self.running()).await
    }

    /// Waits until these servers agree that one of them leads, and says which.
    pub async fn leader_among(&self, ids: &[u64]) -> u64 {
        eventually("the servers agree on a leader", async || {
            let mut states = Vec::new();
            for id in ids {
                states
                    .push(self.status(*id).await.ok_or_else(|| format!("server {id} is silent"))?);
            }
            agreed_leader(&states).filter(|leader| ids.contains(leader)).ok_or_else(|| {
                let seen = |state: &Value| {
                    format!("{}: {} of {}", state["node"], state["role"], state["leader"])
                };
                states.iter().map(seen).collect::<Vec<_>>().join(", ")
            })
        })
        .await
    }

    /// Waits until a server that came back blank is a full member, which answers lookups.
    pub async fn is_admitted(&self, id: u64) {
        eventually("the server is admitted", async || {
            let state = self.status(id).await.ok_or_else(|| format!("server {id} is silent"))?;
            let takes_part = state["role"] == "follower" || state["role"] == "leader";
            if takes_part && state["readable"] == true { Ok(()) } else { Err(state.to_string()) }
        })
        .await;
    }

    /// Waits until a server counts as one of those that the cluster needs: it is not blank, and has a
    /// leader. Whether it keeps up is not asked, which on a busy machine it may not for long.
    pub async fn takes_part(&self, id: u64) {
        eventually("the server takes part", async || {
            let state = self.status(id).await.ok_or_else(|| format!("server {id} is silent"))?;
            let has_role = state["role"] == "follower" || state["role"] == "leader";
            if has_role && state["leader"].is_u64() { Ok(()) } else { Err(state.to_string()) }
        })
        .await;
    }

    /// Ends a server without a chance to say goodbye.
    pub fn kill9(&mut self, id: u64) {
        let member = self.member(id);
        member.server.kill9();
        member.state = State::Ended;
    }

    /// Starts a server that has ended again on the same port and with the same flags; blank, if it is
    /// in memory.
    pub async fn restart(&mut self, id: u64) {
        self.restart_all(&[id]).await;
    }

    /// The same of several at once.
    pub async fn restart_all(&mut self, ids: &[u64]) {
        for id in ids {
            self.member(*id).server.begin_again();
        }
        for id in ids {
            let member = self.member(*id);
            member.server.listens().await;
            member.state = State::Running;
        }
    }

    /// Waits until a server that nobody asked to end has ended with status 1; what it said.
    pub async fn gives_up(&mut self, id: u64) -> String {
        let member = self.member(id);
        let log = member.server.gives_up().await;
        member.state = State::Ended;
        log
    }

    /// Takes note that a server runs that was started by hand.
    pub fn is_started(&mut self, id: u64) {
        self.member(id).state = State::Running;
    }

    /// Stops a server where it is (SIGSTOP).
    pub async fn stop(&mut self, id: u64) {
        let member = self.member(id);
        member.state = State::Stopped;
        member.server.stop().await;
    }

    /// Lets a stopped server go on (SIGCONT).
    pub fn cont(&mut self, id: u64) {
        let member = self.member(id);
        member.state = State::Running;
        member.server.resume();
    }

    /// Asks a server to end (SIGTERM); [`Self::exited`] waits for that.
    pub fn terminate(&mut self, id: u64) {
        let member = self.member(id);
        member.state = State::Ended;
        member.server.terminate();
    }

    /// Waits until a server that was asked to end has ended.
    pub async fn exited(&mut self, id: u64) -> ExitStatus {
        self.member(id).server.exited().await
    }

    /// Cuts all links between the two groups, silently and in both directions.
    pub fn cut(&self, some: &[u64], others: &[u64]) {
        for way in self.ways_between(some, others) {
            way.cut();
        }
    }

    /// Cuts a server off from all others.
    pub fn isolate(&self, id: u64) {
        self.cut(&[id], &self.others(id));
    }

    /// Lets nothing through any more of what one server says to another; the answers pass.
    pub fn cut_one_way(&self, from: u64, to: u64) {
        self.ways[&(from, to)].cut_forth();
        self.ways[&(to, from)].cut_back();
    }

    /// The link of these two carries nothing any more, for ever; a new one works.
    pub fn stall(&self, one: u64, other: u64) {
        self.ways[&(one.max(other), one.min(other))].stall();
    }

    /// The same as soon as the links of these two have so many bytes more to carry.
    pub fn stall_after(&self, one: u64, other: u64, bytes: u64) {
        self.ways[&(one.max(other), one.min(other))].stall_after(bytes);
    }

    /// How many bytes the links of these two have carried.
    pub fn carried(&self, one: u64, other: u64) -> u64 {
        self.ways[&(one.max(other), one.min(other))].carried()
    }

    /// When `from` dials `to` from now on, it reaches this address instead.
    pub fn mislead(&self, from: u64, to: u64, address: SocketAddr) {
        self.ways[&(from, to)].lead_to(address);
    }

    /// Lets everything through again, everywhere.
    pub fn heal(&self) {
        for way in self.ways.values() {
            way.heal();
        }
    }

    /// The ids of all servers but this one, whether they run or not.
    pub fn others(&self, id: u64) -> Vec<u64> {
        self.members.keys().copied().filter(|other| *other != id).collect()
    }

    fn ways_between<'a>(
        &'a self,
        some: &'a [u64],
        others: &'a [u64],
    ) -> impl Iterator<Item = &'a Proxy> {
        let across = |(from, to): &(u64, u64)| {
            some.contains(from) && others.contains(to) || some.contains(to) && others.contains(from)
        };
        self.ways.iter().filter(move |(pair, _)| across(pair)).map(|(_, way)| way)
    }

    fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).unwrap_or_else(|| panic!("there is no server {id}"))
    }
}

/// `--member` for each of the others, by the way that leads to it.
fn member_flags(id: u64, ways: &BTreeMap<(u64, u64), Proxy>) -> Vec<String> {
    let own = ways.iter().filter(|((from, _), _)| *from == id);
    own.flat_map(|((_, to), way)| {
        ["--member".to_owned(), format!("{to}=ws://{}/peer", way.address())]
    })
    .collect()
}

/// Who leads, if all say the same of the same epoch, the leader itself included.
fn agreed_leader(states: &[Value]) -> Option<u64> {
    let first = states.first()?;
    let leader = first["leader"].as_u64()?;
    let agrees = |state: &Value| {
        let role = if state["node"] == leader { "leader" } else { "follower" };
        state["leader"] == leader
            && state["epoch"] == first["epoch"]
            && (state["role"] == role || state["role"] == "blank")
    };
    states.iter().all(agrees).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(node: u64, role: &str, leader: Option<u64>, epoch: u64) -> Value {
        json!({ "node": node, "role": role, "leader": leader, "epoch": epoch })
    }

    #[test]
    fn a_leader_is_agreed_on_by_all_and_itself_in_one_epoch() {
        let agreed = [state(1, "follower", Some(2), 1), state(2, "leader", Some(2), 1)];
        assert_eq!(agreed_leader(&agreed), Some(2));
        let old = [state(1, "follower", Some(2), 0), state(2, "leader", Some(2), 1)];
        assert_eq!(agreed_leader(&old), None);
        let unaware = [state(1, "follower", Some(2), 1), state(2, "follower", Some(2), 1)];
        assert_eq!(agreed_leader(&unaware), None);
        let alone = [state(1, "follower", None, 1), state(2, "leader", Some(2), 1)];
        assert_eq!(agreed_leader(&alone), None);
    }
}
