//! Changing a shard: the three changes that any entry can go through, and this node's own operations on top of them.

use super::{SlotId, State, Wakes};
use crate::entry::{LOCAL, Record};
use crate::event::EventKind;
use crate::lane::Logged;
use crate::sync::Arc;
use crate::{Entry, EntryRef, Error};

/// The bytes of an entry to be, allocated before the lock is taken.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) key: Box<[u8]>,
    pub(crate) meta: Box<[u8]>,
}

impl Draft {
    pub(crate) fn new(key: &[u8], meta: &[u8]) -> Self {
        Self { key: key.into(), meta: meta.into() }
    }
}

/// The three changes, for entries of any origin. What is hidden changes without an event.
impl State {
    pub(crate) fn join(&mut self, topic: u32, record: Arc<Record>, wakes: &mut Wakes) -> SlotId {
        self.version += 1;
        let visible = self.is_visible(record.origin);
        let first = visible && self.count(topic) == 0;
        let slot = self.store.insert(topic, Arc::clone(&record));
        if first {
            self.emit_first(topic, wakes);
        }
        if visible {
            self.emit(topic, wakes, || EventKind::Join(Entry(record)));
        }
        slot
    }

    pub(crate) fn revise(&mut self, slot: SlotId, record: Arc<Record>, wakes: &mut Wakes) {
        self.version += 1;
        let topic = self.store.slot(slot).topic;
        let visible = self.is_visible(record.origin);
        let old = self.store.replace(slot, Arc::clone(&record));
        if visible {
            self.emit(topic, wakes, || EventKind::Update { old: Entry(old), new: Entry(record) });
        }
    }

    pub(crate) fn leave(&mut self, slot: SlotId, wakes: &mut Wakes) -> Arc<Record> {
        self.version += 1;
        let removed = self.store.remove(slot);
        let topic = removed.topic;
        if self.is_visible(removed.record.origin) {
            let record = Arc::clone(&removed.record);
            self.emit(topic, wakes, || EventKind::Leave(Entry(record)));
            if self.count(topic) == 0 {
                self.emit_empty(topic, wakes);
            }
        }
        self.store.release_topic(topic);
        removed.record
    }
}

/// This node's own operations.
impl State {
    /// The slot of this session's entry.
    pub(crate) fn find_own(&self, session: u64, topic: &[u8], key: &[u8]) -> Option<SlotId> {
        let topic = self.find_topic(topic)?;
        self.store.find_ids(topic, key).find(|&id| {
            let record = &self.store.slot(id).record;
            record.origin == LOCAL && record.session == session
        })
    }

    /// Adds an entry. `full`: why the session may not have another, said only if it does not have this one already.
    pub(crate) fn track(
        &mut self,
        session: u64,
        topic: &[u8],
        draft: Draft,
        full: Option<Error>,
        entries_max: usize,
        wakes: &mut Wakes,
    ) -> Result<(SlotId, EntryRef), Error> {
        if self.closed {
            return Err(Error::Shutdown);
        }
        if let Some(slot) = self.find_own(session, topic, &draft.key) {
            let existing = Entry(Arc::clone(&self.store.slot(slot).record)).entry_ref();
            return Err(Error::AlreadyTracked { existing });
        }
        if let Some(full) = full {
            return Err(full);
        }
        if self.store.len() >= entries_max {
            return Err(Error::Full { field: "shard_entries_max", max: entries_max });
        }
        let topic = self.store.intern_topic(topic);
        let clock = self.lane.tick(|_| Logged::Add);
        let record = Arc::new(Record {
            topic: self.store.topic(topic).name.clone(),
            key: draft.key,
            meta: draft.meta,
            node: self.identity.node,
            incarnation: self.identity.incarnation,
            origin: LOCAL,
            lane: self.index,
            clock,
            birth: clock,
            prev: 0,
            session,
        });
        self.lane.digest = self.lane.digest.wrapping_add(record.digest());
        let dot = Entry(Arc::clone(&record)).entry_ref();
        let slot = self.join(topic, record, wakes);
        self.lane.by_dot.insert(clock, slot);
        self.counters.tracked += 1;
        Ok((slot, dot))
    }

    /// Gives an own entry a new version. `expected`: only if its version is still this clock; otherwise `Ok(None)`.
    pub(crate) fn update(
        &mut self,
        session: u64,
        topic: &[u8],
        draft: Draft,
        expected: Option<u64>,
        wakes: &mut Wakes,
    ) -> Result<Option<EntryRef>, Error> {
        if self.closed {
            return Err(Error::Shutdown);
        }
        let slot = self.find_own(session, topic, &draft.key).ok_or(Error::NotTracked)?;
        let old = Arc::clone(&self.store.slot(slot).record);
        if expected.is_some_and(|expected| expected != old.clock) {
            return Ok(None);
        }
        let clock = self.lane.tick(|_| Logged::Update { birth: old.birth });
        let record = Arc::new(Record {
            topic: old.topic.clone(),
            key: draft.key,
            meta: draft.meta,
            clock,
            prev: old.clock,
            ..old.head()
        });
        self.lane.digest = self.lane.digest.wrapping_sub(old.digest()).wrapping_add(record.digest());
        self.lane.by_dot.remove(&old.clock);
        self.lane.by_dot.insert(clock, slot);
        let dot = Entry(Arc::clone(&record)).entry_ref();
        self.revise(slot, record, wakes);
        self.counters.updated += 1;
        Ok(Some(dot))
    }

    /// Takes an own entry out.
    pub(crate) fn untrack(&mut self, slot: SlotId, wakes: &mut Wakes) {
        let record = self.leave(slot, wakes);
        self.lane.tick(|_| Logged::Remove { birth: record.birth });
        self.lane.digest = self.lane.digest.wrapping_sub(record.digest());
        self.lane.by_dot.remove(&record.clock);
        self.counters.untracked += 1;
    }
}
