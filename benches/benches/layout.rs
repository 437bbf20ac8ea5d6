//! What a lookup among as many entries must cost by where its words lie, with nothing else to do: no update to be told from, no topic, no
//! session. The floor of `get`, and the two layouts that the engine's table was chosen from.
//!
//! * `buckets`: the engine's. 64 B buckets of twelve tags and twelve numbers; slots of 96 B anywhere. Bucket and slot are two misses.
//! * `tags_apart`: the same numbers, but all tags together, a byte each: they stay in the near cache, and number and slot are two misses.
//! * `in_place`: tags together, and slots in the order of the tags, in groups of sixteen: one miss. Slots move when the table grows, and one in
//!   eight at least is empty.
//!
//! `chained`: the next key depends on what was found. `stream`: it does not. `ahead`: two loads that depend on each other, of 8 and of 128
//! MiB, and so many instructions that have nothing to do with them: up to where the time does not grow with the instructions, the processor
//! sees the next pair while it waits for this one.
//!
//! ```text
//! HEADCOUNT_BENCH_ENTRIES=1000000 cargo bench -p headcount-benches --bench layout
//! ```

use ahash::RandomState;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use headcount_benches::{Row, Shape, criterion, shuffle};
use memmap2::{Advice, MmapMut};
use std::hint::black_box;

/// Keys of one measured step.
const STEP: usize = 1_000;
/// Words of a slot, which begins with the key and ends with what is looked for.
const SLOT: usize = 12;
/// Slots that a group of the table has in place.
const GROUP: usize = 16;
/// Lanes of a bucket.
const LANES: usize = 12;
const BUCKET: usize = 8;

/// Words in huge pages, where the system has them.
struct Words(MmapMut);

impl Words {
    fn new(words: usize) -> Self {
        let map = MmapMut::map_anon((words * 8).next_multiple_of(2 << 20)).expect("there is memory");
        // Without huge pages everything is slower alike.
        let _refused = map.advise(Advice::HugePage);
        Self(map)
    }

    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.0[at..].first_chunk().expect("it is within")
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        u64::from_ne_bytes(*self.bytes(at * 8))
    }

    fn set(&mut self, at: usize, word: u64) {
        self.0[at * 8..][..8].copy_from_slice(&word.to_ne_bytes());
    }
}

/// A key, with its hash worked out: hashing is the same for all.
#[derive(Clone, Copy)]
struct Key {
    words: [u64; 2],
    hash: u64,
}

impl Key {
    fn new(row: Row, hasher: &RandomState) -> Self {
        let half = |at: usize| u64::from_ne_bytes(*row.key[at..].first_chunk().expect("16 bytes"));
        Self { words: [half(0), half(8)], hash: hasher.hash_one(row.key) }
    }

    fn tag(self) -> u8 {
        (self.hash as u8).max(1)
    }
}

/// The lanes in which a tag is.
#[inline(always)]
fn lanes_of<const N: usize>(tags: &[u8; N], tag: u8) -> u32 {
    (0..N).fold(0, |lanes, lane| lanes | u32::from(tags[lane] == tag) << lane)
}

trait Layout {
    const NAME: &'static str;
    fn new(keys: &[Key]) -> Self;
    /// The last word of the key's slot.
    fn find(&self, key: &Key) -> Option<u64>;
    /// Bytes of one entry, of `entries`.
    fn bytes(&self, entries: usize) -> f64;
}

fn fill(slots: &mut Words, at: usize, key: &Key) {
    slots.set(at, key.words[0]);
    slots.set(at + 1, key.words[1]);
    slots.set(at + SLOT - 1, key.hash);
}

#[inline(always)]
fn look(slots: &Words, at: usize, key: &Key) -> Option<u64> {
    let is_it = slots.word(at) == key.words[0] && slots.word(at + 1) == key.words[1];
    is_it.then(|| slots.word(at + SLOT - 1))
}

/// Dense slots, in the order in which the keys came.
fn dense(keys: &[Key]) -> Words {
    let mut slots = Words::new(keys.len() * SLOT);
    keys.iter().enumerate().for_each(|(number, key)| fill(&mut slots, number * SLOT, key));
    slots
}

/// The buckets that hold so many entries two thirds full, as a table that grows is on average.
fn buckets_for(entries: usize) -> usize {
    entries.div_ceil(LANES * 2 / 3)
}

struct Buckets {
    buckets: Words,
    count: usize,
    slots: Words,
}

