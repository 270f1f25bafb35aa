//! The figures: what each measures, in words and in code, and what it should be.

use std::{fmt::Write as _, time::Duration};

use futures::{
    FutureExt as _,
    future::{LocalBoxFuture, try_join_all},
};

use crate::{
    Result,
    client::Client,
    damage::{Course, Damage, Moment},
    product,
    servers::Runner,
};

/// Something to measure.
pub(crate) struct Figure {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// What is done, and what the client does meanwhile.
    what: &'static str,
    /// What is measured then.
    pub(crate) rows: &'static [Row],
    scenario: fn(Runner) -> LocalBoxFuture<'static, Result<Outcome>>,
}

/// A number that a figure gives.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it is.
    pub(crate) what: &'static str,
    /// What its median should be at most, in milliseconds, if that was ever said.
    pub(crate) aim: Option<u32>,
}

/// What a run gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One time for each row.
    pub(crate) times: Vec<Duration>,
    /// How long writes took before anything happened.
    pub(crate) calm: Vec<Duration>,
}

impl Figure {
    /// Measures it once.
    pub(crate) fn run(&self, runner: Runner) -> LocalBoxFuture<'static, Result<Outcome>> {
        (self.scenario)(runner)
    }

    /// What it measures, for a person.
    pub(crate) fn description(&self) -> String {
        let mut text = format!("{}\n  {}\n", self.name, self.what);
        for Row { what, aim } in self.rows {
            let aim = aim.map_or(String::new(), |aim| format!(" (aim: {aim} ms)"));
            writeln!(text, "  - {what}{aim}").expect("writing to a String does not fail");
        }
        text
    }
}

/// All figures, in the order in which they are measured.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "leader-killed-relayed",
        what: "The leader is killed (SIGKILL) while a client writes on the link to a follower.",
        rows: &[Row { what: NEXT_WRITE, aim: Some(160) }],
        scenario: |runner| kill_leader(runner, Link::Follower).boxed_local(),
    },
    Figure {
        name: "leader-killed-direct",
        what: "The leader is killed while a client writes on the link to it; the client moves.",
        rows: &[Row { what: NEXT_WRITE, aim: Some(160) }],
        scenario: |runner| kill_leader(runner, Link::Leader).boxed_local(),
    },
    Figure {
        name: "leader-killed-reads",
        what: "The leader is killed while nobody writes; a client of each other server reads.",
        rows: &[Row { what: NEXT_READ, aim: Some(60) }, Row { what: LONGEST_READ, aim: Some(60) }],
        scenario: |runner| kill_leader_of_readers(runner, 0).boxed_local(),
    },
    Figure {
        name: "leader-killed-reads-busy",
        what: "The same while one more client writes, on the link to a follower.",
        rows: &[Row { what: NEXT_READ, aim: Some(60) }, Row { what: LONGEST_READ, aim: Some(60) }],
        scenario: |runner| kill_leader_of_readers(runner, 1).boxed_local(),
    },
    Figure {
        name: "leader-killed-reads-crowd",
        what: "The same while eight more clients write: the new leader inherits writes that it may \
               not commit before all old leases are over.",
        rows: &[Row { what: NEXT_READ, aim: Some(60) }, Row { what: LONGEST_READ, aim: Some(60) }],
        scenario: |runner| kill_leader_of_readers(runner, 8).boxed_local(),
    },
    Figure {
        name: "leader-stopped",
        what: "The leader is stopped (SIGSTOP) while a client writes on the link to a follower, and \
               a client of each follower reads.",
        rows: &[
            Row { what: NEXT_WRITE, aim: Some(500) },
            Row { what: LONGEST_READ, aim: Some(500) },
        ],
        scenario: |runner| stop_leader(runner).boxed_local(),
    },
    Figure {
        name: "shutdown-relayed",
        what: "The leader is asked to end (SIGTERM) while a client writes on the link to a follower.",
        rows: &[Row { what: GAP, aim: Some(30) }],
        scenario: |runner| shut_down(runner, Link::Follower).boxed_local(),
    },
    Figure {
        name: "shutdown-direct",
        what: "The leader is asked to end while a client writes on the link to it; the client moves \
               at GoingAway.",
        rows: &[Row { what: GAP, aim: Some(30) }],
        scenario: |runner| shut_down(runner, Link::Leader).boxed_local(),
    },
    Figure {
        name: "from-nothing",
        what: "Three servers are started at once; a client dials all of them until they listen.",
        rows: &[Row {
            what: "from before the first process is started to the first acknowledged write",
            aim: Some(500),
        }],
        scenario: |runner| from_nothing(runner).boxed_local(),
    },
    Figure {
        name: "follower-killed-direct",
        what: "A follower is killed while a client writes on the link to the leader.",
        rows: &[Row { what: GAP, aim: None }],
        scenario: |runner| kill_follower(runner, Link::Leader).boxed_local(),
    },
    Figure {
        name: "follower-killed-relayed",
        what: "A follower is killed while a client writes on the link to it; the client moves.",
        rows: &[Row { what: GAP, aim: None }],
        scenario: |runner| kill_follower(runner, Link::Follower).boxed_local(),
    },
    Figure {
        name: "client-leader-killed-relayed",
        what: "The leader is killed while the client library writes at a follower.",
        rows: &[Row { what: NEXT_WRITE, aim: None }],
        scenario: |runner| hurt_product(runner, Link::Follower, Damage::Kill).boxed_local(),
    },
    Figure {
        name: "client-leader-killed-direct",
        what: "The leader is killed while the client library writes at it.",
        rows: &[Row { what: NEXT_WRITE, aim: None }],
        scenario: |runner| hurt_product(runner, Link::Leader, Damage::Kill).boxed_local(),
    },
    Figure {
        name: "client-shutdown-direct",
        what: "The leader is asked to end while the client library writes at it.",
        rows: &[Row { what: GAP, aim: None }],
        scenario: |runner| hurt_product(runner, Link::Leader, Damage::Terminate).boxed_local(),
    },
];

