//! Groups: the slots of one key in one topic, where several sessions or nodes have it.
//!
//! The index has one cell for a key. It names the key's slot, or, if there are several, a group of their numbers. Numbers are
//! appended in place (a number that is not there yet reads as 0), swung in place and cleared in place; a group that is full or
//! mostly holes is copied into another, to which the index is swung before the old one's stamp is cleared. So a reader that
//! found the group whole found every slot that had the key throughout.

use super::table::{Allocate, NoRoom, Verdict, lives};
use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// In a number of the index: it names a group.
pub(crate) const GROUP: u32 = 1 << 31;

/// Words before the numbers: stamp; length and hash; capacity.
const HEAD: usize = 3;
/// Words of the smallest group.
const WORDS_MIN: usize = if cfg!(loom) { 4 } else { 8 };
const GRANULE_WORDS: usize = 4;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// A number that is another's or not live is passed over without a second look.
    pub(crate) const MEMBER_UNCHECKED: u8 = 43;
    /// A number that is as it was is taken for one that did not change in between.
    pub(crate) const LIFE_UNCHECKED: u8 = 45;
    /// A number is taken out by moving the last one into its place.
    pub(crate) const SWAP_REMOVE: u8 = 44;
}

/// See the module's documentation. As readers know it: its place.
#[derive(Clone, Copy)]
pub(crate) struct Group<const FAULT: u8> {
    at: usize,
}

fn words_for(capacity: usize) -> usize {
    (HEAD + capacity.div_ceil(2)).next_power_of_two().max(WORDS_MIN)
}

fn capacity_of(words: usize) -> usize {
    (words - HEAD) * 2
}

impl<const FAULT: u8> Group<FAULT> {
    /// The group that a number of the index names.
    pub(crate) fn named(id: u32) -> Self {
        Self { at: (id & !GROUP) as usize * GRANULE_WORDS }
    }

    /// The number that names it in the index.
    pub(crate) fn id(self) -> u32 {
        (self.at / GRANULE_WORDS) as u32 | GROUP
    }

    /// Shows every number to `judge`, and what it called a hit to `take`. `is_named` says whether the index still names this group. Returns
    /// the group's stamp: if it still has that, it was whole throughout; otherwise, and without one, look into the index again.
    pub(crate) fn each<R>(
        self,
        words: &Words,
        is_named: impl Fn() -> bool,
        mut judge: impl FnMut(u32) -> Verdict<R>,
        mut take: impl FnMut(R),
    ) -> Option<u64> {
        let cell = words.cell(self.at);
        // Acquire: pairs with the Release of `make`.
        let stamp = cell.word(0).load(Ordering::Acquire);
        // Relaxed: whoever was there before this look is within any length that it can find, and what is not there yet is 0.
        let len = cell.word(1).load(Ordering::Relaxed) as u32;
        // Only what is named is a group: any other word could be taken for a stamp, and any for a length.
        if stamp & 1 == 0 || !is_named() || !self.still(words, stamp) {
            return None;
        }
        for index in 0..len as usize {
            let mut id = self.number(words, index);
            while id != 0 {
                let (hit, life) = match judge(id) {
                    Verdict::Hit(hit, life) => (Some(hit), life),
                    Verdict::Other(_) | Verdict::Gone if FAULT == fault::MEMBER_UNCHECKED => break,
                    Verdict::Other(life) => (None, life),
                    Verdict::Gone => (None, 0),
                };
                let now = self.number(words, index);
                let lives = || FAULT == fault::LIFE_UNCHECKED || lives(words, id, life);
                if now == id && life & 1 == 1 && lives() {
                    if let Some(hit) = hit {
                        take(hit);
                    }
                    break;
                }
                if !self.still(words, stamp) {
                    return None;
                }
                id = self.number(words, index);
            }
        }
        Some(stamp)
    }

    fn still(self, words: &Words, stamp: u64) -> bool {
        // Pairs with the Release fence before the place's next use.
        fence(Ordering::Acquire);
        words.cell(self.at).word(0).load(Ordering::Acquire) == stamp
    }

    fn number(self, words: &Words, index: usize) -> u32 {
        // Acquire: pairs with the Release of `set`; the slot is published.
        let pair = words.cell(self.at + HEAD + index / 2).word(0).load(Ordering::Acquire);
        (pair >> (32 * (index & 1))) as u32
    }

    fn set(self, words: &Words, index: usize, id: u32) {
        let word = words.cell(self.at + HEAD + index / 2).word(0);
        let shift = 32 * (index & 1);
        let pair = word.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
        word.store(pair | u64::from(id) << shift, Ordering::Release);
    }

    /// Numbers, holes included.
    pub(crate) fn len(self, words: &Words) -> usize {
        words.cell(self.at).word(1).load(Ordering::Relaxed) as u32 as usize
    }

    fn words(self, words: &Words) -> usize {
        words.cell(self.at).word(2).load(Ordering::Relaxed) as usize
    }

    /// The numbers, for the writer.
    pub(crate) fn numbers(self, words: &Words) -> impl Iterator<Item = u32> + '_ {
        (0..self.len(words)).map(move |index| self.number(words, index)).filter(|&id| id != 0)
    }

    /// A group of these numbers, with room for one more.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn make(
        words: &Words,
        memory: &mut impl Allocate,
        hash: u32,
        numbers: &[u32],
        stamp: u64,
    ) -> Result<Self, NoRoom> {
        let size = words_for(numbers.len() + 1);
        let group = Self { at: memory.take(size).ok_or(NoRoom)? };
        let cell = words.cell(group.at);
        for index in HEAD..size {
            words.cell(group.at + index).word(0).store(0, Ordering::Relaxed);
        }
        for (index, &id) in numbers.iter().enumerate() {
            group.set(words, index, id);
        }
        cell.word(1).store(numbers.len() as u64 | u64::from(hash) << 32, Ordering::Relaxed);
        cell.word(2).store(size as u64, Ordering::Relaxed);
        // Release: pairs with the Acquire of `each`.
        cell.word(0).store(stamp, Ordering::Release);
        Ok(group)
    }

    /// Appends a number; false if the group is full.
    #[must_use]
    pub(crate) fn push(self, words: &Words, id: u32) -> bool {
        let len = self.len(words);
        if len == capacity_of(self.words(words)) {
            return false;
        }
        let count = words.cell(self.at).word(1);
        let longer = count.load(Ordering::Relaxed) + 1;
        self.set(words, len, id);
        count.store(longer, Ordering::Relaxed);
        true
    }

    /// Puts another number in the place of one that is there.
    pub(crate) fn swing(self, words: &Words, old: u32, new: u32) {
        if let Some(index) = (0..self.len(words)).find(|&index| self.number(words, index) == old) {
            self.set(words, index, new);
        }
    }

    /// Takes a number out.
    pub(crate) fn remove(self, words: &Words, id: u32) {
        if FAULT == fault::SWAP_REMOVE {
            let last = self.len(words) - 1;
            self.swing(words, id, self.number(words, last));
            self.set(words, last, 0);
            return;
        }
        self.swing(words, id, 0);
    }

    /// Gives the group up: nothing refers to it any more.
    pub(crate) fn free(self, words: &Words, memory: &mut impl Allocate) {
        let size = self.words(words);
        // Release: who finds the 0 finds the index changed.
        words.cell(self.at).word(0).store(0, Ordering::Release);
        memory.give(self.at, size);
    }

    /// Whether most of the places are holes.
    pub(crate) fn is_sparse(self, words: &Words) -> bool {
        let len = self.len(words);
        len > 8 && self.numbers(words).count() * 4 < len
    }
}
