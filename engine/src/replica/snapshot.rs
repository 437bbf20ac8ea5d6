//! Snapshots of a lane: all that lives as of a clock, newest first.
//!
//! A snapshot has a **base**: a clock that the receiver holds. Entries above it come whole, entries at or below it as dots only
//! ("still alive"), so a receiver that missed a little gets a little. Chunks cover the clocks from `as_of` down to 0, strictly
//! descending: the newer version of an entry arrives before the older one's absence is noticed, so nothing flickers. Within a
//! chunk's range, what is held and not listed was removed. The receiver's clock moves once, at the end; until then deltas of
//! the lane wait.

use super::apply::{LaneWriter, Told};
use super::lane::{Progress, Transfer};
use super::{ApplyError, LaneCondition, LaneSummary, Replica};
use crate::shard::{Entries, NUMBER_MAX, SlotId, State};
use crate::{Entry, Incarnation, NodeId};

/// All live entries of one of this node's lanes at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// The lane.
    pub lane: u16,
    /// Its clock, count and digest at that instant.
    pub summary: LaneSummary,
    /// The entries, newest dot first.
    pub entries: Vec<Entry>,
}

/// The content of an entry in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// Its topic.
    pub topic: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Its metadata.
    pub meta: &'a [u8],
}

/// One live entry of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotItem<'a> {
    /// The clock of its present version.
    pub dot: u64,
    /// The clock of its first version.
    pub birth: u64,
    /// Its content; `None` at or below the base, where the receiver has it.
    pub payload: Option<Payload<'a>>,
}

impl Replica {
    /// All live entries of an own lane at one instant. The shard's lock is held only while it is noted which these are.
    #[must_use]
    pub fn snapshot(&self, lane: u16) -> Option<LaneSnapshot> {
        let choose = |state: &mut State| {
            let slots: Vec<SlotId> = state.lane.dots.iter().rev().map(|(_, slot)| slot).collect();
            (state.lane.summary(), slots)
        };
        Some(self.shard(lane)?.pinned(choose, |commons, (summary, slots)| {
            let entries = Entries::new(commons).read_all(slots);
            LaneSnapshot { lane, summary, entries }
        }))
    }

    /// The base from which a snapshot of another node's lane is to be asked for: the clock held, or 0 if the lane has diverged.
    #[must_use]
    pub fn snapshot_base(&self, node: NodeId, lane: u16) -> Option<u64> {
        let held = self.remote_lane(node, lane)?;
        Some(if held.condition == LaneCondition::Diverged { 0 } else { held.summary.clock })
    }

    /// Opens a snapshot of another node's lane. Deltas of the lane are refused until it ends.
    ///
    /// # Errors
    /// [`ApplyError::SnapshotMisfit`] if it builds on a clock that is not held or leads to nothing newer; nothing has changed.
    pub fn snapshot_begin(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        base: u64,
        as_of: u64,
    ) -> Result<(), ApplyError> {
        self.on_lane(node, incarnation, lane, |writer| {
            writer.begin(base, as_of, Progress::Down { next_hi: as_of })
        })
    }

