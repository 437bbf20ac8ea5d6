//! Slots: cells of twelve words that a writer fills, publishes and frees, and that readers copy without a lock.
//!
//! The first word is the **stamp**: 0 while the slot is free, odd while it is live. A stamp is drawn from a counter that never goes
//! back, so two lives of one slot never have the same: there is no ABA, however long a reader sleeps, and a page that was given
//! back to the system reads as free. What is live is never changed (an update fills another slot), so a copy is whole exactly
//! if the stamp was the same, and odd, before and after.
//!
//! * The writer stores the payload (Relaxed), then the stamp (Release). Before a slot is used again, its stamp was set to 0 and
//!   a Release fence stands between that and whatever is stored into it next.
//! * The reader loads the stamp (Acquire: pairs with the publication, so it sees that payload or a later one), the payload
//!   (Relaxed), then an Acquire fence, then the stamp again. If any word of the payload was a later one, the fence pairs
//!   with the writer's Release fence before that word's store, so the second look finds the 0 or a later stamp.
//!
//! This is a sequence lock per slot (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012) whose
//! writer never makes a reader wait: a slot that is not live is simply not there, and what refers to it was changed before.

use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// Words of a slot.
pub(crate) const SLOT_WORDS: usize = if cfg!(loom) { 3 } else { 12 };

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// The stamp is published without Release.
    pub(crate) const PUBLISH_RELAXED: u8 = 1;
    /// The reader does not fence before its second look.
    pub(crate) const READ_NO_FENCE: u8 = 2;
    /// The reader does not look at the stamp a second time.
    pub(crate) const READ_ONE_LOOK: u8 = 3;
    /// The writer does not fence between freeing and filling.
    pub(crate) const FREE_NO_FENCE: u8 = 4;
    /// The stamp is the same in every life.
    pub(crate) const STAMP_REUSED: u8 = 5;
    /// The end of a life is stored without Release.
    pub(crate) const FREE_RELAXED: u8 = 6;
}

/// What a slot holds: the stamp and eleven words of payload.
pub(crate) type Copied = [u64; SLOT_WORDS];

/// See the module's documentation.
pub(crate) struct Slot<const FAULT: u8>;

impl<const FAULT: u8> Slot<FAULT> {
    /// Publishes `payload` (whose first word is the stamp, odd and never used before) in a slot that is not live. The caller is
    /// the only writer.
    #[inline]
    pub(crate) fn publish(words: &Words, at: usize, payload: &Copied) {
        let cell = words.cell(at);
        for (index, word) in payload.iter().enumerate().skip(1) {
            cell.word(index).store(*word, Ordering::Relaxed);
        }
        let stamp = if FAULT == fault::STAMP_REUSED { 1 } else { payload[0] };
        // Release: pairs with the Acquire of `read`'s first look.
        let order = if FAULT == fault::PUBLISH_RELAXED { Ordering::Relaxed } else { Ordering::Release };
        cell.word(0).store(stamp, order);
    }

    /// Ends the life of a slot. Nothing that readers follow may refer to it any more. After this the caller may store into it.
    #[inline]
    pub(crate) fn free(words: &Words, at: usize) {
        // Release: a reader that finds the 0 finds what was changed before it (the reference that led here).
        let order = if FAULT == fault::FREE_RELAXED { Ordering::Relaxed } else { Ordering::Release };
        words.cell(at).word(0).store(0, order);
        if FAULT != fault::FREE_NO_FENCE {
            // Pairs with the fence of `read`: who sees a word stored after this sees the 0 too.
            fence(Ordering::Release);
        }
    }

    /// A whole copy of a live slot; `None` if it is not live, or ended its life meanwhile. Waits for nobody.
    #[inline(always)]
    pub(crate) fn read(words: &Words, at: usize) -> Option<Copied> {
        let mut copy = [0; SLOT_WORDS];
        Self::read_into(words, at, &mut copy).then_some(copy)
    }

    /// As [`read`](Self::read), into a place that is there already. False, and any words in it, if the slot is not live.
    #[inline(always)]
    pub(crate) fn read_into(words: &Words, at: usize, copy: &mut Copied) -> bool {
        let cell = words.cell(at);
        // Acquire: pairs with the Release of `publish` and of `free`.
        let stamp = cell.word(0).load(Ordering::Acquire);
        copy[0] = stamp;
        for (index, word) in copy.iter_mut().enumerate().skip(1) {
            *word = cell.word(index).load(Ordering::Relaxed);
        }
        stamp & 1 == 1 && Self::still(words, at, stamp)
    }

    /// Whether the slot still lives the life of `stamp`: what was read of it before this call was whole.
    #[inline(always)]
    pub(crate) fn still(words: &Words, at: usize, stamp: u64) -> bool {
        if FAULT == fault::READ_ONE_LOOK {
            return true;
        }
        if FAULT != fault::READ_NO_FENCE {
            // Pairs with the fence of `free`.
            fence(Ordering::Acquire);
        }
        // Acquire: on a 0, the reference that led here is looked at again and must be found changed.
        words.cell(at).word(0).load(Ordering::Acquire) == stamp
    }
}
