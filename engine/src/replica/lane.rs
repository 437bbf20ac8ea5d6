//! What a receiver keeps of one lane of another node.

use std::collections::{BTreeMap, HashMap};

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
}

/// Where an entry of the lane is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) slot: u32,
    pub(crate) birth: u64,
}

/// A snapshot under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) base: u64,
    pub(super) as_of: u64,
    /// The upper end of the next chunk; 0 when all have come.
    pub(super) next_hi: u64,
    /// A dot that should have been held was not.
    pub(super) diverged: bool,
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
    by_dot: BTreeMap<u64, Place>,
    /// Birth → dot, for entries that were updated (their dot is not their birth).
    updated: HashMap<u64, u64, ahash::RandomState>,
}

impl LaneState {
    pub(super) fn summary(&self) -> LaneSummary {
        LaneSummary { clock: self.clock, count: self.by_dot.len() as u64, digest: self.digest }
    }

    pub(super) fn len(&self) -> usize {
        self.by_dot.len()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.by_dot.values()
    }

    /// The dot and place of the entry of that birth.
    pub(super) fn find(&self, birth: u64) -> Option<(u64, Place)> {
        let dot = self.updated.get(&birth).copied().unwrap_or(birth);
        self.by_dot.get(&dot).filter(|place| place.birth == birth).map(|&place| (dot, place))
    }

    pub(super) fn insert(&mut self, dot: u64, place: Place) {
        if place.birth != dot {
            self.updated.insert(place.birth, dot);
        }
        self.by_dot.insert(dot, place);
    }

    pub(super) fn remove(&mut self, dot: u64) -> Option<Place> {
        let place = self.by_dot.remove(&dot)?;
        if place.birth != dot {
            self.updated.remove(&place.birth);
        }
        Some(place)
    }

    /// The birth of the entry whose dot that is.
    pub(super) fn birth_at(&self, dot: u64) -> Option<u64> {
        self.by_dot.get(&dot).map(|place| place.birth)
    }

    /// The greatest dot held.
    pub(super) fn last_dot(&self) -> Option<u64> {
        self.by_dot.last_key_value().map(|(&dot, _)| dot)
    }

    /// Dots held within `(lo, hi]`, ascending.
    pub(super) fn dots_in(&self, lo: u64, hi: u64) -> Vec<u64> {
        self.by_dot.range(lo + 1..=hi).map(|(&dot, _)| dot).collect()
    }
}
