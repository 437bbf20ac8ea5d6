//! What the benchmarks of `headcount` share: the data, the trackers that hold it, and the plain maps beside them.
//!
//! ```text
//! cargo bench -p headcount-benches                                  all, some minutes
//! cargo bench -p headcount-benches --bench read -- get              one subject, one operation
//! cargo bench -p headcount-benches -- --quick                       rougher, in a fraction of the time
//! cargo bench -p headcount-benches -- --test                        each once: that it runs, not how fast
//! HEADCOUNT_BENCH_ENTRIES=1000000 cargo bench -p headcount-benches  with a million entries resident
//! ```
//!
//! One topic that everybody is in, beside the same spread over 1,000 topics and beside a plain map:
//!
//! ```text
//! cargo bench -p headcount-benches --bench hot_topic                all of it
//! cargo bench -p headcount-benches --bench hot_topic -- join_leave  the writers only
//! ```
//!
//! Instructions of each operation, counted by valgrind and held to `benches/instruction_bounds.json` (see [`count`]):
//!
//! ```text
//! cargo run --release -p headcount-benches --bin count -- gate          a table; fails if a bound is passed
//! cargo run --release -p headcount-benches --bin count -- gate --bless  sets the bounds anew
//! ```
//!
//! What it costs to be watched by another process, in instructions and in time:
//!
//! ```text
//! cargo run --release -p headcount-benches --bin count -- watched
//! cargo run --release -p headcount-benches --bin watched
//! ```
//!
//! Two results of one kind, beside each other (see [`diff`]):
//!
//! ```text
//! cargo run --release -p headcount-benches --bin diff -- old.json new.json  a table; fails if something got worse
//! ```
//!
//! A machine's noise is larger than most differences, so compare ratios within one run: each operation that a plain
//! concurrent map has too is measured on several of them (see [`peers`]) right beside the tracker. The maps neither
//! order, log, announce nor replicate anything, and nobody owns what is in them: they are the bound, not the
//! alternative. The binary `compare` (see [`compare`]) does that in one process, turn by turn, and reports the ratios.
//!
//! The data is the same in every run: topics of 12 bytes shared by 1,000 members each, keys of 16 bytes, metas of 32
//! bytes, in an order that is shuffled so that neighbours are in different topics, as connections arrive.

pub mod compare;
pub mod count;
pub mod diff;
mod maps;
pub mod pair;
pub mod peers;
mod resident;
mod results;
mod timing;
pub mod traffic;
pub mod watched;

pub use maps::{FlatMaps, Lazy};
pub use resident::{Resident, SESSION_ENTRIES};
pub use timing::{criterion, time_in_blocks};

/// Members of a topic, unless a benchmark says otherwise.
pub const TOPIC_MEMBERS: usize = 1_000;

/// An entry to be tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its topic.
    pub topic: [u8; 12],
    /// Its key, which no other row has.
    pub key: [u8; 16],
    /// Its metadata.
    pub meta: [u8; 32],
}

/// How many rows there are and how they fall into topics. The rows themselves follow from that.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows that are resident before anything is measured.
    pub entries: usize,
    /// Rows of each topic.
    pub topic_members: usize,
}

impl Shape {
    /// `HEADCOUNT_BENCH_ENTRIES` rows, by default 100,000, in topics of [`TOPIC_MEMBERS`].
    ///
    /// # Panics
    /// If the variable is set and is not a number above 0.
    #[must_use]
    pub fn from_env() -> Self {
        let entries = std::env::var("HEADCOUNT_BENCH_ENTRIES").map_or(100_000, |value| {
            let entries = value.parse().ok().filter(|&entries| entries > 0);
            entries.unwrap_or_else(|| {
                panic!("HEADCOUNT_BENCH_ENTRIES is {value:?}, it must be a number above 0")
            })
        });
        Self { entries, topic_members: TOPIC_MEMBERS }
    }

    /// The same number of rows in topics of another size.
    #[must_use]
    pub fn with_topic_members(self, topic_members: usize) -> Self {
        Self { topic_members, ..self }
    }

