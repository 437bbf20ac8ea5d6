//! Telling the subscriptions: events are queued under the shard's lock and their readers woken after it.

use super::State;
use crate::event::{Event, EventKind};
use crate::inbox::Inbox;
use crate::sync::Arc;
use std::collections::HashSet;

/// Up to so many subscriptions, a search beats a set.
const SEARCHED_MAX: usize = 16;

/// What is to be told once no lock is held any more, neither a shard's nor its caller's: a waker may call anything. See
/// [`Inner::waking`](crate::tracker::Inner::waking).
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// The subscriptions to wake, each once.
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    /// Their addresses, once there are more than a search is good for.
    seen: Option<HashSet<usize, ahash::RandomState>>,
    /// An own lane has moved.
    pub(crate) moved: bool,
}

impl Wakes {
    pub(crate) fn add(&mut self, inbox: &Arc<Inbox>) {
        let address = |inbox: &Arc<Inbox>| Arc::as_ptr(inbox).addr();
        let is_new = if self.inboxes.len() < SEARCHED_MAX {
            !self.inboxes.iter().any(|held| Arc::ptr_eq(held, inbox))
        } else {
            // Made when it is needed: most changes wake nobody, and a seed takes longer than they do.
            let seen = self.seen.get_or_insert_with(|| self.inboxes.iter().map(address).collect());
            seen.insert(address(inbox))
        };
        if is_new {
            self.inboxes.push(Arc::clone(inbox));
        }
    }
}

impl State {
    /// Queues an event of a topic for whoever listens to it. It is made only if somebody does.
    pub(super) fn emit(&mut self, record: u32, wakes: &mut Wakes, kind: impl FnOnce(&Self) -> EventKind) {
        let listeners = &self.store.topics.get(record).listeners;
        if listeners.is_empty() && self.everywhere.is_empty() {
            return;
        }
        let event = Event { shard: self.index, version: self.version, kind: kind(self) };
        for inbox in listeners.iter().chain(&self.everywhere) {
            inbox.push(&event);
            wakes.add(inbox);
            self.meter.events.add(1);
        }
    }

    /// Whether anybody listens to a topic.
    pub(super) fn is_heard(&self, record: u32) -> bool {
        !self.everywhere.is_empty() || !self.store.topics.get(record).listeners.is_empty()
    }
}
