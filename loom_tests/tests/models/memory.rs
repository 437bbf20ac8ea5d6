//! The words of an arena for loom, and what hands places in them out.
//!
//! loom orders a store against the *last* access of an atomic and no other. The kernels' writers look at a word before they store into
//! it, and that look of their own hides a reader's before it: loom would never try the store before the reader's load. So
//! a writer's looks are none of loom's business here. It holds the lock of what it looks at, so it sees the latest store
//! of all, and that is kept beside each atomic. What writers and readers are is said by whose [`Words`] they hold.

use crate::kernel::slot::DRAFTS;
use crate::kernel::table::Allocate;
use crate::sync::{Arc, AtomicU64, Ordering, fence};
use std::sync::atomic::AtomicU64 as Latest;

/// How many words a model has.
const WORDS: usize = 128;

/// One word.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    words: &'a Words,
    at: usize,
}

impl Word<'_> {
    pub(crate) fn load(self, order: Ordering) -> u64 {
        let (word, latest) = &self.words.all[self.at];
        if self.words.is_writers { latest.load(Ordering::SeqCst) } else { word.load(order) }
    }

    pub(crate) fn store(self, value: u64, order: Ordering) {
        assert!(self.words.is_writers, "readers write nothing");
        let (word, latest) = &self.words.all[self.at];
        word.store(value, order);
        latest.store(value, Ordering::SeqCst);
    }
}

/// Words that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    words: &'a Words,
    at: usize,
}

impl<'a> Cell<'a> {
    pub(crate) fn word(self, index: usize) -> Word<'a> {
        self.words.word(self.at + index)
    }
}

/// The face of the engine's words. Any index has a word.
#[derive(Clone)]
pub(crate) struct Words {
    all: Arc<[(AtomicU64, Latest)]>,
    is_writers: bool,
}

impl Words {
    /// A writer's. All words are made here and now: to loom, that is a write which every access must happen after.
    pub(crate) fn new() -> Self {
        let all = (0..WORDS).map(|_| (AtomicU64::new(0), Latest::new(0))).collect();
        Self { all, is_writers: true }
    }

    /// The same words for a reader.
    pub(crate) fn reader(&self) -> Self {
        Self { is_writers: false, ..self.clone() }
    }

    pub(crate) fn word(&self, at: usize) -> Word<'_> {
        Word { words: self, at: at % WORDS }
    }

    pub(crate) fn cell(&self, at: usize) -> Cell<'_> {
        Cell { words: self, at }
    }

    pub(crate) fn prefetch(&self, _at: usize) {}

    pub(crate) fn prefetch_two(&self, _at: usize) {}
}

/// Bugs that the models plant.
pub(crate) mod fault {
    /// No fence between the end of a place's last use and whatever is stored into it next.
    pub(crate) const TAKE_NO_FENCE: u8 = 141;
}

/// An allocator that hands the place that was given up last out again at once, as it is but for one word, which the engine's
/// slab links its free cells by.
pub(crate) struct Places<const FAULT: u8> {
    words: Words,
    fresh: usize,
    free: Vec<(usize, usize)>,
}

impl<const FAULT: u8> Places<FAULT> {
    /// Everything from that word on, up to the draft.
    pub(crate) fn new(words: &Words, from: usize) -> Self {
        Self { words: words.clone(), fresh: from, free: Vec::new() }
    }
}

fn size_of(words: usize) -> usize {
    words.next_multiple_of(4)
}

impl<const FAULT: u8> Allocate for Places<FAULT> {
    fn take(&mut self, words: usize) -> Option<usize> {
        let size = size_of(words);
        let at = match self.free.iter().rposition(|&(_, free)| free == size) {
            Some(index) => self.free.remove(index).0,
            None => {
                let at = self.fresh;
                self.fresh += size;
                assert!(self.fresh <= DRAFTS, "the model needs more words than were made");
                at
            }
        };
        if FAULT != fault::TAKE_NO_FENCE {
            // Here and not only in `give`: it is the thread that stores next which has to have had a fence.
            fence(Ordering::Release);
        }
        Some(at)
    }

    fn give(&mut self, at: usize, words: usize) {
        if FAULT != fault::TAKE_NO_FENCE {
            fence(Ordering::Release);
        }
        // Anything but what a reader could hope to find: no number, no tag, no length, no link of these models.
        self.words.word(at + 1).store(0x5555_5555_5555_5555, Ordering::Relaxed);
        self.free.push((at, size_of(words)));
    }
}
