//! Two nodes over real sockets on the loopback, end to end: how soon a change is seen, how many are seen a second, and how soon two
//! nodes agree again after they did not hear each other.

use criterion::{SamplingMode, Throughput};
use headcount::{EventKind, Filter, Session, Subscription, Tracker};
use headcount_benches::{Row, Shape, criterion};
use headcount_net::{Cluster, Config, SocketFaults};
use std::cell::LazyCell;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// Joins told at once: fewer than the lanes' logs hold, so that all go by datagram.
const BURST: usize = 10_000;
/// Changes on one side of a split.
const CHANGES: usize = 1_000;
/// Nothing takes so long that works.
const PATIENCE: Duration = Duration::from_secs(60);
/// A node that has said nothing for a millisecond says the next change at once.
const IDLE: Duration = Duration::from_millis(3);

/// A node that changes things, and one that sees them.
struct Nodes {
    session: Session,
    seer: Tracker,
    addrs: [SocketAddr; 2],
    faults: [SocketFaults; 2],
    clusters: [Cluster; 2],
}

/// An address of the loopback that is free, for UDP and TCP.
fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a port");
        let addr = udp.local_addr().expect("it is bound");
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

impl Nodes {
    fn new() -> Self {
        let addrs = [free(), free()];
        let faults = [SocketFaults::new(1), SocketFaults::new(2)];
        let trackers = [Tracker::new(), Tracker::new()];
        let join = |at: usize| {
            let millis = Duration::from_millis;
            let config = Config::new("bench").node(format!("n{at}")).bind(addrs[at]);
            let config = config.peers([addrs[1 - at].to_string()]).faults(faults[at].clone());
            // A split is to be noticed soon: that is not what is measured.
            let config = config.heartbeat(millis(20)).suspect_after(millis(100));
            config.down_after(millis(200)).down_limit(millis(400)).join(&trackers[at]).expect("joins")
        };
        let clusters = [join(0), join(1)];
        let [changer, seer] = trackers;
        let nodes = Self { session: changer.session(), seer, addrs, faults, clusters };
        until(|| nodes.clusters.iter().all(|cluster| cluster.members().len() == 1));
        nodes
    }

    fn sees(&self, count: usize) {
        until(|| self.seer.len() == count);
    }

    /// Neither hears the other, nor can connect to it.
    fn split(&self) {
        self.faults[0].cut(self.addrs[1]);
        self.faults[1].cut(self.addrs[0]);
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "the nodes do not agree");
        std::thread::yield_now();
    }
}

fn rows(rows: &[Row]) -> impl Iterator<Item = ([u8; 12], [u8; 16], [u8; 32])> {
    rows.iter().map(|row| (row.topic, row.key, row.meta))
}

/// From a join on one node to its event on the other.
fn seen(nodes: &Nodes, events: &mut Subscription, row: &Row) -> Duration {
    let mut await_event = |is_it: fn(&EventKind) -> bool| {
        while !is_it(&events.recv_timeout(PATIENCE).expect("an event").kind) {}
    };
    let started = Instant::now();
    nodes.session.track(row.topic, row.key, row.meta).expect("the limits are far");
    await_event(|kind| matches!(kind, EventKind::Join(_)));
    let took = started.elapsed();
    nodes.session.untrack(row.topic, row.key).expect("the tracker runs");
    await_event(|kind| matches!(kind, EventKind::Leave(_)));
    took
}

fn main() {
    let mut criterion = criterion();
    let shape = Shape::from_env();
    let nodes = LazyCell::new(Nodes::new);
    let mut group = criterion.benchmark_group("cluster");
    group.sample_size(20).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(4));
    let fresh = shape.fresh(BURST);
    for (name, idle) in [("join_seen_idle", IDLE), ("join_seen_in_turn", Duration::ZERO)] {
        group.bench_function(name, |b| {
            let mut events = nodes.seer.subscribe(Filter::all().without_snapshot());
            let mut next = fresh.iter().cycle();
            b.iter_custom(|iters| {
                (0..iters)
                    .map(|_| {
                        std::thread::sleep(idle);
                        seen(&nodes, &mut events, next.next().expect("there are rows"))
                    })
                    .sum()
            });
        });
    }
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("joins_seen", |b| {
        b.iter_custom(|iters| {
            let mut timed = Duration::ZERO;
            for _ in 0..iters {
                let started = Instant::now();
                nodes.session.track_many(rows(&fresh)).expect("the limits are far");
                nodes.sees(BURST);
                timed += started.elapsed();
                nodes.session.clear().expect("the tracker runs");
                nodes.sees(0);
            }
            timed
        });
    });
    drop(nodes);

    group.sample_size(10).throughput(Throughput::Elements(CHANGES as u64));
    let nodes = LazyCell::new(|| {
        let nodes = Nodes::new();
        nodes.session.track_many(rows(&shape.resident())).expect("the limits are far");
        nodes.sees(shape.entries);
        nodes
    });
    group.bench_function("heal", |b| {
        b.iter_custom(|iters| {
            let mut timed = Duration::ZERO;
            for _ in 0..iters {
                nodes.split();
                nodes.sees(0);
                nodes.session.track_many(rows(&fresh[..CHANGES])).expect("the limits are far");
                let started = Instant::now();
                nodes.faults.iter().for_each(SocketFaults::mend);
                nodes.sees(shape.entries + CHANGES);
                timed += started.elapsed();
                for row in &fresh[..CHANGES] {
                    nodes.session.untrack(row.topic, row.key).expect("the tracker runs");
                }
                nodes.sees(shape.entries);
            }
            timed
        });
    });
    group.finish();
    criterion.final_summary();
}
