//! A node and another that takes in its deltas.

use crate::compare::{Timing, timed};
use crate::{Resident, Row, Shape};
use headcount::replica::Op;
use headcount::{Config, Incarnation, NodeId, Session, Tracker};
use std::time::Duration;

/// Entries of a delta.
pub const DELTA: usize = 1_000;

const OWNER: NodeId = NodeId(1);
const RECEIVER: NodeId = NodeId(2);

/// A node and another that holds everything of it.
#[derive(Debug)]
pub struct Pair {
    owner: Resident,
    receiver: Tracker,
    session: Session,
    /// Rows of one lane of the owner.
    rows: Vec<Row>,
    lane: u16,
}

impl Pair {
    /// Both hold the rows of a shape.
    ///
    /// # Panics
    /// If a tracker refuses.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let owner = Resident::with_config(shape, Config::default().node(OWNER).lane_log_max(1 << 22));
        let receiver = Config::default().node(RECEIVER).build().expect("the default is valid");
        let replica = receiver.replica();
        let lanes = owner.tracker.replica().lanes();
        replica.origin_join(OWNER, "owner", Incarnation::default(), lanes).expect("the owner is new");
        let session = owner.tracker.session();
        let (rows, lane) = rows_of_one_lane(&session, shape);
        let pair = Self { owner, receiver, session, rows, lane };
        for lane in 0..lanes {
            pair.apply(lane);
        }
        pair
    }

    /// Wall and CPU time of the receiver for a delta of [`DELTA`] joins. They leave again, on both.
    ///
    /// # Panics
    /// If a tracker refuses.
    pub fn time_delta(&self) -> (Duration, Duration) {
        let before = self.receiver.len();
        let entries = self.rows.iter().map(|row| (row.topic, row.key, row.meta));
        self.session.track_many(entries).expect("the limits are far");
        let timing = self.apply(self.lane);
        assert_eq!(self.receiver.len(), before + DELTA);
        self.session.clear().expect("the tracker runs");
        self.apply(self.lane);
        (timing.wall, timing.cpu)
    }

    /// Applies what the receiver does not have of a lane, and returns how long the receiver took.
    fn apply(&self, lane: u16) -> Timing {
        let replica = self.receiver.replica();
        let held = replica.remote_lane(OWNER, lane).expect("the owner is known").summary.clock;
        let delta = self.owner.tracker.replica().delta(lane, held, usize::MAX).expect("the log reaches back");
        let operations: Vec<Op<'_>> = delta.ops().collect();
        if operations.is_empty() {
            return Timing::default();
        }
        let view = delta.view(&operations);
        let (clock, timing) = timed(|| replica.apply(OWNER, Incarnation::default(), &view));
        assert_eq!(clock, Ok(delta.hi()));
        timing
    }
}

/// Fresh rows of the lane that the first of them falls into. None of them stays tracked.
fn rows_of_one_lane(session: &Session, shape: Shape) -> (Vec<Row>, u16) {
    let lane_of = |row: &Row| {
        let joined = session.track(row.topic, row.key, row.meta).expect("the limits are far");
        session.untrack(row.topic, row.key).expect("the tracker runs");
        joined.lane
    };
    let mut lanes = std::collections::HashMap::new();
    let mut lane_of = |row: &Row| *lanes.entry(row.topic).or_insert_with(|| lane_of(row));
    // At worst every topic has a lane of its own.
    let mut fresh =
        (shape.entries..shape.entries + DELTA * shape.topics()).map(|index| shape.row(index)).peekable();
    let lane = fresh.peek().map(&mut lane_of).expect("there is at least one topic");
    let rows: Vec<Row> = fresh.filter(|row| lane_of(row) == lane).take(DELTA).collect();
    assert_eq!(rows.len(), DELTA);
    (rows, lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_can_be_timed_again_and_again() {
        let pair = Pair::new(Shape { entries: 2_000, topic_members: 100 });
        for _ in 0..3 {
            assert!(pair.time_delta().0 > Duration::ZERO);
        }
        assert_eq!((pair.receiver.len(), pair.owner.tracker.len()), (2_000, 2_000));
    }
}
