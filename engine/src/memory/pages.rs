//! Which pages are taken, which units are resident, and what the keeper should do next. Bookkeeping only: it is used under
//! one lock and makes no system call.
//!
//! A unit beyond unit 0 is
//!
//! * **open**: some of its pages are taken. Runs come from the lowest open unit that has room, so the upper ones drain;
//! * **ready**: wholly free and resident. At most one is, and it is used when no open unit has room;
//! * **leaving**: wholly free, still resident, waiting for its memory to be given back to the system. It can be used again
//!   until that begins;
//! * **in transit**: its memory is being given back at this moment. Whatever was written to it now would be lost, so it is the only
//!   state in which it cannot be used;
//! * **cold**: wholly free and not resident: given back, or never used (those from `frontier` on).
//!
//! Unit 0 is always open and never given back.

use super::UNIT_PAGES;
use super::runs::{Bitmap, RunTree};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// While no open unit has a free run this long, a unit is kept ready.
const LOW: usize = UNIT_PAGES / 2;
/// The same for unit 0, as long as it is the only one: a small tracker should not pay for a unit that it may never use.
const LOW_FIRST: usize = UNIT_PAGES / 4;

/// Work that takes too long to be done under the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Touch a unit, so that nobody else has to wait for its memory. It may be in use meanwhile.
    Warm(u32),
    /// Give the memory of a unit back to the system; then [`Pages::released`].
    Release(u32),
}

#[derive(Debug)]
struct Unit {
    bitmap: Bitmap,
    taken: usize,
}

/// The pages of an arena.
#[derive(Debug)]
pub(super) struct Pages {
    /// The units in use so far; those beyond are cold.
    units: Vec<Unit>,
    limit: usize,
    /// The longest free run of each open unit, but unit 0's and not those of units in any other state.
    open: RunTree,
    first_longest: usize,
    ready: Option<u32>,
    leaving: Vec<u32>,
    in_transit: usize,
    returned: BinaryHeap<Reverse<u32>>,
    returned_total: u64,
    taken: usize,
    /// Whether there is a keeper, or may be one.
    warms: bool,
}

impl Pages {
    /// `pages` in all: less than a unit, or a number of whole units.
    pub(super) fn new(pages: usize, warms: bool) -> Self {
        let limit = pages.div_ceil(UNIT_PAGES);
        assert!(pages == limit * UNIT_PAGES || limit == 1, "only unit 0 may be short");
        let mut first = Bitmap::FREE;
        // Page 0 is nobody's, so that 0 can mean "none" in a word.
        first.mark(0, 1, true);
        if pages < UNIT_PAGES {
            first.mark(pages, UNIT_PAGES - pages, true);
        }
        let first_longest = first.longest();
        let mut units = Vec::with_capacity(limit.min(1 << 16));
        units.push(Unit { bitmap: first, taken: 0 });
        Self {
            units,
            limit,
            open: RunTree::new(limit),
            first_longest,
            ready: None,
            leaving: Vec::new(),
            in_transit: 0,
            returned: BinaryHeap::new(),
            returned_total: 0,
            taken: 0,
            warms,
        }
    }

    /// Takes `count` contiguous pages of one unit and says which is the first.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let unit = self.choose(count)?;
        let held = &mut self.units[unit];
        let start = held.bitmap.find(count)?;
        held.bitmap.mark(start, count, true);
        held.taken += count;
        self.taken += count;
        self.note(unit);
        Some((unit * UNIT_PAGES + start) as u32)
    }

    /// A unit with a free run of `count` pages. If it was not open it is now in no state, until [`Self::note`] opens it.
    fn choose(&mut self, count: usize) -> Option<usize> {
        if count <= self.first_longest {
            return Some(0);
        }
        if let Some(unit) = self.open.lowest_with(count) {
            return Some(unit);
        }
        let resident = self.ready.take().or_else(|| self.leaving.pop());
        Some(resident.or_else(|| self.coldest())? as usize)
    }

    /// The lowest cold unit.
    fn coldest(&mut self) -> Option<u32> {
        if let Some(Reverse(unit)) = self.returned.pop() {
            return Some(unit);
        }
        let frontier = self.units.len();
        if frontier == self.limit {
            return None;
        }
        self.units.push(Unit { bitmap: Bitmap::FREE, taken: 0 });
        Some(frontier as u32)
    }

    /// Gives `count` pages from `page` on back.
    pub(super) fn give(&mut self, page: u32, count: usize) {
        let (unit, start) = (page as usize / UNIT_PAGES, page as usize % UNIT_PAGES);
        let held = &mut self.units[unit];
        held.bitmap.mark(start, count, false);
        held.taken -= count;
        self.taken -= count;
        self.note(unit);
        if unit > 0 && self.units[unit].taken == 0 {
            let unit = unit as u32;
            match self.ready {
                None => self.ready = Some(unit),
                // The lower stays, so that the top of the arena drains.
                Some(ready) => {
                    self.ready = Some(ready.min(unit));
                    self.leaving.push(ready.max(unit));
                }
            }
        }
    }

    /// Brings what is kept about a unit up to date with its bitmap.
    fn note(&mut self, unit: usize) {
        let held = &self.units[unit];
        let longest = held.bitmap.longest();
        if unit == 0 {
            self.first_longest = longest;
            return;
        }
        self.open.set(unit, if held.taken > 0 { longest } else { 0 });
    }

    /// Whether [`Self::next_job`] would have something.
    pub(super) fn has_job(&self) -> bool {
        !self.leaving.is_empty() || self.wants_ready()
    }

    fn wants_ready(&self) -> bool {
        let only_first = self.units.len() == 1;
        let low = if only_first { self.first_longest < LOW_FIRST } else { self.open.longest() < LOW };
        let more = !self.returned.is_empty() || self.units.len() < self.limit;
        self.warms && self.ready.is_none() && low && (more || !self.leaving.is_empty())
    }

    /// What to do next, and that it has begun.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.wants_ready() {
            self.ready = self.leaving.pop();
            if self.ready.is_none() {
                // It is ready from now on: who takes a page of it while it is being touched waits for one touch at most.
                self.ready = self.coldest();
                return self.ready.map(Job::Warm);
            }
        }
        let unit = self.leaving.pop()?;
        self.in_transit += 1;
        Some(Job::Release(unit))
    }

    /// The memory of a unit whose release was begun is given back.
    pub(super) fn released(&mut self, unit: u32) {
        self.in_transit -= 1;
        self.returned_total += 1;
        self.returned.push(Reverse(unit));
    }

    /// There will be no keeper: nothing is touched ahead of need.
    pub(super) fn stop_warming(&mut self) {
        self.warms = false;
    }

    /// Units whose memory is being given back.
    pub(super) fn in_transit(&self) -> usize {
        self.in_transit
    }

    /// Pages taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Units that are resident, or about to be.
    pub(super) fn held_units(&self) -> usize {
        let cold = self.returned.len();
        let first = usize::from(self.units[0].taken > 0);
        self.units.len() - 1 - cold + first
    }

    /// How many units were given back so far.
    pub(super) fn returned_total(&self) -> u64 {
        self.returned_total
    }
}
