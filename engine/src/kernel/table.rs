//! The index: hash → number of a slot, found without a lock, grown a segment at a time.
//!
//! A table is a directory of **segments** of 64 **buckets** of one cache line: twelve one-byte tags, a count of overflows and twelve
//! numbers. The topmost bits of the hash choose the segment (extendible hashing: R. Fagin et al., "Extendible hashing - a fast
//! access method for dynamic files", 1979), eight others the tag, six the home bucket. An entry whose home is full lies in the next
//! bucket that is not, and every full bucket that it passed counts it, so a search knows when to stop, removals leave no tombstones, and
//! churn wears nothing out (the counts are those of F14: N. Bronson, X. Shi, "Open-sourcing F14", 2019).
//!
//! One writer at a time (the shard's lock), any number of readers:
//!
//! * A number is stored before its tag. Numbers are swung to another slot in place, by one store. Nothing moves within a segment.
//! * **Growth** fills two new segments from a full one, which stays as it is, and then swings the directory to them; the old one's page
//!   is used for something else later. No other entry of the directory waits for that: the longest step is one segment.
//! * A reader that has judged a slot, to be the one or to be *another's*, looks once more at the cell and then at the slot's stamp. Had
//!   the cell been swung meanwhile, the slot it led to may be another's by now, while the key that is sought is in the table all
//!   the time; and the cell alone does not tell, since a slot that was freed can come back to it. A slot that is no longer live says
//!   nothing: the cell is read again.
//! * Whatever a reader found, and whenever it reads a cell again, it looks at the directory once more: had the segment been replaced,
//!   what it read there may be something else's words.
//!
//! Every second look follows an Acquire of something stored after the change (a stamp or a word of the page's next use; pages
//! and slots are used again only behind a Release fence), so it finds the change.

mod writer;

pub(crate) use writer::Writer;

use crate::memory::Words;
use crate::sync::{Ordering, fence};

/// Cells of a bucket.
const LANES: usize = if cfg!(loom) { 2 } else { 12 };
/// Words of a bucket: one cache line.
const BUCKET_WORDS: usize = 8;
/// Buckets of a segment, as a power of two.
const BUCKET_BITS: u32 = if cfg!(loom) { 1 } else { 6 };
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Words of a segment: one page.
pub(crate) const SEGMENT_WORDS: usize = BUCKET_WORDS << BUCKET_BITS;
const SEGMENT_CELLS: u64 = (BUCKETS * LANES) as u64;
/// A segment with so many entries is split before another comes.
const SPLIT_AT: u64 = if cfg!(loom) { 3 } else { SEGMENT_CELLS * 5 / 6 };
/// Two halves with so many entries together become one again.
const MERGE_AT: u64 = SPLIT_AT / 3;
/// The directory has at most 2^18 entries: with the home bucket and the tag, that is what a hash of 32 bits tells apart.
const DEPTH_MAX: u32 = 18;
/// Words of a granule, in which the directory names places.
const GRANULE_WORDS: usize = 4;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// Another key is taken for the truth without a second look at the cell.
    pub(crate) const OTHER_UNCHECKED: u8 = 21;
    /// A slot that is not live is taken for an absent key without a second look at the cell.
    pub(crate) const GONE_UNCHECKED: u8 = 22;
    /// A slot that is not live is looked at until the cell has changed.
    pub(crate) const GONE_AGAIN: u8 = 28;
    /// Nothing found is believed without a second look at the directory.
    pub(crate) const MISS_UNCHECKED: u8 = 23;
    /// The directory is swung to segments that are not filled yet.
    pub(crate) const SPLIT_BEFORE_FILL: u8 = 24;
    /// The directory is swung without Release.
    pub(crate) const SPLIT_RELAXED: u8 = 25;
    /// A number is swung without Release.
    pub(crate) const SWING_RELAXED: u8 = 26;
    /// A removal moves the bucket's last entry into the hole.
    pub(crate) const SHIFT_REMOVE: u8 = 29;
    /// A cell that names the slot that it named before is taken for one that did not change in between.
    pub(crate) const LIFE_UNCHECKED: u8 = 30;
    /// Entries that pass a full bucket are not counted there.
    pub(crate) const OVERFLOW_UNCOUNTED: u8 = 27;
    /// What a glance found is believed without a second look.
    pub(crate) const GLANCE_ONE_LOOK: u8 = 31;
    /// A glance looks at the stamp again before it fences.
    pub(crate) const GLANCE_STAMP_FIRST: u8 = 32;
}

/// What a reader's judge says of a slot, or of a group.
pub(crate) enum Verdict<R> {
    /// It is the one, in the life of that stamp.
    Hit(R, u64),
    /// It is live, in the life of that stamp, and another's.
    Other(u64),
    /// It is not live, or was not throughout.
    Gone,
}