    /// Applies the next chunk: of the dots in `(lo, hi]`, exactly these are alive. Items are in strictly descending order.
    ///
    /// # Errors
    /// [`ApplyError`]; the snapshot is aborted then, the clock stays, and the lane needs another snapshot.
    pub fn snapshot_chunk(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        (lo, hi): (u64, u64),
        items: &[SnapshotItem<'_>],
    ) -> Result<(), ApplyError> {
        self.on_lane(node, incarnation, lane, |writer| {
            let applied = writer.chunk(lo, hi, items);
            if applied.is_err() {
                writer.abort();
            }
            applied
        })
    }

    /// Applies the next chunk as dots alone, all at or below the base: of those in `(lo, hi]`, exactly these are alive. Given as ranges
    /// `(first, last]`, descending and apart.
    ///
    /// # Errors
    /// As for [`snapshot_chunk`](Self::snapshot_chunk).
    pub fn snapshot_live(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        range: (u64, u64),
        live: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), ApplyError> {
        self.on_lane(node, incarnation, lane, |writer| {
            let applied = writer.live(range, live);
            if applied.is_err() {
                writer.abort();
            }
            applied
        })
    }

    /// Ends a snapshot whose chunks have come down to 0, or a catch-up that has come up to its end: the clock moves to its `as_of`, if count and digest are the owner's.
    ///
    /// # Errors
    /// [`ApplyError::OutOfTurn`] if anything of it is missing; [`ApplyError::Diverged`] (birth 0) if the result is not what the
    /// owner has: the clock stays and a whole snapshot is needed.
    pub fn snapshot_end(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        count: u64,
        digest: u64,
    ) -> Result<u64, ApplyError> {
        self.on_lane(node, incarnation, lane, |writer| writer.end(count, digest))
    }

    /// Aborts a snapshot or a catch-up: the clock stays, what came stays, and the lane needs another snapshot.
    pub fn snapshot_abort(&self, node: NodeId, lane: u16) {
        if let Some(origin) = self.inner().origins.get(node)
            && let Some(lane) = origin.lanes.get(usize::from(lane))
        {
            let mut lane = lane.lock();
            if planted!(AbortAdvances)
                && let Some(transfer) = lane.transfer
            {
                (lane.clock, lane.condition) = (transfer.as_of, LaneCondition::Clean);
            }
            lane.transfer = None;
        }
    }
}

impl LaneWriter<'_> {
    pub(super) fn abort(&mut self) {
        self.lane.transfer = None;
    }

    pub(super) fn begin(&mut self, base: u64, as_of: u64, progress: Progress) -> Result<(), ApplyError> {
        if as_of > NUMBER_MAX {
            return Err(ApplyError::Malformed { what: "a clock has more than 48 bits" });
        }
        let have = self.lane.clock;
        let clean = self.lane.condition == LaneCondition::Clean;
        let usable = if self.lane.condition == LaneCondition::Diverged { 0 } else { have };
        let misfits = base > usable && !planted!(NoBaseCheck);
        // What an aborted transfer brought stays, so an older one would go back behind it.
        let is_old = as_of < self.lane.reached() && !planted!(RelayWithoutAsOf);
        if misfits || is_old || (clean && as_of == have) {
            return Err(ApplyError::SnapshotMisfit { base, as_of, have });
        }
        self.lane.partial_as_of = as_of;
        self.lane.transfer = Some(Transfer { base, as_of, progress, diverged: false });
        if clean {
            self.lane.condition = LaneCondition::Partial;
        }
        Ok(())
    }

    fn end(&mut self, count: u64, digest: u64) -> Result<u64, ApplyError> {
        let Some(transfer) = self.lane.transfer.filter(Transfer::is_through) else {
            self.abort();
            return Err(ApplyError::OutOfTurn);
        };
        self.lane.transfer = None;
        let summary = self.lane.summary();
        if transfer.diverged || summary.count != count || summary.digest != digest {
            self.lane.condition = LaneCondition::Diverged;
            return Err(ApplyError::Diverged { birth: 0 });
        }
        self.lane.clock = transfer.as_of;
        self.lane.condition = LaneCondition::Clean;
        Ok(transfer.as_of)
    }

