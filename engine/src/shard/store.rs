//! Storage of one shard: entries in slots that other structures name by number, found by topic and key.
//!
//! Plain maps behind the shard's lock. The face (slots by number, topics by number, nothing that borrows an entry
//! beyond the call) is the one that lock-free storage needs too, so that it can take this module's place.

use super::counts::OriginCounts;
use super::topic::TopicRecord;
use crate::Topic;
use crate::entry::{OriginIx, Record};
use crate::sync::Arc;
use ahash::RandomState;
use hashbrown::HashTable;

/// The number of a slot. Reused after its entry is gone.
pub(crate) type SlotId = u32;

/// An entry and where it stands in its topic.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) record: Arc<Record>,
    pub(crate) topic: u32,
    pub(crate) position: u64,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}/{} at {}.{}.{}",
            self.topic,
            String::from_utf8_lossy(&self.key),
            self.origin,
            self.lane,
            self.clock
        )
    }
}

/// A vector with holes that are used again.
#[derive(Debug)]
struct Slab<T> {
    cells: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { cells: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.cells[id as usize] = Some(value);
            return id;
        }
        let id = u32::try_from(self.cells.len()).expect("the configuration keeps shards below 2^31 entries");
        self.cells.push(Some(value));
        id
    }

    fn remove(&mut self, id: u32) -> T {
        let value = self.cells[id as usize].take().expect("only live numbers are removed");
        self.free.push(id);
        if self.free.len() == self.cells.len() {
            // Everything left: give the memory back.
            *self = Self::default();
        }
        value
    }

    fn get(&self, id: u32) -> &T {
        self.cells[id as usize].as_ref().expect("only live numbers are used")
    }

    fn get_mut(&mut self, id: u32) -> &mut T {
        self.cells[id as usize].as_mut().expect("only live numbers are used")
    }

    fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.cells).filter_map(|(id, cell)| cell.as_ref().map(|value| (id, value)))
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Slab<Slot>,
    by_key: HashTable<u32>,
    topics: Slab<TopicRecord>,
    by_name: HashTable<u32>,
    by_origin: OriginCounts,
    hasher: RandomState,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Entries of an origin, hidden or not.
    pub(crate) fn count_of(&self, origin: OriginIx) -> usize {
        self.by_origin.of(origin)
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot {
        self.slots.get(id)
    }

    pub(crate) fn topic(&self, id: u32) -> &TopicRecord {
        self.topics.get(id)
    }

    pub(crate) fn topic_mut(&mut self, id: u32) -> &mut TopicRecord {
        self.topics.get_mut(id)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (u32, &TopicRecord)> {
        self.topics.iter()
    }

    pub(crate) fn find_topic(&self, name: &[u8]) -> Option<u32> {
        self.by_name.find(self.hasher.hash_one(name), |&id| *self.topics.get(id).name == *name).copied()
    }

    /// The topic of that name, made if it is not there. Whoever interns it gives it a member or a listener, or calls
    /// [`release_topic`](Self::release_topic).
    pub(crate) fn intern_topic(&mut self, name: &[u8]) -> u32 {
        if let Some(id) = self.find_topic(name) {
            return id;
        }
        let id = self.topics.insert(TopicRecord::new(Topic::from(name)));
        let Self { by_name, topics, hasher, .. } = self;
        by_name.insert_unique(hasher.hash_one(name), id, |&id| hasher.hash_one(&*topics.get(id).name));
        id
    }

    /// Forgets the topic if nothing uses it.
    pub(crate) fn release_topic(&mut self, id: u32) {
        if !self.topics.get(id).is_unused() {
            return;
        }
        let name = self.topics.remove(id).name;
        if let Ok(found) = self.by_name.find_entry(self.hasher.hash_one(&*name), |&other| other == id) {
            found.remove();
        }
        if self.by_name.is_empty() {
            self.by_name = HashTable::new();
        }
    }

    /// All entries of a topic with this key, hidden ones too, in no order.
    pub(crate) fn find(&self, topic: u32, key: &[u8]) -> impl Iterator<Item = &Slot> {
        self.find_ids(topic, key).map(|id| self.slots.get(id))
    }

    /// The numbers of [`find`](Self::find).
    pub(crate) fn find_ids(&self, topic: u32, key: &[u8]) -> impl Iterator<Item = SlotId> {
        self.by_key.iter_hash(self.hash_of(topic, key)).copied().filter(move |&id| {
            let slot = self.slots.get(id);
            slot.topic == topic && *slot.record.key == *key
        })
    }

    pub(crate) fn members_after(&self, topic: u32, position: u64) -> impl Iterator<Item = SlotId> + '_ {
        self.topics.get(topic).after(position)
    }

    pub(crate) fn insert(&mut self, topic: u32, record: Arc<Record>) -> SlotId {
        let hash = self.hash_of(topic, &record.key);
        let origin = record.origin;
        self.by_origin.add(origin);
        let id = self.slots.insert(Slot { record, topic, position: 0 });
        self.slots.get_mut(id).position = self.topics.get_mut(topic).join(id, origin);
        let Self { by_key, slots, hasher, .. } = self;
        by_key.insert_unique(hash, id, |&id| {
            let slot = slots.get(id);
            hasher.hash_one((slot.topic, &*slot.record.key))
        });
        id
    }

    /// Puts another version of the same entry into its slot; returns the old one.
    pub(crate) fn replace(&mut self, id: SlotId, record: Arc<Record>) -> Arc<Record> {
        std::mem::replace(&mut self.slots.get_mut(id).record, record)
    }

    /// Takes an entry out. Its topic stays until [`release_topic`](Self::release_topic).
    pub(crate) fn remove(&mut self, id: SlotId) -> Slot {
        let slot = self.slots.remove(id);
        let hash = self.hash_of(slot.topic, &slot.record.key);
        if let Ok(found) = self.by_key.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        if self.by_key.is_empty() {
            self.by_key = HashTable::new();
        }
        self.by_origin.remove(slot.record.origin);
        self.topics.get_mut(slot.topic).leave(slot.position, slot.record.origin);
        slot
    }

    fn hash_of(&self, topic: u32, key: &[u8]) -> u64 {
        self.hasher.hash_one((topic, key))
    }
}
