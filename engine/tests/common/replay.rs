//! A reader that believes nothing but events, and checks that they make sense.

use super::View;
use headcount::{Entry, Event, EventKind, Incarnation, NodeId, Subscription, Topic};
use std::collections::{BTreeMap, BTreeSet};

/// The view that a subscription's snapshot and events amount to. Panics on events that cannot follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    pub(crate) entries: View,
    pub(crate) nodes: BTreeSet<(NodeId, Incarnation)>,
    counts: BTreeMap<Topic, usize>,
    /// Topics whose `First` came and whose first `Join` has not.
    opened: BTreeSet<Topic>,
    /// Topics whose last `Leave` came and whose `Empty` has not.
    emptied: BTreeSet<Topic>,
}

impl Replay {
    pub(crate) fn new(snapshot: impl IntoIterator<Item = Entry>) -> Self {
        let mut replay = Self::default();
        for entry in snapshot {
            *replay.counts.entry(entry.topic().clone()).or_default() += 1;
            let again = replay.entries.insert(entry.joined_ref(), entry);
            assert!(again.is_none(), "twice in a snapshot: {again:?}");
        }
        replay
    }

    pub(crate) fn of(events: &mut Subscription) -> Self {
        Self::new(events.take_snapshot())
    }

    /// Takes in everything that waits; no gap is expected.
    pub(crate) fn drain(&mut self, events: &mut Subscription) {
        while let Ok(event) = events.try_recv() {
            self.take(&event);
        }
    }

    pub(crate) fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::First(topic) => {
                self.nothing_owed(topic, event);
                assert_eq!(self.count(topic), 0, "First of a topic that has entries: {event:?}");
                self.opened.insert(topic.clone());
            }
            EventKind::Join(entry) => {
                let topic = entry.topic();
                assert!(!self.emptied.contains(topic), "no Empty before {event:?}");
                let first = self.opened.remove(topic);
                assert_eq!(first, self.count(topic) == 0, "First comes with the first entry: {event:?}");
                *self.counts.entry(topic.clone()).or_default() += 1;
                let again = self.entries.insert(entry.joined_ref(), entry.clone());
                assert!(again.is_none(), "joins twice: {event:?}");
            }
            EventKind::Leave(entry) => {
                let topic = entry.topic();
                self.nothing_owed(topic, event);
                let held = self.entries.remove(&entry.joined_ref());
                assert_eq!(held.as_ref(), Some(entry), "leaves, and was not there like that");
                let count = self.counts.get_mut(topic).expect("it has entries");
                *count -= 1;
                if *count == 0 {
                    self.emptied.insert(topic.clone());
                }
            }
            EventKind::Update { old, new } => {
                self.nothing_owed(new.topic(), event);
                assert_eq!(old.joined_ref(), new.joined_ref(), "an update of another entry: {event:?}");
                assert!(old.entry_ref().clock < new.entry_ref().clock, "an update back: {event:?}");
                let held = self.entries.insert(new.joined_ref(), new.clone());
                assert_eq!(held.as_ref(), Some(old), "updated, and was not there like that");
            }
            EventKind::Empty(topic) => {
                assert!(self.emptied.remove(topic), "Empty without a last leave: {event:?}");
            }
            EventKind::NodeUp { node, incarnation } => {
                assert!(self.nodes.insert((*node, *incarnation)), "up twice: {event:?}");
            }
            EventKind::NodeDown { node, incarnation } => {
                assert!(self.nodes.remove(&(*node, *incarnation)), "down twice: {event:?}");
            }
            other => panic!("does not belong into a replay: {other:?}"),
        }
    }

    /// No First is without its Join and no last Leave without its Empty.
    pub(crate) fn assert_settled(&self) {
        assert!(self.opened.is_empty(), "First without a Join: {:?}", self.opened);
        assert!(self.emptied.is_empty(), "no Empty: {:?}", self.emptied);
    }

    fn count(&self, topic: &Topic) -> usize {
        self.counts.get(topic).copied().unwrap_or_default()
    }

    fn nothing_owed(&self, topic: &Topic, event: &Event) {
        assert!(!self.opened.contains(topic), "no Join between First and {event:?}");
        assert!(!self.emptied.contains(topic), "no Empty before {event:?}");
    }
}
