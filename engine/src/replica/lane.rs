//! What a receiver keeps of one lane of another node.

use crate::lane::DotIndex;
use crate::shard::SlotId;
use std::collections::HashMap;

/// Clock, number of live entries and digest of a lane.
///
/// The digest is the wrapping sum of [`Entry::digest`](crate::Entry::digest) over the live entries. Two holders of a lane at the same clock hold
/// the same entries, or one of them is wrong; the digest finds that out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneSummary {
    /// The clock.
    pub clock: u64,
    /// Live entries.
    pub count: u64,
    /// The digest.
    pub digest: u64,
}

/// Whether a lane held here is what its owner's was at its clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum LaneCondition {
    /// It is.
    #[default]
    Clean,
    /// A snapshot is under way or was aborted: some entries are newer than the clock. A snapshot from the clock mends it.
    Partial,
    /// It has diverged. A snapshot from 0 mends it.
    Diverged,
}

/// A lane of another node as it is held here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RemoteLane {
    /// Clock, count and digest.
    pub summary: LaneSummary,
    /// Whether the three belong together.
    pub condition: LaneCondition,
    /// The latest clock of which anything may be held, if that is above the clock: an older snapshot is refused.
    pub reached: u64,
}

/// A snapshot or a catch-up under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) base: u64,
    pub(super) as_of: u64,
    pub(super) progress: Progress,
    /// A dot that should have been held was not.
    pub(super) diverged: bool,
}

/// How far a transfer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// A snapshot: the upper end of its next chunk; 0 when all have come.
    Down { next_hi: u64 },
    /// A catch-up: the clock before its next operation; its `as_of` when all have come.
    Up { next_lo: u64 },
}

impl Transfer {
    /// Nothing is missing but the end.
    pub(super) fn is_through(&self) -> bool {
        match self.progress {
            Progress::Down { next_hi } => next_hi == 0,
            Progress::Up { next_lo } => next_lo == self.as_of,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct LaneState {
    pub(super) clock: u64,
    pub(super) digest: u64,
    pub(super) condition: LaneCondition,
    pub(super) transfer: Option<Transfer>,
    /// As of when the newest snapshot was that began here, whole or not.
    pub(super) partial_as_of: u64,
    /// The origin's life is over; nothing more is applied.
    pub(super) retired: bool,
    dots: DotIndex,
    /// Birth → dot, for entries that were updated (their dot is not their birth).
    updated: HashMap<u64, u64, ahash::RandomState>,
}

impl LaneState {
    pub(super) fn reached(&self) -> u64 {
        self.clock.max(self.partial_as_of)
    }

    pub(super) fn summary(&self) -> LaneSummary {
        LaneSummary { clock: self.clock, count: self.dots.len() as u64, digest: self.digest }
    }

    pub(super) fn len(&self) -> usize {
        self.dots.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.dots.iter().map(|(_, slot)| slot)
    }

    /// The slot of the entry whose dot that is.
    pub(super) fn at(&self, dot: u64) -> Option<SlotId> {
        self.dots.get(dot)
    }

    /// The dot and slot of the entry of that birth. `birth_of` tells the birth of a slot's entry.
    pub(super) fn find(&self, birth: u64, birth_of: impl Fn(SlotId) -> u64) -> Option<(u64, SlotId)> {
        let updated = if self.updated.is_empty() { None } else { self.updated.get(&birth).copied() };
        let dot = updated.unwrap_or(birth);
        self.dots.get(dot).filter(|&slot| birth_of(slot) == birth).map(|slot| (dot, slot))
    }

    pub(super) fn insert(&mut self, dot: u64, birth: u64, slot: SlotId) {
        if birth != dot {
            self.updated.insert(birth, dot);
        }
        self.dots.insert(dot, slot);
    }

    /// Takes an entry out, of which the birth is known.
    pub(super) fn remove(&mut self, dot: u64, birth: u64) {
        self.dots.remove(dot);
        if birth != dot {
            self.updated.remove(&birth);
            if self.updated.is_empty() {
                self.updated = HashMap::default();
            }
        }
    }

    /// The greatest dot held, and its slot.
    pub(super) fn last(&self) -> Option<(u64, SlotId)> {
        self.dots.last()
    }

    /// What a reader from a base on needs of the dots held.
    pub(super) fn parted(&self, base: u64) -> (Vec<SlotId>, Vec<(u64, u64)>) {
        super::reader::parted(&self.dots, base)
    }

    /// Dots held within `(lo, hi]`, ascending, with their slots.
    pub(super) fn dots_in(&self, lo: u64, hi: u64) -> Vec<(u64, SlotId)> {
        self.dots.range(lo, hi).collect()
    }
}
