//! One topic that everybody is in: threads that join and leave it all the time, and readers beside them. The same over
//! 1,000 topics is the control: what the one topic costs more is what its members do to each other.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};
use headcount_benches::peers::{FlatMap, LockedFlat};
use headcount_benches::{Resident, Row, Shape, criterion};
use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: [usize; 2] = [1, 2];
/// Rows that each thread comes and goes with, one after the other.
const ROWS: usize = 1_000;
/// Topics of the control.
const TOPICS: usize = 1_000;
const ROOM: &str = "the limits are far, and the rows are fresh";

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    let one = shape.with_topic_members(shape.entries);
    let many = shape.with_topic_members(shape.entries.div_ceil(TOPICS));
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let hot = LazyCell::new(|| Place { held: Resident::new(one), rows: Rows::new(one) });
    let spread = LazyCell::new(|| Place { held: Resident::new(many), rows: Rows::new(many) });
    let map = LazyCell::new(|| Place { held: LockedFlat::of(&one.resident()), rows: Rows::new(one) });
    let (of_many, of_map) = ("headcount_1000_topics", LockedFlat::NAME);

    let mut group = criterion.benchmark_group("hot_topic");
    for threads in THREADS {
        join_leave(&mut group, "headcount", threads, &hot);
        join_leave(&mut group, of_many, threads, &spread);
        join_leave(&mut group, of_map, threads, &map);
    }
    for writers in THREADS {
        let count = |place: &Place<Resident>, row: &Row| {
            black_box(place.held.tracker.count(row.topic));
        };
        beside(&mut group, "count/headcount", writers, &hot, count);
        beside(&mut group, &format!("count/{of_many}"), writers, &spread, count);

        let read = |place: &Place<Resident>, row: &Row| {
            place.held.tracker.read(row.topic, row.key, |entry| {
                black_box(entry.meta().first());
            });
        };
        beside(&mut group, "read/headcount", writers, &hot, read);
        beside(&mut group, &format!("read/{of_many}"), writers, &spread, read);
        beside(&mut group, &format!("read/{of_map}"), writers, &map, |place, row| {
            black_box(place.held.get(&row.flat_key()));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Where the threads meet.
struct Place<T> {
    held: T,
    rows: Rows,
}

struct Rows {
    resident: Vec<Row>,
    /// A part for each thread.
    fresh: Vec<Row>,
}

impl Rows {
    fn new(shape: Shape) -> Self {
        Self { resident: shape.resident(), fresh: shape.fresh(ROWS * THREADS[THREADS.len() - 1]) }
    }

    /// The rows of one thread, without an end.
    fn of(&self, thread: usize) -> impl Iterator<Item = &Row> {
        self.fresh[thread * ROWS..][..ROWS].iter().cycle()
    }
}

/// Something to join and to leave.
trait Held: Sync {
    /// What a thread does with a row: it joins, and leaves.
    fn pair(&self) -> impl FnMut(&Row);
}

impl Held for Resident {
    fn pair(&self) -> impl FnMut(&Row) {
        let session = self.tracker.session();
        move |row| {
            session.track(row.topic, row.key, row.meta).expect(ROOM);
            assert_eq!(session.untrack(row.topic, row.key), Ok(true));
        }
    }
}

impl Held for LockedFlat {
    fn pair(&self) -> impl FnMut(&Row) {
        |row| {
            self.insert(&row.flat_key(), &row.meta);
            assert!(self.remove(&row.flat_key()));
        }
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// The time of a pair on each thread: that of one thread alone, where nobody waits for anybody.
fn join_leave<T: Held>(
    group: &mut Group<'_>,
    name: &str,
    threads: usize,
    place: &LazyCell<Place<T>, impl FnOnce() -> Place<T>>,
) {
    group.bench_function(BenchmarkId::new(format!("join_leave/{name}"), threads), |b| {
        let place: &Place<T> = place;
        b.iter_custom(|iters| {
            let start = Barrier::new(threads);
            thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|thread| {
                        let start = &start;
                        scope.spawn(move || pairs(place, thread, iters, start))
                    })
                    .collect();
                let times = workers.into_iter().map(|worker| worker.join().expect("no operation fails"));
                times.max().unwrap_or_default()
            })
        });
    });
}

fn pairs<T: Held>(place: &Place<T>, thread: usize, iters: u64, start: &Barrier) -> Duration {
    let mut pair = place.held.pair();
    let rows = place.rows.of(thread).take(usize::try_from(iters).unwrap_or(usize::MAX));
    start.wait();
    let started = Instant::now();
    rows.for_each(&mut pair);
    started.elapsed()
}

/// The time of a read of what is resident, by one thread, while others come and go.
fn beside<T: Held>(
    group: &mut Group<'_>,
    name: &str,
    writers: usize,
    place: &LazyCell<Place<T>, impl FnOnce() -> Place<T>>,
    read: impl Fn(&Place<T>, &Row),
) {
    group.bench_function(BenchmarkId::new(format!("{name}/beside_writers"), writers), |b| {
        let place: &Place<T> = place;
        let stop = AtomicBool::new(false);
        // One more: the reader starts when all of them come and go.
        let start = Barrier::new(writers + 1);
        thread::scope(|scope| {
            for thread in 0..writers {
                let (stop, start) = (&stop, &start);
                scope.spawn(move || {
                    let mut pair = place.held.pair();
                    start.wait();
                    // Relaxed: nothing is told with it but to stop.
                    place.rows.of(thread).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(&mut pair);
                });
            }
            start.wait();
            let mut rows = place.rows.resident.iter().cycle();
            b.iter(|| rows.next().map(|row| read(place, row)));
            stop.store(true, Ordering::Relaxed);
        });
    });
}
