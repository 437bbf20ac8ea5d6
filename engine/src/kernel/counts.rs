//! A topic's members by origin, where readers find them, so that hiding an origin keeps counts exact.
//!
//! What readers see of a topic is its members less those of hidden origins. The members of all origins together are one word; those
//! of each other origin than this node are words of their own, in a block that is replaced when it grows. Whoever changes
//! those makes the record's count of changes odd, and even again after it (a sequence lock).
//!
//! Which origins are hidden is everybody's, and has a count of changes too, in the upper half of the word that says how many are
//! hidden. With only the topic's own count looked at, a reader could take the members of one moment and the hidden origins of another, and
//! tell a number that never was.
//!
//! A reader that finds either count odd or changed says so; one that does not has seen a moment: between its looks, neither
//! the counts by origin nor what is hidden changed, and the number of members is one word.

use super::origin::OriginTable;
use super::table::{Allocate, NoRoom};
use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// The word of a topic's record with its members, of every origin.
pub(crate) const MEMBERS: usize = 3;
/// The word with the place of the counts of other origins, and how many there are.
pub(crate) const COUNTS: usize = 4;
/// The word in whose upper half is how often these were changed; odd while they are.
pub(crate) const CHANGES: usize = 5;

const GRANULE_WORDS: usize = 4;
/// One more in the upper half, which may wrap.
const ONE: u64 = 1 << 32;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// The reader does not look at the count of changes a second time.
    pub(crate) const CHANGES_UNCHECKED: u8 = 121;
    /// The writer does not fence after it has made the count of changes odd.
    pub(crate) const CHANGE_NO_FENCE: u8 = 122;
    /// The reader does not look a second time whether something was hidden or shown.
    pub(crate) const HIDES_UNCHECKED: u8 = 123;
}

/// The word that says how many origins are hidden, and counts how often that changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hides<const FAULT: u8> {
    at: usize,
}

impl<const FAULT: u8> Hides<FAULT> {
    pub(crate) fn new(at: usize) -> Self {
        Self { at }
    }

    /// Takes an origin's entries out of sight of every reader, or brings them back. Callers take turns.
    pub(crate) fn hide(self, words: &Words, origins: OriginTable<FAULT>, origin: u32, hidden: bool) {
        if origins.is_hidden(words, origin) == hidden {
            return;
        }
        let word = words.cell(self.at).word(0);
        let before = word.load(Ordering::Relaxed);
        let (changes, others) = (before & !(ONE - 1), before & (ONE - 1));
        word.store(changes.wrapping_add(ONE) | others, Ordering::Relaxed);
        // Without a fence of its own: `OriginTable::hide` is a Release, and who reads it in `visible` sees that the count was odd.
        origins.hide(words, origin, hidden);
        let others = if hidden { others + 1 } else { others - 1 };
        // Release: pairs with the first look of `visible`.
        word.store(changes.wrapping_add(2 * ONE) | others, Ordering::Release);
    }
}

/// How many members of a topic readers see, from the place of its record, if nobody changed that meanwhile. That the record still is
/// the topic's is for the caller to find out. No origin is `origins_max` or above.
#[inline(always)]
pub(crate) fn visible<const FAULT: u8>(
    words: &Words,
    record: usize,
    hides: Hides<FAULT>,
    origins: OriginTable<FAULT>,
    origins_max: u32,
) -> Option<u64> {
    let record = words.cell(record);
    // Acquire, here and below: pair with the Release at the end of `Hides::hide` and of `changing`.
    let hides_before = words.cell(hides.at).word(0).load(Ordering::Acquire);
    let changes_before = record.word(CHANGES).load(Ordering::Acquire) >> 32;
    let members = record.word(MEMBERS).load(Ordering::Acquire);
    let mut hidden = 0;
    let some_hidden = hides_before & (ONE - 1) > 0;
    if some_hidden {
        let counts = record.word(COUNTS).load(Ordering::Relaxed);
        let (place, len) = (counts as u32 as usize * GRANULE_WORDS, (counts >> 32) as usize);
        // The length is that of the table of origins at the most, also if the record has become something else.
        for index in 0..len.min(origins_max as usize) {
            let count = words.cell(place + index).word(0).load(Ordering::Relaxed);
            if origins.is_hidden(words, (count as u32).min(origins_max - 1)) {
                hidden += count >> 32;
            }
        }
    }
    // Pairs with the Release fence after the count of changes became odd.
    fence(Ordering::Acquire);
    let is_odd_or_changed = |before: u64, now: u64| before & 1 != 0 || before != now;
    let hides_now = words.cell(hides.at).word(0).load(Ordering::Relaxed);
    if FAULT != fault::HIDES_UNCHECKED && is_odd_or_changed(hides_before >> 32, hides_now >> 32) {
        return None;
    }
    // With nothing hidden, the members are one word and the counts by origin do not matter.
    if some_hidden && FAULT != fault::CHANGES_UNCHECKED {
        let changes_now = record.word(CHANGES).load(Ordering::Relaxed) >> 32;
        if is_odd_or_changed(changes_before, changes_now) {
            return None;
        }
    }
    Some(members.saturating_sub(hidden))
}

