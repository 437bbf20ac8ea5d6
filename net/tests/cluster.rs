//! Nodes of one process over real sockets on the loopback interface.
use headcount::{EventKind, Filter, Tracker};
use headcount_net::{Cluster, Config, Interface, MemberState, Status};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A group and port of its own for each test, and for each process that runs tests at once.
fn group() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id();
    let test = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
    let port = 20_000 + u16::try_from((process * 16 + test) % 30_000).expect("below 30,000");
    let [_, _, high, low] = process.to_be_bytes();
    SocketAddr::from(([239, 255, high, low], port))
}

fn join(group: SocketAddr, name: &str) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let config = Config::new("test").node(name).multicast(group, Interface::Loopback);
    let cluster = config.join(&tracker).expect("joins");
    (tracker, cluster)
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn r1_a_join_an_update_and_a_leave_are_seen_on_the_other_node() {
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let (b, _cluster_b) = join(group, "b");
    let mut events = b.subscribe(Filter::topic("room"));
    let session = a.session();
    let joined = session.track("room", "alice", "1").unwrap();
    let mut next = || events.recv_timeout(PATIENCE).expect("an event in time").kind;
    assert!(matches!(next(), EventKind::First(topic) if topic == "room"));
    assert!(matches!(next(), EventKind::Join(entry) if entry.entry_ref() == joined && entry.meta() == b"1"));
    let updated = session.update("room", "alice", "2").unwrap();
    assert!(matches!(next(), EventKind::Update { old, new }
        if old.entry_ref() == joined && new.entry_ref() == updated && new.meta() == b"2"));
    drop(session);
    assert!(matches!(next(), EventKind::Leave(entry) if entry.entry_ref() == updated));
    assert!(matches!(next(), EventKind::Empty(_)));
}

#[test]
fn a_late_joiner_gets_what_was_there_by_snapshot() {
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let session = a.session();
    let entries = (0..20_000).map(|i| (format!("room:{}", i % 100), format!("user-{i}"), "meta"));
    session.track_many(entries).unwrap();
    let (b, cluster_b) = join(group, "b");
    eventually("b has all", || b.len() == 20_000);
    assert!(cluster_b.wait_synced(PATIENCE));
    assert_eq!(cluster_b.members()[0].name, "a");
    assert!(cluster_b.stats().snapshot_lanes_taken > 0);
    session.untrack("room:1", "user-1").unwrap();
    eventually("the leave is seen", || b.len() == 19_999);
}

#[test]
fn r7_a_graceful_leave_empties_the_view_at_once_and_ends_the_membership() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let (b, cluster_b) = join(group, "b");
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    eventually("b sees alice", || b.count("room") == 1);
    cluster_a.leave();
    cluster_a.leave();
    assert_eq!(cluster_a.status(), Status::Left);
    eventually("b sees alice no more", || b.count("room") == 0);
    assert!(cluster_b.members().is_empty());
    assert_eq!(a.count("room"), 1, "the tracker itself goes on");
    let (_, again) =
        (0, Config::new("test").node("a").multicast(group, Interface::Loopback).join(&a).unwrap());
    eventually("b sees alice again", || b.count("room") == 1);
    assert!(again.incarnation() > cluster_a.incarnation());
    assert!(cluster_b.members().iter().all(|member| member.state == MemberState::Up));
}
