//! Which slots the live entries of a lane are in, by the clock of their dot.
//!
//! Clocks are dense near the lane's end and thin out below: entries leave, and the long-lived ones stay behind, few in a wide range. So
//! pages of 1,024 clocks are kept in either of two forms, as in roaring bitmaps (Chambi et al., "Better bitmap performance with Roaring
//! bitmaps", 2016): an array of all slots, or a sorted list of those that are there. A page that empties is freed.
//!
//! Entries come in ascending order when they are tracked and in descending order with a snapshot, so the page that
//! was inserted to last is kept outside the directory: such a run costs a look at the directory once a page.

mod page;

use page::{PAGE_CLOCKS, Page};
use std::collections::BTreeMap;

/// From clocks to slot references, which are never 0.
#[derive(Debug, Default)]
pub(crate) struct DotIndex {
    len: usize,
    /// Number and page of the last insert; never an empty page, and never in `others`.
    recent: Option<(u64, Page)>,
    others: BTreeMap<u64, Page>,
    /// Heap bytes of the pages in `others`.
    others_bytes: usize,
}

impl DotIndex {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, clock: u64) -> Option<u32> {
        let (number, at) = split(clock);
        self.page(number)?.get(at)
    }

    /// Returns the slot that the clock had.
    pub(crate) fn insert(&mut self, clock: u64, slot: u32) -> Option<u32> {
        debug_assert_ne!(slot, 0, "0 is no slot");
        let (number, at) = split(clock);
        self.bring(number);
        let (_, page) = self.recent.get_or_insert_with(|| (number, Page::default()));
        let old = page.insert(at, slot);
        self.len += usize::from(old.is_none());
        old
    }

    /// Returns the slot that the clock had.
    pub(crate) fn remove(&mut self, clock: u64) -> Option<u32> {
        let (number, at) = split(clock);
        let old = match &mut self.recent {
            Some((recent, page)) if *recent == number => {
                let old = page.remove(at)?;
                if page.is_empty() {
                    self.recent = None;
                }
                old
            }
            // Removals come in any order: bringing each page here would only push out the one that inserts go to.
            _ => {
                let page = self.others.get_mut(&number)?;
                let before = page.heap_bytes();
                let old = page.remove(at)?;
                self.others_bytes = self.others_bytes - before + page.heap_bytes();
                if page.is_empty() {
                    self.others.remove(&number);
                }
                old
            }
        };
        self.len -= 1;
        Some(old)
    }

    /// Asks for the lines that a removal of that clock will change.
    #[inline]
    pub(crate) fn prefetch(&self, clock: u64) {
        let (number, at) = split(clock);
        if let Some(page) = self.page(number) {
            page.prefetch(at);
        }
    }

    /// The greatest clock.
    pub(crate) fn last(&self) -> Option<(u64, u32)> {
        self.iter().next_back()
    }

    /// Clocks within `(lo, hi]`, ascending.
    pub(crate) fn range(&self, lo: u64, hi: u64) -> impl DoubleEndedIterator<Item = (u64, u32)> + '_ {
        let within = lo < hi;
        // An empty range still needs bounds that a map accepts.
        let (first, last) = if within { (lo + 1, hi) } else { (0, 0) };
        let (pages_first, pages_last) = (split(first).0, split(last).0);
        let recent = self.recent.iter().map(|(number, page)| (*number, page));
        let recent = recent.filter(move |&(number, _)| (pages_first..=pages_last).contains(&number));
        let number = self.recent.as_ref().map_or(0, |&(number, _)| number);
        // The recent page stands between those below it and those above.
        let cut = number.clamp(pages_first, pages_last);
        let below = self.others.range(pages_first..cut);
        let above = self.others.range(cut..=pages_last);
        let numbered = |(&number, page): (&u64, _)| (number, page);
        let (below, above) = (below.map(numbered), above.map(numbered));
        below.chain(recent).chain(above).filter(move |_| within).flat_map(move |(number, page)| {
            let start = number * PAGE_CLOCKS;
            let from = first.saturating_sub(start) as usize;
            let to = (last - start).min(PAGE_CLOCKS - 1) as usize;
            page.range(from, to).map(move |(at, slot)| (start + at as u64, slot))
        })
    }

    /// All clocks, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u32)> + '_ {
        // Clock 0 is before the first operation, so no entry has it; were one inserted all the same, it would be found.
        let zero = self.get(0).map(|slot| (0, slot));
        zero.into_iter().chain(self.range(0, u64::MAX))
    }

    /// What it keeps on the heap, the directory included (by estimate).
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        // A node of the directory is at least half full but for the last, and two thirds full on average.
        let directory = self.others.len() * (size_of::<u64>() + size_of::<Page>()) * 3 / 2;
        let recent = self.recent.as_ref().map_or(0, |(_, page)| page.heap_bytes());
        self.others_bytes + recent + directory
    }

    fn page(&self, number: u64) -> Option<&Page> {
        match &self.recent {
            Some((recent, page)) if *recent == number => Some(page),
            _ => self.others.get(&number),
        }
    }

    /// Makes that page the recent one if it exists, and puts away the one that was. If it does not exist, there is no recent one.
    fn bring(&mut self, number: u64) {
        if self.recent.as_ref().is_some_and(|&(recent, _)| recent == number) {
            return;
        }
        let page = self.others.remove(&number);
        self.others_bytes -= page.as_ref().map_or(0, Page::heap_bytes);
        let was = std::mem::replace(&mut self.recent, page.map(|page| (number, page)));
        if let Some((number, page)) = was {
            self.others_bytes += page.heap_bytes();
            self.others.insert(number, page);
        }
    }
}

