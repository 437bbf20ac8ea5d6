//! The words of an arena.
//!
//! A word is reached by its index and only ever as an atomic, so whoever follows a stale index reads a stale word, or one of
//! somebody else, and finds that out by what is in it; nothing that a stale reader can do is undefined behaviour.

#[cfg(not(any(loom, shuttle)))]
mod imp {
    use crate::memory::PAGE_WORDS;
    use crate::memory::map::Map;
    use crate::sync::{Arc, AtomicU64};
    use std::marker::PhantomData;
    use std::ptr::NonNull;

    /// A power of two of atomic 64-bit words. Clones share them.
    #[derive(Clone)]
    pub(crate) struct Words {
        /// The first of `mask + 1` words of `map`. A copy, so that an access is one load away from its word.
        base: NonNull<AtomicU64>,
        mask: usize,
        map: Arc<Map>,
    }

    /// Up to [`PAGE_WORDS`] words that follow each other.
    #[derive(Clone, Copy)]
    pub(crate) struct Cell<'a> {
        first: NonNull<AtomicU64>,
        words: PhantomData<&'a Words>,
    }

    impl<'a> Cell<'a> {
        /// One of the words.
        #[inline(always)]
        pub(crate) fn word(self, index: usize) -> &'a AtomicU64 {
            debug_assert!(index < PAGE_WORDS, "a cell is a page at the most");
            // SAFETY: `first` is one of the map's words, which stay where they are for `'a`, and a page of further initialised
            // words follows the last of them (see `Map::base`), so every index below `PAGE_WORDS` is in range. The engine's
            // indices are constants, or bounded by a page, whatever the words say that they are computed from.
            unsafe { self.first.add(index).as_ref() }
        }
    }

    // SAFETY: `base` points into `map`, which is `Send` and `Sync` and never moves its words, and of the words only shared
    // references to atomics are handed out.
    unsafe impl Send for Words {}
    // SAFETY: as above.
    unsafe impl Sync for Words {}

    impl Words {
        pub(in crate::memory) fn new(map: Map) -> Self {
            let map = Arc::new(map);
            assert!(map.capacity().is_power_of_two(), "or the mask would not do");
            Self { base: map.base(), mask: map.capacity() - 1, map }
        }

        /// The word at that index, which is masked to the capacity: any index has a word.
        #[inline(always)]
        pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
            // SAFETY: `base` is the first of `mask + 1` initialised words, a masked index is one of theirs, and they stay where
            // they are and readable as long as `map`, which `self` keeps.
            unsafe { self.base.add(at & self.mask).as_ref() }
        }

        /// The words from that index on, which is masked to the capacity.
        #[inline(always)]
        pub(crate) fn cell(&self, at: usize) -> Cell<'_> {
            Cell { first: NonNull::from(self.word(at)), words: PhantomData }
        }

        /// Asks for the cache line of the word at that index.
        #[inline(always)]
        pub(crate) fn prefetch(&self, at: usize) {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                let word = self.base.as_ptr().wrapping_add(at & self.mask);
                // SAFETY: a prefetch is a hint. It accesses nothing and cannot fault, and SSE is part of x86_64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(word.cast()) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = at;
        }

        /// How many words there are.
        pub(crate) fn capacity(&self) -> usize {
            self.mask + 1
        }

        pub(in crate::memory) fn huge_advised(&self) -> bool {
            self.map.huge_advised()
        }

        /// Gives the memory of a unit back to the system. The caller knows that no page of it is taken, and that none will be
        /// before this returns.
        pub(in crate::memory) fn release(&self, unit: u32) {
            self.map.release(unit as usize);
        }
    }
}

#[cfg(any(loom, shuttle))]
mod imp {
    use crate::memory::PAGE_WORDS;
    use crate::sync::{Arc, AtomicU64, OnceLock};

    type Page = Box<[OnceLock<AtomicU64>]>;

    /// Up to [`PAGE_WORDS`] words that follow each other.
    #[derive(Clone, Copy)]
    pub(crate) struct Cell<'a> {
        words: &'a Words,
        at: usize,
    }

    impl<'a> Cell<'a> {
        /// One of the words.
        pub(crate) fn word(self, index: usize) -> &'a AtomicU64 {
            assert!(index < PAGE_WORDS, "a cell is a page at the most");
            self.words.word(self.at + index)
        }
    }

    /// A power of two of atomic 64-bit words. Clones share them.
    ///
    /// A word is made when it is first reached. To loom that is a write which every access must happen after, so a model for
    /// loom reaches the words that its threads will race on once, before it spawns them.
    #[derive(Clone)]
    pub(crate) struct Words {
        pages: Arc<[OnceLock<Page>]>,
    }

    impl Words {
        pub(in crate::memory) fn new(bytes: usize) -> Self {
            assert!(bytes.is_power_of_two(), "or the mask would not do");
            Self { pages: (0..bytes / (8 * PAGE_WORDS)).map(|_| OnceLock::new()).collect() }
        }

        /// The word at that index, which is masked to the capacity: any index has a word.
        #[inline(always)]
        pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
            let at = at & (self.capacity() - 1);
            let page = self.pages[at / PAGE_WORDS]
                .get_or_init(|| (0..PAGE_WORDS).map(|_| OnceLock::new()).collect());
            page[at % PAGE_WORDS].get_or_init(|| AtomicU64::new(0))
        }

        /// The words from that index on.
        pub(crate) fn cell(&self, at: usize) -> Cell<'_> {
            Cell { words: self, at }
        }

        /// Nothing: models have no cache.
        #[inline(always)]
        pub(crate) fn prefetch(&self, _at: usize) {}

        /// How many words there are.
        pub(crate) fn capacity(&self) -> usize {
            self.pages.len() * PAGE_WORDS
        }

        pub(in crate::memory) fn huge_advised(&self) -> bool {
            false
        }

        pub(in crate::memory) fn release(&self, _unit: u32) {}
    }
}

pub(crate) use imp::Words;

impl Words {
    /// Asks for the cache line of the word at that index, and for the next one: for a slot, which is two.
    #[inline(always)]
    pub(crate) fn prefetch_two(&self, at: usize) {
        self.prefetch(at);
        self.prefetch(at + 8);
    }
}

/// Asks for the cache line of a place on the heap.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint. It accesses nothing and cannot fault, and SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
    let _ = place;
}