/// Stores how many members a topic has; who finds the number finds the member.
pub(crate) fn set_members(words: &Words, record: usize, members: usize) {
    // Release: pairs with the Acquire of `visible`.
    words.cell(record).word(MEMBERS).store(members as u64, Ordering::Release);
}

/// How many members of a topic each other origin has, one word for each: the origin, and in the upper half how many. Few origins: a
/// search beats a map.
#[derive(Debug, Default)]
pub(crate) struct OriginCounts<const FAULT: u8> {
    place: usize,
    len: usize,
    capacity: usize,
}

impl<const FAULT: u8> OriginCounts<FAULT> {
    fn word(&self, words: &Words, index: usize) -> u64 {
        words.cell(self.place + index).word(0).load(Ordering::Relaxed)
    }

    fn set_word(&self, words: &Words, index: usize, word: u64) {
        words.cell(self.place + index).word(0).store(word, Ordering::Relaxed);
    }

    fn index_of(&self, words: &Words, origin: u32) -> Option<usize> {
        (0..self.len).find(|&index| self.word(words, index) as u32 == origin)
    }

    /// The members of an origin.
    pub(crate) fn of(&self, words: &Words, origin: u32) -> usize {
        self.index_of(words, origin).map_or(0, |index| (self.word(words, index) >> 32) as usize)
    }

    /// The members of hidden origins.
    pub(crate) fn hidden(&self, words: &Words, origins: OriginTable<FAULT>) -> usize {
        let counts = (0..self.len).map(|index| self.word(words, index));
        let hidden = counts.filter(|&count| origins.is_hidden(words, count as u32));
        hidden.map(|count| (count >> 32) as usize).sum()
    }

    /// Makes room for one more origin.
    ///
    /// # Errors
    /// There is no memory for it. Nothing has changed.
    pub(crate) fn reserve(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        record: usize,
    ) -> Result<(), NoRoom> {
        if self.len < self.capacity {
            return Ok(());
        }
        let capacity = (2 * self.capacity).max(if cfg!(loom) { 1 } else { 8 });
        let place = memory.take(capacity).ok_or(NoRoom)?;
        let larger = Self { place, len: self.len, capacity };
        for index in 0..self.len {
            larger.set_word(words, index, self.word(words, index));
        }
        let old = std::mem::replace(self, larger);
        changing::<FAULT>(words, record, || self.publish(words, record));
        old.free(memory);
        Ok(())
    }

    /// One member more or less of an origin; `members` is how many the topic has then. [`reserve`](Self::reserve) has made room.
    pub(crate) fn change(&mut self, words: &Words, record: usize, origin: u32, more: bool, members: usize) {
        changing::<FAULT>(words, record, || {
            set_members(words, record, members);
            let index = self.index_of(words, origin).unwrap_or_else(|| {
                self.set_word(words, self.len, u64::from(origin));
                self.len += 1;
                self.len - 1
            });
            let count = self.word(words, index) >> 32;
            let count = if more { count + 1 } else { count - 1 };
            if count == 0 {
                self.len -= 1;
                self.set_word(words, index, self.word(words, self.len));
            } else {
                self.set_word(words, index, u64::from(origin) | count << 32);
            }
            self.publish(words, record);
        });
    }

    fn publish(&self, words: &Words, record: usize) {
        let place = (self.place / GRANULE_WORDS) as u64 | (self.len as u64) << 32;
        words.cell(record).word(COUNTS).store(place, Ordering::Relaxed);
    }

    pub(crate) fn free(self, memory: &mut impl Allocate) {
        if self.capacity > 0 {
            memory.give(self.place, self.capacity);
        }
    }
}

/// Runs `change` while the record says that its counts are being changed.
fn changing<const FAULT: u8>(words: &Words, record: usize, change: impl FnOnce()) {
    let changes = words.cell(record).word(CHANGES);
    let before = changes.load(Ordering::Relaxed);
    changes.store(before.wrapping_add(ONE), Ordering::Relaxed);
    if FAULT != fault::CHANGE_NO_FENCE {
        // Pairs with the Acquire fence of `visible`: who saw a change under way sees that it was.
        fence(Ordering::Release);
    }
    change();
    // Release: pairs with the first look of `visible`.
    changes.store(before.wrapping_add(2 * ONE), Ordering::Release);
}
