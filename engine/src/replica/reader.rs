//! Reading a lane at one instant, in parts: an own one, or one of another node as it is held here.

use super::{LaneCondition, LaneSummary, Replica, SnapshotItem};
use crate::lane::DotIndex;
use crate::shard::{Entries, SlotId, State};
use crate::{Incarnation, NodeId};
use std::fmt;

/// A lane at one instant, from a base on: what a snapshot of it is made from, without a copy of it.
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
    /// Shards, each with the pin that keeps the slots in it.
    pins: Vec<(u16, u64)>,
}

/// Of the dots of a lane: the slots of those above a base, ascending, and those at or below it as ranges `(first, last]`, descending.
pub(super) fn parted(dots: &DotIndex, base: u64) -> (Vec<SlotId>, Vec<(u64, u64)>) {
    let slots = dots.range(base, u64::MAX).map(|(_, slot)| slot).collect();
    let mut live: Vec<(u64, u64)> = Vec::new();
    for (dot, _) in dots.range(0, base).rev() {
        match live.last_mut() {
            Some((first, _)) if *first == dot => *first = dot - 1,
            _ => live.push((dot - 1, dot)),
        }
    }
    (slots, live)
}

impl Replica {
    /// An own lane at one instant. The shard's lock is held only while it is noted which entries there are.
    #[must_use]
    pub fn read_lane(&self, lane: u16, base: u64) -> Option<LaneReader> {
        let choose = |state: &mut State| {
            let (slots, live) = parted(&state.lane.dots, base);
            (state.lane.summary(), slots, live)
        };
        let ((summary, slots, live), _, pin) = self.shard(lane)?.pin(choose);
        Some(LaneReader { replica: self.clone(), lane, base, summary, slots, live, pins: vec![(lane, pin)] })
    }

    /// A lane of another node at one instant, as it is held here: what lives as of the clock held, for somebody who cannot ask the
    /// lane's owner. `None` if another life of the node is known, or none, or the lane is not clean.
    ///
    /// A lane that is followed by deltas is what its owner's was only at clocks at which the owner had told all that there was. Whoever hands it on
    /// compares the [`summary`](LaneReader::summary) with what the owner has said of that clock.
    #[must_use]
    pub fn read_remote_lane(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        base: u64,
    ) -> Option<LaneReader> {
        let origin = self.inner().origins.get(node).filter(|origin| origin.incarnation == incarnation)?;
        let held = origin.lanes.get(usize::from(lane))?.lock();
        if held.retired || held.condition != LaneCondition::Clean || held.transfer.is_some() {
            return None;
        }
        let (slots, live) = held.parted(base);
        // Its entries may lie in any shard, and do not change while its lock is held.
        let shards = 0..self.lanes();
        let pins = shards.filter_map(|at| Some((at, self.shard(at)?.pin(|_| ()).2))).collect();
        Some(LaneReader { replica: self.clone(), lane, base, summary: held.summary(), slots, live, pins })
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
        for (at, pin) in std::mem::take(&mut self.pins) {
            if let Some(shard) = self.replica.shard(at) {
                shard.unpin(pin);
            }
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
