//! A topic's members by origin, where readers find them, so that hiding an origin keeps counts exact.

use super::commons::Commons;
use super::layout::{id, topic_word};
use crate::entry::OriginIx;
use crate::kernel::table::{Allocate, NoRoom};
use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// How many members of a topic each other origin has, one word for each: the origin, and in the upper half how many. Few origins: a
/// search beats a map.
#[derive(Debug, Default)]
pub(crate) struct OriginCounts {
    place: usize,
    len: usize,
    capacity: usize,
}

impl OriginCounts {
    fn word(&self, words: &Words, index: usize) -> u64 {
        words.cell(self.place + index).word(0).load(Ordering::Relaxed)
    }

    fn index_of(&self, words: &Words, origin: OriginIx) -> Option<usize> {
        (0..self.len).find(|&index| self.word(words, index) as OriginIx == origin)
    }

    /// The members of an origin.
    pub(crate) fn of(&self, words: &Words, origin: OriginIx) -> usize {
        self.index_of(words, origin).map_or(0, |index| (self.word(words, index) >> 32) as usize)
    }

    /// The members of hidden origins.
    pub(crate) fn hidden(&self, commons: &Commons) -> usize {
        let words = commons.words();
        let counts = (0..self.len).map(|index| self.word(words, index));
        let hidden = counts.filter(|&count| commons.origins.is_hidden(words, count as OriginIx));
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
        let capacity = (2 * self.capacity).max(8);
        let place = memory.take(capacity).ok_or(NoRoom)?;
        for index in 0..self.len {
            words.cell(place + index).word(0).store(self.word(words, index), Ordering::Relaxed);
        }
        let old = std::mem::replace(self, Self { place, len: self.len, capacity });
        changing(words, record, || self.publish(words, record));
        old.free(memory);
        Ok(())
    }

    /// One member more or less of an origin; `members` is how many the topic has then. [`reserve`](Self::reserve) has made room.
    pub(crate) fn change(
        &mut self,
        words: &Words,
        record: usize,
        origin: OriginIx,
        more: bool,
        members: usize,
    ) {
        changing(words, record, || {
            // Release, here and below: who finds the number finds the member.
            words.cell(record).word(topic_word::MEMBERS).store(members as u64, Ordering::Release);
            let index = self.index_of(words, origin).unwrap_or_else(|| {
                let fresh = words.cell(self.place + self.len).word(0);
                fresh.store(u64::from(origin), Ordering::Relaxed);
                self.len += 1;
                self.len - 1
            });
            let count = self.word(words, index) >> 32;
            let count = if more { count + 1 } else { count - 1 };
            if count == 0 {
                self.len -= 1;
                let last = self.word(words, self.len);
                words.cell(self.place + index).word(0).store(last, Ordering::Relaxed);
            } else {
                let word = u64::from(origin) | count << 32;
                words.cell(self.place + index).word(0).store(word, Ordering::Relaxed);
            }
            self.publish(words, record);
        });
    }

    fn publish(&self, words: &Words, record: usize) {
        let place = u64::from(id(self.place)) | (self.len as u64) << 32;
        words.cell(record).word(topic_word::COUNTS).store(place, Ordering::Relaxed);
    }

    pub(crate) fn free(self, memory: &mut impl Allocate) {
        if self.capacity > 0 {
            memory.give(self.place, self.capacity);
        }
    }
}

/// Runs `change` while the record says that its counts are being changed.
fn changing(words: &Words, record: usize, change: impl FnOnce()) {
    const ONE: u64 = 1 << 32;
    let changes = words.cell(record).word(topic_word::CHANGES);
    let before = changes.load(Ordering::Relaxed);
    // The upper half; it may wrap.
    changes.store(before.wrapping_add(ONE), Ordering::Relaxed);
    // Pairs with the Acquire fence of the reader: who saw a change under way sees that it was.
    fence(Ordering::Release);
    change();
    // Release: pairs with the reader's first look.
    changes.store(before.wrapping_add(2 * ONE), Ordering::Release);
}
