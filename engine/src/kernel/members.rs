//! Member lists: the slots of one topic in the order in which they came, read without a lock.
//!
//! A list is a chain of **chunks**, each a little larger than the one before. A member has a **position**: the count of joins
//! before it, which it keeps through its updates. A chunk begins at a position and has one cell for each that follows; a member
//! that leaves becomes a hole. Nothing ever moves to another position, so a reader that goes by ascending positions meets
//! every member that was there throughout, and none twice. (Filling holes or moving the last member into them would lose one that a
//! reader has not reached yet.)
//!
//! A chunk without members is taken out of the chain. Two neighbours that are mostly holes become one **sparse** chunk, whose cells say
//! their position; it takes their place by one store of the link that led to them.
//!
//! One writer at a time, any number of readers. A reader holds on to the chunk that it came from: the link to the next one was
//! right if that chunk still has its stamp after the next one's stamp was read. Otherwise it begins again at the head and
//! skips to the position that it had reached. As in the index, a member whose slot is not what it should be is looked at once more in its
//! cell, and the cell once more in its chunk.

use super::table::{Allocate, NoRoom};
use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// Words before the cells: stamp; link and form; first position; cells in use and topic.
const HEAD: usize = 4;
/// Sizes of chunks, in words. The largest fills a page of slots' size.
const SIZES: [usize; 7] = if cfg!(loom) { [5, 6, 6, 6, 6, 6, 6] } else { [8, 16, 32, 64, 124, 252, 504] };
/// Two chunks become one if they have so many cells to a member, or more.
const CELLS_PER_MEMBER: u32 = if cfg!(loom) { 2 } else { 4 };
/// Members of a sparse chunk: half of what fits.
const SPARSE_MAX: usize = if cfg!(loom) { 2 } else { 250 };
const GRANULE_WORDS: usize = 4;
const IS_SPARSE: u64 = 1 << 63;
/// How many members ahead of itself a reader asks for.
const AHEAD: usize = 12;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// A member that leaves is replaced by the last one.
    pub(crate) const SWAP_REMOVE: u8 = 61;
    /// A member that is not there any more is passed over without a second look at its cell.
    pub(crate) const MEMBER_UNCHECKED: u8 = 62;
    /// A chunk is given up before the link to it is swung.
    pub(crate) const FREE_BEFORE_UNLINK: u8 = 63;
    /// The reader does not look back at the chunk that it came from.
    pub(crate) const LINK_UNCHECKED: u8 = 64;
    /// A chunk is linked before it is filled.
    pub(crate) const LINK_BEFORE_FILL: u8 = 65;
}

/// Where a list begins, and how a reader knows that it is still this list.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// The topic's record: its first word is a stamp.
    pub(crate) record: usize,
    /// The word of the record whose lower half names the first chunk.
    pub(crate) word: usize,
    /// The stamp of this life of the topic.
    pub(crate) stamp: u64,
}

impl Head {
    fn link(self, words: &Words) -> u32 {
        // Acquire: pairs with the Release of `List::set_link`; the chunk is filled.
        words.cell(self.record).word(self.word).load(Ordering::Acquire) as u32
    }

