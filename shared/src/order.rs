//! Messages in one order: a receiver that takes messages numbered by the cluster's one sequence, in
//! whatever order they arrive, and gives them in the order of their numbers, with what is missing.
//!
//! Pure: it owns no clock and no transport. How messages travel is the application's business.
//!
//! # What a number says, and what it does not
//!
//! The sequence is global: somebody else may have taken the numbers between two of a chat. A
//! number that does not come is therefore no loss by itself. So each message names, besides its own
//! number, its sender and the number of that sender's message before it ([`Tag`]). Then
//!
//! - a loss is seen as soon as anything later of its sender arrives;
//! - a message is known to be next if its number follows the last one given, and else once every
//!   sender has said something above it: a sender's numbers ascend. A sender that has nothing to say
//!   says that ([`Order::note`]); it may, for the cluster gives it no smaller number any more.
//!
//! A *dense* stream, where every number counts, is the case of one sender whose message before
//! number n is n − 1: [`Tag::dense`].
//!
//! # What is guaranteed
//!
//! - Messages come in ascending order of their numbers, each at most once.
//! - None waits longer than the patience: for others that are known to be missing, or for senders
//!   that have said nothing since. If every sender has, it comes at once.
//! - What a sender is known to have sent and does not come within the patience is reported as
//!   missing, once, before anything later of that sender is given (within twice the patience where
//!   only notes tell of it).
//! - What comes after all (it was given up, or a larger number was given or given up before it was
//!   heard of) comes as [`Event::Late`]. With patience longer than any message travels, and with every sender
//!   [joined](Order::join) before it sends, nothing does.
//! - Memory is bounded by the capacity.
//!
//! The last message of a sender that is never heard of again is missed by nobody: send a note now
//! and then. And who lies about the own numbers harms all receivers: believe those you know.

mod chain;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chain::{Chain, Piece};

use crate::limits;
use crate::time::Instant;

/// How to put messages in order.
#[derive(Clone, Debug)]
pub struct Config {
    /// The first number that counts: what is below is neither given nor missed. A receiver that
    /// takes a number once it listens, and gives it here, misses nothing of what was numbered
    /// after. None: the smallest of those that come within the patience of the first.
    pub begin: Option<u64>,
    /// How long to wait for what is missing, and for senders that say nothing. Default 1 s.
    pub patience: Duration,
    /// How many messages may wait. Where there are more, the oldest gaps are given up early.
    /// Default 1024.
    pub capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { begin: None, patience: Duration::from_secs(1), capacity: 1024 }
    }
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// One life of one sender: who forgot the own last number has to take another name.
    pub from: &'a str,
    /// The number of the message before it of the same sender; 0 for its first one.
    pub previous: u64,
    /// Its number, larger than `previous`.
    pub number: u64,
}

impl Tag<'_> {
    /// The tag of a message of a stream in which every number counts.
    #[must_use]
    pub const fn dense(number: u64) -> Self {
        Self { from: "", previous: number.saturating_sub(1), number }
    }
}

/// Numbers that one sender's lost messages have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub from: Arc<str>,
    /// No message of the sender below this one is meant.
    pub first: u64,
    /// The number of a message for certain; before it there may be more.
    pub last: u64,
}

/// What a receiver is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The next message.
    Message {
        /// Its number, larger than that of every [`Event::Message`] before.
        number: u64,
        /// Its sender.
        from: Arc<str>,
        /// What was pushed.
        message: T,
    },
    /// These are waited for no more.
    Missing(Gap),
    /// A message that comes too late for its place: it was reported missing, or a larger number was
    /// given or reported before anything was known of it.
    Late {
        /// Its number.
        number: u64,
        /// Its sender.
        from: Arc<str>,
        /// What was pushed.
        message: T,
    },
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The number is none that a cluster gives.
    Number,
    /// The number before is not smaller.
    Previous,
    /// As many messages wait as may: events have to be read first. It is as good as lost, so it
    /// will be missing.
    Full,
}