/// The page of a clock, and its place there.
fn split(clock: u64) -> (u64, usize) {
    (clock / PAGE_CLOCKS, (clock % PAGE_CLOCKS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(index: &DotIndex, naive: &BTreeMap<u64, u32>, lo: u64, hi: u64) -> Result<(), TestCaseError> {
        let pairs = |(&clock, &slot): (&u64, &u32)| (clock, slot);
        prop_assert_eq!(index.len(), naive.len());
        prop_assert_eq!(index.last(), naive.last_key_value().map(pairs));
        prop_assert!(index.iter().eq(naive.iter().map(pairs)));
        prop_assert!(index.iter().rev().eq(naive.iter().rev().map(pairs)));
        let within: Vec<_> =
            naive.iter().map(pairs).filter(|&(clock, _)| lo < clock && clock <= hi).collect();
        prop_assert_eq!(index.range(lo, hi).collect::<Vec<_>>(), within.clone());
        prop_assert!(index.range(lo, hi).rev().eq(within.into_iter().rev()));
        if naive.is_empty() {
            prop_assert_eq!(index.heap_bytes(), 0, "memory is given back");
        }
        Ok(())
    }

    /// An insert (with a slot) or a remove of one clock, or a run of them up or down.
    type Step = (u64, u64, u32);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let near = 1..4000_u64;
        let clock = prop_oneof![4 => near.clone(), 1 => near.prop_map(|clock| clock << 20), 1 => Just(u64::MAX), 1 => 1..=u64::MAX];
        let run = prop_oneof![3 => Just(1), 1 => 1..1500_u64];
        let slot = prop_oneof![1 => Just(0), 1 => 1..=u32::MAX];
        prop::collection::vec((clock, run, slot), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn it_is_a_map(steps in steps(), down: bool, lo in 0..5000_u64, span in 0..3000_u64) {
            let (mut index, mut naive) = (DotIndex::default(), BTreeMap::new());
            for (first, run, slot) in steps {
                let step = |at: u64| if down { first.saturating_sub(at).max(1) } else { first.saturating_add(at) };
                for clock in (0..run).map(step) {
                    prop_assert_eq!(index.get(clock), naive.get(&clock).copied());
                    if slot > 0 {
                        prop_assert_eq!(index.insert(clock, slot), naive.insert(clock, slot));
                    } else {
                        prop_assert_eq!(index.remove(clock), naive.remove(&clock));
                    }
                }
                check(&index, &naive, lo, lo + span)?;
                check(&index, &naive, lo, u64::MAX)?;
                check(&index, &naive, first.saturating_sub(span), first)?;
                check(&index, &naive, span, lo)?;
            }
            for clock in naive.keys().copied().collect::<Vec<_>>() {
                prop_assert_eq!(index.remove(clock), naive.remove(&clock));
            }
            check(&index, &naive, 0, u64::MAX)?;
        }
    }

    #[test]
    fn a_dense_lane_takes_little_more_than_its_slots() {
        let (mut up, mut down) = (DotIndex::default(), DotIndex::default());
        for clock in 1..=100_000 {
            up.insert(clock, 7);
            down.insert(100_001 - clock, 7);
        }
        for index in [up, down] {
            let per_dot = index.heap_bytes() as f64 / index.len() as f64;
            assert!(per_dot < 4.5, "{per_dot} B");
        }
    }

    #[test]
    fn survivors_of_churn_keep_no_arrays() {
        for (every, bytes_max) in
            [(4_u64, 17.0), (16, 14.0), (64, 16.0), (256, 26.0), (512, 20.0), (10_000, 40.0)]
        {
            let mut index = DotIndex::default();
            let mut random = 1_u64;
            for clock in 1..=1_000_000 {
                index.insert(clock, 7);
                // Those of the last 10,000 leave in random order, but for one in so many.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let old = clock.saturating_sub((random >> 33) % 10_000);
                for old in [old, clock.saturating_sub(10_000)] {
                    if old % every != 0 {
                        index.remove(old);
                    }
                }
            }
            let all: Vec<u64> =
                index.iter().map(|(clock, _)| clock).filter(|clock| clock % every != 0).collect();
            all.into_iter().for_each(|clock| assert_eq!(index.remove(clock), Some(7)));
            let per_dot = index.heap_bytes() as f64 / index.len() as f64;
            assert!(per_dot < bytes_max, "one in {every}: {per_dot} B");
        }
    }
}
