//! Subscriptions: a view and everything that happens to it afterwards, with no gap in between.

use crate::event::Event;
use crate::inbox::{Inbox, Look};
use crate::sync::Arc;
use crate::tracker::Inner;
use crate::{Entry, Topic};
use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What a subscription is about.
///
/// ```
/// use headcount::Filter;
/// let one = Filter::topic("room:42");
/// let several = Filter::topics(["room:42", "room:43"]).with_nodes();
/// let everything = Filter::all().without_snapshot();
/// # let _ = (one, several, everything);
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) scope: Scope,
    pub(crate) nodes: bool,
    pub(crate) snapshot: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Scope {
    Topics(Vec<Topic>),
    All,
    Nothing,
}

impl Filter {
    /// One topic, whether it has entries yet or not.
    #[must_use]
    pub fn topic(topic: impl AsRef<[u8]>) -> Self {
        Self::topics([topic])
    }

    /// Several topics. Each is handed over atomically; the snapshot is not one instant for all of them.
    #[must_use]
    pub fn topics<T: AsRef<[u8]>>(topics: impl IntoIterator<Item = T>) -> Self {
        let mut topics: Vec<Topic> = topics.into_iter().map(|topic| Topic::from(topic.as_ref())).collect();
        topics.sort_unstable();
        topics.dedup();
        Self { scope: Scope::Topics(topics), nodes: false, snapshot: true }
    }

    /// Every topic and every node. Each shard is handed over atomically.
    #[must_use]
    pub fn all() -> Self {
        Self { scope: Scope::All, nodes: true, snapshot: true }
    }

    /// Only nodes that come up and go down.
    #[must_use]
    pub fn nodes() -> Self {
        Self { scope: Scope::Nothing, nodes: true, snapshot: false }
    }

    /// Node events too.
    #[must_use]
    pub fn with_nodes(mut self) -> Self {
        self.nodes = true;
        self
    }

    /// Events only: the subscription's snapshot is empty.
    #[must_use]
    pub fn without_snapshot(mut self) -> Self {
        self.snapshot = false;
        self
    }
}

/// Nothing waits in the subscription's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing waits now.
    #[error("no event waits")]
    Empty,
    /// The tracker was shut down and everything was delivered.
    #[error("the tracker is shut down")]
    Closed,
}

/// The tracker was shut down and everything was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the tracker is shut down")]
pub struct RecvError;

/// Nothing came in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No event came in time.
    #[error("no event came in time")]
    Timeout,
    /// The tracker was shut down and everything was delivered.
    #[error("the tracker is shut down")]
    Closed,
}

/// A view and the events that follow it. Made by [`Tracker::subscribe`](crate::Tracker::subscribe).
///
/// Replaying the events onto the snapshot gives the view, entry for entry. The queue is bounded
/// ([`Config::subscription_queue_max`](crate::Config::subscription_queue_max)); a reader that falls behind gets
/// [`Lagged`](crate::EventKind::Lagged) in place of what it missed, and no writer ever waits for it. Dropping the subscription ends it.
///
/// ```
/// use headcount::{EventKind, Filter, Tracker};
/// let tracker = Tracker::new();
/// let mut room = tracker.subscribe(Filter::topic("room:42"));
/// assert!(room.snapshot().is_empty());
///
/// let session = tracker.session();
/// session.track("room:42", "alice", "hi")?;
/// assert!(matches!(room.recv()?.kind, EventKind::First(topic) if topic == "room:42"));
/// assert!(matches!(room.recv()?.kind, EventKind::Join(entry) if entry.key() == b"alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    tracker: Arc<Inner>,
    inbox: Arc<Inbox>,
    filter: Filter,
    snapshot: Vec<Entry>,
}

impl Subscription {
    pub(crate) fn new(tracker: Arc<Inner>, filter: Filter) -> Self {
        let inbox = Arc::new(Inbox::new(tracker.config.subscription_queue_max));
        let snapshot = tracker.attach(&filter, &inbox);
        Self { tracker, inbox, filter, snapshot }
    }

    /// The view at the moment from which the events go on; topic by topic, in the order in which the entries came.
    #[must_use]
    pub fn snapshot(&self) -> &[Entry] {
        &self.snapshot
    }

    /// Takes the snapshot out, so that its memory can go.
    #[must_use]
    pub fn take_snapshot(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.snapshot)
    }

    /// The next event, if one waits.
    ///
    /// # Errors
    /// [`TryRecvError`]: nothing waits, or the tracker was shut down.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        match self.inbox.0.with(Inbox::look) {
            Some(Look::Event(event)) => Ok(event),
            Some(Look::Closed) => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// [`RecvError`]: the tracker was shut down and everything was delivered.
    pub fn recv(&mut self) -> Result<Event, RecvError> {
        match self.inbox.0.wait(Inbox::look) {
            Look::Event(event) => Ok(event),
            Look::Closed => Err(RecvError),
        }
    }

    /// Waits for the next event, at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]: none came in time, or the tracker was shut down.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Event, RecvTimeoutError> {
        // Past the clock's range is as good as for ever; a day at a time keeps it simple.
        let deadline = Instant::now() + timeout.min(Duration::from_secs(86_400));
        match self.inbox.0.wait_until(deadline, Inbox::look) {
            Some(Look::Event(event)) => Ok(event),
            Some(Look::Closed) => Err(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The asynchronous form: the task is woken when an event comes. `None` after a shutdown, when everything was
    /// delivered. No runtime is needed, and the feature `stream` makes it a `futures_core::Stream`.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.inbox.0.poll(context, Inbox::look).map(|look| match look {
            Look::Event(event) => Some(event),
            Look::Closed => None,
        })
    }

    /// Drops what waits and returns a new snapshot, from which the events go on: the way back after
    /// [`Lagged`](crate::EventKind::Lagged). It has a snapshot even if the filter asked for none.
    #[must_use = "the snapshot replaces the reader's view"]
    pub fn resync(&mut self) -> Vec<Entry> {
        self.inbox.clear();
        self.tracker.look_again(&self.filter.scope, &self.inbox)
    }

    /// Events until the tracker is shut down.
    pub fn iter(&mut self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tracker.detach(&self.filter, &self.inbox);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("filter", &self.filter).finish_non_exhaustive()
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Subscription {
    type Item = Event;

    fn poll_next(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_recv(context)
    }
}
