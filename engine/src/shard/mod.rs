//! One shard: its topics and entries, the lane that orders this node's operations on them, and who listens.

mod commons;
mod emit;
mod layout;
mod read;
mod records;
mod store;
mod tell;
mod topic;
mod write;

pub(crate) use commons::{Commons, NameHash};
pub(crate) use emit::Wakes;
pub(crate) use layout::{EntrySlot, NUMBER_MAX, Owner};
pub(crate) use read::Reader;
pub(crate) use store::{Fresh, SlotId, Store};
pub(crate) use write::Joining;

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
    pub(crate) counters: Counters,
}

/// Totals since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) tracked: u64,
    pub(crate) updated: u64,
    pub(crate) untracked: u64,
    pub(crate) remote_operations: u64,
    pub(crate) events: u64,
}

/// Entries freed at once of those that were kept for a reader outside the lock.
const KEPT_PER_LOCK: usize = 64;

impl Shard {
    pub(crate) fn new(commons: Arc<Commons>, index: u16, identity: Identity, log_max: usize) -> Self {
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
                counters: Counters::default(),
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
        choose: impl FnOnce(&State) -> C,
        read: impl FnOnce(&Commons, C) -> R,
    ) -> R {
        struct Pin<'a>(&'a Shard);
        impl Drop for Pin<'_> {
            fn drop(&mut self) {
                self.0.lock().store.unpin();
                while self.0.lock().store.free_kept(KEPT_PER_LOCK) {}
            }
        }
        let (chosen, commons) = {
            let mut state = self.lock();
            let chosen = choose(&state);
            state.store.pin();
            (chosen, Arc::clone(&state.store.commons))
        };
        let _pin = Pin(self);
        read(&commons, chosen)
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
        Reader::entry(&self.store.commons, slot).expect("the lock is held, and only live slots are asked for")
    }

    /// Slots of the entries of a topic that subscribers were told of, in the order in which they came.
    pub(crate) fn told_slots(&self, record: u32) -> Vec<SlotId> {
        let topic = self.store.topics.get(record);
        let slots = topic.list.after(self.store.words(), 0).map(|(slot, _)| slot);
        slots.filter(|&slot| self.silent.is_empty() || self.is_told(&self.store.slot(slot))).collect()
    }

    /// Entries of a topic that readers see.
    pub(crate) fn visible_count(&self, record: u32) -> usize {
        let topic = self.store.topics.get(record);
        topic.len() - topic.others.hidden(self.store.words(), self.store.commons.origins)
    }

    /// Told entries of a topic, in the order in which they came.
    pub(crate) fn extend_with(&self, record: u32, entries: &mut Vec<Entry>) {
        entries.extend(self.told_slots(record).into_iter().map(|slot| self.entry(slot)));
    }

    /// Adds every told entry, topic by topic.
    pub(crate) fn extend_with_everything(&self, entries: &mut Vec<Entry>) {
        for (record, _) in self.store.topics.iter_from(0) {
            self.extend_with(record, entries);
        }
    }

    /// The record of the topic of that name, if it has entries or listeners.
    pub(crate) fn find_topic(&self, name: &[u8], hash: NameHash) -> Option<u32> {
        self.store.find_topic(name, hash)
    }
}
