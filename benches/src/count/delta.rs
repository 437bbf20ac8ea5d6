//! Deltas: made by the node that owns the entries, and applied by another that holds all its others.

use super::{DELTA, Operation, count_measured_part, workload};
use crate::{Resident, Row, Shape};
use headcount::replica::{Delta, DeltaView, Op};
use headcount::{Incarnation, NodeId, Session, Tracker};
use std::hint::black_box;
use std::mem::ManuallyDrop;

const OWNER: NodeId = NodeId(1);
const RECEIVER: NodeId = NodeId(2);
/// Smaller topics than elsewhere: a delta is of one lane, and is to be of some topics all the same.
const TOPIC_MEMBERS: usize = 100;
const ROOM: &str = "the limits are far, and the rows are fresh";

pub(super) fn make(steps: usize, shape: Shape) {
    let owner = Owner::new(shape);
    let rows = owner.fresh(DELTA);
    let since = owner.clock();
    let _session = ManuallyDrop::new(owner.track(&rows));
    let replica = owner.resident.tracker.replica();
    count_measured_part(steps, &mut |_| {
        let delta = black_box(replica.delta(owner.lane, since, usize::MAX)).expect("the log reaches back");
        assert_eq!(delta.operations().len(), DELTA);
    });
}

pub(super) fn apply(operation: &Operation, steps: usize, shape: Shape) {
    let owner = Owner::new(shape);
    let receiver = ManuallyDrop::new(receiver_of(&owner));
    let rows = owner.fresh(operation.prepared() * operation.per_step);
    // Once for the room that they need, and out again.
    for rows in rows.chunks(DELTA) {
        let since = owner.clock();
        let session = owner.track(rows);
        take_in(&receiver, &owner.delta(owner.lane, since));
        let since = owner.clock();
        drop(session);
        take_in(&receiver, &owner.delta(owner.lane, since));
    }
    let mut sessions = ManuallyDrop::new(Vec::new());
    let deltas: Vec<Delta> = rows
        .chunks(DELTA)
        .map(|rows| {
            let since = owner.clock();
            sessions.push(owner.track(rows));
            owner.delta(owner.lane, since)
        })
        .collect();
    let operations: Vec<Vec<Op<'_>>> = deltas.iter().map(|delta| delta.ops().collect()).collect();
    let views: Vec<DeltaView<'_>> =
        deltas.iter().zip(&operations).map(|(delta, operations)| delta.view(operations)).collect();
    let replica = receiver.replica();
    count_measured_part(steps, &mut |step| {
        let clock = replica.apply(OWNER, Incarnation::default(), &views[step]);
        assert_eq!(clock, Ok(views[step].hi));
    });
}

/// A node, and the lane that everything fresh is in.
struct Owner {
    resident: ManuallyDrop<Resident>,
    lane: u16,
    /// The topics of that lane.
    topics: Vec<usize>,
    entries: usize,
}

impl Owner {
    fn new(shape: Shape) -> Self {
        let shape = shape.with_topic_members(TOPIC_MEMBERS);
        // The log reaches back to the first operation of each lane.
        let log = (2 * shape.entries + (1 << 16)).min(1 << 24);
        let config = workload::config().node(OWNER).lane_log_max(log);
        let resident = ManuallyDrop::new(Resident::with_config(shape, config));
        let session = resident.tracker.session();
        let lane_of = |topic: usize| {
            let row = Row::new(shape.entries, topic);
            let lane = session.track(row.topic, row.key, row.meta).expect(ROOM).lane;
            session.untrack(row.topic, row.key).expect("the tracker runs");
            lane
        };
        let lane = lane_of(0);
        let topics = (0..shape.topics()).filter(|&topic| lane_of(topic) == lane).collect();
        Self { lane, topics, entries: shape.entries, resident }
    }

    /// Rows of the lane, one topic after the other.
    fn fresh(&self, count: usize) -> Vec<Row> {
        let topics = self.topics.iter().cycle();
        (self.entries..self.entries + count)
            .zip(topics)
            .map(|(index, &topic)| Row::new(index, topic))
            .collect()
    }

    fn track(&self, rows: &[Row]) -> Session {
        let session = self.resident.tracker.session();
        for row in rows {
            session.track(row.topic, row.key, row.meta).expect(ROOM);
        }
        session
    }

    fn clock(&self) -> u64 {
        self.resident.tracker.replica().lane_clock(self.lane)
    }

    fn delta(&self, lane: u16, since: u64) -> Delta {
        self.resident.tracker.replica().delta(lane, since, usize::MAX).expect("the log reaches back")
    }
}

/// A node that holds everything of the owner.
fn receiver_of(owner: &Owner) -> Tracker {
    let receiver = workload::config().node(RECEIVER).build().expect("the configuration is valid");
    let lanes = owner.resident.tracker.replica().lanes();
    receiver.replica().origin_join(OWNER, "owner", Incarnation::default(), lanes).expect("the owner is new");
    for lane in 0..lanes {
        take_in(&receiver, &owner.delta(lane, 0));
    }
    receiver
}

fn take_in(receiver: &Tracker, delta: &Delta) {
    let operations: Vec<Op<'_>> = delta.ops().collect();
    if operations.is_empty() {
        return; // Nothing ever happened in that lane.
    }
    let clock = receiver.replica().apply(OWNER, Incarnation::default(), &delta.view(&operations));
    assert_eq!(clock, Ok(delta.hi()));
}
