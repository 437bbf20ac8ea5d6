//! The slots of a session's entries.

use crate::shard::SlotId;

/// Slot numbers, the live ones among some that are not any more. An update or a removal leaves the old number where it is: that
/// costs nothing, and looking for it would cost a cache miss or two. Whoever uses the numbers asks the slot whether it still is this
/// session's; numbers that are not are thrown out when they are half of all.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    slots: Vec<SlotId>,
    live: usize,
}

impl Owned {
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Adds a new entry's slot. `is_own` says whether a slot is this session's.
    pub(crate) fn insert(&mut self, slot: SlotId, is_own: impl Fn(SlotId) -> bool) {
        self.live += 1;
        self.push(slot, is_own);
    }

    /// An entry has moved to another slot.
    pub(crate) fn moved(&mut self, new: SlotId, is_own: impl Fn(SlotId) -> bool) {
        self.push(new, is_own);
    }

    /// Entries are gone.
    pub(crate) fn removed(&mut self, entries: usize, is_own: impl Fn(SlotId) -> bool) {
        self.live -= entries;
        if self.live == 0 {
            self.slots = Vec::new();
        } else if self.slots.len() > 4 * self.live.max(16) {
            self.throw_out(is_own);
            self.slots.shrink_to(2 * self.live);
        }
    }

    fn push(&mut self, slot: SlotId, is_own: impl Fn(SlotId) -> bool) {
        if self.slots.len() == self.slots.capacity() && self.slots.len() >= 2 * self.live {
            self.throw_out(is_own);
        }
        self.slots.push(slot);
    }

    fn throw_out(&mut self, is_own: impl Fn(SlotId) -> bool) {
        self.slots.retain(|&slot| is_own(slot));
        // A slot that was freed and came back is there twice.
        self.slots.sort_unstable();
        self.slots.dedup();
    }

    /// The numbers, ascending, some of which may be others' or nobody's by now.
    pub(crate) fn candidates(&self) -> Vec<SlotId> {
        let mut slots = self.slots.clone();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// As [`candidates`](Self::candidates), which leaves none.
    pub(crate) fn take(&mut self) -> Vec<SlotId> {
        self.live = 0;
        let mut slots = std::mem::take(&mut self.slots);
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}