const NEXT_WRITE: &str = "from the signal to the acknowledgement of the first write that was sent \
                          when the process was gone or stopped";
const NEXT_READ: &str = "from the signal to the answer of the first read that was sent when the \
                         process was gone, at the slower server";
const LONGEST_READ: &str = "the longest wait of a read that was open at the signal or sent later";
const GAP: &str = "the longest time between two acknowledged writes in a row, from the signal until \
                   200 ms after the process is gone";

/// The link on which a client writes.
#[derive(Clone, Copy, Debug)]
enum Link {
    Leader,
    /// One follower or the other in turn, so that it is the next leader in half of the runs.
    Follower,
}

async fn kill_leader(runner: Runner, link: Link) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let leader = servers.leader().await?;
    let first = first(link, leader, &servers.followers().await?, &runner);
    let mut client = Client::start(&servers.places_from(first)).await?;
    let moment = Moment::default();
    let kill = moment.hurt(&runner, &mut servers, Damage::Kill(leader));
    let (course, ()) = tokio::try_join!(moment.write(&runner, &mut client), kill)?;
    Ok(outcome([course.next()], &course))
}

async fn kill_leader_of_readers(runner: Runner, writers: usize) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let (leader, followers) = (servers.leader().await?, servers.followers().await?);
    let mut readers = readers(&servers, &followers).await?;
    let first = first(Link::Follower, leader, &followers, &runner);
    let mut clients = Vec::new();
    for _ in 0..writers.max(1) {
        clients.push(Client::start(&servers.places_from(first)).await?);
    }
    // So that the cluster is in use, whoever goes on writing.
    clients[0].write().await?;
    let moment = Moment::default();
    let kill = moment.hurt(&runner, &mut servers, Damage::Kill(leader));
    let read = moment.read(&runner, &mut readers);
    let writes = clients.iter_mut().take(writers).map(|client| moment.write(&runner, client));
    let (courses, written, ()) = tokio::try_join!(read, try_join_all(writes), kill)?;
    let times = vec![slowest(&courses, Course::next), slowest(&courses, Course::longest_wait)];
    Ok(Outcome { times, calm: written.iter().flat_map(Course::calm).collect() })
}

