//! The table of origins that readers look into: whose an entry is, and whether it is to be seen.
//!
//! A cell of four words for each origin. Its first word counts the changes of the identity beside it and is odd while one is under
//! way (a sequence lock; the writer is short, and identities change when a node joins a cluster or a life begins). Hiding an origin is one
//! store, and every reader that looks after it sees no entry of that origin any more.
//!
//! An origin's number is used again only when its last entry is gone, and the entry's stamp was cleared, with a Release fence, before.
//! So a reader that finds the stamp unchanged after it looked here looked at the right life.

use crate::memory::Words;
use crate::sync::{Ordering, fence, spin};

/// Words of an origin.
pub(crate) const ORIGIN_WORDS: usize = 4;
const IS_HIDDEN: u64 = 1 << 32;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// The reader does not look at the count of changes a second time.
    pub(crate) const ONE_LOOK: u8 = 81;
    /// The writer does not fence after it has made the count odd.
    pub(crate) const NO_FENCE: u8 = 82;
    /// The count of changes is made even without Release.
    pub(crate) const SET_RELAXED: u8 = 83;
    /// Hiding is stored without Release.
    pub(crate) const HIDE_RELAXED: u8 = 84;
}

/// What is known of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) node: u32,
    pub(crate) incarnation: u64,
    pub(crate) hidden: bool,
}

/// The table, as readers and its writer know it: its place. Writers take turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginTable<const FAULT: u8> {
    at: usize,
}

impl<const FAULT: u8> OriginTable<FAULT> {
    pub(crate) fn new(at: usize) -> Self {
        Self { at }
    }

    fn cell(self, origin: u32) -> usize {
        self.at + origin as usize * ORIGIN_WORDS
    }

    /// What is known of an origin now.
    #[inline(always)]
    pub(crate) fn read(self, words: &Words, origin: u32) -> Known {
        let cell = words.cell(self.cell(origin));
        loop {
            // Acquire: pairs with the Release at the end of `set`.
            let changes = cell.word(0).load(Ordering::Acquire);
            let node = cell.word(1).load(Ordering::Relaxed);
            let incarnation = cell.word(2).load(Ordering::Relaxed);
            // Pairs with the fence of `set`: who read a word of a change under way sees the odd count.
            fence(Ordering::Acquire);
            let again = cell.word(0).load(Ordering::Relaxed);
            if FAULT == fault::ONE_LOOK || (changes & 1 == 0 && changes == again) {
                return Known { node: node as u32, incarnation, hidden: node & IS_HIDDEN != 0 };
            }
            spin();
        }
    }

    /// Whether the entries of an origin are not to be seen.
    #[inline(always)]
    pub(crate) fn is_hidden(self, words: &Words, origin: u32) -> bool {
        // Acquire: pairs with the Release of `hide`; with what came before it.
        words.cell(self.cell(origin)).word(1).load(Ordering::Acquire) & IS_HIDDEN != 0
    }

    /// Gives a number to a life, or another identity to this node. It is to be seen.
    pub(crate) fn set(self, words: &Words, origin: u32, node: u32, incarnation: u64) {
        let cell = words.cell(self.cell(origin));
        let changes = cell.word(0).load(Ordering::Relaxed);
        cell.word(0).store(changes + 1, Ordering::Relaxed);
        if FAULT != fault::NO_FENCE {
            // Pairs with the fence of `read`.
            fence(Ordering::Release);
        }
        cell.word(1).store(u64::from(node), Ordering::Relaxed);
        cell.word(2).store(incarnation, Ordering::Relaxed);
        // Release: pairs with the Acquire of `read`.
        let order = if FAULT == fault::SET_RELAXED { Ordering::Relaxed } else { Ordering::Release };
        cell.word(0).store(changes + 2, order);
    }

    /// Takes the entries of an origin out of sight, or brings them back.
    pub(crate) fn hide(self, words: &Words, origin: u32, hidden: bool) {
        let word = words.cell(self.cell(origin)).word(1);
        let node = word.load(Ordering::Relaxed) & !IS_HIDDEN;
        // Release: pairs with the Acquire of `is_hidden`.
        let order = if FAULT == fault::HIDE_RELAXED { Ordering::Relaxed } else { Ordering::Release };
        word.store(if hidden { node | IS_HIDDEN } else { node }, order);
    }
}
