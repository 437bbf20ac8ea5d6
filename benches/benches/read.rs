//! What a reader does: get what is there, get what is not, list.

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use headcount_benches::peers::{DashFlat, DashTopics, FlatMap, LockedFlat, LockedTopics, TopicMap};
use headcount_benches::{Resident, Row, Shape, criterion, shuffle};
use std::cell::LazyCell;

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let resident = LazyCell::new(|| Resident::new(shape));
    let locked = LazyCell::new(|| LockedFlat::of(&shape.resident()));
    let dash = LazyCell::new(|| DashFlat::of(&shape.resident()));

    let present = LazyCell::new(|| resident.rows.iter().map(|&(row, _)| row).collect::<Vec<_>>());
    let mut group = criterion.benchmark_group("get_hit");
    get(&mut group, &resident, &locked, &dash, &present);
    group.finish();

    let absent = LazyCell::new(|| shape.fresh(shape.entries));
    let mut group = criterion.benchmark_group("get_miss");
    get(&mut group, &resident, &locked, &dash, &absent);
    group.finish();

    for members in [10, 1_000] {
        let shape = shape.with_topic_members(members);
        let mut group = criterion.benchmark_group(format!("list_{members}"));
        group.throughput(Throughput::Elements(members as u64));
        let topics = LazyCell::new(|| {
            let mut topics: Vec<_> = shape.resident().iter().map(|row| row.topic).collect();
            topics.sort_unstable();
            topics.dedup();
            shuffle(&mut topics);
            topics
        });
        let resident = LazyCell::new(|| Resident::new(shape));
        group.bench_function("headcount", |b| {
            let mut topics = topics.iter().cycle();
            b.iter(|| topics.next().map(|topic| resident.tracker.list(topic)));
        });
        list(&mut group, &LazyCell::new(|| LockedTopics::of(&shape.resident())), &topics);
        list(&mut group, &LazyCell::new(|| DashTopics::of(&shape.resident())), &topics);
        group.finish();
    }
    criterion.final_summary();
}

fn get(
    group: &mut BenchmarkGroup<'_, WallTime>,
    resident: &LazyCell<Resident, impl FnOnce() -> Resident>,
    locked: &LazyCell<LockedFlat, impl FnOnce() -> LockedFlat>,
    dash: &LazyCell<DashFlat, impl FnOnce() -> DashFlat>,
    rows: &LazyCell<Vec<Row>, impl FnOnce() -> Vec<Row>>,
) {
    group.bench_function("headcount", |b| {
        let mut rows = rows.iter().cycle();
        b.iter(|| rows.next().map(|row| resident.tracker.get(row.topic, row.key)));
    });
    get_of_map(group, locked, rows);
    get_of_map(group, dash, rows);
}

fn get_of_map<M: FlatMap>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    map: &LazyCell<M, impl FnOnce() -> M>,
    rows: &LazyCell<Vec<Row>, impl FnOnce() -> Vec<Row>>,
) {
    group.bench_function(M::NAME, |b| {
        let mut rows = rows.iter().cycle();
        b.iter(|| rows.next().map(|row| map.get(&row.flat_key())));
    });
}

fn list<M: TopicMap>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    map: &LazyCell<M, impl FnOnce() -> M>,
    topics: &LazyCell<Vec<[u8; 12]>, impl FnOnce() -> Vec<[u8; 12]>>,
) {
    group.bench_function(M::NAME, |b| {
        let mut topics = topics.iter().cycle();
        b.iter(|| topics.next().map(|topic| map.list(topic)));
    });
}