async fn stop_leader(runner: Runner) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let (leader, followers) = (servers.leader().await?, servers.followers().await?);
    let mut readers = readers(&servers, &followers).await?;
    let first = first(Link::Follower, leader, &followers, &runner);
    let mut client = Client::start(&servers.places_from(first)).await?;
    let moment = Moment::default();
    let stop = moment.hurt(&runner, &mut servers, Damage::Stop(leader));
    let read = moment.read(&runner, &mut readers);
    let write = moment.write(&runner, &mut client);
    let (courses, written, ()) = tokio::try_join!(read, write, stop)?;
    Ok(outcome([written.next(), slowest(&courses, Course::longest_wait)], &written))
}

async fn shut_down(runner: Runner, link: Link) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let leader = servers.leader().await?;
    let first = first(link, leader, &servers.followers().await?, &runner);
    let mut client = Client::start(&servers.places_from(first)).await?;
    let moment = Moment::default();
    let terminate = moment.hurt(&runner, &mut servers, Damage::Terminate(leader));
    let (course, ()) = tokio::try_join!(moment.write(&runner, &mut client), terminate)?;
    Ok(outcome([course.longest_gap()], &course))
}

async fn from_nothing(runner: Runner) -> Result<Outcome> {
    let servers = runner.begin()?;
    let mut client = Client::begin(&servers.places());
    let answered = client.write().await?;
    servers.note("the first write is acknowledged");
    Ok(Outcome { times: vec![answered.at - servers.began], calm: Vec::new() })
}

async fn kill_follower(runner: Runner, link: Link) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let (leader, followers) = (servers.leader().await?, servers.followers().await?);
    let victim = first(Link::Follower, leader, &followers, &runner);
    let first = first(link, leader, &followers, &runner);
    let mut client = Client::start(&servers.places_from(first)).await?;
    let moment = Moment::default();
    let kill = moment.hurt(&runner, &mut servers, Damage::Kill(victim));
    let (course, ()) = tokio::try_join!(moment.write(&runner, &mut client), kill)?;
    Ok(outcome([course.longest_gap()], &course))
}

async fn hurt_product(runner: Runner, link: Link, damage: fn(u64) -> Damage) -> Result<Outcome> {
    let mut servers = runner.start().await?;
    let leader = servers.leader().await?;
    let first = first(link, leader, &servers.followers().await?, &runner);
    let client = product::connect(&servers.places_from(first)).await?;
    let moment = Moment::default();
    let hurt = moment.hurt(&runner, &mut servers, damage(leader));
    let write = moment.survive(&runner, Duration::ZERO, async || product::write(&client).await);
    let (course, ()) = tokio::try_join!(write, hurt)?;
    let time = match damage(leader) {
        Damage::Terminate(_) => course.longest_gap(),
        Damage::Kill(_) | Damage::Stop(_) => course.next(),
    };
    Ok(outcome([time], &course))
}

/// The server that a client asks first.
fn first(link: Link, leader: u64, followers: &[u64], runner: &Runner) -> u64 {
    match link {
        Link::Leader => leader,
        Link::Follower => followers[runner.run % followers.len()],
    }
}

/// A client of each of these servers that knows no other.
async fn readers(servers: &crate::servers::Servers<'_>, ids: &[u64]) -> Result<Vec<Client>> {
    let mut readers = Vec::new();
    for place in servers.places().iter().filter(|place| ids.contains(&place.id)) {
        readers.push(Client::start(std::slice::from_ref(place)).await?);
    }
    Ok(readers)
}

fn slowest(courses: &[Course], time: impl Fn(&Course) -> Duration) -> Duration {
    courses.iter().map(time).max().unwrap_or_default()
}

fn outcome(times: impl Into<Vec<Duration>>, written: &Course) -> Outcome {
    Outcome { times: times.into(), calm: written.calm().collect() }
}