    fn chunk(&mut self, lo: u64, hi: u64, items: &[SnapshotItem<'_>]) -> Result<(), ApplyError> {
        let transfer = self.expect_range(lo, hi)?;
        self.check_items(lo, hi, transfer.base, items)?;
        let mut diverged = transfer.diverged;
        for item in items {
            match item.payload {
                Some(Payload { topic, key, meta }) => {
                    let told = Told { dot: item.dot, birth: item.birth, topic, key, meta };
                    // A lane that has diverged may hold anything under this dot or birth; its owner is right.
                    if let Some(slot) = self.lane.at(item.dot)
                        && self.birth_of(slot) != item.birth
                    {
                        self.remove(item.dot, slot);
                    }
                    if let Some((dot, slot)) = self.find(item.birth)
                        && (dot > item.dot
                            || !self.is_named(slot, told)
                            || (dot == item.dot && !self.has_meta(slot, meta)))
                    {
                        self.remove(dot, slot);
                    }
                    self.upsert(told)?;
                }
                None => diverged |= self.find(item.birth).is_none_or(|(dot, _)| dot != item.dot),
            }
        }
        // Both ascend: what is held in the range and not listed was removed.
        let mut listed = items.iter().rev().map(|item| item.dot).peekable();
        for (dot, slot) in self.lane.dots_in(lo, hi) {
            while listed.next_if(|&next| next < dot).is_some() {}
            if listed.peek() != Some(&dot) {
                self.remove(dot, slot);
            }
        }
        self.note_range(transfer, (lo, hi), diverged);
        Ok(())
    }

    /// The transfer under way, if the range is what it needs next.
    fn expect_range(&self, lo: u64, hi: u64) -> Result<Transfer, ApplyError> {
        let next = Progress::Down { next_hi: hi };
        let is_next = |transfer: &Transfer| transfer.progress == next || planted!(AscendingSnapshot);
        let transfer = self.lane.transfer.filter(|transfer| is_next(transfer) && lo < hi);
        transfer.ok_or(ApplyError::OutOfTurn)
    }

    /// A range of the transfer is through.
    fn note_range(&mut self, transfer: Transfer, (lo, hi): (u64, u64), diverged: bool) {
        let mut next_hi = lo;
        if planted!(AscendingSnapshot) {
            next_hi = if hi == transfer.as_of { 0 } else { transfer.as_of };
        }
        self.lane.transfer = Some(Transfer { progress: Progress::Down { next_hi }, diverged, ..transfer });
        if planted!(PartialAdvances) {
            self.lane.clock = transfer.as_of;
        }
    }

    fn live(
        &mut self,
        (lo, hi): (u64, u64),
        live: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), ApplyError> {
        let transfer = self.expect_range(lo, hi)?;
        if hi > transfer.base {
            return Err(ApplyError::Malformed { what: "an entry above the base has no content" });
        }
        let mut held = self.lane.dots_in(lo, hi).into_iter().rev().peekable();
        let mut above = hi;
        // Only what is held is counted one by one: a range may claim any number of clocks.
        let (mut claimed, mut kept) = (0_u64, 0_u64);
        for (first, last) in live {
            if first >= last || last > above || first < lo {
                return Err(ApplyError::Malformed { what: "live ranges are not descending in their range" });
            }
            above = first;
            claimed += last - first;
            while let Some((dot, slot)) = held.next_if(|&(dot, _)| dot > first) {
                if dot > last {
                    self.remove(dot, slot);
                } else {
                    kept += 1;
                }
            }
        }
        for (dot, slot) in held {
            self.remove(dot, slot);
        }
        self.note_range(transfer, (lo, hi), transfer.diverged || claimed != kept);
        Ok(())
    }

    fn check_items(&self, lo: u64, hi: u64, base: u64, items: &[SnapshotItem<'_>]) -> Result<(), ApplyError> {
        let mut above = hi.saturating_add(1);
        for item in items {
            if item.dot >= above || item.dot <= lo || item.birth == 0 || item.birth > item.dot {
                return Err(ApplyError::Malformed {
                    what: "dots of a chunk are not descending in its range",
                });
            }
            above = item.dot;
            match item.payload {
                Some(Payload { topic, key, meta }) => self.check_lens(topic, key, meta)?,
                None if item.dot > base => {
                    return Err(ApplyError::Malformed { what: "an entry above the base has no content" });
                }
                None => {}
            }
        }
        Ok(())
    }
}
