//! What another node's news cost: a delta of 1,000 joins into much and into more that is resident. The price is to be
//! that of the delta.

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use headcount::replica::Op;
use headcount::{Config, Incarnation, NodeId, Session, Tracker};
use headcount_benches::peers::{DashFlat, FlatMap, LockedFlat};
use headcount_benches::{Resident, Row, Shape, criterion, time_in_blocks};
use std::cell::LazyCell;
use std::time::{Duration, Instant};

/// Entries of the delta.
const DELTA: usize = 1_000;
const OWNER: NodeId = NodeId(1);
const RECEIVER: NodeId = NodeId(2);

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    let mut group = criterion.benchmark_group("apply_delta");
    group.throughput(Throughput::Elements(DELTA as u64));
    let mut sizes = vec![shape.entries.div_ceil(10), shape.entries];
    sizes.dedup();
    for entries in sizes {
        let shape = Shape { entries, ..shape };
        let pair = LazyCell::new(|| Pair::new(shape));
        group.bench_function(format!("headcount/{entries}"), |b| {
            b.iter_custom(|iters| pair.time_apply(iters))
        });
        insert::<LockedFlat>(&mut group, shape);
        insert::<DashFlat>(&mut group, shape);
    }
    group.finish();
    criterion.final_summary();
}

/// The same entries into a plain map.
fn insert<M: FlatMap>(group: &mut BenchmarkGroup<'_, WallTime>, shape: Shape) {
    let map = LazyCell::new(|| M::of(&shape.resident()));
    let fresh = LazyCell::new(|| shape.fresh(DELTA));
    group.bench_function(format!("{}/{}", M::NAME, shape.entries), |b| {
        b.iter_custom(|iters| {
            time_in_blocks(
                iters.saturating_mul(DELTA as u64),
                &fresh,
                |_| (),
                |row| map.insert(&row.flat_key(), &row.meta),
                |block| block.iter().for_each(|row| assert!(map.remove(&row.flat_key()))),
            )
        });
    });
}

/// A node and another that holds everything of it.
struct Pair {
    owner: Resident,
    receiver: Tracker,
    session: Session,
    /// Rows of one lane of the owner.
    rows: Vec<Row>,
    lane: u16,
}

impl Pair {
    fn new(shape: Shape) -> Self {
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

    /// Applies what the receiver does not have of a lane, and returns how long the receiver took.
    fn apply(&self, lane: u16) -> Duration {
        let replica = self.receiver.replica();
        let held = replica.remote_lane(OWNER, lane).expect("the owner is known").summary.clock;
        let delta = self.owner.tracker.replica().delta(lane, held, usize::MAX).expect("the log reaches back");
        let operations: Vec<Op<'_>> = delta.ops().collect();
        if operations.is_empty() {
            return Duration::ZERO;
        }
        let view = delta.view(&operations);
        let started = Instant::now();
        let clock = replica.apply(OWNER, Incarnation::default(), &view);
        let elapsed = started.elapsed();
        assert_eq!(clock, Ok(delta.hi()));
        elapsed
    }

    fn time_apply(&self, iters: u64) -> Duration {
        let mut timed = Duration::ZERO;
        for _ in 0..iters {
            let entries = self.rows.iter().map(|row| (row.topic, row.key, row.meta));
            self.session.track_many(entries).expect("the limits are far");
            timed += self.apply(self.lane);
            self.session.clear().expect("the tracker runs");
            self.apply(self.lane);
        }
        timed
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
    let fresh = shape.fresh(DELTA * shape.topics());
    let lane = lane_of(&fresh[0]);
    let mut rows: Vec<Row> = fresh.into_iter().filter(|row| lane_of(row) == lane).collect();
    rows.truncate(DELTA);
    assert_eq!(rows.len(), DELTA);
    (rows, lane)
}
