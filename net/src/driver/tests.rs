//! Real sockets behind a switch that passes no multicast on.

use crate::{Cluster, Config, Interface, Notice};
use headcount::Tracker;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn join(name: &str, deaf_to_group: bool) -> (Tracker, Cluster) {
    let process = std::process::id();
    let [_, _, high, low] = process.to_be_bytes();
    let group = SocketAddr::from(([239, 192, high, low], 7070));
    let tracker = Tracker::new();
    let mut config = Config::new("switch").node(name).multicast(group, Interface::Loopback);
    config.deaf_to_group = deaf_to_group;
    let cluster = config.join(&tracker).expect("joins");
    (tracker, cluster)
}

#[test]
fn a_node_that_multicast_does_not_reach_falls_back_to_unicast_and_says_so() {
    let (a, cluster_a) = join("a", false);
    let (b, cluster_b) = join("b", false);
    let (c, cluster_c) = join("c", true);
    let lost = std::iter::from_fn(|| cluster_c.wait_notice(PATIENCE))
        .find(|&notice| notice == Notice::MulticastLost);
    assert!(lost.is_some(), "c says that multicast is lost");
    eventually("its status says so", || cluster_c.network().fallback.is_some());
    assert_eq!(cluster_c.stats().fallbacks, 1);
    eventually("the others send it copies", || {
        [&cluster_a, &cluster_b].iter().all(|cluster| cluster.network().copies == 1)
    });
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    eventually("everybody sees alice", || b.count("room") == 1 && c.count("room") == 1);
    let other = c.session();
    other.track("room", "carol", "").unwrap();
    eventually("everybody sees carol", || a.count("room") == 2 && b.count("room") == 2);
    assert!(cluster_c.wait_synced(PATIENCE));
    assert_eq!((cluster_a.network().fallback, cluster_b.network().fallback), (None, None));
    assert_eq!([&cluster_a, &cluster_b].map(|cluster| cluster.stats().downs), [0, 0]);
}