impl Buckets {
    fn home(&self, key: &Key) -> usize {
        ((u128::from(key.hash) * self.count as u128) >> 64) as usize
    }
}

impl Layout for Buckets {
    const NAME: &'static str = "buckets";

    fn new(keys: &[Key]) -> Self {
        let count = buckets_for(keys.len());
        let mut all = Self { buckets: Words::new(count * BUCKET), count, slots: dense(keys) };
        for (number, key) in keys.iter().enumerate() {
            let mut bucket = all.home(key);
            let lane = loop {
                match all.buckets.bytes::<LANES>(bucket * 64).iter().position(|&tag| tag == 0) {
                    Some(lane) => break lane,
                    None => bucket = (bucket + 1) % count,
                }
            };
            all.buckets.0[bucket * 64 + lane] = key.tag();
            let at = bucket * 64 + 16 + lane * 4;
            all.buckets.0[at..at + 4].copy_from_slice(&(number as u32).to_ne_bytes());
        }
        all
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u64> {
        let mut bucket = self.home(key);
        loop {
            let tags = self.buckets.bytes::<LANES>(bucket * 64);
            let mut lanes = lanes_of(tags, key.tag());
            while lanes != 0 {
                let at = bucket * 64 + 16 + lanes.trailing_zeros() as usize * 4;
                let number = u32::from_ne_bytes(*self.buckets.bytes(at));
                if let Some(found) = look(&self.slots, number as usize * SLOT, key) {
                    return Some(found);
                }
                lanes &= lanes - 1;
            }
            if tags.contains(&0) {
                return None;
            }
            bucket = (bucket + 1) % self.count;
        }
    }

    fn bytes(&self, entries: usize) -> f64 {
        (self.count * 64) as f64 / entries as f64 + (SLOT * 8) as f64
    }
}

/// Tags in groups of sixteen, and what lies at the places of the tags.
struct Tags {
    tags: Words,
    groups: usize,
}

impl Tags {
    fn new(entries: usize, percent: usize) -> Self {
        let groups = (entries * 100).div_ceil(GROUP * percent);
        Self { tags: Words::new(groups * GROUP / 8), groups }
    }

    fn home(&self, key: &Key) -> usize {
        ((u128::from(key.hash) * self.groups as u128) >> 64) as usize
    }

    fn insert(&mut self, key: &Key) -> usize {
        let mut group = self.home(key);
        loop {
            if let Some(lane) = self.tags.bytes::<GROUP>(group * GROUP).iter().position(|&tag| tag == 0) {
                self.tags.0[group * GROUP + lane] = key.tag();
                return group * GROUP + lane;
            }
            group = (group + 1) % self.groups;
        }
    }

    #[inline(always)]
    fn find(&self, key: &Key, look: impl Fn(usize) -> Option<u64>) -> Option<u64> {
        let mut group = self.home(key);
        loop {
            let tags = self.tags.bytes::<GROUP>(group * GROUP);
            let mut lanes = lanes_of(tags, key.tag());
            while lanes != 0 {
                if let Some(found) = look(group * GROUP + lanes.trailing_zeros() as usize) {
                    return Some(found);
                }
                lanes &= lanes - 1;
            }
            if tags.contains(&0) {
                return None;
            }
            group = (group + 1) % self.groups;
        }
    }
}

struct TagsApart {
    tags: Tags,
    numbers: Words,
    slots: Words,
}

impl Layout for TagsApart {
    const NAME: &'static str = "tags_apart";

    fn new(keys: &[Key]) -> Self {
        let mut tags = Tags::new(keys.len(), 67);
        let mut numbers = Words::new(tags.groups * GROUP / 2);
        for (number, key) in keys.iter().enumerate() {
            let at = tags.insert(key) * 4;
            numbers.0[at..at + 4].copy_from_slice(&(number as u32).to_ne_bytes());
        }
        Self { tags, numbers, slots: dense(keys) }
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u64> {
        self.tags.find(key, |place| {
            let number = u32::from_ne_bytes(*self.numbers.bytes(place * 4));
            look(&self.slots, number as usize * SLOT, key)
        })
    }

    fn bytes(&self, entries: usize) -> f64 {
        (self.tags.groups * GROUP * 5) as f64 / entries as f64 + (SLOT * 8) as f64
    }
}

/// `PERCENT` of the slots are in use.
struct InPlace<const PERCENT: usize> {
    tags: Tags,
    slots: Words,
}

impl<const PERCENT: usize> Layout for InPlace<PERCENT> {
    const NAME: &'static str = if PERCENT == 67 { "in_place_two_thirds_full" } else { "in_place_full" };