    fn is_alive(self, words: &Words) -> bool {
        // Pairs with the Release fence before the record's next use.
        fence(Ordering::Acquire);
        words.cell(self.record).word(0).load(Ordering::Acquire) == self.stamp
    }
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walked {
    /// At the end of the list.
    Whole,
    /// Where the visitor said so.
    Enough,
    /// The topic is not this one any more; all its members have left.
    Ended,
}

/// The chunk that a reader came from, and the stamp that it had.
#[derive(Clone, Copy)]
struct Step {
    at: usize,
    stamp: u64,
}

/// The reader's side.
pub(crate) struct Walk<const FAULT: u8>;

impl<const FAULT: u8> Walk<FAULT> {
    /// Reads every member after a position, ascending, with `read`, which is given its number and position, leaves what it read in
    /// `state` and says whether that was this member, and shows it to `visit`, which says whether to go on.
    #[inline(always)]
    pub(crate) fn each<S>(
        words: &Words,
        head: Head,
        mut after: u64,
        state: &mut S,
        mut read: impl FnMut(u32, u64, &mut S) -> bool,
        mut visit: impl FnMut(&mut S, u64) -> bool,
    ) -> Walked {
        'again: loop {
            let mut came_from: Option<Step> = None;
            let mut link = head.link(words);
            loop {
                if link == 0 {
                    // The end, if where it was read is still where it was.
                    match came_from {
                        Some(step) if !still(words, step) => continue 'again,
                        None if !head.is_alive(words) => return Walked::Ended,
                        _ => return Walked::Whole,
                    }
                }
                let at = link as usize * GRANULE_WORDS;
                let chunk = words.cell(at);
                // Acquire: pairs with the Release of `List::publish`.
                let step = Step { at, stamp: chunk.word(0).load(Ordering::Acquire) };
                let led_here = match came_from {
                    None => head.link(words) == link && head.is_alive(words),
                    Some(from) => link_of(words, from.at) == link && still(words, from),
                };
                if FAULT != fault::LINK_UNCHECKED && (step.stamp & 1 == 0 || !led_here) {
                    if came_from.is_none() && !head.is_alive(words) {
                        return Walked::Ended;
                    }
                    continue 'again;
                }
                let first = chunk.word(2).load(Ordering::Relaxed);
                let sparse = chunk.word(1).load(Ordering::Relaxed) & IS_SPARSE != 0;
                // Relaxed: whoever joined before this walk is within any count found, and a cell that is not filled yet is a hole.
                let used = chunk.word(3).load(Ordering::Relaxed) as u32 as usize;
                if FAULT != fault::LINK_UNCHECKED && !still(words, step) {
                    continue 'again;
                }
                let mut index = 0;
                if !sparse && after >= first {
                    index = usize::try_from(after - first + 1).unwrap_or(usize::MAX);
                }
                let mut ahead = Ahead::new(words, at, sparse, used);
                if came_from.is_none() {
                    (index..index + AHEAD).for_each(|index| ahead.come_to(words, index));
                }
                while index < used {
                    ahead.come_to(words, index + AHEAD);
                    let (mut id, delta) = cell(words, at, sparse, index);
                    let position = first.wrapping_add(delta);
                    while id != 0 && position > after {
                        if read(id, position, state) {
                            // The slot says so itself, whole; and the list that it was found by still was one.
                            if FAULT != fault::LINK_UNCHECKED && !still(words, step) {
                                continue 'again;
                            }
                            after = position;
                            if !visit(state, position) {
                                return Walked::Enough;
                            }
                            break;
                        }
                        if FAULT == fault::MEMBER_UNCHECKED {
                            break;
                        }
                        // Numbers change before their slots are freed: one that still names another is of a chunk that was given up.
                        let now = cell(words, at, sparse, index).0;
                        if now == id && FAULT != fault::LINK_UNCHECKED && !still(words, step) {
                            continue 'again;
                        }
                        id = now;
                    }
                    index += 1;
                }
                // The cells that were read were this chunk's, and so is the link.
                link = link_of(words, at);
                if FAULT != fault::LINK_UNCHECKED && !still(words, step) {
                    continue 'again;
                }
                came_from = Some(step);
            }
        }
    }
}

/// Asks for the slots of members before they are read, past the end of a chunk into the next. What it looks at may be stale: it
/// only asks.
struct Ahead {
    at: usize,
    sparse: bool,
    used: usize,
    next: usize,
    next_sparse: Option<bool>,
}

impl Ahead {
    #[inline(always)]
    fn new(words: &Words, at: usize, sparse: bool, used: usize) -> Self {
        let next = link_of(words, at) as usize * GRANULE_WORDS;
        words.prefetch_two(next);
        Self { at, sparse, used, next, next_sparse: None }
    }

    /// A reader comes to that index some steps later. Dense cells lie in pairs, and are asked for by the first of a pair.
    #[inline(always)]
    fn come_to(&mut self, words: &Words, index: usize) {
        if cfg!(loom) || !self.sparse && index & 1 == 1 {
            return;
        }
        let (word, sparse) = if index < self.used {
            (cells(words, self.at, self.sparse, index), self.sparse)
        } else {
            self.beyond(words, index - self.used)
        };
        Self::fetch(words, word as u32);
        if !sparse {
            Self::fetch(words, (word >> 32) as u32);
        }
    }

    #[inline(always)]
    fn fetch(words: &Words, id: u32) {
        words.prefetch_two(id as usize * GRANULE_WORDS);
    }

    /// The cells of the next chunk, if there is one, and whether they are sparse.
    fn beyond(&mut self, words: &Words, index: usize) -> (u64, bool) {
        if self.next == 0 {
            return (0, true);
        }
        let form = || words.cell(self.next).word(1).load(Ordering::Relaxed) & IS_SPARSE != 0;
        let sparse = *self.next_sparse.get_or_insert_with(form);
        // Some steps of `AHEAD`, so within the page of the chunk, or the next page.
        (cells(words, self.next, sparse, index.min(AHEAD)), sparse)
    }
}

