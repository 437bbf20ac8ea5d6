//! The writer's side of a table: numbers in and out, and growth, a segment at a time.

use super::{
    Allocate, BUCKET_WORDS, BUCKETS, DEPTH_MAX, GRANULE_WORDS, LANES, Link, MERGE_AT, NoRoom, OVERFLOW_ONE,
    SEGMENT_CELLS, SEGMENT_WORDS, SPLIT_AT, Table, USED_ONE, fault, home_of, lanes_with, number_at,
    overflows, tag_of,
};
use crate::memory::Words;
use crate::sync::Ordering;

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
