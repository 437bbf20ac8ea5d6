//! Memory: one arena of 64-bit words for all lock-free structures of the engine.
//!
//! The arena is reserved whole when it is made and used page by page (4 KiB, [`Arena::take`]). A run of pages lies within a
//! unit of 2 MiB, the size of a huge page; units are touched, and given back to the system, one by one:
//!
//! * [`words`](Words): access by index, always atomic, never out of range;
//! * `map`: the reservation and what is advised about it;
//! * `pages` and `runs`: which pages are taken;
//! * `keeper`: the thread that touches units ahead of need and gives free ones back.
//!
//! Under the model checkers there is no map and no keeper; the words are boxed atomics.

#[cfg(not(any(loom, shuttle)))]
mod keeper;
#[cfg(not(any(loom, shuttle)))]
mod map;
mod pages;
mod runs;
mod slab;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod words;

pub(crate) use slab::{Memory, Run, Slab};
pub(crate) use words::{Words, prefetch};

use crate::sync::{Arc, AtomicBool, Condvar, Mutex, MutexGuard, Ordering, wait};
use pages::{Job, Pages};
use std::io;
use std::thread::JoinHandle;

/// Words of a page: 4 KiB.
pub(crate) const PAGE_WORDS: usize = 512;
/// Pages of a unit: 2 MiB, a huge page.
pub(crate) const UNIT_PAGES: usize = 512;

const PAGE_BYTES: usize = PAGE_WORDS * 8;
const UNIT_BYTES: usize = UNIT_PAGES * PAGE_BYTES;

/// How much memory an arena has and uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MemoryStats {
    /// Address space reserved. It costs nothing.
    pub(crate) reserved_bytes: usize,
    /// Pages taken.
    pub(crate) used_bytes: usize,
    /// Units of which at least one page is taken, or that are kept ready or not given back yet. Unit 0 counts whole, though only
    /// its pages that were touched cost memory.
    pub(crate) held_bytes: usize,
    /// Units given back to the system so far.
    pub(crate) returned_total: u64,
    /// Whether the system agreed to use huge pages.
    pub(crate) huge_advised: bool,
}

/// What the keeper is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeper {
    /// There is none, and there was nothing to do for it yet.
    Unneeded,
    /// It waits for [`Shared::work`].
    Resting,
    /// It is working, or it was called or started and will look what there is to do.
    Called,
    /// There is none and will be none: free units are given back by whoever frees them.
    Refused,
}

struct State {
    pages: Pages,
    keeper: Keeper,
    /// Jobs done.
    done: u64,
}

/// What the arena and its keeper share.
struct Shared {
    words: Words,
    state: Mutex<State>,
    /// There is something to do for the keeper, or it should end.
    work: Condvar,
    /// A job was done.
    settled: Condvar,
    closing: AtomicBool,
}

impl Shared {
    /// Does what there is to do. The lock is released meanwhile.
    fn work_off<'a>(&'a self, mut state: MutexGuard<'a, State>, warm: impl Fn(u32)) -> MutexGuard<'a, State> {
        while !self.closing.load(Ordering::Relaxed)
            && let Some(job) = state.pages.next_job()
        {
            drop(state);
            match job {
                Job::Warm(unit) => warm(unit),
                Job::Release(unit) => self.words.release(unit),
            }
            state = self.state.lock();
            if let Job::Release(unit) = job {
                state.pages.released(unit);
            }
            state.done += 1;
            self.settled.notify_all();
        }
        state
    }
}

/// Starts a keeper. A parameter, so that tests can refuse.
type Spawn = fn(&Arc<Shared>) -> io::Result<JoinHandle<()>>;

/// Memory in pages, addressed by the index of a word.
pub(crate) struct Arena {
    words: Words,
    shared: Arc<Shared>,
    spawn: Spawn,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Arena {
    /// Reserves `bytes_max` of address space, rounded up to a power of two and at least 4 MiB, or less if the system refuses. Of that,
    /// `bytes_max` can be used, rounded down to whole units (and again at least 4 MiB).
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self::with(bytes_max, map::reserve, keeper::spawn)
    }

