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
    pub(crate) fn prefetch(self, words: &Words, hash: u32) {
        let root = words.cell(self.root).word(0).load(Ordering::Acquire);
        if root != 0 {
            let entry = words.cell(Link::unpack(root).entry(hash)).word(0).load(Ordering::Acquire);
            words.prefetch(Link::unpack(entry).at + home_of(hash) * BUCKET_WORDS);
        }
    }

    /// Fetches the slots in the home bucket of a hash that may be the ones sought, ahead of a search. What it looks at may be stale: it
    /// only asks.
    #[inline(always)]
    pub(crate) fn prefetch_slots(self, words: &Words, hash: u32) {
        let root = words.cell(self.root).word(0).load(Ordering::Acquire);
        if root == 0 {
            return;
        }
        let entry = words.cell(Link::unpack(root).entry(hash)).word(0).load(Ordering::Acquire);
        let bucket = Link::unpack(entry).at + home_of(hash) * BUCKET_WORDS;
        let cell = words.cell(bucket);
        let (low, tail) = (cell.word(0).load(Ordering::Relaxed), cell.word(1).load(Ordering::Relaxed));
        let mut lanes = lanes_with(tag_of(hash), low, tail);
        while lanes != 0 {
            let id = number_at(words, bucket, lanes.trailing_zeros() as usize);
            lanes &= lanes - 1;
            let slot = (id & !crate::kernel::group::GROUP) as usize * GRANULE_WORDS;
            words.prefetch(slot);
            words.prefetch(slot + BUCKET_WORDS);
        }
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
            // Acquire, twice: pair with the Release of `Writer::swing_directory` and `link`; what the directory names is filled.
            let root = words.cell(self.root).word(0).load(Ordering::Acquire);
            if root == 0 {
                return None;
            }
            let entry_at = Link::unpack(root).entry(hash);
            let entry = words.cell(entry_at).word(0).load(Ordering::Acquire);
            let bucket = Link::unpack(entry).at;
            let mut spot = Sighting { root: (self.root, root), entry: (entry_at, entry), bucket, lane: 0 };
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

fn set_number(words: &Words, at: usize, lane: usize, id: u32, order: Ordering) {
    let cell = words.cell(at);
    let shift = 32 * (lane & 1);
    let pair = cell.word(2 + lane / 2).load(Ordering::Relaxed);
    let pair = pair & !(0xffff_ffff << shift) | u64::from(id) << shift;
    cell.word(2 + lane / 2).store(pair, order);
}

fn set_tag(words: &Words, at: usize, lane: usize, tag: u64) {
    let word = words.cell(at).word(lane / 8);
    let shift = 8 * (lane % 8);
    let tags = word.load(Ordering::Relaxed) & !(0xff << shift) | tag << shift;
    // Release: pairs with the Acquire of `search`; the number is there.
    word.store(tags, Ordering::Release);
}

/// A table, as its writer knows it. Every method is called under the lock that the table belongs to.
#[derive(Debug)]
pub(crate) struct Writer<const FAULT: u8> {
    table: Table<FAULT>,
    generation: u32,
    /// Segments as deep as the directory: with none, the directory can be halved.
    deepest: u32,
}

/// Where a hash leads to, for the writer.
struct Way {
    root: Link,
    entry: Link,
}

impl<const FAULT: u8> Writer<FAULT> {
    pub(crate) fn new(table: Table<FAULT>) -> Self {
        Self { table, generation: 0, deepest: 0 }
    }

    pub(crate) fn table(&self) -> Table<FAULT> {
        self.table
    }

    fn way(&self, words: &Words, hash: u32) -> Option<Way> {
        let root = words.cell(self.table.root).word(0).load(Ordering::Relaxed);
        let root = (root != 0).then(|| Link::unpack(root))?;
        let entry = words.cell(root.entry(hash)).word(0).load(Ordering::Relaxed);
        Some(Way { root, entry: Link::unpack(entry) })
    }

    fn used(words: &Words, segment: usize) -> u64 {
        words.cell(segment).word(1).load(Ordering::Relaxed) >> 48
    }

    /// Makes room for one more under this hash, so that the next [`insert`](Self::insert) of it finds some. `hash_of` tells the
    /// hash of a number that is in the table.
    ///
    /// # Errors
    /// There is no memory for that. Nothing has changed.
    pub(crate) fn reserve(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        hash: u32,
        hash_of: impl Fn(u32) -> u32,
    ) -> Result<(), NoRoom> {
        let way = match self.way(words, hash) {
            Some(way) => way,
            None => self.begin(words, memory)?,
        };
        let mut segment = way.entry;
        // Twice at the most, unless hashes are anything but random.
        while Self::used(words, segment.at) >= SPLIT_AT {
            if segment.depth == DEPTH_MAX || !self.split(words, memory, hash, &hash_of) {
                break;
            }
            segment = self.way(words, hash).ok_or(NoRoom)?.entry;
        }
        if Self::used(words, segment.at) < SEGMENT_CELLS { Ok(()) } else { Err(NoRoom) }
    }

    /// The first segment of an empty table.
    fn begin(&mut self, words: &Words, memory: &mut impl Allocate) -> Result<Way, NoRoom> {
        let segment = memory.take(SEGMENT_WORDS).ok_or(NoRoom)?;
        let Some(at) = memory.take(1) else {
            memory.give(segment, SEGMENT_WORDS);
            return Err(NoRoom);
        };
        clear(words, segment);
        let (root, entry) = (Link { at, depth: 0 }, Link { at: segment, depth: 0 });
        self.link(words, at, entry);
        self.swing_directory(words, root);
        self.deepest = 1;
        Ok(Way { root, entry })
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = (self.generation + 1) & 0x00ff_ffff;
        self.generation
    }

    fn link(&mut self, words: &Words, at: usize, segment: Link) {
        let generation = self.next_generation();
        // Release: pairs with the Acquire of `find`; the segment is filled.
        let order = if FAULT == fault::SPLIT_RELAXED { Ordering::Relaxed } else { Ordering::Release };
        words.cell(at).word(0).store(segment.pack(generation), order);
    }

    fn swing_directory(&mut self, words: &Words, root: Link) {
        let generation = self.next_generation();
        // Release: pairs with the Acquire of `find`; the directory is filled.
        words.cell(self.table.root).word(0).store(root.pack(generation), Ordering::Release);
    }

    /// Splits the segment of a hash. False if there is no memory for it.
    fn split(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        hash: u32,
        hash_of: &impl Fn(u32) -> u32,
    ) -> bool {
        let Some(mut way) = self.way(words, hash) else {
            return false;
        };
        if way.entry.depth == way.root.depth {
            match self.double(words, memory, way.root) {
                Some(root) => way.root = root,
                None => return false,
            }
        }
        let Some(low) = memory.take(SEGMENT_WORDS) else {
            return false;
        };
        let Some(high) = memory.take(SEGMENT_WORDS) else {
            memory.give(low, SEGMENT_WORDS);
            return false;
        };
        let depth = way.entry.depth + 1;
        clear(words, low);
        clear(words, high);
        if FAULT == fault::SPLIT_BEFORE_FILL {
            self.point_at(words, way.root, hash, [low, high], depth);
        }
        move_all(words, way.entry.at, hash_of, |hash| if hash >> (32 - depth) & 1 == 0 { low } else { high });
        if FAULT != fault::SPLIT_BEFORE_FILL {
            self.point_at(words, way.root, hash, [low, high], depth);
        }
        if depth == way.root.depth {
            self.deepest += 2;
        }
        memory.give(way.entry.at, SEGMENT_WORDS);
        true
    }

    /// Points the directory's entries of the segment of `hash` (before it was split to `depth`) at its two halves.
    fn point_at(&mut self, words: &Words, root: Link, hash: u32, halves: [usize; 2], depth: u32) {
        let each = 1_usize << (root.depth - depth);
        let first = ((u64::from(hash) << (depth - 1)) >> 32) as usize * 2 * each;
        for (half, at) in halves.into_iter().enumerate() {
            for index in 0..each {
                self.link(words, root.at + first + half * each + index, Link { at, depth });
            }
        }
    }

    /// Doubles the directory.
    fn double(&mut self, words: &Words, memory: &mut impl Allocate, old: Link) -> Option<Link> {
        let len = 1_usize << old.depth;
        let root = Link { at: memory.take(2 * len)?, depth: old.depth + 1 };
        for index in 0..len {
            let entry = words.cell(old.at + index).word(0).load(Ordering::Relaxed);
            for twin in 0..2 {
                words.cell(root.at + 2 * index + twin).word(0).store(entry, Ordering::Relaxed);
            }
        }
        self.swing_directory(words, root);
        self.deepest = 0;
        memory.give(old.at, len);
        Some(root)
    }

    /// Puts a number in. [`reserve`](Self::reserve) has made room for it.
    pub(crate) fn insert(&mut self, words: &Words, hash: u32, id: u32) {
        if let Some(way) = self.way(words, hash) {
            place::<FAULT>(words, way.entry.at, hash, id);
        }
    }

    /// The place of a number: its bucket and lane.
    fn position(words: &Words, segment: usize, hash: u32, id: u32) -> Option<(usize, usize)> {
        let mut bucket = home_of(hash);
        for _ in 0..BUCKETS {
            let at = segment + bucket * BUCKET_WORDS;
            let cell = words.cell(at);
            let (low, tail) = (cell.word(0).load(Ordering::Relaxed), cell.word(1).load(Ordering::Relaxed));
            let mut lanes = lanes_with(tag_of(hash), low, tail);
            while lanes != 0 {
                let lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                if number_at(words, at, lane) == id {
                    return Some((bucket, lane));
                }
            }
            if overflows(tail) == 0 {
                return None;
            }
            bucket = (bucket + 1) & (BUCKETS - 1);
        }
        None
    }

    /// Puts another number in the place of one that is there: one store, so a reader finds the one or the other. What the new
    /// one names is published. False if it is not there.
    pub(crate) fn swing(&mut self, words: &Words, hash: u32, old: u32, new: u32) -> bool {
        let place = self.way(words, hash).and_then(|way| {
            let (bucket, lane) = Self::position(words, way.entry.at, hash, old)?;
            Some((way.entry.at + bucket * BUCKET_WORDS, lane))
        });
        if let Some((at, lane)) = place {
            // Release: pairs with the Acquire of `number_at`.
            let order = if FAULT == fault::SWING_RELAXED { Ordering::Relaxed } else { Ordering::Release };
            set_number(words, at, lane, new, order);
        }
        place.is_some()
    }

    /// Takes a number out; false if it is not there. `hash_of` as for [`reserve`](Self::reserve).
    pub(crate) fn remove(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        hash: u32,
        id: u32,
        hash_of: impl Fn(u32) -> u32,
    ) -> bool {
        let Some(way) = self.way(words, hash) else {
            return false;
        };
        let segment = way.entry.at;
        let Some((bucket, lane)) = Self::position(words, segment, hash, id) else {
            return false;
        };
        let at = segment + bucket * BUCKET_WORDS;
        if FAULT == fault::SHIFT_REMOVE && lane + 1 < LANES {
            let (last, tag) = (number_at(words, at, lane + 1), tag_of(hash));
            set_tag(words, at, lane + 1, 0);
            set_number(words, at, lane, last, Ordering::Release);
            set_tag(words, at, lane, tag);
        } else {
            set_tag(words, at, lane, 0);
        }
        // Release: who reads the 0 finds the tag gone; kept with the other stores of numbers.
        set_number(words, at, lane, 0, Ordering::Release);
        let mut passed = home_of(hash);
        while passed != bucket {
            let tail = words.cell(segment + passed * BUCKET_WORDS).word(1);
            tail.store(tail.load(Ordering::Relaxed) - OVERFLOW_ONE, Ordering::Release);
            passed = (passed + 1) & (BUCKETS - 1);
        }
        let first = words.cell(segment).word(1);
        let tail = first.load(Ordering::Relaxed) - USED_ONE;
        first.store(tail, Ordering::Release);
        let used = tail >> 48;
        // Looked at now and then only: halves that have become small become one.
        if way.entry.depth > 0 && used < MERGE_AT && used.is_multiple_of(32) {
            self.merge(words, memory, hash, &way, &hash_of);
        }
        true
    }

    fn merge(
        &mut self,
        words: &Words,
        memory: &mut impl Allocate,
        hash: u32,
        way: &Way,
        hash_of: &impl Fn(u32) -> u32,
    ) {
        let (depth, at) = (way.entry.depth, way.entry.at);
        let twin_hash = hash ^ 1 << (32 - depth);
        let twin = Link::unpack(words.cell(way.root.entry(twin_hash)).word(0).load(Ordering::Relaxed));
        if twin.depth != depth || Self::used(words, at) + Self::used(words, twin.at) > MERGE_AT {
            return;
        }
        let Some(both) = memory.take(SEGMENT_WORDS) else {
            return;
        };
        clear(words, both);
        move_all(words, at, hash_of, |_| both);
        move_all(words, twin.at, hash_of, |_| both);
        let each = 1_usize << (way.root.depth - depth);
        let first = ((u64::from(hash) << (depth - 1)) >> 32) as usize * 2 * each;
        for index in 0..2 * each {
            self.link(words, way.root.at + first + index, Link { at: both, depth: depth - 1 });
        }
        memory.give(at, SEGMENT_WORDS);
        memory.give(twin.at, SEGMENT_WORDS);
        if depth == way.root.depth {
            self.deepest -= 2;
        }
        let mut root = way.root;
        while self.deepest == 0 && root.depth > 0 {
            match self.halve(words, memory, root) {
                Some(halved) => root = halved,
                None => return,
            }
        }
    }

    /// Halves the directory: no segment is as deep as it. Returns the new one, if there is memory for it.
    fn halve(&mut self, words: &Words, memory: &mut impl Allocate, old: Link) -> Option<Link> {
        let len = 1_usize << old.depth;
        let root = Link { at: memory.take(len / 2)?, depth: old.depth - 1 };
        for index in 0..len / 2 {
            let entry = words.cell(old.at + 2 * index).word(0).load(Ordering::Relaxed);
            words.cell(root.at + index).word(0).store(entry, Ordering::Relaxed);
            if Link::unpack(entry).depth == root.depth {
                self.deepest += 1;
            }
        }
        self.swing_directory(words, root);
        memory.give(old.at, len);
        Some(root)
    }
}

fn clear(words: &Words, segment: usize) {
    for bucket in 0..BUCKETS {
        let cell = words.cell(segment + bucket * BUCKET_WORDS);
        for index in 0..BUCKET_WORDS {
            cell.word(index).store(0, Ordering::Relaxed);
        }
    }
}

/// Places all numbers of a segment into the segment that `target` chooses by their hash.
fn move_all(words: &Words, from: usize, hash_of: &impl Fn(u32) -> u32, target: impl Fn(u32) -> usize) {
    let mut numbers = [0_u32; BUCKETS * LANES];
    let mut len = 0;
    for cell in 0..BUCKETS * LANES {
        let id = number_at(words, from + cell / LANES * BUCKET_WORDS, cell % LANES);
        if id != 0 {
            numbers[len] = id;
            len += 1;
        }
    }
    // Their slots are far apart: ask for some ahead.
    const AHEAD: usize = 16;
    for (index, &id) in numbers[..len].iter().enumerate() {
        if let Some(&ahead) = numbers[..len].get(index + AHEAD) {
            words.prefetch((ahead & !crate::kernel::group::GROUP) as usize * GRANULE_WORDS);
        }
        let hash = hash_of(id);
        place::<0>(words, target(hash), hash, id);
    }
}

/// Puts a number into the first bucket with room from its home on.
fn place<const FAULT: u8>(words: &Words, segment: usize, hash: u32, id: u32) {
    let mut bucket = home_of(hash);
    for _ in 0..BUCKETS {
        let at = segment + bucket * BUCKET_WORDS;
        let cell = words.cell(at);
        let (low, tail) = (cell.word(0).load(Ordering::Relaxed), cell.word(1).load(Ordering::Relaxed));
        let free = lanes_with(0, low, tail);
        if free != 0 {
            let lane = free.trailing_zeros() as usize;
            set_number(words, at, lane, id, Ordering::Release);
            set_tag(words, at, lane, tag_of(hash));
            let first = words.cell(segment).word(1);
            first.store(first.load(Ordering::Relaxed) + USED_ONE, Ordering::Release);
            return;
        }
        if FAULT != fault::OVERFLOW_UNCOUNTED {
            cell.word(1).store(tail + OVERFLOW_ONE, Ordering::Release);
        }
        bucket = (bucket + 1) & (BUCKETS - 1);
    }
}
