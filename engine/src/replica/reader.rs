//! Reading an own lane at one instant, in parts.

use super::{LaneSummary, Replica, SnapshotItem};
use crate::shard::{Entries, SlotId, State};
use std::fmt;

/// An own lane at one instant, from a base on: what a snapshot of it is made from, without a copy of it.
///
/// The slots of its entries are kept for it until all were read or it is dropped, also of those that leave or are replaced
/// meanwhile, so it should not be kept for long.
pub struct LaneReader {
    replica: Replica,
    lane: u16,
    base: u64,
    summary: LaneSummary,
    /// Of the entries above the base, the newest last.
    slots: Vec<SlotId>,
    live: Vec<(u64, u64)>,
    pin: Option<u64>,
}

impl Replica {
    /// An own lane at one instant. The shard's lock is held only while it is noted which entries there are.
    #[must_use]
    pub fn read_lane(&self, lane: u16, base: u64) -> Option<LaneReader> {
        let choose = |state: &mut State| {
            let dots = &state.lane.dots;
            let slots: Vec<SlotId> = dots.range(base, u64::MAX).map(|(_, slot)| slot).collect();
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (dot, _) in dots.range(0, base).rev() {
                match live.last_mut() {
                    Some((first, _)) if *first == dot => *first = dot - 1,
                    _ => live.push((dot - 1, dot)),
                }
            }
            (state.lane.summary(), slots, live)
        };
        let ((summary, slots, live), _, pin) = self.shard(lane)?.pin(choose);
        Some(LaneReader { replica: self.clone(), lane, base, summary, slots, live, pin: Some(pin) })
    }
}

impl LaneReader {
    /// Which lane it is.
    #[must_use]
    pub fn lane(&self) -> u16 {
        self.lane
    }

    /// The clock above which entries are read.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Clock, count and digest of the whole lane at that instant.
    #[must_use]
    pub fn summary(&self) -> LaneSummary {
        self.summary
    }

    /// The dots at or below the base that lived, as ranges `(first, last]`, descending and apart.
    #[must_use]
    pub fn live(&self) -> &[(u64, u64)] {
        &self.live
    }

    /// Whether all entries above the base were read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.slots.is_empty()
    }

    /// Hands the entries above the base to `take`, newest first, until it refuses one: that comes first the next time.
    pub fn read(&mut self, mut take: impl FnMut(&SnapshotItem<'_>) -> bool) {
        let commons = &self.replica.inner().commons;
        let mut entries = Entries::new(commons);
        while let Some(&slot) = self.slots.last() {
            // Pinned slots stay readable, so there always is one to show.
            if entries.show(slot, &mut take) == Some(false) {
                return;
            }
            self.slots.pop();
        }
        self.slots = Vec::new();
        self.unpin();
    }

    fn unpin(&mut self) {
        if let Some(pin) = self.pin.take()
            && let Some(shard) = self.replica.shard(self.lane)
        {
            shard.unpin(pin);
        }
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        self.unpin();
    }
}

impl fmt::Debug for LaneReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReader")
            .field("lane", &self.lane)
            .field("base", &self.base)
            .field("summary", &self.summary)
            .field("left", &self.slots.len())
            .finish_non_exhaustive()
    }
}
