//! Messages in one order, as a stream: [`Order`] with a clock.
//!
//! Owns the timer; what comes when is decided, and explained, in [`rollcall_shared::order`]. How
//! messages travel is the application's business.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::Stream;
use rollcall_shared::time::Instant;
use tokio::time::Sleep;

pub use rollcall_shared::order::{Config, Event, Gap, Order, Refused, Tag};

/// A receiver that puts messages in order: push what arrives, read what is next.
///
/// As a [`Stream`] it gives each message in the order of numbers, and what is missing; it ends
/// after [`InOrder::end`].
///
/// ```no_run
/// use futures::StreamExt as _;
/// use rollcall_client::order::{Config, Event, InOrder, Tag};
///
/// # async fn run(
/// #     client: rollcall_client::Client,
/// #     mut network: tokio::sync::mpsc::Receiver<(String, u64, u64, String)>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// // Whoever takes a number after this one has us among its listeners.
/// let begin = Some(client.get_sequence_number().await?);
/// let mut order = InOrder::new(Config { begin, ..Config::default() });
/// loop {
///     tokio::select! {
///         Some((from, previous, number, text)) = network.recv() => {
///             if let Err(why) = order.push(Tag { from: &from, previous, number }, text) {
///                 println!("{from} sent nonsense, or too much: {why:?}");
///             }
///         }
///         Some(event) = order.next() => match event {
///             Event::Message { from, message, .. } => println!("{from}: {message}"),
///             Event::Missing(gap) => println!("{} is missing of {}", gap.last, gap.from),
///             Event::Late { number, message, .. } => println!("late, {number}: {message}"),
///         },
///         else => return Ok(()),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct InOrder<T> {
    order: Order<T>,
    start: tokio::time::Instant,
    /// Made when it is first needed: only then there has to be a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    reader: Option<Waker>,
}

/// Messages are never pinned.
impl<T> Unpin for InOrder<T> {}

impl<T> InOrder<T> {
    /// A receiver of which nothing is known but how it is to be.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let start = tokio::time::Instant::now();
        Self { order: Order::new(config), start, timer: None, ended: false, reader: None }
    }

    /// A message came; see [`Order::push`].
    ///
    /// # Errors
    /// [`Refused`] says why it was not taken.
    pub fn push(&mut self, tag: Tag<'_>, message: T) -> Result<(), Refused> {
        self.wake();
        self.order.push(self.now(), tag, message)
    }

    /// A sender has nothing to say; see [`Order::note`].
    ///
    /// # Errors
    /// [`Refused`] says why it was not taken.
    pub fn note(&mut self, tag: Tag<'_>) -> Result<(), Refused> {
        self.wake();
        self.order.note(self.now(), tag)
    }

    /// Somebody may send from now on; see [`Order::join`].
    pub fn join(&mut self, from: &str) {
        self.order.join(from);
    }

    /// Somebody will send no more; see [`Order::leave`].
    pub fn leave(&mut self, from: &str) {
        self.wake();
        self.order.leave(from);
    }

    /// No message will come any more: what waits is given at once, and then the stream ends.
    pub fn end(&mut self) {
        self.wake();
        self.ended = true;
        self.order.end();
    }

    /// What is known to have been sent, has not come, and is waited for.
    #[must_use]
    pub fn missing(&self) -> Vec<Gap> {
        self.order.missing()
    }

    fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Something changed: whoever waits, maybe within another future of the same task, looks again.
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl<T> Stream for InOrder<T> {
    type Item = Event<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<T>>> {
        loop {
            let now = self.now();
            if let Some(event) = self.order.poll(now) {
                return Poll::Ready(Some(event));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            self.reader = Some(cx.waker().clone());
            let Some(due) = self.order.poll_timeout() else {
                return Poll::Pending;
            };
            // Not `start + due`: patience may be as good as endless, which an instant cannot be.
            let wait = due.since(now).min(LONGEST_WAIT);
            let at = tokio::time::Instant::now() + wait;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            timer.as_mut().reset(at);
            ready!(timer.as_mut().poll(cx));
        }
    }
}

/// Then it looks whether something is due.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn receiver(patience: Duration) -> InOrder<&'static str> {
        InOrder::new(Config { begin: Some(1), patience, ..Config::default() })
    }

    fn given(event: Option<Event<&'static str>>) -> String {
        match event.expect("the stream goes on") {
            Event::Message { message, .. } => message.to_owned(),
            Event::Missing(gap) => format!("missing {}", gap.last),
            Event::Late { message, .. } => format!("late {message}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_its_patience() {
        let start = tokio::time::Instant::now();
        let mut order = receiver(Duration::from_millis(700));
        order.push(Tag::dense(1), "one").unwrap();
        order.push(Tag::dense(3), "three").unwrap();
        assert_eq!(given(order.next().await), "one");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(given(order.next().await), "missing 2");
        assert!((700..702).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert_eq!(given(order.next().await), "three");
        order.push(Tag::dense(2), "two").unwrap();
        assert_eq!(given(order.next().await), "late two");
        assert!(order.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_bears_endless_patience_and_ends_when_told() {
        let mut order = receiver(Duration::MAX);
        order.join("bob");
        order.push(Tag::dense(2), "two").unwrap();
        assert_eq!(order.missing().len(), 1);
        let day = Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(day, order.next()).await.is_err());
        order.end();
        assert_eq!(given(order.next().await), "missing 1");
        assert_eq!(given(order.next().await), "two");
        assert_eq!(order.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_what_is_pushed_meanwhile() {
        let order = tokio::sync::Mutex::new(receiver(Duration::from_secs(1)));
        // Two futures of one task that share it: the reader lets go of it whenever it waits.
        let reading = std::future::poll_fn(|cx| match order.try_lock() {
            Ok(mut order) => order.poll_next_unpin(cx),
            Err(_) => Poll::Pending,
        });
        let pushing = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            order.lock().await.push(Tag::dense(1), "one").unwrap();
            std::future::pending::<()>().await;
        };
        let event = tokio::select! {
            event = reading => event,
            () = pushing => None,
        };
        assert_eq!(given(event), "one");
    }
}
