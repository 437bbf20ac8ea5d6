//! One shard: its topics and entries, the lane that orders this node's operations on them, and who listens.

mod bytes;
mod commons;
mod emit;
mod layout;
mod meter;
mod pins;
mod read;
mod records;
mod store;
mod tell;
mod topic;
mod write;

pub(crate) use commons::{Commons, NameHash, stable_hash};
pub(crate) use emit::Wakes;
pub(crate) use layout::{EntrySlot, NUMBER_MAX, Owner};
pub(crate) use meter::{Meter, Meters};
pub(crate) use read::{Entries, Reader};
pub(crate) use store::{Fresh, SlotId, Store};
pub(crate) use write::{Joining, Updated};

use crate::Entry;
use crate::inbox::Inbox;
use crate::lane::OwnLane;
use crate::replica::Identity;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crossbeam_utils::CachePadded;
use tell::Silent;

/// A shard: a state behind its writers' lock, and its clock beside it for whoever only asks whether something has moved.
/// Readers look at neither; see [`Reader`].
#[derive(Debug)]
pub(crate) struct Shard {
    state: CachePadded<Mutex<State>>,
    clock: CachePadded<AtomicU64>,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: u16,
    /// What this node's new refs carry.
    pub(crate) identity: Identity,
    /// Counts the changes of the view; every event carries it.
    pub(crate) version: u64,
    pub(crate) closed: bool,
    pub(crate) store: Store,
    pub(crate) lane: OwnLane,
    /// Origins of whose entries subscribers are told that they left, or have not been told yet that they are back.
    silent: Vec<Silent>,
    /// Subscriptions to every topic.
    pub(crate) everywhere: Vec<Arc<Inbox>>,
    pub(crate) meter: Meter,
}

/// Entries freed at once of those that were kept for a reader outside the lock.
const KEPT_PER_LOCK: usize = 64;

impl Shard {
    pub(crate) fn new(
        commons: Arc<Commons>,
        index: u16,
        identity: Identity,
        log_max: usize,
        meter: Meter,
    ) -> Self {
        Self {
            state: CachePadded::new(Mutex::new(State {
                index,
                identity,
                version: 0,
                closed: false,
                store: Store::new(commons, index),
                lane: OwnLane::new(log_max),
                silent: Vec::new(),
                everywhere: Vec::new(),
                meter,
            })),
            clock: CachePadded::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The clock of the lane, without the lock.
    pub(crate) fn clock(&self) -> u64 {
        // Acquire: pairs with the Release of `publish`; who reads this clock and then takes the lock finds at least as
        // much. (The lock alone would give that too; the pair keeps it true for a watcher that takes none.)
        self.clock.load(Ordering::Acquire)
    }

    /// Makes the lane's clock visible to [`clock`](Self::clock). Called with the lock held, so it never goes back.
    pub(crate) fn publish(&self, state: &State) {
        // Release: pairs with the Acquire of `clock`. The change flag's fence orders this before the look at the flag.
        self.clock.store(state.lane.clock, Ordering::Release);
    }

    /// Runs `choose` under the lock, and `read` on what it chose outside of it: the slots chosen stay what they are meanwhile,
    /// also if their entries are replaced or removed. So what is large is one instant, and no writer waits for it.
    pub(crate) fn pinned<C, R>(
        &self,
        choose: impl FnOnce(&mut State) -> C,
        read: impl FnOnce(&Commons, C) -> R,
    ) -> R {
        struct Pin<'a>(&'a Shard, u64);
        impl Drop for Pin<'_> {
            fn drop(&mut self) {
                self.0.unpin(self.1);
            }
        }
        let (chosen, commons, pin) = self.pin(choose);
        let _pin = Pin(self, pin);
        read(&commons, chosen)
    }

    /// Runs `choose` under the lock; the slots chosen stay what they are until [`unpin`](Self::unpin) of the number returned.
    pub(crate) fn pin<C>(&self, choose: impl FnOnce(&mut State) -> C) -> (C, Arc<Commons>, u64) {
        let mut state = self.lock();
        let chosen = choose(&mut state);
        let pin = state.store.pin();
        (chosen, Arc::clone(&state.store.commons), pin)
    }

    /// Ends a [`pin`](Self::pin).
    pub(crate) fn unpin(&self, pin: u64) {
        self.lock().store.unpin(pin);
        while self.lock().store.free_kept(KEPT_PER_LOCK) {}
    }

    /// The entries in the slots that `choose` chooses, at one instant; zeros among them are passed over.
    pub(crate) fn entries(&self, choose: impl FnOnce(&mut State) -> Vec<SlotId>) -> Vec<Entry> {
        self.pinned(choose, |commons, slots| Entries::new(commons).read_all(slots))
    }
}

impl State {
    /// Whether subscribers were told of an entry: it was shown, and nobody said that it left.
    fn is_told(&self, slot: &EntrySlot) -> bool {
        self.silent.is_empty()
            || self.is_place_told(slot.origin(), self.store.record_of(slot), slot.position())
    }

    /// The entry in a slot.
    pub(crate) fn entry(&self, slot: SlotId) -> Entry {
        Entries::new(&self.store.commons)
            .read(slot)
            .expect("the lock is held, and only live slots are asked for")
    }

    /// Adds the slots of the entries of a topic that subscribers were told of, in the order in which they came; and perhaps zeros.
    pub(crate) fn add_told_slots(&self, record: u32, slots: &mut Vec<SlotId>) {
        let start = slots.len();
        self.store.topics.get(record).list.copy_numbers(self.store.words(), slots);
        if !self.silent.is_empty() {
            let told: Vec<SlotId> = slots.drain(start..).filter(|&slot| slot != 0).collect();
            slots.extend(told.into_iter().filter(|&slot| self.is_told(&self.store.slot(slot))));
        }
    }

    /// As [`add_told_slots`](Self::add_told_slots), of every topic.
    pub(crate) fn add_all_told_slots(&self, slots: &mut Vec<SlotId>) {
        for (record, _) in self.store.topics.iter_from(0) {
            self.add_told_slots(record, slots);
        }
    }

    /// Connects a queue to a topic, if it is not, and adds the topic's told slots. Without memory for the topic's record the reader is told
    /// that it misses something, and can try again.
    pub(crate) fn connect(
        &mut self,
        topic: &[u8],
        name: NameHash,
        inbox: &Arc<Inbox>,
        slots: Option<&mut Vec<SlotId>>,
    ) {
        if topic.len() > self.store.commons.topic_len_max {
            // No entry can ever be in it.
            return;
        }
        let Ok(record) = self.store.intern_topic(topic, name) else {
            inbox.miss();
            return;
        };
        let listeners = &mut self.store.topics.get_mut(record).listeners;
        if !listeners.iter().any(|held| Arc::ptr_eq(held, inbox)) {
            listeners.push(Arc::clone(inbox));
        }
        if let Some(slots) = slots {
            self.add_told_slots(record, slots);
        }
    }

    /// Entries of a topic that readers see.
    pub(crate) fn visible_count(&self, record: u32) -> usize {
        let topic = self.store.topics.get(record);
        topic.len() - topic.others.hidden(self.store.words(), self.store.commons.origins)
    }

    /// The record of the topic of that name, if it has entries or listeners.
    pub(crate) fn find_topic(&self, name: &[u8], hash: NameHash) -> Option<u32> {
        self.store.find_topic(name, hash)
    }
}
