//! What the tests of this folder share.

#![allow(dead_code, reason = "each test program uses its part")]

use headcount::{EntryRef, EventKind, Filter, Topic, Tracker};
use headcount_net::{Cluster, Config, Interface};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A group and port of its own for each test, and for each process that runs tests at once.
pub(crate) fn group() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id();
    let test = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
    let port = 20_000 + u16::try_from((process * 16 + test) % 30_000).expect("below 30,000");
    let [_, _, high, low] = process.to_be_bytes();
    SocketAddr::from(([239, 255, high, low], port))
}

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address whose port is free, for UDP and TCP.
pub(crate) fn free(ip: IpAddr) -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((ip, 0)).expect("a port");
        let addr = udp.local_addr().expect("an address");
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// A node on that group.
pub(crate) fn join(group: SocketAddr, name: &str) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let config = Config::new("test").node(name).multicast(group, Interface::Loopback);
    let cluster = config.join(&tracker).expect("joins");
    (tracker, cluster)
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, holds);
}

/// Waits until a condition holds, for so long.
#[track_caller]
pub(crate) fn eventually_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A join, an update and the end of a session on one node make just their events on the other, where nobody has been in the room.
#[track_caller]
pub(crate) fn sees_each_change(a: &Tracker, b: &Tracker) {
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

/// An entry: topic, key, ref, meta.
pub(crate) type Row = (Topic, Vec<u8>, EntryRef, Vec<u8>);

/// Everything that a node lists, in order.
pub(crate) fn view(tracker: &Tracker) -> Vec<Row> {
    let mut view = Vec::new();
    for topic in tracker.topics() {
        let entries = tracker.list(&topic).into_iter();
        view.extend(entries.map(|entry| {
            (entry.topic().clone(), entry.key().to_vec(), entry.entry_ref(), entry.meta().to_vec())
        }));
    }
    view.sort_unstable();
    view
}