fn still(words: &Words, step: Step) -> bool {
    // Pairs with the Release fence before the place's next use.
    fence(Ordering::Acquire);
    words.cell(step.at).word(0).load(Ordering::Acquire) == step.stamp
}

fn link_of(words: &Words, at: usize) -> u32 {
    // Acquire: pairs with the Release of `List::set_link`; the chunk is filled.
    words.cell(at).word(1).load(Ordering::Acquire) as u32
}

/// The number in a cell, and how far its position is from the chunk's first.
#[inline(always)]
fn cell(words: &Words, at: usize, sparse: bool, index: usize) -> (u32, u64) {
    let word = cells(words, at, sparse, index);
    if sparse { (word as u32, word >> 32) } else { ((word >> (32 * (index & 1))) as u32, index as u64) }
}

/// The word that a cell is in: of two dense cells, or of a sparse one.
#[inline(always)]
fn cells(words: &Words, at: usize, sparse: bool, index: usize) -> u64 {
    // Acquire: pairs with the Release of `set_cell`; the slot is published.
    words.cell(at).word(HEAD + if sparse { index } else { index / 2 }).load(Ordering::Acquire)
}

/// What the writer knows of a chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    first: u64,
    /// The place, in granules.
    granule: u32,
    /// Cells in use, holes included; fewer than the capacity in the last chunk only.
    used: u16,
    live: u16,
    capacity: u16,
    words: u16,
    sparse: bool,
}

const _: () = assert!(size_of::<Chunk>() == 24);

impl Chunk {
    fn at(&self) -> usize {
        self.granule as usize * GRANULE_WORDS
    }
}

/// A list, as its writer knows it.
#[derive(Debug)]
pub(crate) struct List<const FAULT: u8> {
    chunks: Vec<Chunk>,
    next: u64,
    len: usize,
}

impl<const FAULT: u8> Default for List<FAULT> {
    fn default() -> Self {
        Self { chunks: Vec::new(), next: 1, len: 0 }
    }
}

