//! What a reader does: get what is there, get what is not, list; once copied out and once looked at in its place.

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use headcount_benches::peers::{DashTopics, FlatMap, LockedTopics, TopicMap};
use headcount_benches::{FlatMaps, Lazy, Resident, Row, Shape, criterion, for_each_map, shuffle};
use std::cell::LazyCell;
use std::hint::black_box;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let resident: Lazy<Resident> = LazyCell::new(Box::new(move || Resident::new(shape)));
    let maps = FlatMaps::new(shape);

    let present = LazyCell::new(|| resident.rows.iter().map(|&(row, _)| row).collect::<Vec<_>>());
    let mut group = criterion.benchmark_group("get_hit");
    get(&mut group, &resident, &maps, &present);
    group.finish();

    let mut group = criterion.benchmark_group("read_hit");
    group.bench_function("headcount", |b| {
        let mut rows = present.iter().cycle();
        b.iter(|| {
            let look = |row: &Row| resident.tracker.read(row.topic, row.key, |view| look_at(view.meta()));
            rows.next().map(look)
        });
    });
    for_each_map!(&maps, map => read_map(&mut group, map, &present));
    group.finish();

    let absent = LazyCell::new(|| shape.fresh(shape.entries));
    let mut group = criterion.benchmark_group("get_miss");
    get(&mut group, &resident, &maps, &absent);
    group.finish();

    for members in [10, 1_000] {
        let shape = shape.with_topic_members(members);
        let topics = LazyCell::new(|| {
            let mut topics: Vec<_> = shape.resident().iter().map(|row| row.topic).collect();
            topics.sort_unstable();
            topics.dedup();
            shuffle(&mut topics);
            topics
        });
        let resident: Lazy<Resident> = LazyCell::new(Box::new(move || Resident::new(shape)));
        let locked: Lazy<LockedTopics> = LazyCell::new(Box::new(move || TopicMap::of(&shape.resident())));
        let dash: Lazy<DashTopics> = LazyCell::new(Box::new(move || TopicMap::of(&shape.resident())));

        let mut group = criterion.benchmark_group(format!("list_{members}"));
        group.throughput(Throughput::Elements(members as u64));
        each_topic(&mut group, "headcount", &topics, |topic| resident.tracker.list(topic).len());
        each_topic(&mut group, LockedTopics::NAME, &topics, |topic| locked.list(topic).len());
        each_topic(&mut group, DashTopics::NAME, &topics, |topic| dash.list(topic).len());
        group.finish();

        let mut group = criterion.benchmark_group(format!("for_each_{members}"));
        group.throughput(Throughput::Elements(members as u64));
        each_topic(&mut group, "headcount", &topics, |topic| {
            resident.tracker.for_each(topic, |view| look_at(view.meta()))
        });
        each_topic(&mut group, LockedTopics::NAME, &topics, |topic| {
            locked.for_each(topic, |_, meta| look_at(meta))
        });
        each_topic(&mut group, DashTopics::NAME, &topics, |topic| {
            dash.for_each(topic, |_, meta| look_at(meta))
        });
        group.finish();
    }
    criterion.final_summary();
}

/// Reads the first eight bytes.
fn look_at(meta: &[u8]) {
    black_box(meta.first_chunk::<8>().copied());
}

fn get(
    group: &mut Group<'_>,
    resident: &Lazy<Resident>,
    maps: &FlatMaps,
    rows: &LazyCell<Vec<Row>, impl FnOnce() -> Vec<Row>>,
) {
    group.bench_function("headcount", |b| {
        let mut rows = rows.iter().cycle();
        b.iter(|| rows.next().map(|row| resident.tracker.get(row.topic, row.key)));
    });
    for_each_map!(maps, map => get_of_map(group, map, rows));
}

fn get_of_map<M: FlatMap>(
    group: &mut Group<'_>,
    map: &Lazy<M>,
    rows: &LazyCell<Vec<Row>, impl FnOnce() -> Vec<Row>>,
) {
    group.bench_function(M::NAME, |b| {
        let mut rows = rows.iter().cycle();
        b.iter(|| rows.next().map(|row| map.get(&row.flat_key())));
    });
}

fn read_map<M: FlatMap>(
    group: &mut Group<'_>,
    map: &Lazy<M>,
    rows: &LazyCell<Vec<Row>, impl FnOnce() -> Vec<Row>>,
) {
    group.bench_function(M::NAME, |b| {
        let mut rows = rows.iter().cycle();
        b.iter(|| rows.next().map(|row| map.with(&row.flat_key(), look_at)));
    });
}

fn each_topic(
    group: &mut Group<'_>,
    name: &str,
    topics: &LazyCell<Vec<[u8; 12]>, impl FnOnce() -> Vec<[u8; 12]>>,
    list: impl Fn(&[u8; 12]) -> usize,
) {
    group.bench_function(name, |b| {
        let mut topics = topics.iter().cycle();
        b.iter(|| topics.next().map(&list));
    });
}