    /// How many topics there are: at least one.
    #[must_use]
    pub fn topics(self) -> usize {
        self.entries.div_ceil(self.topic_members).max(1)
    }

    /// The row with this number: a resident one, or, from `entries` on, a fresh one.
    #[must_use]
    pub fn row(self, index: usize) -> Row {
        Row::new(index, index % self.topics())
    }

    /// The rows that are resident.
    #[must_use]
    pub fn resident(self) -> Vec<Row> {
        self.rows(0, self.entries)
    }

    /// So many more rows in the same topics, with keys that no resident has.
    #[must_use]
    pub fn fresh(self, count: usize) -> Vec<Row> {
        self.rows(self.entries, count)
    }

    fn rows(self, first: usize, count: usize) -> Vec<Row> {
        let mut rows: Vec<Row> = (first..first + count).map(|index| self.row(index)).collect();
        shuffle(&mut rows);
        rows
    }
}

impl Row {
    fn new(index: usize, topic: usize) -> Self {
        // `mix` is a bijection, so equal keys would be equal indices.
        let key = mix(index as u64);
        let mut row = Self { topic: *b"room:0000000", key: [0; 16], meta: [0; 32] };
        write_digits(&mut row.topic[5..], topic as u64, 10);
        write_digits(&mut row.key, key, 16);
        for (part, bytes) in row.meta.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&mix(key ^ part as u64).to_le_bytes());
        }
        row
    }

    /// Topic and key in one, as a plain map would have them.
    #[must_use]
    pub fn flat_key(&self) -> [u8; 28] {
        let mut key = [0; 28];
        key[..12].copy_from_slice(&self.topic);
        key[12..].copy_from_slice(&self.key);
        key
    }
}

/// Writes the last digits of `number`, with leading zeros.
fn write_digits(out: &mut [u8], mut number: u64, base: u64) {
    for place in out.iter_mut().rev() {
        *place = b"0123456789abcdef"[usize::try_from(number % base).unwrap_or(0)];
        number /= base;
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a bijection.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Brings a slice into an order that depends on nothing but its length.
pub fn shuffle<T>(items: &mut [T]) {
    shuffle_seeded(items, 0);
}

/// Brings a slice into an order that depends on its length and the seed.
pub fn shuffle_seeded<T>(items: &mut [T], seed: u64) {
    // Mixed, so that seeds next to each other do not draw the same numbers one place on; 0 stays 0.
    let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for at in (1..items.len()).rev() {
        let bound = at as u64 + 1;
        items.swap(at, usize::try_from(mix(bound ^ seed) % bound).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn rows_are_the_same_every_time_and_no_key_comes_twice() {
        let shape = Shape { entries: 10_000, topic_members: 1_000 };
        let (resident, fresh) = (shape.resident(), shape.fresh(5_000));
        assert_eq!(resident, shape.resident());
        let keys: HashSet<_> = resident.iter().chain(&fresh).map(|row| row.key).collect();
        assert_eq!(keys.len(), 15_000);
    }

    #[test]
    fn topics_have_the_members_that_they_are_to_have_and_fresh_rows_add_no_topic() {
        let shape = Shape { entries: 10_000, topic_members: 1_000 };
        let mut members = HashMap::new();
        for row in shape.resident() {
            *members.entry(row.topic).or_insert(0) += 1;
        }
        assert_eq!(members.len(), 10);
        assert!(members.values().all(|&count| count == 1_000));
        assert!(members.contains_key(b"room:0000009"));
        assert!(shape.fresh(5_000).iter().all(|row| members.contains_key(&row.topic)));
    }

    #[test]
    fn neighbours_are_in_different_topics_mostly() {
        let rows = Shape { entries: 10_000, topic_members: 1_000 }.resident();
        let same = rows.windows(2).filter(|pair| pair[0].topic == pair[1].topic).count();
        assert!(same < 2_000, "{same} of 9,999");
    }
}