impl<const FAULT: u8> List<FAULT> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The position that the next member gets.
    pub(crate) fn next_position(&self) -> u64 {
        self.next
    }

    /// Makes room for one more member. `stamp` is odd and was never used before.
    ///
    /// # Errors
    /// There is no memory for it. Nothing has changed.
    pub(crate) fn reserve(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        head: Head,
        stamp: u64,
    ) -> Result<(), NoRoom> {
        if self.chunks.last().is_some_and(|last| !last.sparse && last.used < last.capacity) {
            return Ok(());
        }
        let wanted = HEAD + (self.len / 12).max(1);
        let size = *SIZES.iter().find(|&&size| size >= wanted).unwrap_or(&SIZES[SIZES.len() - 1]);
        let at = memory.take(size).ok_or(NoRoom)?;
        let chunk = Chunk {
            first: self.next,
            granule: (at / GRANULE_WORDS) as u32,
            used: 0,
            live: 0,
            capacity: (size - HEAD) as u16 * 2,
            words: size as u16,
            sparse: false,
        };
        for index in HEAD..size {
            words.cell(at).word(index).store(0, Ordering::Relaxed);
        }
        if FAULT == fault::LINK_BEFORE_FILL {
            self.set_link(words, head, self.chunks.len(), at);
        }
        Self::publish(words, &chunk, 0, stamp);
        self.set_link(words, head, self.chunks.len(), at);
        // A full chunk without members was kept for being the last.
        self.chunks.push(chunk);
        if self.chunks.len() > 1 {
            self.drop_if_empty(words, memory, head, self.chunks.len() - 2);
        }
        Ok(())
    }

    fn publish(words: &Words, chunk: &Chunk, next: usize, stamp: u64) {
        let cell = words.cell(chunk.at());
        let form = if chunk.sparse { IS_SPARSE } else { 0 };
        cell.word(1).store((next / GRANULE_WORDS) as u64 | form, Ordering::Relaxed);
        cell.word(2).store(chunk.first, Ordering::Relaxed);
        cell.word(3).store(u64::from(chunk.used), Ordering::Relaxed);
        // Release: pairs with the Acquire of `Walk::each`.
        cell.word(0).store(stamp, Ordering::Release);
    }

    /// Swings the link that leads to the chunk of that index.
    fn set_link(&self, words: &Words, head: Head, index: usize, at: usize) {
        let word = match index.checked_sub(1).map(|before| self.chunks[before].at()) {
            Some(before) => words.cell(before).word(1),
            None => words.cell(head.record).word(head.word),
        };
        let rest = word.load(Ordering::Relaxed) & !0xffff_ffff;
        // Release: pairs with the Acquire of `link_of` and `Head::link`; the chunk is filled.
        word.store(rest | (at / GRANULE_WORDS) as u64, Ordering::Release);
    }

    /// Appends a member, for which [`reserve`](Self::reserve) has made room; returns its position.
    pub(crate) fn append(&mut self, words: &Words, id: u32) -> u64 {
        let position = self.next;
        if let Some(last) = self.chunks.last_mut() {
            let count = words.cell(last.at()).word(3);
            let more = count.load(Ordering::Relaxed) + 1;
            set_cell(words, last, last.used as usize, id);
            count.store(more, Ordering::Relaxed);
            last.used += 1;
            last.live += 1;
            self.next += 1;
            self.len += 1;
        }
        position
    }

    /// The chunk and the cell of a position.
    fn find(&self, words: &Words, position: u64) -> Option<(usize, usize)> {
        let index = self.chunks.partition_point(|chunk| chunk.first <= position).checked_sub(1)?;
        let chunk = &self.chunks[index];
        if !chunk.sparse {
            let cell = usize::try_from(position - chunk.first).ok()?;
            return (cell < chunk.used as usize).then_some((index, cell));
        }
        let delta = position - chunk.first;
        let (mut low, mut high) = (0, chunk.used as usize);
        while low < high {
            let middle = low.midpoint(high);
            if cell(words, chunk.at(), true, middle).1 < delta { low = middle + 1 } else { high = middle }
        }
        (low < chunk.used as usize && cell(words, chunk.at(), true, low).1 == delta).then_some((index, low))
    }

    /// Asks for the cell of a position, which will be changed.
    #[inline]
    pub(crate) fn prefetch(&self, words: &Words, position: u64) {
        let index = self.chunks.partition_point(|chunk| chunk.first <= position);
        if let Some(chunk) = index.checked_sub(1).map(|index| &self.chunks[index])
            && !chunk.sparse
        {
            words.prefetch(chunk.at() + HEAD + (position - chunk.first) as usize / 2);
        }
    }

    /// Puts another number in the place of a member's.
    pub(crate) fn swing(&mut self, words: &Words, position: u64, id: u32) {
        if let Some((index, cell)) = self.find(words, position) {
            set_cell(words, &self.chunks[index], cell, id);
        }
    }

    /// Takes a member out. `stamp` draws a stamp that was never used before, should chunks become one.
    pub(crate) fn remove(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        head: Head,
        position: u64,
        stamp: impl FnOnce() -> u64,
    ) {
        let Some((index, cell)) = self.find(words, position) else {
            return;
        };
        if FAULT == fault::SWAP_REMOVE {
            self.swap_remove(words, index, cell);
            return;
        }
        set_cell(words, &self.chunks[index], cell, 0);
        self.chunks[index].live -= 1;
        self.len -= 1;
        if self.chunks[index].live == 0 {
            self.drop_if_empty(words, memory, head, index);
        } else if self.is_sparse_pair(words, index) {
            self.merge(words, memory, head, index, stamp());
        } else if index > 0 && self.is_sparse_pair(words, index - 1) {
            self.merge(words, memory, head, index - 1, stamp());
        }
    }

    fn swap_remove(&mut self, words: &Words, index: usize, at: usize) {
        let last = *self.chunks.last().expect("there is a member");
        let moved = cell(words, last.at(), false, last.used as usize - 1).0;
        set_cell(words, &self.chunks[index], at, moved);
        set_cell(words, &last, last.used as usize - 1, 0);
        self.len -= 1;
    }

    /// Takes a chunk out that has no members, unless it is the last and has room.
    fn drop_if_empty(&mut self, words: &Words, memory: &mut impl Allocate, head: Head, index: usize) {
        let chunk = self.chunks[index];
        let has_room = !chunk.sparse && chunk.used < chunk.capacity;
        if chunk.live > 0 || (has_room && index + 1 == self.chunks.len()) {
            return;
        }
        let next = self.chunks.get(index + 1).map_or(0, |next| next.at());
        if FAULT == fault::FREE_BEFORE_UNLINK {
            give_up(words, memory, &chunk);
        }
        self.set_link(words, head, index, next);
        if FAULT != fault::FREE_BEFORE_UNLINK {
            give_up(words, memory, &chunk);
        }
        self.chunks.remove(index);
    }

    /// Whether a chunk and the next are mostly holes.
    fn is_sparse_pair(&self, words: &Words, index: usize) -> bool {
        let [one, two] = match self.chunks.get(index..index + 2) {
            Some(&[one, two]) => [one, two],
            _ => return false,
        };
        let is_last = index + 2 == self.chunks.len();
        if is_last && !two.sparse && two.used < two.capacity {
            return false;
        }
        let live = one.live + two.live;
        if usize::from(live) > SPARSE_MAX
            || u32::from(live) * CELLS_PER_MEMBER > u32::from(one.used) + u32::from(two.used)
        {
            return false;
        }
        // Positions within a chunk are told in 32 bits.
        let end = match (two.sparse, two.used) {
            (true, 1..) => two.first + cell(words, two.at(), true, two.used as usize - 1).1,
            _ => two.first + u64::from(two.used),
        };
        u32::try_from(end - one.first).is_ok()
    }

    /// Makes one sparse chunk of a chunk and the next. Without memory for it, they stay as they are.
    fn merge(&mut self, words: &Words, memory: &mut impl Allocate, head: Head, index: usize, stamp: u64) {
        let (one, two) = (self.chunks[index], self.chunks[index + 1]);
        let live = one.live + two.live;
        let size = SIZES.iter().copied().find(|&size| size - HEAD >= usize::from(live));
        let Some((size, at)) = size.and_then(|size| Some((size, memory.take(size)?))) else {
            return;
        };
        let mut both = Chunk {
            first: one.first,
            granule: (at / GRANULE_WORDS) as u32,
            used: 0,
            live,
            capacity: live,
            words: size as u16,
            sparse: true,
        };
        for chunk in [one, two] {
            for index in 0..chunk.used as usize {
                let (id, delta) = cell(words, chunk.at(), chunk.sparse, index);
                if id != 0 {
                    let delta = chunk.first + delta - both.first;
                    let word = words.cell(at).word(HEAD + both.used as usize);
                    word.store(u64::from(id) | delta << 32, Ordering::Relaxed);
                    both.used += 1;
                }
            }
        }
        let next = self.chunks.get(index + 2).map_or(0, |next| next.at());
        Self::publish(words, &both, next, stamp);
        self.set_link(words, head, index, at);
        give_up(words, memory, &one);
        give_up(words, memory, &two);
        self.chunks[index] = both;
        self.chunks.remove(index + 1);
    }

    /// Appends all numbers to `out`, with a 0 for some holes: as fast as memory is copied, for lists that are long.
    pub(crate) fn copy_numbers(&self, words: &Words, out: &mut Vec<u32>) {
        out.reserve(self.chunks.iter().map(|chunk| usize::from(chunk.used) + 1).sum());
        for chunk in &self.chunks {
            let cells = words.cell(chunk.at());
            if chunk.sparse {
                out.extend((0..usize::from(chunk.used)).map(|index| cell(words, chunk.at(), true, index).0));
            } else {
                for index in 0..usize::from(chunk.used).div_ceil(2) {
                    let pair = cells.word(HEAD + index).load(Ordering::Relaxed);
                    out.extend([pair as u32, (pair >> 32) as u32]);
                }
            }
        }
    }

    /// Members after a position, ascending, for the writer: number and position.
    pub(crate) fn after<'a>(
        &'a self,
        words: &'a Words,
        position: u64,
    ) -> impl Iterator<Item = (u32, u64)> + 'a {
        let from = self.chunks.partition_point(|chunk| chunk.first <= position).saturating_sub(1);
        let cells = self.chunks[from..].iter().flat_map(move |chunk| {
            (0..chunk.used as usize).map(move |index| {
                let (id, delta) = cell(words, chunk.at(), chunk.sparse, index);
                (id, chunk.first + delta)
            })
        });
        cells.filter(move |&(id, at)| id != 0 && at > position)
    }

    /// Gives all chunks up. The topic's record is not live any more.
    pub(crate) fn free(&mut self, words: &Words, memory: &mut impl Allocate) {
        for chunk in self.chunks.drain(..) {
            give_up(words, memory, &chunk);
        }
        *self = Self::default();
    }
}

fn give_up(words: &Words, memory: &mut impl Allocate, chunk: &Chunk) {
    // Release: who finds the 0 finds the link changed.
    words.cell(chunk.at()).word(0).store(0, Ordering::Release);
    memory.give(chunk.at(), chunk.words as usize);
}

fn set_cell(words: &Words, chunk: &Chunk, index: usize, id: u32) {
    // Release: pairs with the Acquire of `cell`.
    if chunk.sparse {
        let word = words.cell(chunk.at()).word(HEAD + index);
        let position = word.load(Ordering::Relaxed) & !0xffff_ffff;
        word.store(position | u64::from(id), Ordering::Release);
    } else {
        let word = words.cell(chunk.at()).word(HEAD + index / 2);
        let shift = 32 * (index & 1);
        let pair = word.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
        word.store(pair | u64::from(id) << shift, Ordering::Release);
    }
}
