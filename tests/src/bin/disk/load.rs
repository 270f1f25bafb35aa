//! Load by many links of one process: as much as they bear, or so much a second.
//!
//! Owns what is asked, and how long answers took.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{Result, link::Link};

/// Links to a server.
#[derive(Debug)]
pub(crate) struct Load {
    links: Vec<Asker>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// One number after the other.
    Numbers,
    /// Of ten requests eight look up one of a million users, one makes a user come or go, and one
    /// takes a number.
    Mix,
    /// That each of a million users is there, once.
    Users,
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each link has so many requests under way, always.
    Closed(usize),
    /// All together send so many a second, whatever comes back.
    Open(u32),
}

/// What goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    links: JoinSet<std::result::Result<(Asker, Vec<u32>), String>>,
}

#[derive(Debug)]
struct Asker {
    link: Link,
    number: u32,
    random: u64,
    /// How often a user came or went on this link.
    moves: u64,
    /// How many of the million users it made known.
    known: u32,
}

impl Load {
    /// Opens [`LINKS`] links.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let mut links = Vec::new();
        for number in 0..LINKS {
            let (link, random) = (Link::open(address).await?, u64::from(number));
            links.push(Asker { link, number, random, moves: 0, known: 0 });
        }
        Ok(Self { links })
    }

    /// Begins to ask.
    pub(crate) fn begin(self, ask: Ask, pace: Pace) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let mut links = JoinSet::new();
        for asker in self.links {
            let stop = Arc::clone(&stop);
            links.spawn(async move {
                asker.run(ask, pace, &stop).await.map_err(|fault| fault.to_string())
            });
        }
        Running { stop, links }
    }

    /// Asks for all that there is to be asked.
    pub(crate) async fn all(self, ask: Ask) -> Result<Self> {
        Ok(self.begin(ask, Pace::Closed(IN_FLIGHT)).end().await?.0)
    }
}

impl Running {
    /// Stops, waits for the answers that are due, and says how long all took: microseconds, sorted.
    pub(crate) async fn stop(self) -> Result<(Load, Vec<u32>)> {
        self.stop.store(true, Ordering::Relaxed);
        self.end().await
    }

    async fn end(mut self) -> Result<(Load, Vec<u32>)> {
        let (mut links, mut all) = (Vec::new(), Vec::new());
        while let Some(ended) = self.links.join_next().await {
            let (asker, took) = ended??;
            links.push(asker);
            all.extend(took);
        }
        links.sort_by_key(|asker| asker.number);
        all.sort_unstable();
        Ok((Load { links }, all))
    }
}

impl Asker {
    async fn run(mut self, ask: Ask, pace: Pace, stop: &AtomicBool) -> Result<(Self, Vec<u32>)> {
        let mut took = Vec::new();
        let every = match pace {
            Pace::Closed(_) => Duration::ZERO,
            Pace::Open(rate) => Duration::from_secs(1) * LINKS / rate,
        };
        // The links take turns.
        let mut due = Instant::now() + every * self.number / LINKS;
        let mut more = true;
        loop {
            more &= !stop.load(Ordering::Relaxed);
            let now = Instant::now();
            while more
                && match pace {
                    Pace::Closed(in_flight) => self.link.waiting() < in_flight,
                    Pace::Open(_) => due <= now,
                }
            {
                due += every;
                match self.request(ask) {
                    Some(request) => self.link.feed(&request, now),
                    None => more = false,
                }
            }
            self.link.flush().await?;
            if !more && self.link.waiting() == 0 {
                return Ok((self, took));
            }
            tokio::select! {
                filled = self.link.fill() => {
                    filled?;
                    self.link.answers(&mut took)?;
                }
                () = sleep_until(due), if more && matches!(pace, Pace::Open(_)) => {}
            }
        }
    }

    /// The next request, if there is one.
    fn request(&mut self, ask: Ask) -> Option<Cow<'static, str>> {
        let share = match ask {
            Ask::Numbers => 0,
            Ask::Mix => self.below(10),
            Ask::Users => {
                let number = self.number + LINKS * self.known;
                self.known += 1;
                return (number < USERS).then(|| comes(&user(number)).into());
            }
        };
        Some(match share {
            0 => r#""GetSequenceNumber","payload":{}"#.into(),
            1 => {
                let (round, slot) = (self.moves / MOVERS, self.moves % MOVERS);
                self.moves += 1;
                let name = format!("mover-of-a-figure-{}-{slot}", self.number);
                if round.is_multiple_of(2) { comes(&name) } else { goes(&name) }.into()
            }
            _ => {
                let number = self.below(u64::from(USERS));
                looks_up(&user(u32::try_from(number).expect("it is below a number of users")))
                    .into()
            }
        })
    }

    /// `SplitMix64`: good enough to choose, and the same in every run.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// The name of one of the million users.
pub(crate) fn user(number: u32) -> String {
    format!("user-of-a-figure-{number:07}")
}

/// The request for a user's addresses.
pub(crate) fn looks_up(name: &str) -> String {
    format!(r#""GetUserAddress","payload":{{"usernames":["{name}"]}}"#)
}

fn comes(name: &str) -> String {
    format!(r#""ConnectUser","payload":{{"username":"{name}","ip":"203.0.113.7","port":4711}}"#)
}

fn goes(name: &str) -> String {
    format!(r#""DisconnectUser","payload":{{"username":"{name}"}}"#)
}

/// How long all but one in a hundred took at most, of sorted times.
pub(crate) fn p99(sorted: &[u32]) -> Option<f64> {
    sorted.get(sorted.len() * 99 / 100).map(|time| f64::from(*time))
}

/// How many links there are.
pub(crate) const LINKS: u32 = 64;
/// How many requests each has under way.
pub(crate) const IN_FLIGHT: usize = 16;
/// How many users there are.
pub(crate) const USERS: u32 = 1_000_000;
/// How many users come and go on a link.
const MOVERS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_times_the_last_one_is_left_out() {
        let times: Vec<u32> = (1..=200).collect();
        assert_eq!(p99(&times), Some(199.0));
        assert_eq!(p99(&[]), None);
    }
}
