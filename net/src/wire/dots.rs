//! Live dots without their content: which dots of a range at or below a snapshot's base are still alive.
//!
//! The receiver holds these entries, so it needs to know which, and nothing else: their births and contents are in the digest that ends
//! the lane. From the top down, runs of dead and of live clocks alternate, and their lengths are Rice coded (Rice and Plaunt, "Adaptive
//! variable-length coding for efficient compression of spacecraft television data", 1971): `length >> k` ones, a zero, the `k` low bits, with
//! one `k` for the dead and one for the live runs of a message. That is within a few percent of what such a set costs at least, be it
//! dense, half gone, or a few survivors.

use super::WireError;
use super::stream::{DOTS, LENGTH_LEN, MESSAGE_MAX};
use super::varint::{Reader, put_lane, put_varint, varint_len};

/// Clocks have 48 bits, so no run needs more.
const K_MAX: u8 = 48;
/// A pair of runs takes less than this, with the `k` that is best for the message: at most `log2` of the mean length and two bits more
/// for either run.
const PAIR_BITS_MAX: usize = 2 * (K_MAX as usize + 3);

/// A lane's live dots in (lo, hi].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dots<'a> {
    pub(crate) lane: u16,
    pub(crate) lo: u64,
    pub(crate) hi: u64,
    pairs: u64,
    dead_k: u8,
    live_k: u8,
    bits: &'a [u8],
}

impl<'a> Dots<'a> {
    /// Checks all of it, so that [`live`](Self::live) has no errors to tell. Keeps nothing but the bytes.
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let lane = reader.lane()?;
        let lo = reader.varint()?;
        let hi = lo.checked_add(reader.positive()?).ok_or(WireError::Range)?;
        let pairs = reader.varint()?;
        let (dead_k, live_k) = (reader.u8()?, reader.u8()?);
        if dead_k > K_MAX || live_k > K_MAX {
            return Err(WireError::Range);
        }
        let dots = Self { lane, lo, hi, pairs, dead_k, live_k, bits: reader.rest() };
        let mut walk = dots.live();
        for _ in 0..pairs {
            walk.step()?;
        }
        walk.bits.finish()?;
        Ok(dots)
    }

    /// The live ranges `(first, last]`, descending and apart.
    pub(crate) fn live(&self) -> Live<'a> {
        let Self { lo, hi, pairs, dead_k, live_k, bits, .. } = *self;
        Live { bits: Bits { bytes: bits, at: 0 }, lo, above: hi, is_first: true, pairs, dead_k, live_k }
    }

    /// Appends the body of the message.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_lane(out, self.lane);
        put_varint(out, self.lo);
        put_varint(out, self.hi - self.lo);
        put_varint(out, self.pairs);
        out.extend_from_slice(&[self.dead_k, self.live_k]);
        out.extend_from_slice(self.bits);
    }
}

/// Iterates over live ranges.
#[derive(Clone, Debug)]
pub(crate) struct Live<'a> {
    bits: Bits<'a>,
    lo: u64,
    above: u64,
    is_first: bool,
    pairs: u64,
    dead_k: u8,
    live_k: u8,
}

impl Live<'_> {
    fn step(&mut self) -> Result<(u64, u64), WireError> {
        // Runs are at least 1 long, but for the dead ones above the first that lives.
        let least = u64::from(!std::mem::take(&mut self.is_first));
        let last = self.run(self.dead_k, least)?;
        let first = self.run(self.live_k, 1)?;
        Ok((first, last))
    }

    fn run(&mut self, k: u8, least: u64) -> Result<u64, WireError> {
        let left = (self.above - self.lo).checked_sub(least).ok_or(WireError::Range)?;
        let len = self.bits.rice(k, left)? + least;
        self.above -= len;
        Ok(self.above)
    }
}

impl Iterator for Live<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.pairs = self.pairs.checked_sub(1)?;
        self.step().ok()
    }
}

/// Reads bits, lowest of each byte first.
#[derive(Clone, Copy, Debug)]
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<u64, WireError> {
        let byte = *self.bytes.get(self.at / 8).ok_or(WireError::Truncated)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    /// A Rice coded number, at most `max`.
    fn rice(&mut self, k: u8, max: u64) -> Result<u64, WireError> {
        let mut high = 0_u64;
        while self.bit()? == 1 {
            high += 1;
        }
        let mut low = 0;
        for place in 0..k {
            low |= self.bit()? << place;
        }
        if high > max >> k {
            return Err(WireError::Range);
        }
        Some(high << k | low).filter(|&number| number <= max).ok_or(WireError::Range)
    }

    /// What is left is the rest of the last byte, and nothing.
    fn finish(self) -> Result<(), WireError> {
        if self.bytes.len() != self.at.div_ceil(8) {
            return Err(WireError::Trailing);
        }
        match self.bytes.last() {
            Some(last) if !self.at.is_multiple_of(8) && last >> (self.at % 8) != 0 => Err(WireError::Range),
            _ => Ok(()),
        }
    }
}