/// What a [glance](Table::glance) tells.
pub(crate) enum Glance<R> {
    /// The one is there.
    Hit(R),
    /// It is not in the table.
    Absent,
    /// Only a search can tell.
    Unsure,
}

/// Where a reader met a number, so that it can look there again.
#[derive(Clone, Copy)]
pub(crate) struct Sighting {
    root: (usize, u64),
    entry: (usize, u64),
    bucket: usize,
    lane: usize,
}

impl Sighting {
    /// Whether the segment is in the table. After an Acquire of anything that was stored since it was given up, it is found not to be.
    #[inline(always)]
    fn is_current(self, words: &Words) -> bool {
        // Pairs with the Release fence before the next use of a page: who read a word of that sees the directory changed.
        fence(Ordering::Acquire);
        words.cell(self.entry.0).word(0).load(Ordering::Relaxed) == self.entry.1
            && words.cell(self.root.0).word(0).load(Ordering::Relaxed) == self.root.1
    }

    /// Whether the table names `id` here.
    #[inline(always)]
    pub(crate) fn names(self, words: &Words, id: u32) -> bool {
        number_at(words, self.bucket, self.lane) == id && self.is_current(words)
    }
}

/// The stamp of whatever a number names, a slot or a group.
#[inline(always)]
pub(crate) fn stamp_of(words: &Words, named: u32) -> u64 {
    // Acquire: what is looked at next is looked at after it, and the life that it tells of is one in which the number was named.
    words.cell((named & !super::group::GROUP) as usize * GRANULE_WORDS).word(0).load(Ordering::Acquire)
}

/// Whether a slot, or a group, lives the life of that stamp.
#[inline(always)]
pub(crate) fn lives(words: &Words, named: u32, stamp: u64) -> bool {
    stamp & 1 == 1 && stamp_of(words, named) == stamp
}

/// No room: the memory is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

/// Where tables, lists and groups get their memory from, in words; places are multiples of four words. Between a `give` and
/// whatever is stored into the place next stands a Release fence.
pub(crate) trait Allocate {
    /// A place of at least so many words, with any content.
    fn take(&mut self, words: usize) -> Option<usize>;
    /// Gives a place of so many words back. Only stale readers may still look into it.
    fn give(&mut self, at: usize, words: usize);
}

/// A table, as readers know it: the place of its root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<const FAULT: u8> {
    root: usize,
}

/// The directory or one of its entries: a place, a depth, and a generation that tells two uses of one place apart.
#[derive(Clone, Copy)]
struct Link {
    at: usize,
    depth: u32,
}

impl Link {
    fn unpack(word: u64) -> Self {
        Self { at: (word & 0xffff_ffff) as usize * GRANULE_WORDS, depth: (word >> 32) as u32 & 0xff }
    }

    fn pack(self, generation: u32) -> u64 {
        (self.at / GRANULE_WORDS) as u64 | u64::from(self.depth) << 32 | u64::from(generation) << 40
    }

    /// The place of the entry of a hash in the directory.
    #[inline(always)]
    fn entry(self, hash: u32) -> usize {
        self.at + ((u64::from(hash) << (self.depth & 31)) >> 32) as usize
    }
}

/// The tag of a hash: never 0.
#[inline(always)]
fn tag_of(hash: u32) -> u64 {
    u64::from((hash & 0xff).max(1))
}

#[inline(always)]
fn home_of(hash: u32) -> usize {
    (hash >> 8) as usize & (BUCKETS - 1)
}

/// The place of the home bucket of a hash in the segment at that place.
#[inline(always)]
fn home_at(segment: usize, hash: u32) -> usize {
    segment + home_of(hash) * BUCKET_WORDS
}

/// The lanes of a bucket that have this tag, a bit each, from its first two words.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline(always)]
fn lanes_with(tag: u64, low: u64, tail: u64) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    // SAFETY: SSE2 is part of x86_64, and none of these touches memory.
    let equal = unsafe {
        let tags = _mm_set_epi64x(tail.cast_signed(), low.cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((tag as u8).cast_signed())))
    };
    equal.cast_unsigned() & 0xfff
}

