//! What one heartbeat costs a node that knows so many others of 8 lanes each, deadlines and all: it must not depend on how many there are.

use criterion::Throughput;
use headcount_benches::criterion;
use headcount_net::sim::Crowd;
use std::time::Duration;

const LANES: u16 = 8;

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(1));
    for members in [3, 50, 200] {
        let mut crowd = Crowd::new(members, LANES);
        // Each speaks ten times a second.
        let step = Duration::from_millis(100) / u32::from(members);
        let (mut after, mut next) = (Duration::ZERO, 0);
        group.bench_function(format!("heartbeat_of_{members}"), |b| {
            b.iter(|| {
                after += step;
                next = (next + 1) % usize::from(members);
                crowd.hear(after, next);
            });
        });
        assert_eq!(crowd.members(), (usize::from(members), 0));
    }
    group.finish();
    criterion.final_summary();
}