/// Collects live ranges into one message.
#[derive(Debug)]
pub(crate) struct DotsWriter {
    lane: u16,
    hi: u64,
    above: u64,
    pairs_max: usize,
    /// Lengths of a dead run and the live run below it, each without what it is at least.
    pairs: Vec<(u64, u64)>,
}

impl DotsWriter {
    /// Dots at or below `hi`. The budget is for the whole message.
    pub(crate) fn new(lane: u16, hi: u64, budget: usize) -> Self {
        let around = LENGTH_LEN + 1 + varint_len(lane.into()) + 2 * varint_len(hi) + varint_len(1 << 32) + 2;
        let room = budget.min(LENGTH_LEN + MESSAGE_MAX).saturating_sub(around);
        let pairs_max = (room * 8 / PAIR_BITS_MAX).max(1);
        Self { lane, hi, above: hi, pairs_max, pairs: Vec::new() }
    }

    /// Adds the range `(first, last]`, below and apart from all so far. False: the message is full, and nothing changed; the next one's hi
    /// is then `last`, and so is this one's lo.
    pub(crate) fn push(&mut self, (first, last): (u64, u64)) -> bool {
        if self.pairs.len() >= self.pairs_max {
            return false;
        }
        let least = u64::from(!self.pairs.is_empty());
        debug_assert!(
            first < last && last + least <= self.above,
            "({first}, {last}] is above {}",
            self.above
        );
        self.pairs.push((self.above - last - least, last - first - 1));
        self.above = first;
        true
    }

    /// The message: of dots in (`lo`, hi], these are alive.
    pub(crate) fn finish(self, lo: u64) -> Vec<u8> {
        let dead_k = best_k(self.pairs.iter().map(|&(dead, _)| dead));
        let live_k = best_k(self.pairs.iter().map(|&(_, live)| live));
        let mut writer = BitWriter::default();
        for &(dead, live) in &self.pairs {
            writer.rice(dead, dead_k);
            writer.rice(live, live_k);
        }
        let pairs = self.pairs.len() as u64;
        let dots = Dots { lane: self.lane, lo, hi: self.hi, pairs, dead_k, live_k, bits: &writer.bytes };
        let mut out = vec![0; LENGTH_LEN];
        out.push(DOTS);
        dots.put(&mut out);
        let len = (out.len() - LENGTH_LEN) as u32;
        out[..LENGTH_LEN].copy_from_slice(&len.to_le_bytes());
        out
    }
}

/// The `k` that takes the fewest bits.
fn best_k(lengths: impl Iterator<Item = u64> + Clone) -> u8 {
    let cost = |k: u8| {
        lengths.clone().map(|len| (len >> k).saturating_add(1 + u64::from(k))).fold(0, u64::saturating_add)
    };
    // The best one is near the logarithm of the mean; what is farther from it costs more.
    let (count, sum) = lengths.clone().fold((0_u64, 0_u64), |(count, sum), len| (count + 1, sum + len));
    let near = (sum / count.max(1)).checked_ilog2().unwrap_or(0) as u8;
    (near.saturating_sub(2)..=(near + 1).min(K_MAX)).min_by_key(|&k| cost(k)).unwrap_or(0)
}

