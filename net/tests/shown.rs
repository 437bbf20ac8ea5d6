//! What another process sees of a node in the counters file of its tracker's process.
#![cfg(unix)]

use headcount::counters::{Counters, Reader};
use headcount::{Config, Tracker};
use headcount_net::{Cluster, Interface, Keys, SocketFaults};
use std::net::SocketAddr;
use std::path::PathBuf;

mod common;

use common::{PATIENCE, eventually, group, join};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-shown-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn watched(folder: &Folder, group: SocketAddr, name: &str) -> (Tracker, Cluster, Reader) {
    watched_as(folder, group, name, |config| config)
}

fn watched_as(
    folder: &Folder,
    group: SocketAddr,
    name: &str,
    change: impl FnOnce(headcount_net::Config) -> headcount_net::Config,
) -> (Tracker, Cluster, Reader) {
    let counters = Counters::create(&folder.0).unwrap();
    let path = counters.path().unwrap().to_owned();
    let tracker = Config::default().shards(4).counters(counters).build().unwrap();
    let config = headcount_net::Config::new("test").node(name).multicast(group, Interface::Loopback);
    let cluster = change(config).join(&tracker).unwrap();
    (tracker, cluster, Reader::open(path).unwrap())
}

fn events(reader: &Reader) -> Vec<String> {
    let events = reader.table("event").unwrap();
    let mut rows: Vec<_> = events
        .live_rows()
        .filter_map(|row| Some((events.number(row, "number")?, events.text(row, "message")?)))
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn traffic_peers_and_what_happens_to_them_are_shown() {
    let folder = Folder::new("peers");
    let group = group();
    let (a, cluster_a, reader) = watched(&folder, group, "a");
    assert_eq!(reader.fact("node").as_deref(), Some("a"));
    assert_eq!(reader.fact("cluster").as_deref(), Some("test"));
    assert_eq!(reader.fact("network"), Some(format!("multicast {group} on lo")));
    let peers = reader.table("peer").unwrap();
    assert_eq!(peers.live_rows().count(), 0);
    let (b, cluster_b) = join(group, "b");
    let (_c, cluster_c) = join(group, "c");
    let session = b.session();
    for key in 0..50 {
        session.track("room", format!("{key}"), "").unwrap();
    }
    eventually("a shows the entries of b", || {
        let named = |&row: &usize| peers.text(row, "name").as_deref() == Some("b");
        let row = peers.live_rows().find(named);
        row.is_some_and(|row| {
            let number = |name| peers.number(row, name).unwrap();
            ["entries", "state", "synced", "lanes_behind"].map(number) == [50, 1, 1, 0]
        })
    });
    let node = reader.table("node").unwrap();
    assert_eq!(node.number(0, "members"), Some(2));
    assert_eq!(node.number(0, "status"), Some(2));
    assert_eq!(node.number(0, "id"), Some(u64::from(cluster_a.node_id().0)));
    assert!(node.number(0, "interface_mtu").unwrap() >= 1500, "that of the loopback interface");
    let net = reader.table("net").unwrap();
    assert!(net.number(0, "datagrams_received").unwrap() > 0);
    assert!(net.number(0, "echoes").unwrap() > 0, "the group gives it its own datagrams");
    let help = net.fields().iter().find(|field| field.name == "echoes").unwrap().help.clone();
    assert!(help.starts_with("This node's own datagrams"), "{help}");
    // Each pair of the others is told of by one of them.
    let hearing = reader.table("hearing").unwrap();
    eventually("a knows that b and c hear each other", || {
        let ids = [cluster_b.node_id(), cluster_c.node_id()].map(|id| u64::from(id.0));
        let pairs: Vec<_> = hearing
            .live_rows()
            .map(|row| ["listener", "speaker"].map(|name| hearing.number(row, name).unwrap()))
            .collect();
        pairs.contains(&ids) && pairs.contains(&[ids[1], ids[0]])
    });
    eventually("a knows that b and c hear a", || {
        let listeners = [cluster_b.node_id(), cluster_c.node_id()].map(|id| u64::from(id.0));
        let me = u64::from(cluster_a.node_id().0);
        listeners.iter().all(|&listener| {
            let mut pairs = hearing
                .live_rows()
                .map(|row| ["listener", "speaker"].map(|name| hearing.number(row, name).unwrap()));
            pairs.any(|pair| pair == [listener, me])
        })
    });
    cluster_c.leave();
    eventually("c is shown no more", || peers.live_rows().count() == 1);
    assert_eq!(hearing.live_rows().count(), 1, "nobody is left but b, which hears a");
    let events = events(&reader);
    let position = |what: &str| events.iter().position(|event| event.starts_with(what)).expect(what);
    assert!(position("is a member, epoch 1") < position("met c, epoch 1, at 127.0.0.1:"));
    assert!(position("met c") < position("c is gone"));
    drop(a);
}

#[test]
fn how_long_things_take_is_measured() {
    let folder = Folder::new("times");
    let group = group();
    let (a, _cluster_a, reader) = watched(&folder, group, "a");
    let session = a.session();
    session.track("room", "early", "").unwrap();
    let (_b, _cluster_b) = join(group, "b");
    let times = reader.table("times").unwrap();
    let count = |name: &str| times.distribution(0, name).unwrap().count();
    let mut turn = 0;
    eventually("a probe says when b shows a change", || {
        turn += 1;
        if turn % 1000 == 0 {
            session.update("room", "early", format!("{turn}")).unwrap();
        }
        count("visible") > 0
    });
    assert!(count("apply") > 0 && count("flush") > 0 && count("loop_lag") > 0);
    let visible = times.distribution(0, "visible").unwrap();
    assert!(visible.max() < 2_000_000_000, "a probe takes no longer: {visible:?}");
}

#[test]
fn a_node_that_leaves_and_joins_again_is_shown_anew() {
    let folder = Folder::new("again");
    let group = group();
    let (a, cluster, reader) = watched(&folder, group, "a");
    let (_b, _cluster_b) = join(group, "b");
    let peers = reader.table("peer").unwrap();
    eventually("a shows b", || peers.live_rows().count() == 1);
    cluster.leave();
    assert_eq!(peers.live_rows().count(), 0);
    assert_eq!(reader.table("node").unwrap().number(0, "status"), Some(3));
    let config = headcount_net::Config::new("test").node("a2").multicast(group, Interface::Loopback);
    let _again = config.join(&a).unwrap();
    eventually("a shows b again", || peers.live_rows().count() == 1);
    assert_eq!(reader.fact("node").as_deref(), Some("a2"));
    assert_eq!(reader.table("error").unwrap().live_rows().count(), 0, "its tables are the same");
}

#[test]
fn strange_datagrams_are_in_the_error_log() {
    let folder = Folder::new("errors");
    let group = group();
    let (_a, cluster, reader) = watched(&folder, group, "a");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let errors = reader.table("error").unwrap();
    eventually("the error is logged", || {
        socket.send_to(b"not one of ours", cluster.local_addr()).unwrap();
        let mut messages = errors.live_rows().filter_map(|row| errors.text(row, "message"));
        messages.any(|message| message == "datagrams were not well-formed")
    });
}

#[test]
fn repairs_and_snapshots_are_measured() {
    let folder = Folder::new("repairs");
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let session = a.session();
    session.track_many((0..20_000).map(|i| (format!("room:{}", i % 100), format!("{i}"), "meta"))).unwrap();
    let (b, _cluster_b, reader) =
        watched_as(&folder, group, "b", |config| config.faults(SocketFaults::new(7).lose(200)));
    eventually("b has all", || b.len() == 20_000);
    let times = reader.table("times").unwrap();
    let of = |name: &str| times.distribution(0, name).unwrap();
    eventually("its stream is measured", || of("snapshot").count() > 0);
    let mut turn = 0_u64;
    eventually("a gap that was closed is measured", || {
        turn += 1;
        session.update("room:0", "0", turn.to_string()).unwrap();
        of("repair").count() > 0
    });
    for name in ["snapshot", "repair"] {
        assert!(of(name).max() > 0 && of(name).sum() >= of(name).max(), "{name}: {:?}", of(name));
    }
}

#[test]
fn changes_of_keys_and_evictions_that_are_obeyed_are_events() {
    let folder = Folder::new("keys");
    let group = group();
    let (first, second) = (Keys::generate(1).unwrap(), Keys::generate(7).unwrap());
    let keys = |text: &str| Keys::parse(text).unwrap();
    let (a, cluster_a, reader) =
        watched_as(&folder, group, "a", |config| config.keys(keys(first.expose())).obey_evictions(true));
    let tracker = Tracker::new();
    let config = headcount_net::Config::new("test").node("b").multicast(group, Interface::Loopback);
    let cluster_b = config.keys(keys(first.expose())).join(&tracker).unwrap();
    let session = a.session();
    let ghost = session.track("room", "alice", "").unwrap();
    eventually("b sees it", || tracker.count("room") == 1);
    assert_eq!(cluster_b.evict(ghost, PATIENCE), Ok(headcount_net::Eviction::Removed));
    for cluster in [&cluster_a, &cluster_b] {
        cluster.install_keys(keys(second.expose())).unwrap();
    }
    for cluster in [&cluster_a, &cluster_b] {
        eventually("both know that both have it", || cluster.use_key(7).is_ok());
    }
    eventually("nobody seals with the old one", || cluster_a.remove_key(1).is_ok());
    assert!(cluster_a.remove_key(7).is_err(), "it is in use, and no event");
    let told =
        ["has the key of epoch 7 now", "seals with the key of epoch 7 now", "has the key of epoch 1 no more"];
    let of_keys = |events: Vec<String>| -> Vec<String> {
        events.into_iter().filter(|event| event.contains("key")).collect()
    };
    eventually("keys are told of in their order", || of_keys(events(&reader)) == told);
    let evicted = "removed an own entry, as another node asked";
    eventually("the eviction is told of", || events(&reader).iter().any(|event| event == evicted));
}

/// A thread that takes datagrams all the time does what is due between them, and says how late.
#[test]
fn turns_are_measured_under_load_too() {
    let folder = Folder::new("load");
    let (_a, cluster, reader) = watched(&folder, group(), "a");
    let addr = cluster.local_addr();
    let times = reader.table("times").unwrap();
    let turns = || times.distribution(0, "loop_lag").unwrap().count();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let floods = || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            // What the socket has no room for is no matter.
            let _ = socket.send_to(b"not one of ours", addr);
        }
    };
    std::thread::scope(|scope| {
        let _flood = scope.spawn(floods);
        let malformed = || cluster.stats().malformed + cluster.stats().over_budget;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("datagrams come", || malformed() > 1_000);
            let before = turns();
            eventually("turns are measured meanwhile", || turns() >= before + 20);
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