    #[cfg(not(any(loom, shuttle)))]
    fn with(bytes_max: usize, reserve: map::Reserve, spawn: Spawn) -> Self {
        let words = Words::new(map::Map::new(bytes_max, reserve));
        let pages = bytes_max.max(map::BYTES_MIN).min(words.capacity() * 8) / UNIT_BYTES * UNIT_PAGES;
        Self::build(words, Pages::new(pages, true), Keeper::Unneeded, spawn)
    }

    /// `bytes_max`, rounded up to a power of two and at least 1 MiB, but no more than a model can touch.
    #[cfg(any(loom, shuttle))]
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes = bytes_max.clamp(1 << 20, 1 << 26).next_power_of_two();
        let spawn: Spawn = |_| Err(io::ErrorKind::Unsupported.into());
        Self::build(Words::new(bytes), Pages::new(bytes / PAGE_BYTES, false), Keeper::Refused, spawn)
    }

    fn build(words: Words, pages: Pages, keeper: Keeper, spawn: Spawn) -> Self {
        let shared = Shared {
            words: words.clone(),
            state: Mutex::new(State { pages, keeper, done: 0 }),
            work: Condvar::new(),
            settled: Condvar::new(),
            closing: AtomicBool::new(false),
        };
        Self { words, shared: Arc::new(shared), spawn, thread: Mutex::new(None) }
    }

    /// The words.
    #[inline(always)]
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Takes a run of `pages` (1 to [`UNIT_PAGES`]) contiguous pages within one unit and says which page is the first; it is never
    /// page 0. What is in the words is unspecified. `None` if `bytes_max` is used up: no unit has room for that run.
    pub(crate) fn take(&self, pages: usize) -> Option<u32> {
        assert!((1..=UNIT_PAGES).contains(&pages), "a run lies within a unit");
        let mut state = self.shared.state.lock();
        let page = loop {
            let page = state.pages.take(pages);
            if page.is_some() || state.pages.in_transit() == 0 {
                break page;
            }
            // All that is left is a unit that is being given back at this moment. Saying "none" would be wrong, and it is a matter
            // of microseconds.
            state = wait(&self.shared.settled, state);
        };
        self.settle(state);
        page
    }

    /// Gives `pages` pages from `page` on back, all of which were taken (not necessarily together). The caller
    /// promises that nothing refers to them any more but stale readers.
    pub(crate) fn give(&self, page: u32, pages: usize) {
        let mut state = self.shared.state.lock();
        state.pages.give(page, pages);
        self.settle(state);
    }

    /// Sees to it that somebody does what there is to do.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        if !state.pages.has_job() {
            return;
        }
        match state.keeper {
            Keeper::Called => {}
            Keeper::Resting => {
                state.keeper = Keeper::Called;
                drop(state);
                self.shared.work.notify_one();
            }
            Keeper::Unneeded => {
                state.keeper = Keeper::Called;
                drop(state);
                self.start();
            }
            Keeper::Refused => drop(self.shared.work_off(state, |_| ())),
        }
    }

    #[cold]
    fn start(&self) {
        match (self.spawn)(&self.shared) {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(_) => {
                let mut state = self.shared.state.lock();
                state.keeper = Keeper::Refused;
                state.pages.stop_warming();
                drop(self.shared.work_off(state, |_| ()));
            }
        }
    }

    /// How much memory there is, and how much is used.
    pub(crate) fn stats(&self) -> MemoryStats {
        let state = self.shared.state.lock();
        MemoryStats {
            reserved_bytes: self.words.capacity() * 8,
            used_bytes: state.pages.taken() * PAGE_BYTES,
            held_bytes: state.pages.held_units() * UNIT_BYTES,
            returned_total: state.pages.returned_total(),
            huge_advised: self.words.huge_advised(),
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let Some(thread) = self.thread.lock().take() else { return };
        {
            // Under the lock, or a keeper that is about to rest would miss it.
            let _state = self.shared.state.lock();
            self.shared.closing.store(true, Ordering::Relaxed);
        }
        self.shared.work.notify_one();
        // It has been told; what it may still do is touch a page or give one unit back. If it panicked there is nothing to mend.
        drop(thread.join());
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Arena").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
