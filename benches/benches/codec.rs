//! What the wire costs: a delta of 1,000 joins to datagrams and back.

use criterion::Throughput;
use headcount::Config;
use headcount_benches::{Shape, criterion};
use headcount_net::codec::{decode_delta, encode_delta};

/// Entries of the delta.
const DELTA: usize = 1_000;

fn main() {
    let mut criterion = criterion();
    // One lane, so that all of it is one delta; of the ten topics that a lane of many rows has, say.
    let tracker = Config::default().shards(1).build().expect("one shard is valid");
    let session = tracker.session();
    let rows = Shape { entries: DELTA, topic_members: DELTA / 10 }.resident();
    session.track_many(rows.iter().map(|row| (row.topic, row.key, row.meta))).expect("the limits are far");
    let delta = tracker.replica().delta(0, 0, usize::MAX).expect("the log reaches back");
    let bodies = encode_delta(&delta);
    assert_eq!(bodies.iter().map(operations_in).sum::<usize>(), DELTA);

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(DELTA as u64));
    group.bench_function("encode_delta", |b| b.iter(|| encode_delta(&delta)));
    group.bench_function("decode_delta", |b| {
        b.iter(|| bodies.iter().map(operations_in).sum::<usize>());
    });
    group.finish();
    criterion.final_summary();
}

fn operations_in(body: impl AsRef<[u8]>) -> usize {
    decode_delta(body.as_ref()).expect("it was encoded here")
}