#[derive(Debug, Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    fn bit(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (self.used % 8);
        }
        self.used += 1;
    }

    fn rice(&mut self, number: u64, k: u8) {
        for _ in 0..number >> k {
            self.bit(true);
        }
        self.bit(false);
        for place in 0..k {
            self.bit(number >> place & 1 == 1);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::CHUNK_BUDGET;

    /// Messages of at most `budget` that tell `live` of `(lo, hi]`.
    fn messages(live: &[(u64, u64)], lo: u64, hi: u64, budget: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut writer = DotsWriter::new(3, hi, budget);
        for &range in live {
            if !writer.push(range) {
                messages.push(writer.finish(range.1));
                writer = DotsWriter::new(3, range.1, budget);
                assert!(writer.push(range));
            }
        }
        messages.push(writer.finish(lo));
        messages
    }

    fn body(message: &[u8]) -> &[u8] {
        &message[LENGTH_LEN + 1..]
    }

    prop_compose! {
        pub(in super::super) fn any_live()(
            lo in 0_u64..1 << 40,
            shift in 0_u32..44,
            runs in vec((any::<(u64, u64)>(), 20_u32..64), 0..80),
        ) -> (u64, u64, Vec<(u64, u64)>) {
            let mut above = lo + 1;
            let mut live = Vec::new();
            for ((dead, long), small) in runs {
                let first = above + (dead >> small >> shift.min(63 - small));
                let last = first + 1 + (long >> small >> shift.min(63 - small));
                live.push((first, last));
                above = last + 1;
            }
            live.reverse();
            (lo, above + 7, live)
        }
    }

    pub(in super::super) fn any_dots() -> impl Strategy<Value = Dots<'static>> {
        any_live().prop_map(|(lo, hi, live)| {
            let message = messages(&live, lo, hi, MESSAGE_MAX).swap_remove(0).leak();
            Dots::decode(body(message)).unwrap()
        })
    }

    #[test]
    fn runs_are_coded_as_the_documentation_says() {
        // From 20 down: 20 dead; 19, 18, 17 live; 16 dead; 15 live; the rest dead.
        let message = messages(&[(16, 19), (14, 15)], 9, 20, CHUNK_BUDGET).swap_remove(0);
        // Dead runs of 1 and 0 (least 0, then 1) and live ones of 2 and 0 (least 1), all with k = 0: 10 110 0 0.
        assert_eq!(message, [8, 0, 0, 0, DOTS, 3, 9, 11, 2, 0, 0, 0b0000_1101]);
        let dots = Dots::decode(body(&message)).unwrap();
        assert_eq!(dots.live().collect::<Vec<_>>(), [(16, 19), (14, 15)]);
    }

    #[test]
    fn impossible_dots_are_refused() {
        let cases: [(&str, &[u8], WireError); 10] = [
            ("no range", &[3, 9, 0, 0, 0, 0], WireError::Range),
            ("bytes without runs", &[3, 9, 11, 0, 0, 0, 0], WireError::Trailing),
            ("runs without bytes", &[3, 9, 11, 1, 0, 0], WireError::Truncated),
            ("any number of runs", &[3, 9, 11, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0], WireError::Truncated),
            ("a k above 48 bits", &[3, 9, 11, 1, 49, 0, 0], WireError::Range),
            ("a run below lo", &[3, 9, 2, 1, 0, 0, 0b0000_0111], WireError::Range),
            ("a low part below lo", &[3, 9, 2, 1, 3, 0, 0b0000_1110], WireError::Range),
            ("ones without end", &[3, 9, 11, 1, 0, 0, 0xFF, 0xFF], WireError::Truncated),
            ("a padding that says something", &[3, 9, 11, 1, 0, 0, 0b1000_0000], WireError::Range),
            ("a byte too many", &[3, 9, 11, 1, 0, 0, 0, 0], WireError::Trailing),
        ];
        for (name, bytes, error) in cases {
            assert_eq!(Dots::decode(bytes).map(|_| ()), Err(error), "{name}");
        }
    }

    #[test]
    fn a_million_dots_cost_a_byte_each_or_less_dense_and_after_churn() {
        let len = |live: &[(u64, u64)], hi| -> usize {
            messages(live, 0, hi, CHUNK_BUDGET).iter().map(Vec::len).sum()
        };
        assert!(len(&[(0, 1_000_000)], 1_000_000) <= 20, "dense");
        let mut random = crate::core::Rng::new(7);
        // Survivors in a hundred thousand, and the most that a million of them may cost in bytes.
        for (survivors, bytes_max) in
            [(99_000, 15_000), (90_000, 75_000), (50_000, 270_000), (10_000, 720_000), (1_000, 1_150_000)]
        {
            let (mut live, mut dot, mut count): (Vec<(u64, u64)>, _, _) = (Vec::new(), 0, 0);
            while count < 1_000_000 {
                dot += 1;
                if random.below(100_000) < survivors {
                    count += 1;
                    match live.last_mut() {
                        Some((_, last)) if *last == dot - 1 => *last = dot,
                        _ => live.push((dot - 1, dot)),
                    }
                }
            }
            live.reverse();
            let len = len(&live, dot);
            assert!(len <= bytes_max, "{survivors} in 100,000 survive: {len} B for a million");
        }
    }

    proptest! {
        #[test]
        fn any_ranges_come_out_of_one_or_more_messages_as_they_went_in(
            (lo, hi, live) in any_live(),
            budget in 60_usize..2000,
        ) {
            let (mut above, mut got) = (hi, Vec::new());
            for message in messages(&live, lo, hi, budget) {
                prop_assert!(message.len() <= budget, "{} of {budget}", message.len());
                let dots = Dots::decode(body(&message)).unwrap();
                prop_assert_eq!(dots.hi, above);
                above = dots.lo;
                got.extend(dots.live());
            }
            prop_assert_eq!((above, got), (lo, live));
        }

        #[test]
        fn random_bytes_never_panic_and_stay_in_their_range(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(dots) = Dots::decode(&bytes) {
                let mut above = dots.hi;
                for (first, last) in dots.live() {
                    prop_assert!(dots.lo <= first && first < last && last <= above);
                    above = first;
                }
                let mut again = Vec::new();
                dots.put(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
