//! What another node's news cost: a delta of 1,000 joins into much and into more that is resident. The price is to be
//! that of the delta.

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use headcount_benches::pair::{DELTA, Pair};
use headcount_benches::peers::{DashFlat, FlatMap, LockedFlat};
use headcount_benches::{Shape, criterion, time_in_blocks};
use std::cell::LazyCell;

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
            b.iter_custom(|iters| (0..iters).map(|_| pair.time_delta().0).sum())
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
