//! Which pages of a unit are free, and which unit has room for a run of pages.

use super::UNIT_PAGES;

const WORDS: usize = UNIT_PAGES / 64;

/// One bit a page of a unit; a page that is taken has a 1.
#[derive(Clone, Debug)]
pub(super) struct Bitmap([u64; WORDS]);

impl Bitmap {
    /// All pages free.
    pub(super) const FREE: Self = Self([0; WORDS]);

    /// Marks `len` pages from `start` on.
    pub(super) fn mark(&mut self, start: usize, len: usize, taken: bool) {
        let end = start + len;
        let mut at = start;
        while at < end {
            let (word, low) = (at / 64, at % 64);
            let count = (64 - low).min(end - at);
            let bits = (u64::MAX >> (64 - count)) << low;
            debug_assert_eq!(self.0[word] & bits, if taken { 0 } else { bits }, "pages change their state");
            if taken {
                self.0[word] |= bits
            } else {
                self.0[word] &= !bits
            }
            at += count;
        }
    }

    /// The first run of `len` free pages.
    pub(super) fn find(&self, len: usize) -> Option<usize> {
        self.runs().find(|&(_, free)| free >= len).map(|(start, _)| start)
    }

    /// The length of the longest run of free pages.
    pub(super) fn longest(&self) -> usize {
        self.runs().map(|(_, free)| free).max().unwrap_or(0)
    }

    /// Start and length of every run of free pages.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, false)?;
            at = self.next(start, true).unwrap_or(UNIT_PAGES);
            Some((start, at - start))
        })
    }

    /// The first page from `from` on that is in that state.
    fn next(&self, from: usize, taken: bool) -> Option<usize> {
        let flip = if taken { 0 } else { u64::MAX };
        let mut word = from / 64;
        let mut bits = (self.0.get(word)? ^ flip) & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = self.0.get(word)? ^ flip;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

/// The longest free run of every unit, with the maximum over each pair, each four, … above it: the lowest unit with room is
/// found, and a unit's value changed, in a number of steps that grows with the logarithm of the number of units.
///
/// It is sized for all units at once and zeroed by the system, so what is never touched costs nothing.
#[derive(Debug)]
pub(super) struct RunTree {
    leaves: usize,
    /// Node 1 is the root, the children of `n` are `2 n` and `2 n + 1`, the leaves come last.
    longest: Vec<u16>,
}

impl RunTree {
    pub(super) fn new(units: usize) -> Self {
        let leaves = units.next_power_of_two();
        Self { leaves, longest: vec![0; 2 * leaves] }
    }

    /// The longest run of all.
    pub(super) fn longest(&self) -> usize {
        usize::from(self.longest[1])
    }

    pub(super) fn set(&mut self, unit: usize, longest: usize) {
        let mut node = self.leaves + unit;
        let mut value = longest as u16;
        while self.longest[node] != value {
            self.longest[node] = value;
            if node == 1 {
                return;
            }
            value = value.max(self.longest[node ^ 1]);
            node /= 2;
        }
    }

    /// The lowest unit that has a run of `len`.
    pub(super) fn lowest_with(&self, len: usize) -> Option<usize> {
        let fits = |node: usize| usize::from(self.longest[node]) >= len;
        if !fits(1) {
            return None;
        }
        let mut node = 1;
        while node < self.leaves {
            node = if fits(2 * node) { 2 * node } else { 2 * node + 1 };
        }
        Some(node - self.leaves)
    }
}
