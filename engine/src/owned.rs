//! The slots of a session's entries.

use crate::shard::SlotId;
use hashbrown::HashTable;

/// A set of slot numbers. They are the engine's own, so a multiplication is hash enough and the set keeps no state for it: a
/// session costs 5 bytes for each place in its table.
#[derive(Debug, Default)]
pub(crate) struct Owned(HashTable<SlotId>);

fn hash(slot: SlotId) -> u64 {
    // Fibonacci hashing: Knuth, "The Art of Computer Programming", volume 3, section 6.4.
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Owned {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a slot that is not in it.
    pub(crate) fn insert(&mut self, slot: SlotId) {
        self.0.insert_unique(hash(slot), slot, |&slot| hash(slot));
    }

    pub(crate) fn remove(&mut self, slot: SlotId) {
        if let Ok(found) = self.0.find_entry(hash(slot), |&held| held == slot) {
            found.remove();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.0.iter().copied()
    }

    /// All of them, which leaves none.
    pub(crate) fn take(&mut self) -> Vec<SlotId> {
        std::mem::take(&mut self.0).into_iter().collect()
    }
}