/// The lanes of a bucket that have this tag, a bit each, from its first two words.
#[cfg(any(not(target_arch = "x86_64"), loom))]
fn lanes_with(tag: u64, low: u64, tail: u64) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let pattern = tag * 0x0101_0101_0101_0101;
    // The uppermost bit of each byte that is 0, all of them gathered into one byte.
    let zero_bytes = |word: u64| !(((word & LOW) + LOW) | word | LOW);
    let gather = |bits: u64| ((bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32;
    (gather(zero_bytes(low ^ pattern)) | gather(zero_bytes(tail ^ pattern)) << 8) & ((1 << LANES) - 1)
}

/// The second word of a bucket: four tags, how many entries passed it because it was full, and, in the first bucket, how many
/// entries the segment has.
#[inline(always)]
fn overflows(tail: u64) -> u64 {
    (tail >> 32) & 0xffff
}
const OVERFLOW_ONE: u64 = 1 << 32;
const USED_ONE: u64 = 1 << 48;

impl<const FAULT: u8> Table<FAULT> {
    /// The table whose root is that word. A root of 0 is an empty table.
    pub(crate) fn new(root: usize) -> Self {
        Self { root }
    }

    /// Fetches the home bucket of a hash ahead of a search.
    #[inline(always)]
    pub(crate) fn prefetch_home(self, words: &Words, hash: u32) {
        if let Some(spot) = self.locate(words, hash) {
            words.prefetch(home_at(spot.bucket, hash));
        }
    }

    /// As [`prefetch_home`](Self::prefetch_home), and fetches the segment's first bucket, whose count a change will touch.
    #[inline(always)]
    pub(crate) fn prefetch(self, words: &Words, hash: u32) {
        if let Some(spot) = self.locate(words, hash) {
            words.prefetch(home_at(spot.bucket, hash));
            words.prefetch(spot.bucket);
        }
    }

    /// The first bucket of the segment of a hash; `None` if the table is empty.
    #[inline(always)]
    fn locate(self, words: &Words, hash: u32) -> Option<Sighting> {
        // Acquire, twice: pair with the Release of `Writer::swing_directory` and `link`; what the directory names is filled.
        let root = words.cell(self.root).word(0).load(Ordering::Acquire);
        if root == 0 {
            return None;
        }
        let entry_at = Link::unpack(root).entry(hash);
        let entry = words.cell(entry_at).word(0).load(Ordering::Acquire);
        let bucket = Link::unpack(entry).at;
        Some(Sighting { root: (self.root, root), entry: (entry_at, entry), bucket, lane: 0 })
    }

    /// Fetches the slots in the home bucket of a hash that may be the ones sought, ahead of a search. What it looks at may be stale: it
    /// only asks.
    #[inline(always)]
    pub(crate) fn prefetch_slots(self, words: &Words, hash: u32) {
        let Some(spot) = self.locate(words, hash) else {
            return;
        };
        let bucket = home_at(spot.bucket, hash);
        let cell = words.cell(bucket);
        let (low, tail) = (cell.word(0).load(Ordering::Relaxed), cell.word(1).load(Ordering::Relaxed));
        let mut lanes = lanes_with(tag_of(hash), low, tail);
        while lanes != 0 {
            let id = number_at(words, bucket, lanes.trailing_zeros() as usize);
            lanes &= lanes - 1;
            let slot = (id & !crate::kernel::group::GROUP) as usize * GRANULE_WORDS;
            words.prefetch_two(slot);
        }
    }

    /// The first steps of a search, in which most end: to the first lane of the home bucket that has the tag. `judge` says what it found there,
    /// if that is the one, and the stamp that it found first; it need not look at that again. The searcher has nothing to remember for later
    /// steps, and so fewer loads and stores than [`find`](Self::find): the processor looks further ahead.
    #[inline(always)]
    pub(crate) fn glance<R>(
        self,
        words: &Words,
        hash: u32,
        judge: impl FnOnce(u32) -> Option<(R, u64)>,
    ) -> Glance<R> {
        let Some(mut spot) = self.locate(words, hash) else {
            return Glance::Absent;
        };
        spot.bucket = home_at(spot.bucket, hash);
        let cell = words.cell(spot.bucket);
        // Acquire: as in `search`.
        let low = cell.word(0).load(Ordering::Acquire);
        let tail = cell.word(1).load(Ordering::Acquire);
        let lanes = lanes_with(tag_of(hash), low, tail);
        if lanes == 0 {
            let is_absent =
                overflows(tail) == 0 && (FAULT == fault::MISS_UNCHECKED || spot.is_current(words));
            return if is_absent { Glance::Absent } else { Glance::Unsure };
        }
        spot.lane = lanes.trailing_zeros() as usize;
        let id = number_at(words, spot.bucket, spot.lane);
        let Some((hit, stamp)) = judge(id) else {
            return Glance::Unsure;
        };
        let names = || spot.names(words, id);
        let lives = || lives(words, id, stamp);
        let is_it = match FAULT {
            fault::GLANCE_ONE_LOOK => true,
            fault::GLANCE_STAMP_FIRST => lives() && names(),
            // The fence of `is_current`, in `names`, stands between what was read of the slot and the second look at its stamp.
            _ => names() && lives(),
        };
        if is_it { Glance::Hit(hit) } else { Glance::Unsure }
    }

    /// The first number under this hash that `judge` calls a hit. Whatever is in the table throughout is judged.
    #[inline(always)]
    pub(crate) fn find<R>(
        self,
        words: &Words,
        hash: u32,
        mut judge: impl FnMut(u32, Sighting) -> Verdict<R>,
    ) -> Option<R> {
        loop {
            let mut spot = self.locate(words, hash)?;
            let found = Self::search(words, &mut spot, hash, &mut judge);
            if FAULT == fault::MISS_UNCHECKED && found.is_none() {
                return None;
            }
            if spot.is_current(words) {
                return found;
            }
        }
    }

    /// Searches the segment at the spot's bucket. What it found counts only if the segment is current afterwards; if it finds out
    /// itself that it is not, it comes back at once.
    #[inline(always)]
    fn search<R>(
        words: &Words,
        spot: &mut Sighting,
        hash: u32,
        judge: &mut impl FnMut(u32, Sighting) -> Verdict<R>,
    ) -> Option<R> {
        let segment = spot.bucket;
        let mut bucket = home_of(hash);
        for _ in 0..BUCKETS {
            spot.bucket = segment + bucket * BUCKET_WORDS;
            let cell = words.cell(spot.bucket);
            // Acquire: pairs with the Release of the tag's store; its number is there.
            let low = cell.word(0).load(Ordering::Acquire);
            let tail = cell.word(1).load(Ordering::Acquire);
            let mut lanes = lanes_with(tag_of(hash), low, tail);
            while lanes != 0 {
                spot.lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                let mut id = number_at(words, spot.bucket, spot.lane);
                while id != 0 {
                    let (hit, stamp) = match judge(id, *spot) {
                        Verdict::Hit(hit, stamp) => (Some(hit), stamp),
                        Verdict::Other(_) if FAULT == fault::OTHER_UNCHECKED => break,
                        Verdict::Gone if FAULT == fault::GONE_UNCHECKED => break,
                        Verdict::Other(stamp) => (None, stamp),
                        Verdict::Gone => (None, 0),
                    };
                    let now = number_at(words, spot.bucket, spot.lane);
                    let lives = || FAULT == fault::LIFE_UNCHECKED || lives(words, id, stamp);
                    if now == id && stamp & 1 == 1 && lives() {
                        if hit.is_some() {
                            return hit;
                        }
                        break;
                    }
                    // Somebody has changed the cell, or it is no cell any more.
                    if FAULT != fault::GONE_AGAIN && !spot.is_current(words) {
                        return None;
                    }
                    id = number_at(words, spot.bucket, spot.lane);
                }
            }
            if overflows(tail) == 0 {
                return None;
            }
            bucket = (bucket + 1) & (BUCKETS - 1);
        }
        None
    }

    /// All numbers, a segment at a time: `visit` is given those of one segment as they were while it was in the table, and the least hash
    /// that has not been visited before: with halves that become one meanwhile, numbers below come again.
    pub(crate) fn scan(self, words: &Words, mut visit: impl FnMut(u32, &[u32])) {
        let mut numbers = Vec::new();
        let mut from = 0_u64;
        while from < 1 << 32 {
            let hash = from as u32;
            // As in `find`.
            let root = words.cell(self.root).word(0).load(Ordering::Acquire);
            if root == 0 {
                return;
            }
            let entry_at = Link::unpack(root).entry(hash);
            let entry = words.cell(entry_at).word(0).load(Ordering::Acquire);
            let segment = Link::unpack(entry);
            numbers.clear();
            for cell in 0..BUCKETS * LANES {
                let (bucket, lane) = (cell / LANES, cell % LANES);
                let id = number_at(words, segment.at + bucket * BUCKET_WORDS, lane);
                if id != 0 {
                    numbers.push(id);
                }
            }
            fence(Ordering::Acquire);
            if words.cell(entry_at).word(0).load(Ordering::Relaxed) == entry
                && words.cell(self.root).word(0).load(Ordering::Relaxed) == root
            {
                visit(hash, &numbers);
                let span = 1_u64 << (32 - segment.depth.min(32));
                from = (from & !(span - 1)) + span;
            }
        }
    }
}

/// The number in a lane of the bucket at `at`; 0 if there is none.
#[inline(always)]
fn number_at(words: &Words, at: usize, lane: usize) -> u32 {
    // Acquire: pairs with the Release of `set_number`; the slot that it names is published.
    let pair = words.cell(at).word(2 + lane / 2).load(Ordering::Acquire);
    (pair >> (32 * (lane & 1))) as u32
}
