//! The slots of a session's entries.

use crate::shard::SlotId;
use hashbrown::HashTable;

/// So many entries are kept in a vector; more than that in tables.
const FEW_MAX: usize = 1024;
/// So many entries that a vector with room for four times as many is let be.
const FEW_KEPT: usize = 32;
/// Tables of a session with many entries: so small each that none takes long to grow, with a million entries in all.
const TABLES: usize = 256;

/// The slot numbers of a session's entries. A session of few entries keeps them in a vector, with some that are not its own any more:
/// an update or a removal leaves the old number where it is, which costs nothing, while looking for it would cost a cache miss or
/// two. Whoever uses the numbers asks the slot whether it still is this session's; numbers that are not are thrown out when they are
/// half of all. Tables have each number that is the session's at least once; one that is there twice, or is not the session's, is of an entry
/// that was evicted.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    few: Vec<SlotId>,
    many: Option<Box<[HashTable<SlotId>]>>,
    live: usize,
    /// Numbers in the tables that may be of entries that were evicted.
    stale: usize,
    /// What [`Evictions::take`](crate::evictions::Evictions::take) keeps here.
    pub(crate) looked: u64,
}

/// They are the engine's own numbers, so a multiplication is hash enough (Fibonacci hashing: Knuth, "The Art of Computer Programming",
/// volume 3, section 6.4).
fn hash(slot: SlotId) -> u64 {
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The table of a slot number. The bits are others than those that a table of this size uses.
fn table(tables: &mut [HashTable<SlotId>], slot: SlotId) -> &mut HashTable<SlotId> {
    &mut tables[(hash(slot) >> 40) as usize % TABLES]
}

fn add(tables: &mut [HashTable<SlotId>], slot: SlotId) {
    table(tables, slot).insert_unique(hash(slot), slot, |&slot| hash(slot));
}

fn take_out(tables: &mut [HashTable<SlotId>], slot: SlotId) {
    if let Ok(found) = table(tables, slot).find_entry(hash(slot), |&held| held == slot) {
        found.remove();
    }
}

impl Owned {
    pub(crate) fn new(looked: u64) -> Self {
        Self { looked, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Adds a new entry's slot. `is_own` says whether a slot is this session's.
    pub(crate) fn insert(&mut self, slot: SlotId, is_own: impl Fn(SlotId) -> bool) {
        self.live += 1;
        match &mut self.many {
            Some(tables) => add(tables, slot),
            None if self.live <= FEW_MAX => self.push(slot, is_own),
            None => {
                self.throw_out(is_own);
                // The new one's slot may be among them: a slot that was freed and came back.
                self.few.retain(|&other| other != slot);
                let few = std::mem::take(&mut self.few);
                self.fill(few.into_iter().chain([slot]));
            }
        }
    }

    /// An entry has moved to another slot.
    pub(crate) fn moved(&mut self, old: SlotId, new: SlotId, is_own: impl Fn(SlotId) -> bool) {
        match &mut self.many {
            None => self.push(new, is_own),
            Some(tables) => {
                take_out(tables, old);
                add(tables, new);
            }
        }
    }

    /// Entries are gone.
    pub(crate) fn removed(&mut self, slots: &[SlotId], is_own: impl Fn(SlotId) -> bool) {
        self.live -= slots.len();
        if self.live == 0 {
            *self = Self::new(self.looked);
        } else if let Some(tables) = &mut self.many {
            slots.iter().for_each(|&slot| take_out(tables, slot));
        } else if self.few.len() > 4 * self.live.max(FEW_KEPT) {
            self.throw_out(is_own);
            self.few.shrink_to(2 * self.live);
        }
    }

    /// Entries are gone that the session does not know the slots of.
    pub(crate) fn evicted(&mut self, entries: usize, is_own: impl Fn(SlotId) -> bool) {
        self.live = self.live.saturating_sub(entries);
        if self.live == 0 {
            *self = Self::new(self.looked);
        } else if self.many.is_some() {
            self.stale += entries;
            if self.stale > self.live.max(FEW_MAX) {
                let mut slots = self.candidates();
                slots.retain(|&slot| is_own(slot));
                self.fill(slots);
            }
        } else if self.few.len() > 4 * self.live.max(FEW_KEPT) {
            self.throw_out(is_own);
            self.few.shrink_to(2 * self.live);
        }
    }

    /// Entries that were evicted had not been [inserted](Self::insert), and will not be.
    pub(crate) fn never_inserted(&mut self, entries: usize) {
        self.live += entries;
    }

    /// Makes tables of numbers, each given once.
    fn fill(&mut self, slots: impl IntoIterator<Item = SlotId>) {
        let mut tables: Box<[_]> = std::iter::repeat_with(HashTable::new).take(TABLES).collect();
        slots.into_iter().for_each(|slot| add(&mut tables, slot));
        self.many = Some(tables);
        self.stale = 0;
    }

    fn push(&mut self, slot: SlotId, is_own: impl Fn(SlotId) -> bool) {
        if self.few.len() == self.few.capacity() && self.few.len() >= 2 * self.live {
            self.throw_out(is_own);
        }
        if self.few.len() == self.few.capacity() {
            // A quarter more, not twice as many: there are sessions by the hundred thousand, and what is free in each adds up.
            self.few.reserve_exact((self.few.len() / 4).max(4));
        }
        self.few.push(slot);
    }

    fn throw_out(&mut self, is_own: impl Fn(SlotId) -> bool) {
        self.few.retain(|&slot| is_own(slot));
        // A slot that was freed and came back is there twice.
        self.few.sort_unstable();
        self.few.dedup();
    }

    /// The numbers, ascending, some of which may be others' or nobody's by now.
    pub(crate) fn candidates(&self) -> Vec<SlotId> {
        let many = self.many.iter().flat_map(|tables| tables.iter().flatten());
        let mut slots: Vec<SlotId> = self.few.iter().chain(many).copied().collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// As [`candidates`](Self::candidates), which leaves none.
    pub(crate) fn take(&mut self) -> Vec<SlotId> {
        let slots = self.candidates();
        *self = Self::new(self.looked);
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// A session's slots, of which updates take the one that was freed last, as the engine's slabs do.
    #[test]
    fn what_is_owned_is_among_the_candidates_and_they_stay_few() {
        let (live, mut free) = (RefCell::new(BTreeSet::new()), vec![1_000_000]);
        let is_own = |slot| live.borrow().contains(&slot);
        let mut owned = Owned::default();
        for step in 0..60_000_u32 {
            // Up to 3,000 entries and down again, with updates in between.
            let grow = step % 6_000 < 4_500 && step < 50_000;
            let some = live.borrow().iter().nth((step as usize * 7) % live.borrow().len().max(1)).copied();
            match (grow && step % 3 != 2, some) {
                (true, _) | (_, None) => {
                    let slot = free.pop().unwrap_or(step + 1);
                    live.borrow_mut().insert(slot);
                    owned.insert(slot, is_own);
                }
                (false, Some(old)) if step % 3 == 2 => {
                    let new = free.pop().unwrap_or(step + 1);
                    live.borrow_mut().insert(new);
                    live.borrow_mut().remove(&old);
                    free.push(old);
                    owned.moved(old, new, is_own);
                }
                (false, Some(slot)) => {
                    live.borrow_mut().remove(&slot);
                    free.push(slot);
                    owned.removed(&[slot], is_own);
                }
            }
            assert_eq!(owned.len(), live.borrow().len());
            if step % 997 == 0 {
                let candidates = owned.candidates();
                assert!(
                    live.borrow().iter().all(|slot| candidates.binary_search(slot).is_ok()),
                    "step {step}"
                );
                assert!(candidates.len() <= 4 * live.borrow().len().max(16) + 1);
                assert!(owned.few.len() <= 4 * live.borrow().len().max(16) + 1, "step {step}");
            }
        }
    }

    /// Entries that are evicted leave their numbers behind, which other entries of the session may get again.
    #[test]
    fn what_evicted_entries_leave_behind_does_not_add_up() {
        let (live, mut free) = (RefCell::new(BTreeSet::new()), Vec::new());
        let is_own = |slot| live.borrow().contains(&slot);
        let mut owned = Owned::default();
        let mut fresh = 0;
        for step in 0..40_000_usize {
            let slot = free.pop().unwrap_or_else(|| {
                fresh += 1;
                fresh
            });
            live.borrow_mut().insert(slot);
            owned.insert(slot, is_own);
            // From 2,000 entries on one is evicted for each that comes, and only now and then one untracked.
            if live.borrow().len() > 2_000 {
                let some = live.borrow().iter().nth(step * 7 % 2_000).copied().unwrap_or(1);
                live.borrow_mut().remove(&some);
                if step % 16 == 0 {
                    owned.removed(&[some], is_own);
                } else {
                    owned.evicted(1, is_own);
                }
                // The next to come gets another one's slot, or this one's.
                free.insert(if step % 3 == 0 { 0 } else { free.len() }, some);
                free.truncate(50);
            }
            assert_eq!(owned.len(), live.borrow().len());
            let kept: usize = owned.many.iter().flatten().map(HashTable::len).sum();
            assert!(kept <= 2 * 2_001 + FEW_MAX, "step {step}: {kept}");
        }
        let candidates = owned.candidates();
        assert!(live.borrow().iter().all(|slot| candidates.binary_search(slot).is_ok()));
        let all = owned.len();
        owned.evicted(all, |_| false);
        assert_eq!((owned.len(), owned.candidates()), (0, Vec::new()));
    }
}
