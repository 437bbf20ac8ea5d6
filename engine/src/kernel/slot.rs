//! Slots: cells of twelve words that a writer fills, publishes and frees, and that readers copy without a lock.
//!
//! The first word is the **stamp**: 0 while the slot is free, odd while it is live. A stamp is drawn from a counter that never goes
//! back, so no two payloads of one slot ever have the same: there is no ABA, however long a reader sleeps, and a page that was given
//! back to the system reads as free. So a copy is whole exactly if the stamp was the same, and odd, before and after.
//!
//! * The writer stores the payload (Relaxed), then the stamp (Release). Before a slot is used again, its stamp was set to 0 and
//!   a Release fence stands between that and whatever is stored into it next.
//! * The reader loads the stamp (Acquire: pairs with the publication, so it sees that payload or a later one), the payload
//!   (Relaxed), then an Acquire fence, then the stamp again. If any word of the payload was a later one, the fence pairs
//!   with the writer's Release fence before that word's store, so the second look finds the 0 or a later stamp.
//!
//! * A slot that is live may be **revised** in place. Its writer's shard has a draft, a cell beside all slots: the writer publishes the new
//!   payload there, then marks the slot's stamp as under revision (Release), then changes the payload behind a Release fence, and
//!   then stores the new stamp (Release). A reader that meets the mark takes the payload from the draft, which has the same stamp
//!   as long as it is that slot's; if it has another, the slot was finished, and is read again. So a revision is one store, that of the
//!   mark, to every reader, and a writer that the system puts to sleep in the middle of one holds nobody up.
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
    /// A revision does not fence between its mark and the first word that it changes.
    pub(crate) const REVISE_NO_FENCE: u8 = 7;
    /// A revision changes a slot that is not marked.
    pub(crate) const REVISE_UNMARKED: u8 = 8;
    /// A slot is marked before there is a draft.
    pub(crate) const MARK_BEFORE_DRAFT: u8 = 9;
    /// A reader takes any draft for its slot's.
    pub(crate) const DRAFT_UNCHECKED: u8 = 10;
    /// A reader that meets the mark takes the slot for one that is not live.
    pub(crate) const MARKED_IS_FREE: u8 = 11;
    /// A peek takes what a slot that is being changed holds.
    pub(crate) const PEEK_MARKED: u8 = 12;
}

/// In a stamp: the payload is being changed, and is to be found in the draft. Counters of stamps stay below it.
const MARK: u64 = 1 << 63;
/// The first word of the drafts: in the engine, that of the arena's page 1.
pub(crate) const DRAFTS: usize = if cfg!(loom) { 120 } else { 512 };
/// The distance between drafts, in words: two cache lines.
const DRAFT_WORDS: usize = 16;
/// Drafts, one for each number that a stamp can have in its bits 1 to 8.
const DRAFT_COUNT: usize = if cfg!(loom) { 1 } else { 256 };
/// Words of all drafts together.
pub(crate) const DRAFTS_WORDS: usize = DRAFT_COUNT * DRAFT_WORDS;

/// The draft of the writer who draws such stamps.
fn draft_of(stamp: u64) -> usize {
    DRAFTS + ((stamp >> 1) as usize & (DRAFT_COUNT - 1)) * DRAFT_WORDS
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

    /// Gives a live slot another payload, whose first word is a new stamp of the writer's counter. The caller is the only writer, also of
    /// what else draws stamps of this draft.
    #[inline]
    pub(crate) fn revise(words: &Words, at: usize, payload: &Copied) {
        let mut draft = *payload;
        draft[0] |= MARK;
        let cell = words.cell(at);
        // Release: pairs with the Acquire of `read_into`; who finds the mark finds the draft.
        let mark = || cell.word(0).store(draft[0], Ordering::Release);
        if FAULT == fault::MARK_BEFORE_DRAFT {
            mark();
        }
        // A draft is a slot itself: free while it is filled.
        let place = draft_of(draft[0]);
        Slot::<0>::free(words, place);
        Slot::<0>::publish(words, place, &draft);
        if FAULT != fault::MARK_BEFORE_DRAFT && FAULT != fault::REVISE_UNMARKED {
            mark();
        }
        if FAULT != fault::REVISE_NO_FENCE {
            // Pairs with the fence of `still`: who saw a word that is stored after this sees the mark too.
            fence(Ordering::Release);
        }
        Self::publish(words, at, payload);
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
        if stamp & (MARK | 1) == 1 {
            return Self::still(words, at, stamp);
        }
        stamp & MARK != 0 && FAULT != fault::MARKED_IS_FREE && Self::read_draft(words, copy)
    }

    /// A copy of a live slot that is not being revised. It is whole if [`still`](Self::still) says so of its stamp, or whoever looks at that again.
    #[inline(always)]
    pub(crate) fn peek(words: &Words, at: usize) -> Option<Copied> {
        let cell = words.cell(at);
        // Acquire: as in `read_into`.
        let stamp = cell.word(0).load(Ordering::Acquire);
        let is_marked = stamp & MARK != 0 && FAULT != fault::PEEK_MARKED;
        (stamp & 1 == 1 && !is_marked).then(|| {
            let word = |index| if index == 0 { stamp } else { cell.word(index).load(Ordering::Relaxed) };
            std::array::from_fn(word)
        })
    }

    /// Reads the draft of a slot that is being revised, whose stamp is the first word of `copy`. False if it is finished.
    #[cold]
    fn read_draft(words: &Words, copy: &mut Copied) -> bool {
        let (stamp, place) = (copy[0], draft_of(copy[0]));
        let draft = words.cell(place);
        // Acquire: another stamp, or none, was stored after the slot's new one, which is found then.
        let before = draft.word(0).load(Ordering::Acquire);
        for (index, word) in copy.iter_mut().enumerate().skip(1) {
            *word = draft.word(index).load(Ordering::Relaxed);
        }
        FAULT == fault::DRAFT_UNCHECKED || before == stamp && Self::still(words, place, stamp)
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
