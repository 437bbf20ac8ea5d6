//! Log-linear buckets (HdrHistogram's layout: Gil Tene), in words.

/// Bits of a bucket's position within its power of two: a bucket is at most a sixteenth of its values wide.
pub(super) const BITS: u32 = 4;
/// Values above are counted as this.
const VALUE_MAX: u64 = 1 << 40;
/// Words in front of the buckets.
pub(super) const HEAD: usize = 2;
pub(super) const WORDS: usize = HEAD + bucket_of(VALUE_MAX, BITS) + 1;

/// The bucket of a value.
pub(super) const fn bucket_of(value: u64, bits: u32) -> usize {
    if value >> bits == 0 {
        return value as usize;
    }
    // How far the value is shifted for its `bits` + 1 leading bits; the first of these is 1.
    let shift = 63 - value.leading_zeros() - bits;
    let below = (shift as usize + 1) << bits;
    below + ((value >> shift) as usize & ((1 << bits) - 1))
}

/// The bucket of a value, which is cut to the greatest that has one.
pub(super) fn bucket(value: u64) -> usize {
    bucket_of(value.min(VALUE_MAX), BITS)
}

/// The least value of a bucket, and the greatest.
fn bounds(bucket: usize, bits: u32) -> (u64, u64) {
    let within = 1_usize << bits;
    if bucket < within {
        return (bucket as u64, bucket as u64);
    }
    let shift = bucket / within - 1;
    let least = ((within + bucket % within) as u64).checked_shl(shift as u32).unwrap_or(u64::MAX);
    (least, least.saturating_add((1_u64.checked_shl(shift as u32).unwrap_or(u64::MAX)) - 1))
}

/// How often which values came, as it was read at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Distribution {
    pub(super) bits: u32,
    pub(super) sum: u64,
    pub(super) max: u64,
    pub(super) counts: Vec<u64>,
}

impl Distribution {
    /// How many values came.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The greatest value that ever came, exactly; of a [difference](Self::since), the upper end of its greatest bucket.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that `quantile` (0 to 1) of all values do not exceed: the upper end of its bucket, at most a sixteenth too much, and
    /// never above [`max`](Self::max). `None` if no value came.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0_u64;
        let at = self.counts.iter().position(|&count| {
            seen = seen.saturating_add(count);
            seen >= rank
        })?;
        Some(bounds(at, self.bits).1.min(self.max.max(bounds(at, self.bits).0)))
    }

    /// What came after an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let counts: Vec<u64> =
            self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        let highest = counts.iter().rposition(|&count| count > 0);
        let max = highest.map_or(0, |at| bounds(at, self.bits).1.min(self.max));
        Self { bits: self.bits, sum: self.sum.wrapping_sub(earlier.sum), max, counts }
    }

    /// The buckets that values came in: the greatest value of each, and how many came.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        counts.map(|(at, &count)| (bounds(at, self.bits).1, count))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_each_holds_what_is_between_its_bounds() {
        let mut next = 0;
        for bucket in 0..WORDS - HEAD {
            let (least, greatest) = bounds(bucket, BITS);
            assert_eq!(least, next, "no value is left out before bucket {bucket}");
            assert_eq!((bucket_of(least, BITS), bucket_of(greatest, BITS)), (bucket, bucket));
            assert!((greatest - least) as f64 <= least as f64 / 16.0, "a sixteenth at the most");
            next = greatest + 1;
        }
        assert_eq!(bucket(u64::MAX), WORDS - HEAD - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_values_to_a_sixteenth() {
        let mut counts = vec![0; WORDS - HEAD];
        for value in 1..=1000_u64 {
            counts[bucket(value)] += 1;
        }
        let all = Distribution { bits: BITS, sum: 500_500, max: 1000, counts };
        for (quantile, value) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = all.quantile(quantile).unwrap();
            assert!((value..=value + value / 16).contains(&found), "{quantile}: {found}");
        }
        assert_eq!((all.count(), all.quantile(1.0)), (1000, Some(1000)));
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn a_difference_has_what_came_between() {
        let distribution = |values: &[u64]| {
            let mut counts = vec![0; WORDS - HEAD];
            values.iter().for_each(|&value| counts[bucket(value)] += 1);
            let (sum, max) = (values.iter().sum(), values.iter().copied().max().unwrap_or(0));
            Distribution { bits: BITS, sum, max, counts }
        };
        let between = distribution(&[5000, 7, 9]).since(&distribution(&[5000]));
        assert_eq!((between.count(), between.sum(), between.max()), (2, 16, 9));
        assert_eq!(between.buckets().collect::<Vec<_>>(), [(7, 1), (9, 1)]);
    }
}
