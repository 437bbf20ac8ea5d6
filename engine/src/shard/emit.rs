//! Telling the subscriptions: events are queued under the shard's lock and their readers woken after it.

use super::State;
use crate::Entry;
use crate::entry::OriginIx;
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
    seen: HashSet<usize, ahash::RandomState>,
    /// An own lane has moved.
    pub(crate) moved: bool,
}

impl Wakes {
    pub(crate) fn add(&mut self, inbox: &Arc<Inbox>) {
        let address = |inbox: &Arc<Inbox>| Arc::as_ptr(inbox).addr();
        let is_new = if self.inboxes.len() < SEARCHED_MAX {
            !self.inboxes.iter().any(|held| Arc::ptr_eq(held, inbox))
        } else {
            if self.seen.is_empty() {
                self.seen.extend(self.inboxes.iter().map(address));
            }
            self.seen.insert(address(inbox))
        };
        if is_new {
            self.inboxes.push(Arc::clone(inbox));
        }
    }
}

impl State {
    pub(super) fn emit(&mut self, topic: u32, wakes: &mut Wakes, kind: impl FnOnce() -> EventKind) {
        let listeners = &self.store.topic(topic).listeners;
        if listeners.is_empty() && self.everywhere.is_empty() {
            return;
        }
        let event = Event { shard: self.index, version: self.version, kind: kind() };
        for inbox in listeners.iter().chain(&self.everywhere) {
            inbox.push(&event);
            wakes.add(inbox);
            self.counters.events += 1;
        }
    }

    pub(super) fn emit_first(&mut self, topic: u32, wakes: &mut Wakes) {
        let name = self.store.topic(topic).name.clone();
        self.emit(topic, wakes, || EventKind::First(name));
    }

    pub(super) fn emit_empty(&mut self, topic: u32, wakes: &mut Wakes) {
        let name = self.store.topic(topic).name.clone();
        self.emit(topic, wakes, || EventKind::Empty(name));
    }

    /// Takes an origin's entries out of sight, all at once, and tells whoever saw them.
    pub(crate) fn hide(&mut self, origin: OriginIx, wakes: &mut Wakes) {
        if self.hidden.contains(&origin) {
            return;
        }
        self.version += 1;
        let heard = self.heard_topics(origin);
        self.hidden.push(origin);
        for topic in heard {
            for entry in self.entries_of(topic, origin) {
                self.emit(topic, wakes, || EventKind::Leave(entry));
            }
            if self.count(topic) == 0 {
                self.emit_empty(topic, wakes);
            }
        }
    }

    /// Brings an origin's entries back into sight, with the refs that they had.
    pub(crate) fn unhide(&mut self, origin: OriginIx, wakes: &mut Wakes) {
        let Some(at) = self.hidden.iter().position(|&hidden| hidden == origin) else {
            return;
        };
        self.version += 1;
        for topic in self.heard_topics(origin) {
            if self.count(topic) == 0 {
                self.emit_first(topic, wakes);
            }
            for entry in self.entries_of(topic, origin) {
                self.emit(topic, wakes, || EventKind::Join(entry));
            }
        }
        self.hidden.swap_remove(at);
    }

    /// Topics with entries of `origin` that somebody listens to.
    fn heard_topics(&self, origin: OriginIx) -> Vec<u32> {
        let all = !self.everywhere.is_empty();
        self.store
            .topics()
            .filter(|(_, topic)| (all || !topic.listeners.is_empty()) && topic.count_of(origin) > 0)
            .map(|(id, _)| id)
            .collect()
    }

    fn entries_of(&self, topic: u32, origin: OriginIx) -> Vec<Entry> {
        self.store
            .members_after(topic, 0)
            .map(|slot| self.store.slot(slot))
            .filter(|slot| slot.record.origin == origin)
            .map(|slot| Entry(Arc::clone(&slot.record)))
            .collect()
    }
}
