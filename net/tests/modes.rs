//! Nodes of one process that find and reach each other without multicast, and with small buffers, over real sockets.
use headcount::Tracker;
use headcount_net::{
    Cluster, Config, DatagramSize, Interface, JoinError, MemberState, Notice, Status, StopReason,
};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

mod common;

use common::{LOOPBACK, PATIENCE, eventually, free, group, sees_each_change};

/// A node without multicast.
fn join(name: &str, bind: SocketAddr, peers: &[String]) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let cluster = config(name, bind, peers).join(&tracker).expect("joins");
    (tracker, cluster)
}

fn config(name: &str, bind: SocketAddr, peers: &[String]) -> Config {
    Config::new("test").node(name).bind(bind).peers(peers.iter().cloned())
}

fn knows(cluster: &Cluster, count: usize) -> bool {
    let members = cluster.members();
    members.len() == count && members.iter().all(|member| member.state == MemberState::Up && member.synced)
}

fn r1_on(ip: IpAddr) {
    let (addr_a, addr_b) = (free(ip), free(ip));
    let (a, cluster_a) = join("a", addr_a, &[addr_b.to_string()]);
    let (b, cluster_b) = join("b", addr_b, &[addr_a.to_string()]);
    assert_eq!((cluster_a.local_addr(), cluster_a.network().multicast), (addr_a, false));
    sees_each_change(&a, &b);
    // Whole lanes come by TCP, at the same address.
    let session = a.session();
    session.track_many((0..20_000).map(|i| ("crowd", format!("user-{i}"), "meta"))).unwrap();
    eventually("b has all", || b.count("crowd") == 20_000);
    assert!(cluster_b.wait_synced(PATIENCE));
    cluster_a.leave();
    eventually("a is gone", || b.is_empty() && cluster_b.members().is_empty());
}

#[test]
fn r1_two_nodes_with_each_others_address_need_no_multicast() {
    r1_on(LOOPBACK);
}

#[test]
fn r1_over_ipv6_without_multicast() {
    r1_on(IpAddr::V6(Ipv6Addr::LOCALHOST));
}

#[test]
fn three_nodes_with_the_same_static_list_form_one_cluster() {
    let addrs = [free(LOOPBACK), free(LOOPBACK), free(LOOPBACK)];
    // The list names each node to itself, too.
    let list = addrs.map(|addr| addr.to_string());
    let nodes: Vec<_> =
        addrs.iter().enumerate().map(|(at, &addr)| join(&format!("n{at}"), addr, &list)).collect();
    let sessions: Vec<_> = nodes.iter().map(|(tracker, _)| tracker.session()).collect();
    for (at, session) in sessions.iter().enumerate() {
        for i in 0..100 {
            session.track("room", format!("user-{at}-{i}"), "").unwrap();
        }
    }
    for (tracker, cluster) in &nodes {
        eventually("everybody sees everybody", || tracker.len() == 300 && knows(cluster, 2));
        eventually("each gets a copy", || cluster.network().copies == 2);
    }
}

#[test]
fn nodes_that_know_one_seed_find_each_other() {
    let seed = free(LOOPBACK);
    let (s, _cluster_s) = join("seed", seed, &[]);
    // Their own ports are any; they are told to the others.
    let any = SocketAddr::new(LOOPBACK, 0);
    let nodes: Vec<_> = (0..4).map(|at| join(&format!("n{at}"), any, &[seed.to_string()])).collect();
    for (_, cluster) in &nodes {
        eventually("everybody knows everybody", || knows(cluster, 4));
    }
    let session = nodes[3].0.session();
    session.track("room", "alice", "").unwrap();
    eventually("all see alice", || nodes.iter().all(|(tracker, _)| tracker.count("room") == 1));
    eventually("the seed too", || s.count("room") == 1);
}

#[test]
fn a_peer_is_found_by_name() {
    let seed = free(LOOPBACK);
    let (a, _cluster_a) = join("a", seed, &[]);
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    let any = SocketAddr::new(LOOPBACK, 0);
    // A name that nobody has is no reason to stop.
    let peers = ["nobody.invalid:7071".to_owned(), format!("localhost:{}", seed.port())];
    let (b, cluster_b) = join("b", any, &peers);
    eventually("b sees alice", || b.count("room") == 1);
    eventually("and the lookup that failed is counted", || cluster_b.stats().lookups_failed > 0);
}

#[test]
fn r19_a_second_node_of_the_same_name_is_refused_without_multicast() {
    let seed = free(LOOPBACK);
    let (s, cluster_s) = join("seed", seed, &[]);
    let any = SocketAddr::new(LOOPBACK, 0);
    let (first, cluster_first) = join("twin", any, &[seed.to_string()]);
    eventually("the seed knows the first", || knows(&cluster_s, 1));
    // The second knows the seed alone, which has to introduce it.
    let second = Tracker::new();
    let refused = config("twin", any, &[seed.to_string()]).join(&second).unwrap_err();
    assert!(
        matches!(&refused, JoinError::Stopped(StopReason::DuplicateNode { name, other })
            if name == "twin" && *other == cluster_first.local_addr()),
        "{refused}"
    );
    assert_eq!(cluster_first.status(), Status::Running);
    let session = first.session();
    session.track("room", "alice", "").unwrap();
    eventually("the first is heard as before", || s.count("room") == 1);
}

