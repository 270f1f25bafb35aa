//! The closed loop of one link: as many requests under way as allowed, a new one for each reply.
//!
//! What arrives in one wake-up is handled at once, and what it allows to send leaves in one write.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::link::{self, Link};
use super::workload::Requests;
use crate::cli::failure::Failure;

/// How a request ended: how long it took, and the error's code where there was one.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) took: Duration,
    pub(super) error: Option<String>,
}

/// When a link is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// At this time, whatever is under way.
    Time(Instant),
    /// When there are no more requests and all are answered.
    Done,
}

/// Sends what `requests` yields and hands the answers to `record`, one batch a wake-up.
pub(super) async fn drive(
    link: &mut Link,
    requests: &mut impl Requests,
    in_flight: usize,
    until: Until,
    mut record: impl FnMut(&mut Vec<Answer>),
) -> Result<(), Failure> {
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::with_capacity(in_flight);
    let (mut texts, mut answers) = (Vec::new(), Vec::new());
    loop {
        let now = Instant::now();
        if matches!(until, Until::Time(end) if now >= end) {
            return Ok(());
        }
        // One reading of the clock for the batch: its requests leave together below.
        while waiting.len() < in_flight {
            let Some(request) = requests.next() else { break };
            let id = link.feed(request).await?;
            waiting.push_back((id, now));
        }
        link.flush().await?;
        if waiting.is_empty() {
            return Ok(());
        }
        receive(link, &mut texts, until).await?;
        let now = Instant::now();
        for text in texts.drain(..) {
            let head = link::head(&text)?;
            let Some(id) = head.id else { continue };
            // Replies come in any order, mostly in that of the requests.
            let Some(place) = waiting.iter().position(|(waiting, _)| *waiting == id) else {
                continue;
            };
            if let Some((_, sent)) = waiting.remove(place) {
                let error = link::error_code(&head);
                answers.push(Answer { took: now - sent, error });
            }
        }
        record(&mut answers);
        answers.clear();
    }
}

async fn receive(
    link: &mut Link,
    texts: &mut Vec<tokio_tungstenite::tungstenite::Utf8Bytes>,
    until: Until,
) -> Result<(), Failure> {
    let patience = match until {
        Until::Time(end) => end.saturating_duration_since(Instant::now()),
        Until::Done => SILENCE_MAX,
    };
    match (tokio::time::timeout(patience, link.receive(texts)).await, until) {
        (Ok(outcome), _) => outcome,
        (Err(_), Until::Time(_)) => Ok(()),
        (Err(_), Until::Done) => Err(Failure::Refused("the server does not answer".to_owned())),
    }
}

/// How long a server may leave requests unanswered while nothing is measured.
const SILENCE_MAX: Duration = Duration::from_secs(10);
