//! Cells of the sizes that slots, records, chunks, groups and byte strings need, carved from pages of the arena.
//!
//! A page belongs to one shard and one size. Its first cache line says how many cells are in use and which are free (a list through
//! their second words; the first is a stamp in most, and stays 0); 42 slots of 96 bytes fill the rest of it exactly. Only the shard's
//! writer, under the shard's lock, looks at any of that. A page without cells in use goes back to the arena, but for one of each
//! size that is kept for the next.

use super::{Arena, PAGE_WORDS};
use crate::kernel::table::Allocate;
use crate::sync::{Ordering, fence};

/// Words of the head of a page: used and fresh cells; first free cell; neighbours in the list of pages with free cells.
const HEAD_WORDS: usize = 8;
/// Sizes of cells, in words; larger ones are whole pages.
const SIZES: [usize; 12] = [8, 12, 16, 24, 32, 48, 64, 100, 124, 168, 252, 504];
const GRANULE_WORDS: usize = 4;

const _: () = assert!((PAGE_WORDS - HEAD_WORDS) / 12 * 12 == PAGE_WORDS - HEAD_WORDS);

/// Cells of one size that follow each other, taken and not in use yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// The first of them.
    next: u32,
    left: u32,
}

impl Run {
    /// Cells that are not in use yet.
    pub(crate) fn left(&self) -> usize {
        self.left as usize
    }
}

/// The pages of one shard that have free cells, by size.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    /// The first page of each size that has free cells; 0 for none.
    open: [u32; SIZES.len()],
}

/// A shard's slab together with the arena that it takes pages from.
pub(crate) struct Memory<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) slab: &'a mut Slab,
}

/// The class of the cells for so many units of four words.
const CLASSES: [u8; SIZES[SIZES.len() - 1] / GRANULE_WORDS + 1] = {
    let mut classes = [0; SIZES[SIZES.len() - 1] / GRANULE_WORDS + 1];
    let (mut class, mut granules) = (0, 0);
    while granules < classes.len() {
        if granules * GRANULE_WORDS > SIZES[class] {
            class += 1;
        }
        classes[granules] = class as u8;
        granules += 1;
    }
    classes
};

/// Cells of a page, by class.
const CELLS: [u32; SIZES.len()] = {
    let mut cells = [0; SIZES.len()];
    let mut class = 0;
    while class < SIZES.len() {
        cells[class] = ((PAGE_WORDS - HEAD_WORDS) / SIZES[class]) as u32;
        class += 1;
    }
    cells
};

/// The size class of so many words; `None` if that is more than a page's cell.
#[inline(always)]
fn class_of(words: usize) -> Option<usize> {
    CLASSES.get(words.div_ceil(GRANULE_WORDS)).map(|&class| usize::from(class))
}

fn cells_of(class: usize) -> u32 {
    CELLS[class]
}

/// The head of a page, unpacked.
#[derive(Clone, Copy)]
struct Head {
    used: u32,
    fresh: u32,
    free: u32,
    next: u32,
    previous: u32,
}

