//! What a joiner costs: all lanes of a node told, and taken in by a node that has nothing.

use criterion::Throughput;
use headcount::replica::{LaneSnapshot, Payload, Replica, SnapshotItem};
use headcount::{Config, Entry, Incarnation, NodeId};
use headcount_benches::{Resident, Shape, criterion};
use std::cell::LazyCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Entries of a chunk: some 32 KiB of them.
const CHUNK: usize = 512;
const OWNER: NodeId = NodeId(1);
const JOINER: NodeId = NodeId(2);

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let resident = LazyCell::new(|| Resident::with_config(shape, Config::default().node(OWNER)));
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10); // One iteration is all entries.
    group.throughput(Throughput::Elements(shape.entries as u64));
    group.bench_function("tell", |b| {
        let replica = resident.tracker.replica();
        b.iter(|| (0..replica.lanes()).for_each(|lane| drop(black_box(replica.snapshot(lane)))));
    });
    group.bench_function("apply", |b| {
        let replica = resident.tracker.replica();
        let snapshots: Vec<LaneSnapshot> =
            (0..replica.lanes()).filter_map(|lane| replica.snapshot(lane)).collect();
        let items: Vec<Vec<SnapshotItem<'_>>> =
            snapshots.iter().map(|snapshot| snapshot.entries.iter().map(item_of).collect()).collect();
        b.iter_custom(|iters| {
            let mut timed = Duration::ZERO;
            for _ in 0..iters {
                let joiner = Config::default().node(JOINER).build().expect("the default is valid");
                let replica = joiner.replica();
                let joined = replica.origin_join(OWNER, "owner", Incarnation::default(), lanes(&snapshots));
                assert!(joined.is_ok(), "the owner is new");
                let started = Instant::now();
                for (snapshot, items) in snapshots.iter().zip(&items) {
                    take_in(&replica, snapshot, items);
                }
                timed += started.elapsed();
                assert_eq!(joiner.len(), shape.entries);
            }
            timed
        });
    });
    group.finish();
    criterion.final_summary();
}

fn lanes(snapshots: &[LaneSnapshot]) -> u16 {
    u16::try_from(snapshots.len()).expect("a node has at most 256 lanes")
}

fn item_of(entry: &Entry) -> SnapshotItem<'_> {
    SnapshotItem {
        dot: entry.entry_ref().clock,
        birth: entry.joined_ref().clock,
        payload: Some(Payload { topic: entry.topic(), key: entry.key(), meta: entry.meta() }),
    }
}

/// Applies a snapshot in chunks, newest first.
fn take_in(replica: &Replica, snapshot: &LaneSnapshot, items: &[SnapshotItem<'_>]) {
    let (lane, summary, life) = (snapshot.lane, snapshot.summary, Incarnation::default());
    if summary.clock == 0 {
        return; // Nothing has ever happened there, and the joiner knows as much.
    }
    replica.snapshot_begin(OWNER, life, lane, 0, summary.clock).expect("the joiner has nothing");
    let mut hi = summary.clock;
    let mut chunks = items.chunks(CHUNK).peekable();
    while let Some(chunk) = chunks.next() {
        // The last chunk goes down to 0; so does the only one.
        let lo = chunks.peek().map_or(0, |next| next[0].dot);
        replica.snapshot_chunk(OWNER, life, lane, (lo, hi), chunk).expect("the chunks are in turn");
        hi = lo;
    }
    let end = replica.snapshot_end(OWNER, life, lane, summary.count, summary.digest);
    assert_eq!(end, Ok(summary.clock));
}
