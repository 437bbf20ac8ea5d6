//! What a session does: track, track many, update, untrack, and leave.

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use headcount::Session;
use headcount_benches::peers::FlatMap;
use headcount_benches::{FlatMaps, Lazy, Resident, Row, Shape, criterion, for_each_map, time_in_blocks};
use std::cell::LazyCell;
use std::time::{Duration, Instant};

/// Rows that come and go beside the residents.
const FRESH: usize = 10_000;
/// Entries of one `track_many`.
const BATCH: usize = 1_000;
const NEW_META: [u8; 32] = [b'!'; 32];
const ROOM: &str = "the limits are far, and the rows are fresh";

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let resident = LazyCell::new(|| Resident::new(shape));
    let maps = FlatMaps::new(shape);
    let fresh = shape.fresh(FRESH);

    let mut group = criterion.benchmark_group("track");
    group.bench_function("headcount", |b| {
        let session = resident.tracker.session();
        b.iter_custom(|iters| {
            time_in_blocks(
                iters,
                &fresh,
                |_| (),
                |row| track(&session, row),
                |block| assert_eq!(session.clear(), Ok(block.len())),
            )
        });
    });
    for_each_map!(&maps, map => insert(&mut group, map, &fresh));
    group.finish();

    let mut group = criterion.benchmark_group("track_many");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("headcount", |b| {
        let session = resident.tracker.session();
        let mut batches = fresh.chunks_exact(BATCH).cycle();
        b.iter_custom(|iters| {
            let mut timed = Duration::ZERO;
            for batch in batches.by_ref().take(usize::try_from(iters).unwrap_or(usize::MAX)) {
                let entries = batch.iter().map(|row| (row.topic, row.key, row.meta));
                let started = Instant::now();
                let refs = session.track_many(entries).expect(ROOM);
                timed += started.elapsed();
                assert_eq!(session.clear(), Ok(refs.len()));
            }
            timed
        });
    });
    for_each_map!(&maps, map => insert_many(&mut group, map, &fresh));
    group.finish();

    let mut group = criterion.benchmark_group("update");
    group.bench_function("headcount", |b| {
        let mut rows = resident.rows.iter().cycle();
        b.iter(|| {
            let (row, session) = rows.next()?;
            Some(resident.sessions[*session].update(row.topic, row.key, NEW_META).expect("it is tracked"))
        });
    });
    for_each_map!(&maps, map => replace(&mut group, map, &resident));
    group.finish();

    let mut group = criterion.benchmark_group("untrack");
    group.bench_function("headcount", |b| {
        let session = resident.tracker.session();
        b.iter_custom(|iters| {
            time_in_blocks(
                iters,
                &fresh,
                |block| block.iter().for_each(|row| track(&session, row)),
                |row| assert_eq!(session.untrack(row.topic, row.key), Ok(true)),
                |_| (),
            )
        });
    });
    for_each_map!(&maps, map => remove(&mut group, map, &fresh));
    group.finish();

    // What a connection that breaks costs: its own entries, whatever is resident.
    let mut group = criterion.benchmark_group("session_drop");
    for entries in [10, 1_000] {
        group.throughput(Throughput::Elements(entries as u64));
        group.bench_function(format!("headcount/{entries}"), |b| {
            b.iter_custom(|iters| {
                let mut timed = Duration::ZERO;
                for rows in
                    fresh.chunks_exact(entries).cycle().take(usize::try_from(iters).unwrap_or(usize::MAX))
                {
                    let session = resident.tracker.session();
                    let refs = session.track_many(rows.iter().map(|row| (row.topic, row.key, row.meta)));
                    assert_eq!(refs.expect(ROOM).len(), entries);
                    let started = Instant::now();
                    drop(session);
                    timed += started.elapsed();
                }
                timed
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn track(session: &Session, row: &Row) {
    session.track(row.topic, row.key, row.meta).expect(ROOM);
}

fn insert<M: FlatMap>(group: &mut BenchmarkGroup<'_, WallTime>, map: &Lazy<M>, fresh: &[Row]) {
    group.bench_function(M::NAME, |b| {
        b.iter_custom(|iters| {
            time_in_blocks(
                iters,
                fresh,
                |_| (),
                |row| map.insert(&row.flat_key(), &row.meta),
                |block| block.iter().for_each(|row| assert!(map.remove(&row.flat_key()))),
            )
        });
    });
}

/// Most maps have no batch form: one after the other, under one guard or lock where there is only one.
fn insert_many<M: FlatMap>(group: &mut BenchmarkGroup<'_, WallTime>, map: &Lazy<M>, fresh: &[Row]) {
    let fresh: Vec<_> = fresh.iter().map(|row| (row.flat_key(), row.meta)).collect();
    group.bench_function(M::NAME, |b| {
        let mut batches = fresh.chunks_exact(BATCH).cycle();
        b.iter_custom(|iters| {
            let mut timed = Duration::ZERO;
            for batch in batches.by_ref().take(usize::try_from(iters).unwrap_or(usize::MAX)) {
                let started = Instant::now();
                map.insert_many(batch.iter().map(|(key, meta)| (key, meta)));
                timed += started.elapsed();
                batch.iter().for_each(|(key, _)| assert!(map.remove(key)));
            }
            timed
        });
    });
}

fn replace<M: FlatMap>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    map: &Lazy<M>,
    resident: &LazyCell<Resident, impl FnOnce() -> Resident>,
) {
    group.bench_function(M::NAME, |b| {
        let mut rows = resident.rows.iter().cycle();
        b.iter(|| {
            let (row, _) = rows.next()?;
            assert!(map.update(&row.flat_key(), &NEW_META), "it is resident");
            Some(())
        });
    });
}

fn remove<M: FlatMap>(group: &mut BenchmarkGroup<'_, WallTime>, map: &Lazy<M>, fresh: &[Row]) {
    group.bench_function(M::NAME, |b| {
        b.iter_custom(|iters| {
            time_in_blocks(
                iters,
                fresh,
                |block| block.iter().for_each(|row| map.insert(&row.flat_key(), &row.meta)),
                |row| assert!(map.remove(&row.flat_key())),
                |_| (),
            )
        });
    });
}
