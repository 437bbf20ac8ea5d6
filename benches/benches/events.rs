//! What a subscriber costs: to come, to be told, and to be woken on another thread.

use criterion::Throughput;
use headcount::{Filter, Subscription};
use headcount_benches::{Resident, Shape, criterion};
use std::cell::LazyCell;
use std::hint::black_box;

fn main() {
    let mut criterion = criterion();
    // Built by the first benchmark that runs, so that a filter does not pay for what it leaves out.
    let resident = LazyCell::new(|| Resident::new(Shape::from_env()));

    // A snapshot of a topic of 1,000 members, and the end of the subscription.
    criterion.bench_function("subscribe/topic_of_1000", |b| {
        let mut rows = resident.rows.iter().cycle();
        b.iter(|| rows.next().map(|(row, _)| resident.tracker.subscribe(Filter::topic(row.topic))));
    });

    // An update, and every subscriber takes its event on the same thread.
    let mut group = criterion.benchmark_group("deliver");
    for subscribers in [0, 1, 8] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("update_to_{subscribers}_subscribers"), |b| {
            let (row, session) = resident.rows[0];
            let filter = Filter::topic(row.topic).without_snapshot();
            let mut subscriptions: Vec<Subscription> =
                (0..subscribers).map(|_| resident.tracker.subscribe(filter.clone())).collect();
            b.iter(|| {
                resident.sessions[session].update(row.topic, row.key, row.meta).expect("it is tracked");
                for subscription in &mut subscriptions {
                    black_box(subscription.try_recv().expect("the update's event waits"));
                }
            });
        });
    }

    // There and back between two threads that sleep: two updates, two wake-ups.
    group.bench_function("round_trip_between_threads", |b| {
        let tracker = headcount::Tracker::new();
        let session = tracker.session();
        session.track("ping", "key", "").expect("the limits are far");
        let mut pongs = tracker.subscribe(Filter::topic("pong").without_snapshot());
        let echo = std::thread::spawn({
            let session = tracker.session();
            session.track("pong", "key", "").expect("the limits are far");
            let mut pings = tracker.subscribe(Filter::topic("ping").without_snapshot());
            move || {
                while pings.recv().is_ok() {
                    let _closed = session.update("pong", "key", "");
                }
            }
        });
        // The topic's first entry and its join.
        for _ in 0..2 {
            pongs.recv().expect("the tracker runs");
        }
        b.iter(|| {
            session.update("ping", "key", "").expect("the tracker runs");
            pongs.recv().expect("the tracker runs")
        });
        tracker.shutdown();
        echo.join().expect("the echo ends with its tracker");
    });
    group.finish();
    criterion.final_summary();
}