/// A receiver that puts messages in order.
///
/// After every [`Order::push`] and its neighbours drain [`Order::poll`], then wait for the next
/// message, no longer than until [`Order::poll_timeout`], and poll again.
///
/// ```
/// use rollcall_shared::order::{Config, Event, Order, Tag};
/// use rollcall_shared::time::Instant;
///
/// let mut order = Order::new(Config { begin: Some(1), ..Config::default() });
/// let now = Instant::from_millis(0);
/// order.push(now, Tag { from: "bob", previous: 0, number: 7 }, "and you?").unwrap();
/// order.push(now, Tag { from: "ann", previous: 4, number: 9 }, "fine").unwrap();
/// // Bob's number 7 was taken after ann's 4, which she says she has sent.
/// assert_eq!(order.poll(now), None);
/// assert_eq!(order.missing()[0].last, 4);
/// order.push(now, Tag { from: "ann", previous: 0, number: 4 }, "how are you?").unwrap();
/// for expected in ["how are you?", "and you?"] {
///     assert!(matches!(order.poll(now), Some(Event::Message { message, .. }) if message == expected));
/// }
/// // Bob may have taken 8. He says that he has not.
/// assert_eq!(order.poll(now), None);
/// order.note(now, Tag { from: "bob", previous: 7, number: 9 }).unwrap();
/// assert!(matches!(order.poll(now), Some(Event::Message { number: 9, .. })));
/// ```
#[derive(Debug)]
pub struct Order<T> {
    patience: Duration,
    capacity: usize,
    /// Nothing up to here counts; unknown before the first message is given, if nobody said.
    base: Option<u64>,
    /// The largest number that was given, or reported missing: what is not larger is late.
    given: u64,
    chains: Vec<Chain>,
    /// Beyond no number of senders that were forgotten.
    forgotten: u64,
    /// Messages that wait, in order.
    held: VecDeque<Held<T>>,
    /// Late messages that were not read yet.
    late: VecDeque<Event<T>>,
    /// What was reported missing, so that it is known when it comes.
    lost: VecDeque<Gap>,
    ended: bool,
}

#[derive(Debug)]
struct Held<T> {
    number: u64,
    from: Arc<str>,
    /// When it came, or something with a larger number: that drives out this one too.
    since: Instant,
    message: T,
}