    fn new(keys: &[Key]) -> Self {
        let mut tags = Tags::new(keys.len(), PERCENT);
        let mut slots = Words::new(tags.groups * GROUP * SLOT);
        keys.iter().for_each(|key| fill(&mut slots, tags.insert(key) * SLOT, key));
        Self { tags, slots }
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u64> {
        self.tags.find(key, |place| look(&self.slots, place * SLOT, key))
    }

    fn bytes(&self, entries: usize) -> f64 {
        (self.tags.groups * GROUP * (1 + SLOT * 8)) as f64 / entries as f64
    }
}

fn lookup<L: Layout>(group: &mut BenchmarkGroup<'_, WallTime>, keys: &[Key], asked: &[Key], chained: bool) {
    let table = L::new(keys);
    let none = black_box(0);
    let name = format!("{} ({:.0} B an entry)", L::NAME, table.bytes(keys.len()));
    let mut steps = asked.chunks_exact(STEP).cycle();
    group.bench_function(name, |b| {
        b.iter(|| {
            let step = steps.next().expect("it begins again");
            let mut last = 0;
            for index in 0..STEP {
                let key = &step[if chained { index | last as usize & none } else { index }];
                last = table.find(key).expect("it is there");
            }
            last
        });
    });
}

/// So many instructions, in four chains, that no load waits for.
#[inline(always)]
fn work<const INSTRUCTIONS: usize>(from: u64) -> u64 {
    let mut chains = [from, from ^ 1, from ^ 2, from ^ 3];
    for turn in 0..INSTRUCTIONS / 8 {
        chains.iter_mut().for_each(|chain| *chain = chain.rotate_left(7) ^ (turn as u64 | 1 << 40));
    }
    chains[0] ^ chains[1] ^ chains[2] ^ chains[3]
}

fn ahead<const INSTRUCTIONS: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    [near, far]: [&Words; 2],
    asked: &[Key],
) {
    let mask = |words: &Words| words.0.len() / 8 - 1;
    let mut steps = asked.chunks_exact(STEP).cycle();
    group.bench_function(format!("{INSTRUCTIONS} instructions"), |b| {
        b.iter(|| {
            let step = steps.next().expect("it begins again");
            let mut sum = 0_u64;
            for key in step {
                let worked = work::<INSTRUCTIONS>(key.words[0]);
                let first = near.word(key.hash as usize & mask(near));
                let second =
                    far.word((first ^ key.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize & mask(far));
                sum = sum.wrapping_add(second ^ worked);
            }
            sum
        });
    });
}

fn layouts(criterion: &mut Criterion, keys: &[Key], asked: &[Key]) {
    for chained in [true, false] {
        let mut group = criterion.benchmark_group(if chained { "layout_chained" } else { "layout_stream" });
        group.throughput(Throughput::Elements(STEP as u64));
        lookup::<Buckets>(&mut group, keys, asked, chained);
        lookup::<TagsApart>(&mut group, keys, asked, chained);
        lookup::<InPlace<67>>(&mut group, keys, asked, chained);
        lookup::<InPlace<88>>(&mut group, keys, asked, chained);
        group.finish();
    }
}

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let keys: Vec<Key> =
        (0..shape.entries.max(STEP)).map(|index| Key::new(shape.row(index), &hasher)).collect();
    let mut asked = keys.clone();
    shuffle(&mut asked);
    layouts(&mut criterion, &keys, &asked);

    let [near, far] = [8 << 20, 128 << 20].map(|bytes: usize| {
        let mut words = Words::new(bytes / 8);
        (0..bytes / 8).for_each(|at| words.set(at, at as u64));
        words
    });
    let mut group = criterion.benchmark_group("layout_ahead");
    group.throughput(Throughput::Elements(STEP as u64));
    ahead::<0>(&mut group, [&near, &far], &asked);
    ahead::<48>(&mut group, [&near, &far], &asked);
    ahead::<96>(&mut group, [&near, &far], &asked);
    ahead::<144>(&mut group, [&near, &far], &asked);
    ahead::<192>(&mut group, [&near, &far], &asked);
    ahead::<240>(&mut group, [&near, &far], &asked);
    ahead::<288>(&mut group, [&near, &far], &asked);
    ahead::<336>(&mut group, [&near, &far], &asked);
    group.finish();
    criterion.final_summary();
}
