//! Catch-ups: a delta that is told in parts and counts as a whole.
//!
//! A [`whole`](Replica::whole_delta) delta may be larger than one message. Cut anywhere, its first part leaves out versions that are replaced in
//! the second, so a receiver between them is not at any clock of the owner's: the parts of a catch-up are applied as they come, and the
//! receiver's clock moves once, at the end, when count and digest are the owner's. Until then the lane is as with a snapshot under way:
//! other deltas wait, and if it breaks off, another transfer from the same clock mends the lane. That may be a catch-up again: every
//! removal behind the clock is told once more, and what is told of an entry is its newest version.

use super::apply::LaneWriter;
use super::lane::{Progress, Transfer};
use super::{ApplyError, DeltaView, LaneCondition, Replica};
use crate::{Incarnation, NodeId};

impl Replica {
    /// Opens a catch-up of another node's lane, from the clock held to `as_of`. It ends with
    /// [`snapshot_end`](Self::snapshot_end) or [`snapshot_abort`](Self::snapshot_abort).
    ///
    /// # Errors
    /// [`ApplyError::SnapshotMisfit`] if `lo` is not the clock held, the lane has diverged, or it leads to nothing newer;
    /// nothing has changed.
    pub fn catch_up_begin(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        lo: u64,
        as_of: u64,
    ) -> Result<(), ApplyError> {
        self.on_lane(node, incarnation, lane, |writer| {
            let have = writer.lane.clock;
            if (lo != have && !planted!(NoBaseCheck)) || writer.lane.condition == LaneCondition::Diverged {
                return Err(ApplyError::SnapshotMisfit { base: lo, as_of, have });
            }
            writer.begin(lo, as_of, Progress::Up { next_lo: lo })
        })
    }

    /// Applies the next part of a catch-up.
    ///
    /// # Errors
    /// [`ApplyError`]; the catch-up is aborted then, the clock stays, and the lane needs another transfer.
    pub fn catch_up(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        part: &DeltaView<'_>,
    ) -> Result<(), ApplyError> {
        self.on_lane(node, incarnation, part.lane, |writer| {
            let applied = writer.catch_up(part);
            if applied.is_err() {
                writer.abort();
            }
            applied
        })
    }
}

impl LaneWriter<'_> {
    fn catch_up(&mut self, part: &DeltaView<'_>) -> Result<(), ApplyError> {
        let next = Progress::Up { next_lo: part.lo };
        let fits = |transfer: &Transfer| transfer.progress == next && part.hi <= transfer.as_of;
        let transfer = self.lane.transfer.filter(fits).ok_or(ApplyError::OutOfTurn)?;
        self.check(part)?;
        let mut clock = part.lo;
        for op in part.ops {
            clock += op.clocks();
            if let Err(error) = self.apply_op(clock, op) {
                if matches!(error, ApplyError::Diverged { .. }) {
                    self.lane.condition = LaneCondition::Diverged;
                }
                return Err(error);
            }
        }
        self.lane.transfer = Some(Transfer { progress: Progress::Up { next_lo: part.hi }, ..transfer });
        Ok(())
    }
}
