//! What is done to a cluster while clients go on, and how long they were not served.
//!
//! Owns when a measurement begins and ends. What a figure is made of is in [`crate::figure`].

use std::{cell::Cell, time::Duration};

use futures::future::try_join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Result,
    client::{Answered, Client},
    servers::{Runner, Servers},
};

/// What happens to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    /// It gets SIGKILL.
    Kill(u64),
    /// It gets SIGSTOP.
    Stop(u64),
    /// It gets SIGTERM.
    Terminate(u64),
}

/// When it happened.
#[derive(Clone, Copy, Debug)]
struct Hurt {
    /// Just before the signal.
    began: Instant,
    /// The process is gone, or has stopped.
    done: Instant,
}

/// When a cluster is hurt; none before that.
#[derive(Debug, Default)]
pub(crate) struct Moment(Cell<Option<Hurt>>);

/// The answers that one client got, one request after another.
#[derive(Debug)]
pub(crate) struct Course {
    answers: Vec<Answered>,
    hurt: Hurt,
}

impl Moment {
    /// Lets clients go on undisturbed for a while, then does it.
    pub(crate) async fn hurt(
        &self,
        runner: &Runner,
        servers: &mut Servers<'_>,
        damage: Damage,
    ) -> Result {
        sleep(CALM + runner.phase()).await;
        let began = Instant::now();
        match damage {
            Damage::Kill(id) => servers.kill(id).await?,
            Damage::Stop(id) => servers.stop(id).await?,
            Damage::Terminate(id) => servers.terminate(id).await?,
        }
        self.0.set(Some(Hurt { began, done: Instant::now() }));
        Ok(())
    }

    /// Lets a client ask one thing after another, with a pause after each answer, until it was served
    /// again for a while.
    pub(crate) async fn survive(
        &self,
        runner: &Runner,
        pause: Duration,
        mut ask: impl AsyncFnMut() -> Result<Answered>,
    ) -> Result<Course> {
        let mut answers = Vec::new();
        loop {
            let answer = ask().await?;
            if answer.took() > NOTABLE {
                let Answered { server, copies, .. } = answer;
                let took = answer.took().as_secs_f64() * 1e3;
                runner.note(&format!("{took:.1} ms to the answer of {server}, {copies} copies"));
            }
            answers.push(answer);
            if let Some(hurt) = self.0.get()
                && answer.sent >= hurt.done
                && answer.at >= hurt.began + AFTERWARDS
            {
                return Ok(Course { answers, hurt });
            }
            if !pause.is_zero() {
                sleep_until(answer.at + pause).await;
            }
        }
    }

    /// Lets a client write, one write after another.
    pub(crate) async fn write(&self, runner: &Runner, client: &mut Client) -> Result<Course> {
        self.survive(runner, Duration::ZERO, async || client.write().await).await
    }

    /// Lets each of these clients read, one read after another.
    pub(crate) async fn read(
        &self,
        runner: &Runner,
        clients: &mut [Client],
    ) -> Result<Vec<Course>> {
        let read = |client| async move {
            let client: &mut Client = client;
            self.survive(runner, READ_PAUSE, async || client.read().await).await
        };
        try_join_all(clients.iter_mut().map(read)).await
    }
}

impl Course {
    /// From the damage to the answer of the first request that was sent after it.
    pub(crate) fn next(&self) -> Duration {
        let first = self.answers.iter().find(|answer| answer.sent >= self.hurt.done);
        first.map_or(Duration::ZERO, |answer| answer.at - self.hurt.began)
    }

    /// The longest wait of a request that was open at the damage or sent after it.
    pub(crate) fn longest_wait(&self) -> Duration {
        let late = self.answers.iter().filter(|answer| answer.at > self.hurt.began);
        late.map(Answered::took).max().unwrap_or_default()
    }

    /// The longest time between two answers in a row, from the damage until the process is gone and
    /// every lease it had is over. What comes later is the machine's.
    pub(crate) fn longest_gap(&self) -> Duration {
        let over = self.hurt.done + LEASES;
        let during = |pair: &&[Answered]| pair[1].at > self.hurt.began && pair[0].at < over;
        let pairs = self.answers.windows(2).filter(during);
        pairs.map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default()
    }

    /// How long requests took before the damage.
    pub(crate) fn calm(&self) -> impl Iterator<Item = Duration> + '_ {
        let early = self.answers.iter().filter(|answer| answer.at < self.hurt.began);
        early.map(Answered::took)
    }
}

/// How long clients are served before something happens: leases are granted by then.
const CALM: Duration = Duration::from_millis(400);
/// How long they are watched after it.
const AFTERWARDS: Duration = Duration::from_millis(800);
/// When no lease of a server that is gone runs any more, for sure.
const LEASES: Duration = Duration::from_millis(200);
/// Between a read's answer and the next read: two readers without would take all of a small machine.
const READ_PAUSE: Duration = Duration::from_millis(1);
/// A wait that the client's log tells of.
const NOTABLE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn course(answers: &[(u64, u64)], began: u64, done: u64) -> Course {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let answer = |(sent, got): &(u64, u64)| Answered {
            sent: at(*sent),
            at: at(*got),
            server: 1,
            copies: 1,
        };
        let answers = answers.iter().map(answer).collect();
        Course { answers, hurt: Hurt { began: at(began), done: at(done) } }
    }

    #[test]
    fn what_counts_begins_at_the_damage() {
        let course = course(&[(0, 50), (50, 51), (51, 100), (100, 102), (102, 103)], 60, 62);
        assert_eq!(course.next(), Duration::from_millis(42));
        assert_eq!(course.longest_wait(), Duration::from_millis(49));
        assert_eq!(course.longest_gap(), Duration::from_millis(49));
        assert_eq!(course.calm().count(), 2);
    }

    #[test]
    fn an_answer_on_its_way_at_the_damage_is_not_the_next_one() {
        let course = course(&[(0, 10), (10, 21), (22, 170), (170, 171)], 20, 21);
        assert_eq!(course.next(), Duration::from_millis(150));
    }
}