#[test]
fn r19_of_two_nodes_of_one_name_that_start_at_once_one_remains() {
    let seed = free(LOOPBACK);
    let (s, cluster_s) = join("seed", seed, &[]);
    let start = || {
        let peers = [seed.to_string()];
        std::thread::spawn(move || {
            let tracker = Tracker::new();
            let joined = config("twin", SocketAddr::new(LOOPBACK, 0), &peers).join(&tracker);
            (tracker, joined)
        })
    };
    let twins = [start(), start()].map(|thread| thread.join().expect("no panic"));
    let lives = |(_, joined): &(Tracker, Result<Cluster, JoinError>)| {
        joined.as_ref().is_ok_and(|cluster| cluster.status() == Status::Running)
    };
    eventually("one has stopped", || twins.iter().filter(|twin| lives(twin)).count() == 1);
    let survivor = twins.iter().find(|twin| lives(twin)).expect("one lives");
    let session = survivor.0.session();
    session.track("room", "alice", "").unwrap();
    let own = || survivor.1.as_ref().expect("it joined").incarnation();
    let known = || cluster_s.members()[0].incarnation;
    // The view of members may trail the tracker while a packet is being handled.
    eventually("the survivor is heard", || s.count("room") == 1 && known() == own());
    // Nobody alternates any more: the life that is known stays.
    let life = own();
    let heartbeats = cluster_s.stats().datagrams_received + 30;
    eventually("three seconds of heartbeats", || cluster_s.stats().datagrams_received > heartbeats);
    assert_eq!((known(), own(), lives(survivor)), (life, life, true));
}

#[test]
fn r20_a_small_receive_buffer_drops_counts_and_still_ends_right() {
    let group = group();
    let node = |name: &str, receive_buffer| {
        let tracker = Tracker::new();
        let config = Config::new("test").node(name).multicast(group, Interface::Loopback);
        let cluster = config.receive_buffer(receive_buffer).join(&tracker).expect("joins");
        (tracker, cluster)
    };
    let (a, _cluster_a) = node("a", 8 << 20);
    let (b, cluster_b) = node("b", 2048);
    let session = a.session();
    let mut sent = 0;
    // As long as it takes: how fast the other reads is the machine's business.
    eventually("datagrams are dropped and counted", || {
        for i in 0..500 {
            session.track("room", format!("user-{sent}-{i}"), "some meta that takes a little room").unwrap();
        }
        sent += 1;
        cluster_b.stats().receive_drops > 0
    });
    eventually("b has all", || b.count("room") == 500 * sent);
    assert!(cluster_b.wait_synced(PATIENCE));
    let key = format!("user-{}-499", sent - 1);
    assert!(b.contains("room", &key) && b.count("room") == 500 * sent);
    assert_eq!(cluster_b.network().receive_drops, cluster_b.stats().receive_drops);
    assert!(cluster_b.network().receive_buffer < 64 * 1024);
}

#[cfg(target_os = "linux")]
#[test]
fn a_receive_buffer_that_is_not_granted_is_said_once() {
    let granted_max = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    let granted_max: u64 = granted_max.trim().parse().unwrap();
    let asked = 1 << 30;
    let tracker = Tracker::new();
    let config = Config::new("test").node("a").multicast(group(), Interface::Loopback);
    let cluster = config.receive_buffer(asked).join(&tracker).unwrap();
    let granted = cluster.network().receive_buffer;
    assert_eq!(granted, granted_max.min(asked as u64));
    let expected =
        (granted < asked as u64).then_some(Notice::SmallReceiveBuffer { asked: asked as u64, granted });
    assert_eq!(cluster.wait_notice(Duration::ZERO), expected);
    assert_eq!(
        (cluster.wait_notice(Duration::ZERO), cluster.network().receive_buffer_asked),
        (None, asked as u64)
    );
}

#[test]
fn longer_datagrams_and_standard_ones_mix_and_none_is_longer_than_its_kind() {
    let group = group();
    let longest = |size, max: u64| {
        let (a, b) = (Tracker::new(), Tracker::new());
        let config = |name: &str| Config::new("test").node(name).multicast(group, Interface::Loopback);
        let cluster_a = config("a").datagram_size(size).join(&a).unwrap();
        let _cluster_b = config("b").join(&b).unwrap();
        let session = a.session();
        // Fewer than the log of a lane holds, so that all are told in datagrams.
        session.track_many((0..1500).map(|i| ("room", format!("{i:016}"), [7; 32]))).unwrap();
        eventually("b has all", || b.count("room") == 1500);
        // Numbers are published now and then.
        eventually("all are told", || cluster_a.stats().delta_ops_sent >= 1500);
        let stats = cluster_a.stats();
        assert!(stats.delta_datagrams_sent > 0 && stats.delta_bytes_sent <= max * stats.delta_datagrams_sent);
        stats.delta_bytes_sent / stats.delta_datagrams_sent
    };
    let (standard, lan) = (longest(DatagramSize::Standard, 1200), longest(DatagramSize::Lan, 1400));
    assert!(lan > standard && lan > 1200, "{standard} B and {lan} B on average");
}