impl<T> Order<T> {
    /// A receiver of which nothing is known but how it is to be.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let base = config.begin.map(|begin| begin.saturating_sub(1));
        Self {
            patience: config.patience,
            capacity: config.capacity.max(1),
            base,
            given: base.unwrap_or(0),
            chains: Vec::new(),
            forgotten: 0,
            held: VecDeque::new(),
            late: VecDeque::new(),
            lost: VecDeque::new(),
            ended: false,
        }
    }

    /// A message came. One that is here already is ignored, and so is one from before the
    /// beginning.
    ///
    /// # Errors
    /// [`Refused`] says why it was not taken.
    pub fn push(&mut self, now: Instant, tag: Tag<'_>, message: T) -> Result<(), Refused> {
        let Tag { number, .. } = tag;
        check(tag)?;
        if self.base.is_some_and(|base| number <= base) {
            return Ok(());
        }
        let place = self.held.partition_point(|held| held.number < number);
        if self.held.get(place).is_some_and(|held| held.number == number) {
            return Ok(());
        }
        let was_lost = self.find_lost(tag);
        let known = self.chains.iter().find(|chain| *chain.from == *tag.from);
        let late = was_lost.is_some() || number <= self.given;
        if late && was_lost.is_none() && known.is_some_and(|chain| chain.covers(number)) {
            return Ok(()); // it was given before
        }
        if self.is_full() {
            return Err(Refused::Full);
        }
        let chain = self.chain(tag.from).ok_or(Refused::Full)?;
        let from = Arc::clone(&chain.from);
        chain.add(Piece { previous: tag.previous, number, since: now, note: false });
        if let Some(at) = was_lost {
            self.found(at, tag);
        }
        if late {
            self.late.push_back(Event::Late { number, from, message });
        } else {
            let behind = self.held.get(place).map(|held| held.since);
            let since = behind.map_or(now, |since| since.min(now));
            self.held.insert(place, Held { number, from, since, message });
        }
        Ok(())
    }

    /// A sender says, or somebody says of it, that it has a message `previous` (0: none yet) and
    /// nothing after it up to `number`.
    ///
    /// Who may say so of itself: after `number` was taken by anybody, who takes no number at the
    /// moment and has nothing to send. What the cluster gives it later is larger.
    ///
    /// In a dense stream it is what numbers to skip: those after `previous` up to `number`.
    ///
    /// # Errors
    /// [`Refused`] says why it was not taken.
    pub fn note(&mut self, now: Instant, tag: Tag<'_>) -> Result<(), Refused> {
        let Tag { from, previous, number } = tag;
        if number > limits::REQUEST_ID {
            return Err(Refused::Number);
        }
        if previous > number {
            return Err(Refused::Previous);
        }
        if self.is_full() {
            return Err(Refused::Full);
        }
        let chain = self.chain(from).ok_or(Refused::Full)?;
        chain.add(Piece { previous, number, since: now, note: true });
        Ok(())
    }

    /// Somebody may send from now on: messages wait until it has passed their number, too. Who
    /// sends without having been joined is from its first message on.
    pub fn join(&mut self, from: &str) {
        if let Some(chain) = self.chain(from) {
            chain.awaited = true;
        }
    }

    /// Somebody will send no more: nothing waits for it any longer but for messages it is known to
    /// have sent.
    pub fn leave(&mut self, from: &str) {
        if let Some(chain) = self.chains.iter_mut().find(|chain| *chain.from == *from) {
            chain.awaited = false;
        }
    }

    /// No message will come any more: everything that waits is due.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What comes next, if anything does now.
    pub fn poll(&mut self, now: Instant) -> Option<Event<T>> {
        if self.late.front().is_some() {
            return self.late.pop_front();
        }
        let forced =
            self.ended || self.is_full() || self.poll_timeout().is_some_and(|at| at <= now);
        let next = self.held.front().map(|held| held.number);
        let gaps = self.chains.iter().filter_map(Chain::first_gap).map(|(last, _)| last);
        let gap = self.base.and_then(|_| gaps.min());
        match (gap, next) {
            (Some(gap), next) if next.is_none_or(|number| gap < number) => {
                if forced {
                    self.give_up(gap)
                } else {
                    None
                }
            }
            (_, Some(number)) if forced || self.is_next(number) => self.give(),
            _ => None,
        }
    }

    /// When something is due that does not come now, once [`Order::poll`] has given none.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.front().map(|held| held.since);
        let gaps = self.chains.iter().filter_map(Chain::first_gap).map(|(_, since)| since);
        let gap = self.base.and_then(|_| gaps.min());
        held.into_iter().chain(gap).min().map(|since| since + self.patience)
    }

    /// What is known to have been sent, has not come, and is waited for: something to ask for again.
    #[must_use]
    pub fn missing(&self) -> Vec<Gap> {
        let begun = self.chains.iter().filter(|_| self.base.is_some());
        begun
            .flat_map(|chain| {
                let gap = |(first, last)| Gap { from: Arc::clone(&chain.from), first, last };
                chain.ranges().map(gap)
            })
            .collect()
    }

    /// How many messages are here that were not given yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len() + self.late.len()
    }

    /// Whether every message was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds what it may: what is first has to go.
    fn is_full(&self) -> bool {
        // Besides those of messages that wait, each sender's notes are good for two gaps, and late
        // messages for as many as come within the patience.
        let gaps: usize = self.chains.iter().map(Chain::gaps).sum();
        self.len() >= self.capacity || gaps > self.capacity.saturating_add(2 * SENDERS)
    }

    /// Whether no smaller number can come.
    fn is_next(&self, number: u64) -> bool {
        // This number is taken: who has passed the one before has passed it.
        let passed = |chain: &Chain| !chain.awaited || chain.through + 1 >= number;
        let follows = number == self.given + 1;
        self.base.is_some() && (follows || self.chains.iter().all(passed))
    }

    /// Gives the message with the smallest number.
    fn give(&mut self) -> Option<Event<T>> {
        let Held { number, from, message, .. } = self.held.pop_front()?;
        if self.base.is_none() {
            self.base = Some(number - 1);
            for chain in &mut self.chains {
                chain.raise(number - 1);
            }
        }
        self.given = number;
        Some(Event::Message { number, from, message })
    }

    /// Waits no more for the gap that ends with this number.
    fn give_up(&mut self, last: u64) -> Option<Event<T>> {
        let ends = |chain: &Chain| chain.first_gap().is_some_and(|(end, _)| end == last);
        let chain = self.chains.iter_mut().find(|chain| ends(chain))?;
        let (first, last) = chain.give_up()?;
        self.given = self.given.max(last);
        let gap = Gap { from: Arc::clone(&chain.from), first, last };
        self.remember(gap.clone());
        Some(Event::Missing(gap))
    }

    fn remember(&mut self, gap: Gap) {
        if self.lost.len() >= GAPS {
            self.lost.pop_front();
        }
        self.lost.push_back(gap);
    }

    /// Which of the gaps that were given up a message belongs to.
    fn find_lost(&self, tag: Tag<'_>) -> Option<usize> {
        let holds = |gap: &Gap| *gap.from == *tag.from && gap.first <= tag.number;
        self.lost.iter().position(|gap| holds(gap) && tag.number <= gap.last)
    }

    /// A message of a gap that was given up has come: what is left of it are those on either side.
    fn found(&mut self, at: usize, tag: Tag<'_>) {
        let Some(gap) = self.lost.remove(at) else {
            return;
        };
        if tag.previous >= gap.first {
            self.remember(Gap { last: tag.previous, ..gap.clone() });
        }
        if tag.number < gap.last {
            self.remember(Gap { first: tag.number + 1, ..gap });
        }
    }

    /// What is known of a sender. None for one too many.
    fn chain(&mut self, from: &str) -> Option<&mut Chain> {
        let at = self.chains.iter().position(|chain| *chain.from == *from);
        let at = match at {
            Some(at) => at,
            None => {
                if self.chains.len() >= SENDERS {
                    self.forget()?;
                }
                let base = self.base.unwrap_or(0).max(self.forgotten);
                self.chains.push(Chain::new(from.into(), base));
                self.chains.len() - 1
            }
        };
        self.chains.get_mut(at)
    }

    /// Forgets the sender that has been silent for longest, one that has left if there is any.
    fn forget(&mut self) -> Option<()> {
        let whole = self.chains.iter().enumerate().filter(|(_, chain)| chain.gaps() == 0);
        let oldest = whole.min_by_key(|(_, chain)| (chain.awaited, chain.through));
        let at = oldest.map(|(at, _)| at)?;
        let chain = self.chains.swap_remove(at);
        self.forgotten = self.forgotten.max(chain.through);
        Some(())
    }
}

fn check(tag: Tag<'_>) -> Result<(), Refused> {
    // The sequence is as large as request ids are: what every JSON reader keeps exactly.
    if tag.number == 0 || tag.number > limits::REQUEST_ID {
        return Err(Refused::Number);
    }
    if tag.previous >= tag.number {
        return Err(Refused::Previous);
    }
    Ok(())
}

/// How many senders are remembered.
const SENDERS: usize = 1024;

/// How many gaps that were given up are remembered. What comes of an older one is ignored, as a
/// copy of something given would be.
const GAPS: usize = 1024;