impl Memory<'_> {
    fn head(&self, page: u32) -> Head {
        let cell = self.arena.words().cell(page as usize * PAGE_WORDS);
        // Relaxed, here and below: one writer, under its lock.
        let [counts, free, links] = [0, 1, 2].map(|index| cell.word(index).load(Ordering::Relaxed));
        Head {
            used: counts as u32,
            fresh: (counts >> 32) as u32,
            free: free as u32,
            next: links as u32,
            previous: (links >> 32) as u32,
        }
    }

    fn set_head(&self, page: u32, head: Head) {
        let cell = self.arena.words().cell(page as usize * PAGE_WORDS);
        cell.word(0).store(u64::from(head.used) | u64::from(head.fresh) << 32, Ordering::Relaxed);
        cell.word(1).store(u64::from(head.free), Ordering::Relaxed);
        cell.word(2).store(u64::from(head.next) | u64::from(head.previous) << 32, Ordering::Relaxed);
    }

    /// Puts a page at the front of those with free cells.
    fn open(&mut self, class: usize, page: u32, mut head: Head) {
        head.previous = 0;
        head.next = self.slab.open[class];
        if head.next != 0 {
            let mut next = self.head(head.next);
            next.previous = page;
            self.set_head(head.next, next);
        }
        self.slab.open[class] = page;
        self.set_head(page, head);
    }

    /// Takes a page out of those with free cells.
    fn close(&mut self, class: usize, head: Head) {
        if head.next != 0 {
            let mut next = self.head(head.next);
            next.previous = head.previous;
            self.set_head(head.next, next);
        }
        if head.previous == 0 {
            self.slab.open[class] = head.next;
        } else {
            let mut previous = self.head(head.previous);
            previous.next = head.next;
            self.set_head(head.previous, previous);
        }
    }

    /// A cell of the run, as from [`take`](Allocate::take). A run that is used up is begun anew with `want` cells, or fewer: as many as follow each
    /// other where there are free ones. There are no runs of what is larger than any cell.
    pub(crate) fn take_next(&mut self, run: &mut Run, words: usize, want: u32) -> Option<usize> {
        let class = class_of(words)?;
        // As in `take`.
        fence(Ordering::Release);
        if run.left == 0 {
            let (at, left) = self.take_cells(class, want.max(1))?;
            *run = Run { next: (at / GRANULE_WORDS) as u32, left };
        }
        let at = run.next as usize * GRANULE_WORDS;
        *run = Run { next: run.next + (SIZES[class] / GRANULE_WORDS) as u32, left: run.left - 1 };
        let words = self.arena.words();
        if run.left > 0 {
            // Whoever comes next finds it near.
            words.prefetch_two(run.next as usize * GRANULE_WORDS);
        }
        words.cell(at).word(0).store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        Some(at)
    }

    /// Gives back what a run of cells of so many words has left.
    pub(crate) fn end_run(&mut self, run: &mut Run, words: usize) {
        let run = std::mem::take(run);
        for index in 0..run.left as usize {
            self.give(run.next as usize * GRANULE_WORDS + index * words, words);
        }
    }

    fn take_cell(&mut self, class: usize) -> Option<usize> {
        let (at, _) = self.take_cells(class, 1)?;
        // Not live before it is published, whatever the place was before: bytes of a meta could be taken for a stamp.
        self.arena.words().cell(at).word(0).store(0, Ordering::Relaxed);
        Some(at)
    }

    /// Up to so many cells that follow each other, and how many.
    fn take_cells(&mut self, class: usize, want: u32) -> Option<(usize, u32)> {
        let page = match self.slab.open[class] {
            0 => {
                let page = self.arena.take(1)?;
                // As in `take`, for a page that another shard may have used.
                fence(Ordering::Release);
                self.open(class, page, Head { used: 0, fresh: 0, free: 0, next: 0, previous: 0 });
                page
            }
            page => page,
        };
        let words = self.arena.words();
        let (counts, free) =
            (words.cell(page as usize * PAGE_WORDS).word(0), words.cell(page as usize * PAGE_WORDS).word(1));
        let (used_fresh, first) = (counts.load(Ordering::Relaxed), free.load(Ordering::Relaxed));
        let (used, fresh) = (used_fresh as u32, (used_fresh >> 32) as u32);
        let (mut fresh_now, mut taken) = (fresh, 1);
        let at = if first == 0 {
            taken = want.min(cells_of(class) - fresh);
            fresh_now += taken;
            page as usize * PAGE_WORDS + HEAD_WORDS + fresh as usize * SIZES[class]
        } else {
            let at = first as usize * GRANULE_WORDS;
            free.store(words.cell(at).word(1).load(Ordering::Relaxed), Ordering::Relaxed);
            at
        };
        counts.store(u64::from(used + taken) | u64::from(fresh_now) << 32, Ordering::Relaxed);
        if used + taken == cells_of(class) {
            self.close(class, self.head(page));
        }
        Some((at, taken))
    }

    fn give_cell(&mut self, class: usize, at: usize) {
        let page = (at / PAGE_WORDS) as u32;
        let words = self.arena.words();
        let cell = words.cell(page as usize * PAGE_WORDS);
        let (counts, free) = (cell.word(0), cell.word(1));
        words.cell(at).word(1).store(free.load(Ordering::Relaxed), Ordering::Relaxed);
        free.store((at / GRANULE_WORDS) as u64, Ordering::Relaxed);
        let used_fresh = counts.load(Ordering::Relaxed) - 1;
        counts.store(used_fresh, Ordering::Relaxed);
        let used = used_fresh as u32;
        if used + 1 == cells_of(class) {
            self.open(class, page, self.head(page));
        }
        if used == 0 {
            let head = self.head(page);
            // One of each size is kept.
            if head.next != 0 || head.previous != 0 {
                self.close(class, head);
                self.arena.give(page, 1);
            }
        }
    }
}

impl Allocate for Memory<'_> {
    fn take(&mut self, words: usize) -> Option<usize> {
        // What is stored into a page's head and a cell's first word comes after whatever ended the place's last use, also if that
        // was another thread's doing.
        fence(Ordering::Release);
        let at = match class_of(words) {
            Some(class) => self.take_cell(class)?,
            None => self.arena.take(words.div_ceil(PAGE_WORDS))? as usize * PAGE_WORDS,
        };
        // Whatever is stored here from now on comes after whatever ended the place's last use.
        fence(Ordering::Release);
        Some(at)
    }

    fn give(&mut self, at: usize, words: usize) {
        fence(Ordering::Release);
        match class_of(words) {
            Some(class) => self.give_cell(class, at),
            None => self.arena.give((at / PAGE_WORDS) as u32, words.div_ceil(PAGE_WORDS)),
        }
    }
}
