//! One shard: its topics and entries, the lane that orders this node's operations on them, and who listens.

mod counts;
mod emit;
mod store;
mod topic;
mod write;

pub(crate) use emit::Wakes;
pub(crate) use store::{SlotId, Store};
pub(crate) use write::Draft;

use crate::Entry;
use crate::entry::{LOCAL, OriginIx};
use crate::inbox::Inbox;
use crate::lane::OwnLane;
use crate::replica::Identity;
use crate::sync::{Arc, AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crossbeam_utils::CachePadded;

/// A shard: a state behind a lock, and its clock beside it for whoever only asks whether something has moved.
#[derive(Debug)]
pub(crate) struct Shard {
    state: RwLock<State>,
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
    /// Origins whose entries are not to be seen, because they are down or about to be purged.
    pub(crate) hidden: Vec<OriginIx>,
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

impl Shard {
    pub(crate) fn new(index: u16, identity: Identity, log_max: usize) -> Self {
        Self {
            state: RwLock::new(State {
                index,
                identity,
                version: 0,
                closed: false,
                store: Store::default(),
                lane: OwnLane::new(log_max),
                hidden: Vec::new(),
                everywhere: Vec::new(),
                counters: Counters::default(),
            }),
            clock: CachePadded::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
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
}

impl State {
    pub(crate) fn is_visible(&self, origin: OriginIx) -> bool {
        origin == LOCAL || self.hidden.is_empty() || !self.hidden.contains(&origin)
    }

    /// Visible entries of a topic.
    pub(crate) fn count(&self, topic: u32) -> usize {
        let topic = self.store.topic(topic);
        topic.len() - self.hidden.iter().map(|&origin| topic.count_of(origin)).sum::<usize>()
    }

    /// Adds every visible entry, topic by topic.
    pub(crate) fn extend_with_everything(&self, entries: &mut Vec<Entry>) {
        for (topic, _) in self.store.topics() {
            entries.extend(self.visible_after(topic, 0).map(|(_, entry)| entry));
        }
    }

    /// The topic of that name, if it has entries or listeners.
    pub(crate) fn find_topic(&self, name: &[u8]) -> Option<u32> {
        self.store.find_topic(name)
    }

    /// Visible entries of `topic` with this key, oldest here first.
    pub(crate) fn find_visible(&self, topic: u32, key: &[u8]) -> Vec<Entry> {
        let mut found: Vec<(u64, Entry)> = self
            .store
            .find(topic, key)
            .filter(|slot| self.is_visible(slot.record.origin))
            .map(|slot| (slot.position, Entry(Arc::clone(&slot.record))))
            .collect();
        found.sort_unstable_by_key(|&(position, _)| position);
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Visible entries of a topic in the order in which they came, from the one after position `after`, with their
    /// positions.
    pub(crate) fn visible_after(&self, topic: u32, after: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.store
            .members_after(topic, after)
            .map(|slot| self.store.slot(slot))
            .filter(|slot| self.is_visible(slot.record.origin))
            .map(|slot| (slot.position, Entry(Arc::clone(&slot.record))))
    }
}
